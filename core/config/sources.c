/* sources.c: see sources.h.
 *
 * A list in the order of reading, for digests and for other processes, with an index by name for
 * the evaluation. Each thing is a block of its own, with its name behind it; its text is what was
 * read.
 *
 * On the way to another process: for each thing five 32-bit numbers in the machine's order (kind,
 * flags, lengths of name and text, 0), name, text.
 */
#include "base/banned.h"
#include "config/sources.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "config/world.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS   1024
#define NOT_NOTED "this revision did not read it"

enum { HEAD_KIND, HEAD_FLAGS, HEAD_NAME, HEAD_TEXT, HEAD_ZERO, HEAD_FIELDS };
enum { FLAG_SECRET = 1, FLAG_ABSENT = 2 };

struct thing {
    struct thing *next;   /* read after it */
    struct thing *behind; /* in the bucket */
    struct tg_source_item source;
    char name[];
};

struct tg_sources {
    _Atomic uint32_t refs;
    bool sealed;
    size_t size;
    size_t count;
    struct thing *first;
    struct thing **end;
    struct thing *buckets[BUCKETS];
};

/* ---- Life ------------------------------------------------------------------------------------ */

struct tg_sources *tg_sources_new(void)
{
    struct tg_sources *sources = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*sources));

    if (sources == NULL)
        return NULL;
    atomic_init(&sources->refs, 1);
    sources->end = &sources->first;
    return sources;
}

struct tg_sources *tg_sources_ref(struct tg_sources *sources)
{
    uint32_t before = atomic_fetch_add_explicit(&sources->refs, 1, memory_order_relaxed);

    tg_assert(before > 0);
    return sources;
}

void tg_sources_unref(struct tg_sources **sources)
{
    struct tg_sources *mine = *sources;

    *sources = NULL;
    if (mine == NULL || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) > 1)
        return;
    while (mine->first != NULL) {
        struct thing *thing = mine->first;
        mine->first = thing->next;
        tg_mem_free(TG_MEM_CONFIG, (void *)thing->source.text.p);
        tg_mem_free(TG_MEM_CONFIG, thing);
    }
    tg_mem_free(TG_MEM_CONFIG, mine);
}

/* ---- Things ---------------------------------------------------------------------------------- */

static struct thing **bucket_of(struct tg_sources *sources, struct tg_str name)
{
    return &sources->buckets[tg_hash_bytes(name.p, name.n) % BUCKETS];
}

/* Does it hold certificates or keys, and nothing that is run? */
static bool is_pem(const struct tg_source_item *source)
{
    static const char mark[] = "-----BEGIN ";
    struct tg_str end =
        tg_str_sub(source->name, source->name.n - TG_MIN(source->name.n, 4u), source->name.n);

    return source->kind == TG_SOURCE_FILE && !source->absent && source->text.n > 0 &&
           !tg_str_eq(end, TG_STR(".lua")) &&
           memmem(source->text.p, source->text.n, mark, sizeof(mark) - 1) != NULL;
}

/* Takes the text of `source` over, also on failure; copies its name. */
static enum tg_err add(struct tg_sources *sources, const struct tg_source_item *source,
                       struct thing **out)
{
    size_t size = sizeof(struct thing) + source->name.n + 1 + source->text.n;
    bool fits = sources->count < TG_SOURCES_COUNT_MAX && size <= TG_SOURCES_MAX - sources->size;
    struct thing *thing = NULL;

    if (fits)
        thing = tg_mem_alloc(TG_MEM_CONFIG, sizeof(*thing) + source->name.n + 1);
    if (thing == NULL) {
        tg_mem_free(TG_MEM_CONFIG, (void *)source->text.p);
        return fits ? TG_E_NOMEM : TG_E_LIMIT;
    }
    thing->source = *source;
    thing->source.pem = source->pem || is_pem(source);
    memcpy(thing->name, source->name.p, source->name.n);
    thing->name[source->name.n] = '\0';
    thing->source.name.p = thing->name;
    struct thing **bucket = bucket_of(sources, thing->source.name);
    thing->behind = *bucket;
    *bucket = thing;
    thing->next = NULL;
    *sources->end = thing;
    sources->end = &thing->next;
    sources->count++;
    sources->size += size;
    *out = thing;
    return TG_OK;
}

static struct thing *find(struct tg_sources *sources, enum tg_source_kind kind, struct tg_str name)
{
    struct thing *thing = *bucket_of(sources, name);

    while (thing != NULL && (thing->source.kind != kind || !tg_str_eq(thing->source.name, name)))
        thing = thing->behind;
    return thing;
}

