/* declared.c: see declared.h.
 *
 *     names        open addressing: number of a consumer, from 1 -> consumers[]
 *     index[kind]  open addressing: number of a credential, from 1 -> credentials[] with its digest
 *     words        open addressing, grows: number of a list, from 1 -> lists[]; to share them
 *     texts        chained blocks, filled one after the other
 *
 * Tables are powers of two, between a third and two thirds full, and walked from where the hash
 * says to the first free slot. Nothing is ever removed.
 */
#include "base/banned.h"
#include "consumer/declared.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "consumer/digest.h"

#define TAG         TG_MEM_CONFIG
#define TEXT_BLOCK  ((size_t)32 << 10)
#define TEXT_ALIGN  ((size_t)8)
#define FIRST_LISTS 16

struct block {
    struct block *next;
    size_t used, cap;
    char bytes[];
};

/* Slots hold numbers from 1; 0 is free. */
struct table {
    uint32_t *slots;
    uint32_t mask;
};

struct credential {
    unsigned char digest[TG_CREDENTIAL_DIGEST];
    uint32_t consumer; /* index in consumers */
    uint32_t nth;
};

struct index {
    struct table table;
    struct credential *v;
    uint32_t count, cap;
};

struct tg_declared {
    struct tg_consumer_store store;
    struct tg_consumer *consumers;
    uint32_t count, cap;
    struct table names;
    struct index index[TG_CREDENTIAL_KINDS];
    const struct tg_consumer_words **lists;
    uint32_t list_count;
    struct table words;
    struct block *texts;
    size_t memory;
};

/* ---- Memory ---- */

static void *take(struct tg_declared *d, size_t count, size_t size)
{
    void *p = tg_mem_zalloc(TAG, TG_MAX(count, (size_t)1), size);
    if (p != NULL)
        d->memory += count * size;
    return p;
}

/* `n` bytes that live as long as the set; NULL: no memory. */
static char *take_text(struct tg_declared *d, size_t n)
{
    struct block *block = d->texts;
    n = (n + TEXT_ALIGN - 1) & ~(TEXT_ALIGN - 1);
    if (block == NULL || block->cap - block->used < n) {
        size_t cap = TG_MAX(n, TEXT_BLOCK);
        block = tg_mem_alloc(TAG, sizeof(*block) + cap);
        if (block == NULL)
            return NULL;
        *block = (struct block){d->texts, 0, cap};
        d->texts = block;
        d->memory += sizeof(*block) + cap;
    }
    char *p = block->bytes + block->used;
    block->used += n;
    return p;
}

/* A terminated copy at *at, which moves behind it; p == NULL for an empty one. */
static struct tg_str put(char **at, struct tg_str s)
{
    char *p = *at;
    if (s.n == 0)
        return tg_str(NULL, 0);
    memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    *at += s.n + 1;
    return tg_str(p, s.n);
}

/* ---- Tables ---- */

/* For `count` numbers; false: no memory. */
static bool make_table(struct tg_declared *d, struct table *table, uint32_t count)
{
    size_t size = 4;
    while (size * 2 < (size_t)count * 3)
        size *= 2;
    table->slots = take(d, size, sizeof(*table->slots));
    table->mask = (uint32_t)(size - 1);
    return table->slots != NULL;
}

/* The number in the slot, 0 when the walk is over. */
static uint32_t walk(const struct table *table, uint32_t *at)
{
    return table->slots[(*at)++ & table->mask];
}

static void insert(struct table *table, uint32_t hash, uint32_t number)
{
    while (table->slots[hash & table->mask] != 0)
        hash++;
    table->slots[hash & table->mask] = number;
}

static uint32_t name_hash(struct tg_str name)
{
    return (uint32_t)tg_hash_bytes(name.p, name.n);
}

static uint32_t digest_hash(const unsigned char *digest)
{
    uint32_t hash;
    memcpy(&hash, digest, sizeof(hash));
    return hash;
}

/* ---- Lists of words ---- */

static uint32_t words_hash(const struct tg_str *v, uint32_t n)
{
    uint64_t hash = n;
    for (uint32_t i = 0; i < n; i++)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + tg_hash_bytes(v[i].p, v[i].n);
    return (uint32_t)(hash >> 32);
}

static bool words_equal(const struct tg_consumer_words *words, const struct tg_str *v, uint32_t n)
{
    if (words->n != n)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!tg_str_eq(words->v[i], v[i]))
            return false;
    }
    return true;
}