enum tg_err tg_sources_get(struct tg_sources *sources, enum tg_source_kind kind, struct tg_str name,
                           bool secret, const struct tg_source_item **out)
{
    static const struct tg_source_item lost = {.absent = true,
                                               .text = {NOT_NOTED, sizeof(NOT_NOTED) - 1}};
    struct thing *thing = find(sources, kind, name);
    struct tg_source_item source = {.kind = kind, .name = name};

    if (thing == NULL && sources->sealed) {
        *out = &lost;
        return TG_OK;
    }
    if (thing == NULL) {
        enum tg_err err = tg_world_read(kind, name.p, &source);
        if (err == TG_OK)
            err = add(sources, &source, &thing);
        if (err != TG_OK)
            return err;
    }
    thing->source.secret = thing->source.secret || secret;
    *out = &thing->source;
    return TG_OK;
}

const struct tg_source_item *tg_sources_first(const struct tg_sources *sources)
{
    return sources->first != NULL ? &sources->first->source : NULL;
}

const struct tg_source_item *tg_sources_next(const struct tg_source_item *source)
{
    const struct thing *thing = TG_CONTAINER_OF(source, const struct thing, source);

    return thing->next != NULL ? &thing->next->source : NULL;
}

void tg_sources_seal(struct tg_sources *sources)
{
    sources->sealed = true;
}

bool tg_sources_are_sealed(const struct tg_sources *sources)
{
    return sources->sealed;
}

size_t tg_sources_size(const struct tg_sources *sources)
{
    return sources->size;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static bool same(const struct tg_source_item *a, const struct tg_source_item *b)
{
    return a->kind == b->kind && a->absent == b->absent && tg_str_eq(a->name, b->name) &&
           tg_str_eq(a->text, b->text);
}

bool tg_sources_equal(const struct tg_sources *a, const struct tg_sources *b)
{
    const struct thing *one = a->first;
    const struct thing *two = b->first;

    while (one != NULL && two != NULL && same(&one->source, &two->source)) {
        one = one->next;
        two = two->next;
    }
    return one == NULL && two == NULL;
}

bool tg_sources_are_stale(const struct tg_sources *sources, enum tg_sources_part part)
{
    bool stale = false;

    for (const struct thing *thing = sources->first; thing != NULL && !stale; thing = thing->next) {
        struct tg_source_item now = thing->source;
        if (part == TG_SOURCES_PEM && !now.pem)
            continue;
        if (tg_world_read(now.kind, now.name.p, &now) != TG_OK)
            return true;
        stale = !same(&now, &thing->source);
        tg_mem_free(TG_MEM_CONFIG, (void *)now.text.p);
    }
    return stale;
}

/* A copy of the thing, as it was noted or as the world has it now. */
static enum tg_err add_again(struct tg_sources *to, const struct tg_source_item *source, bool anew)
{
    struct tg_source_item copy = *source;
    struct thing *thing;
    enum tg_err err = TG_OK;

    if (anew) {
        err = tg_world_read(copy.kind, copy.name.p, &copy);
    } else {
        char *text = tg_mem_strndup(TG_MEM_CONFIG, copy.text.p, copy.text.n);
        err = text != NULL ? TG_OK : TG_E_NOMEM;
        copy.text.p = text;
    }
    return err == TG_OK ? add(to, &copy, &thing) : err;
}

enum tg_err tg_sources_renew(const struct tg_sources *sources, enum tg_sources_part part,
                             struct tg_sources **out)
{
    struct tg_sources *renewed = tg_sources_new();
    enum tg_err err = renewed != NULL ? TG_OK : TG_E_NOMEM;

    for (const struct thing *thing = sources->first; thing != NULL && err == TG_OK;
         thing = thing->next)
        err = add_again(renewed, &thing->source, part == TG_SOURCES_ALL || thing->source.pem);
    if (err != TG_OK) {
        tg_sources_unref(&renewed);
        return err;
    }
    renewed->sealed = true;
    *out = renewed;
    return TG_OK;
}

static void digest_number(EVP_MD_CTX *md, uint64_t number)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
    (void)EVP_DigestUpdate(md, bytes, sizeof(bytes));
}

static void digest_thing(EVP_MD_CTX *md, const struct tg_source_item *source)
{
    struct tg_str text = source->secret ? TG_STR("") : source->text;

    digest_number(md, source->kind);
    digest_number(md, source->absent);
    digest_number(md, source->name.n);
    (void)EVP_DigestUpdate(md, source->name.p, source->name.n);
    digest_number(md, text.n);
    (void)EVP_DigestUpdate(md, text.p, text.n);
}

void tg_sources_digest(const struct tg_sources *sources, char out[TG_SOURCES_DIGEST_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    if (md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1) {
        for (const struct thing *thing = sources->first; thing != NULL; thing = thing->next)
            digest_thing(md, &thing->source);
        (void)EVP_DigestFinal_ex(md, sum, NULL);
    }
    EVP_MD_CTX_free(md);
    for (size_t i = 0; i < TG_SOURCES_DIGEST_LEN; i++)
        out[i] = digits[i % 2 == 0 ? sum[i / 2] >> 4 : sum[i / 2] & 15];
    out[TG_SOURCES_DIGEST_LEN] = '\0';
}

/* ---- To another process ---------------------------------------------------------------------- */

static bool put(int fd, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t wrote = write(fd, at, n);
        if (wrote <= 0)
            return false;
        at += wrote;
        n -= (size_t)wrote;
    }
    return true;
}

static bool put_thing(int fd, const struct tg_source_item *source)
{
    uint32_t head[HEAD_FIELDS] = {
        [HEAD_KIND] = source->kind,
        [HEAD_FLAGS] = (source->secret ? FLAG_SECRET : 0) | (source->absent ? FLAG_ABSENT : 0),
        [HEAD_NAME] = (uint32_t)source->name.n,
        [HEAD_TEXT] = (uint32_t)source->text.n,
    };

    return put(fd, head, sizeof(head)) && put(fd, source->name.p, source->name.n) &&
           put(fd, source->text.p, source->text.n);
}

enum tg_err tg_sources_send(const struct tg_sources *sources, int *fd)
{
    *fd = memfd_create("tidegate-sources", MFD_CLOEXEC);
    bool good = *fd >= 0;

    for (const struct thing *thing = sources->first; thing != NULL && good; thing = thing->next)
        good = put_thing(*fd, &thing->source);
    if (good)
        return TG_OK;
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    return TG_E_SYSTEM;
}

/* Reads the thing at the beginning of `bytes` and steps over it. */
static enum tg_err take_thing(struct tg_sources *sources, struct tg_str *bytes)
{
    uint32_t head[HEAD_FIELDS];
    struct thing *thing;

    if (bytes->n < sizeof(head))
        return TG_E_PROTOCOL;
    memcpy(head, bytes->p, sizeof(head));
    size_t n = (size_t)head[HEAD_NAME] + head[HEAD_TEXT];
    if (head[HEAD_KIND] >= TG_SOURCE_KINDS || n > bytes->n - sizeof(head))
        return TG_E_PROTOCOL;
    const char *p = bytes->p + sizeof(head);
    char *text = tg_mem_alloc(TG_MEM_CONFIG, (size_t)head[HEAD_TEXT] + 1);
    if (text == NULL)
        return TG_E_NOMEM;
    memcpy(text, p + head[HEAD_NAME], head[HEAD_TEXT]);
    text[head[HEAD_TEXT]] = '\0';
    struct tg_source_item source = {.kind = (enum tg_source_kind)head[HEAD_KIND],
                                    .secret = (head[HEAD_FLAGS] & FLAG_SECRET) != 0,
                                    .absent = (head[HEAD_FLAGS] & FLAG_ABSENT) != 0,
                                    .name = tg_str(p, head[HEAD_NAME]),
                                    .text = tg_str(text, head[HEAD_TEXT])};
    *bytes = tg_str_sub(*bytes, sizeof(head) + n, bytes->n);
    return add(sources, &source, &thing);
}

static enum tg_err take_all(struct tg_str bytes, struct tg_sources **out)
{
    struct tg_sources *sources = tg_sources_new();
    enum tg_err err = sources == NULL ? TG_E_NOMEM : TG_OK;

    while (err == TG_OK && bytes.n > 0)
        err = take_thing(sources, &bytes);
    if (err != TG_OK) {
        tg_sources_unref(&sources);
        return err;
    }
    sources->sealed = true;
    *out = sources;
    return TG_OK;
}

enum tg_err tg_sources_receive(int fd, struct tg_sources **out)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return TG_E_SYSTEM;
    size_t n = (size_t)info.st_size;
    if (n == 0)
        return take_all(tg_str("", 0), out);
    void *bytes = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return TG_E_SYSTEM;
    enum tg_err err = take_all(tg_str(bytes, n), out);
    (void)munmap(bytes, n);
    return err;
}