static const struct tg_consumer_words *new_words(struct tg_declared *d, const struct tg_str *v,
                                                 uint32_t n)
{
    size_t text = 0;
    for (uint32_t i = 0; i < n; i++)
        text += v[i].n + 1;
    struct tg_consumer_words *words =
        (struct tg_consumer_words *)take_text(d, sizeof(*words) + n * sizeof(v[0]) + text);
    if (words == NULL)
        return NULL;
    char *at = (char *)(words->v + n);
    words->n = n;
    for (uint32_t i = 0; i < n; i++)
        words->v[i] = put(&at, v[i]);
    return words;
}

/* Room for one list more; false: no memory. */
static bool grow_lists(struct tg_declared *d)
{
    uint32_t n = d->list_count;
    if (n >= FIRST_LISTS && (n & (n - 1)) != 0)
        return true; /* it grows at powers of two */
    if (n > 0 && n < FIRST_LISTS)
        return true;
    uint32_t cap = n == 0 ? FIRST_LISTS : 2 * n;
    struct table bigger;
    const struct tg_consumer_words **lists =
        tg_mem_realloc(TAG, (void *)d->lists, cap * sizeof(*lists));
    if (lists == NULL)
        return false;
    d->lists = lists;
    if (!make_table(d, &bigger, cap))
        return false;
    for (uint32_t i = 0; i < n; i++)
        insert(&bigger, words_hash(lists[i]->v, lists[i]->n), i + 1);
    if (d->words.slots != NULL)
        d->memory -= ((size_t)d->words.mask + 1) * sizeof(d->words.slots[0]);
    tg_mem_free(TAG, d->words.slots);
    d->words = bigger;
    return true;
}

/* The list of these words, shared with who has an equal one; NULL: no memory. */
static const struct tg_consumer_words *share_words(struct tg_declared *d, const struct tg_str *v,
                                                   uint32_t n)
{
    uint32_t hash = words_hash(v, n);
    uint32_t number;
    if (d->list_count > 0) {
        for (uint32_t at = hash; (number = walk(&d->words, &at)) != 0;) {
            if (words_equal(d->lists[number - 1], v, n))
                return d->lists[number - 1];
        }
    }
    if (!grow_lists(d))
        return NULL;
    const struct tg_consumer_words *words = new_words(d, v, n);
    if (words == NULL)
        return NULL;
    d->lists[d->list_count++] = words;
    insert(&d->words, hash, d->list_count);
    return words;
}

/* ---- Finding ---- */

static enum tg_err find(const struct tg_consumer_store *store, struct tg_str name,
                        const struct tg_consumer **out)
{
    const struct tg_declared *d = TG_CONTAINER_OF(store, struct tg_declared, store);
    uint32_t number;
    for (uint32_t at = name_hash(name); (number = walk(&d->names, &at)) != 0;) {
        if (tg_str_eq(d->consumers[number - 1].name, name)) {
            *out = &d->consumers[number - 1];
            return TG_OK;
        }
    }
    return TG_E_NOT_FOUND;
}

static const struct credential *find_digest(const struct index *index, const unsigned char *digest)
{
    uint32_t number;
    for (uint32_t at = digest_hash(digest); (number = walk(&index->table, &at)) != 0;) {
        if (tg_credential_digest_eq(index->v[number - 1].digest, digest))
            return &index->v[number - 1];
    }
    return NULL;
}

static enum tg_err find_by(const struct tg_consumer_store *store, enum tg_credential_kind kind,
                           struct tg_str value, struct tg_consumer_match *out)
{
    const struct tg_declared *d = TG_CONTAINER_OF(store, struct tg_declared, store);
    unsigned char digest[TG_CREDENTIAL_DIGEST];
    enum tg_err err = tg_credential_digest(kind, value, digest);
    if (err != TG_OK)
        return err;
    const struct credential *found = find_digest(&d->index[kind], digest);
    if (found == NULL)
        return TG_E_NOT_FOUND;
    *out = (struct tg_consumer_match){&d->consumers[found->consumer], found->nth};
    return TG_OK;
}

/* ---- Making ---- */

static void free_declared(struct tg_consumer_store *store)
{
    struct tg_declared *d = TG_CONTAINER_OF(store, struct tg_declared, store);
    for (int kind = 0; kind < TG_CREDENTIAL_KINDS; kind++) {
        tg_mem_free(TAG, d->index[kind].table.slots);
        tg_mem_free(TAG, d->index[kind].v);
    }
    while (d->texts != NULL) {
        struct block *block = d->texts;
        d->texts = block->next;
        tg_mem_free(TAG, block);
    }
    tg_mem_free(TAG, d->words.slots);
    tg_mem_free(TAG, (void *)d->lists);
    tg_mem_free(TAG, d->names.slots);
    tg_mem_free(TAG, d->consumers);
    tg_mem_free(TAG, d);
}

static const struct tg_consumer_store_ops ops = {find, find_by, free_declared};

static bool make_index(struct tg_declared *d, struct index *index, uint32_t count)
{
    index->cap = count;
    index->v = take(d, count, sizeof(*index->v));
    return index->v != NULL && make_table(d, &index->table, count);
}

struct tg_declared *tg_declared_new(const struct tg_declared_counts *counts)
{
    struct tg_declared *d = tg_mem_zalloc(TAG, 1, sizeof(*d));
    if (d == NULL)
        return NULL;
    d->store.ops = &ops;
    d->memory = sizeof(*d);
    d->cap = counts->consumers;
    bool made = counts->consumers <= TG_DECLARED_MAX;
    d->consumers = made ? take(d, d->cap, sizeof(*d->consumers)) : NULL;
    made = d->consumers != NULL && make_table(d, &d->names, d->cap);
    for (int kind = 0; made && kind < TG_CREDENTIAL_KINDS; kind++) {
        made = counts->credentials[kind] <= TG_DECLARED_MAX &&
               make_index(d, &d->index[kind], counts->credentials[kind]);
    }
    if (made)
        return d;
    free_declared(&d->store);
    return NULL;
}

/* The texts of `spec` in one piece; false: no memory. */
static bool copy_texts(struct tg_declared *d, const struct tg_consumer_spec *spec,
                       struct tg_consumer *out)
{
    bool own_id = spec->id.n > 0 && !tg_str_eq(spec->id, spec->name);
    size_t n = spec->name.n + 1 + (own_id ? spec->id.n + 1 : 0);
    n += spec->custom_id.n > 0 ? spec->custom_id.n + 1 : 0;
    n += spec->metadata.n > 0 ? spec->metadata.n + 1 : 0;
    char *at = take_text(d, n);
    if (at == NULL)
        return false;
    out->name = put(&at, spec->name);
    out->id = own_id ? put(&at, spec->id) : out->name;
    out->custom_id = put(&at, spec->custom_id);
    out->metadata = put(&at, spec->metadata);
    return true;
}

enum tg_err tg_declared_add(struct tg_declared *d, const struct tg_consumer_spec *spec)
{
    const struct tg_consumer *taken;
    if (spec->name.n == 0)
        return TG_E_INVALID;
    if (find(&d->store, spec->name, &taken) == TG_OK)
        return TG_E_EXISTS;
    if (d->count == d->cap)
        return TG_E_LIMIT;
    struct tg_consumer *consumer = &d->consumers[d->count];
    consumer->groups = share_words(d, spec->groups, spec->group_count);
    consumer->tags = share_words(d, spec->tags, spec->tag_count);
    consumer->plugins = spec->plugins;
    consumer->importance = spec->importance;
    consumer->queue_priority = spec->queue_priority;
    if (consumer->groups == NULL || consumer->tags == NULL || !copy_texts(d, spec, consumer))
        return TG_E_NOMEM;
    d->count++;
    insert(&d->names, name_hash(spec->name), d->count);
    return TG_OK;
}

/* Number of the credential that comes next to `consumer` in `index`, from 1. */
static uint32_t next_nth(const struct index *index, uint32_t consumer)
{
    if (index->count == 0 || index->v[index->count - 1].consumer != consumer)
        return 1;
    return index->v[index->count - 1].nth + 1;
}

enum tg_err tg_declared_add_credential(struct tg_declared *d, enum tg_credential_kind kind,
                                       struct tg_str value)
{
    struct index *index = &d->index[kind];
    tg_assert(d->count > 0);
    if (value.n == 0)
        return TG_E_INVALID;
    if (index->count == index->cap)
        return TG_E_LIMIT;
    struct credential *credential = &index->v[index->count];
    enum tg_err err = tg_credential_digest(kind, value, credential->digest);
    if (err != TG_OK)
        return err;
    if (find_digest(index, credential->digest) != NULL)
        return TG_E_EXISTS;
    credential->consumer = d->count - 1;
    credential->nth = next_nth(index, credential->consumer);
    index->count++;
    insert(&index->table, digest_hash(credential->digest), index->count);
    return TG_OK;
}

struct tg_consumer_store *tg_declared_store(struct tg_declared *d)
{
    return &d->store;
}

uint32_t tg_declared_count(const struct tg_declared *d)
{
    return d->count;
}

size_t tg_declared_memory(const struct tg_declared *d)
{
    return d->memory;
}
