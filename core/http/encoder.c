/* encoder.c: see encoder.h.
 *
 * The bounds of memory were measured with data that do not repeat and with text, and are held by
 * encoder_test.c: gzip needs 264 KiB; br at a window of 2^16 under 2.7 MB at all levels to 8 (its
 * tables for larger windows take ten times that); zstd with window, hash and chain of 2^17 entries
 * under 2.1 MB, where its levels above 8 would take 13 MB and more by themselves. Ratios suffer by
 * less than a per cent: answers are small beside these windows.
 *
 * br has levels 0 to 11; from 9 on it is slower than what it saves is worth while a client waits.
 */
#include "base/banned.h"
#include "http/encoder.h"

#include "base/assert.h"
#include "base/mem.h"

#define ZSTD_STATIC_LINKING_ONLY /* for the functions that take an allocator */
#include <brotli/encode.h>
#include <stdatomic.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_FRAME   16 /* added to the window's bits: gzip, not zlib */
#define GZIP_MEMORY  8
#define BR_WINDOW    16
#define BR_LEVEL_MAX 8
#define ZSTD_LOG     17

static const struct kind {
    size_t bytes; /* 0: not known here */
    int level;
} kinds[TG_CODINGS] = {
    [TG_CODING_GZIP] = {(size_t)300 << 10, 5},
    [TG_CODING_BR] = {(size_t)3 << 20, 4},
    [TG_CODING_ZSTD] = {(size_t)5 << 19, 3},
};

/* A library's state. */
struct codec {
    struct tg_list link; /* while it is idle */
    enum tg_coding coding;
    int level;
    union {
        z_stream z;
        BrotliEncoderState *br;
        ZSTD_CCtx *zstd;
    } u;
};

struct tg_encoder {
    struct tg_encoder_pool *pool;
    enum tg_coding coding;
    int level;
    struct codec *codec; /* from the first step on */
};

/* What all codecs, and encoders that have none yet, may take at most. */
static _Atomic size_t set_aside;

static void *take(void *arg, size_t size)
{
    (void)arg;
    return tg_mem_alloc(TG_MEM_ENCODER, size);
}

static voidpf take_items(voidpf arg, uInt items, uInt size)
{
    (void)arg;
    return tg_mem_zalloc(TG_MEM_ENCODER, items, size);
}

static void give_back(void *arg, void *p)
{
    (void)arg;
    tg_mem_free(TG_MEM_ENCODER, p);
}

bool tg_encoder_knows(enum tg_coding coding)
{
    return kinds[coding].bytes > 0;
}

int tg_encoder_level(enum tg_coding coding)
{
    return kinds[coding].level;
}

size_t tg_encoder_bytes(enum tg_coding coding)
{
    return kinds[coding].bytes;
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static bool set_zstd(ZSTD_CCtx *zstd, ZSTD_cParameter parameter, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, parameter, value));
}

static bool open_zstd(struct codec *e)
{
    e->u.zstd = ZSTD_createCCtx_advanced((ZSTD_customMem){take, give_back, NULL});
    if (e->u.zstd == NULL)
        return false;
    bool set = set_zstd(e->u.zstd, ZSTD_c_compressionLevel, e->level) &&
               set_zstd(e->u.zstd, ZSTD_c_windowLog, ZSTD_LOG) &&
               set_zstd(e->u.zstd, ZSTD_c_hashLog, ZSTD_LOG) &&
               set_zstd(e->u.zstd, ZSTD_c_chainLog, ZSTD_LOG);
    tg_assert(set);
    return true;
}

static bool open_br(struct codec *e)
{
    e->u.br = BrotliEncoderCreateInstance(take, give_back, NULL);
    if (e->u.br == NULL)
        return false;
    bool set = BrotliEncoderSetParameter(e->u.br, BROTLI_PARAM_QUALITY,
                                         (uint32_t)TG_MIN(e->level, BR_LEVEL_MAX)) &&
               BrotliEncoderSetParameter(e->u.br, BROTLI_PARAM_LGWIN, BR_WINDOW) &&
               BrotliEncoderSetParameter(e->u.br, BROTLI_PARAM_LGBLOCK, BR_WINDOW);
    tg_assert(set);
    return true;
}

static bool open_gzip(struct codec *e)
{
    e->u.z = (z_stream){.zalloc = take_items, .zfree = give_back};
    return deflateInit2(&e->u.z, e->level, Z_DEFLATED, MAX_WBITS + GZIP_FRAME, GZIP_MEMORY,
                        Z_DEFAULT_STRATEGY) == Z_OK;
}

static struct codec *new_codec(enum tg_coding coding, int level)
{
    struct codec *e = tg_mem_alloc(TG_MEM_ENCODER, sizeof(*e));
    if (e == NULL)
        return NULL;
    *e = (struct codec){.coding = coding, .level = level};
    tg_list_init(&e->link);
    bool open = coding == TG_CODING_BR     ? open_br(e)
                : coding == TG_CODING_ZSTD ? open_zstd(e)
                                           : open_gzip(e);
    if (!open) {
        tg_mem_free(TG_MEM_ENCODER, e);
        return NULL;
    }
    return e;
}

/* Makes it as new; false: that cannot be done. */
static bool reset(struct codec *e)
{
    if (e->coding == TG_CODING_GZIP)
        return deflateReset(&e->u.z) == Z_OK;
    return e->coding == TG_CODING_ZSTD &&
           !ZSTD_isError(ZSTD_CCtx_reset(e->u.zstd, ZSTD_reset_session_only));
}

static void free_codec(struct codec *e)
{
    tg_list_remove(&e->link);
    if (e->coding == TG_CODING_BR)
        BrotliEncoderDestroyInstance(e->u.br);
    else if (e->coding == TG_CODING_ZSTD)
        (void)ZSTD_freeCCtx(e->u.zstd);
    else
        (void)deflateEnd(&e->u.z);
    atomic_fetch_sub_explicit(&set_aside, kinds[e->coding].bytes, memory_order_relaxed);
    tg_mem_free(TG_MEM_ENCODER, e);
}

/* ---- The pool ----------------------------------------------------------------------------------
 */

void tg_encoder_pool_init(struct tg_encoder_pool *pool)
{
    *pool = (struct tg_encoder_pool){.idle_count = 0};
    tg_list_init(&pool->idle);
}

/* Takes an idle one off the list. */
static struct codec *take_idle(struct tg_encoder_pool *pool, struct tg_list *link)
{
    struct codec *e = TG_LIST_ENTRY(link, struct codec, link);
    tg_list_remove(link);
    pool->idle_count--;
    pool->idle_bytes -= kinds[e->coding].bytes;
    pool->spare = TG_MIN(pool->spare, pool->idle_count);
    return e;
}

/* Frees the one that came back first. */
static void drop(struct tg_encoder_pool *pool)
{
    free_codec(take_idle(pool, pool->idle.prev));
}

void tg_encoder_pool_trim(struct tg_encoder_pool *pool)
{
    while (!tg_list_is_empty(&pool->idle))
        drop(pool);
}

void tg_encoder_pool_tidy(struct tg_encoder_pool *pool)
{
    if (pool->spare > 0)
        drop(pool);
    pool->spare = pool->idle_count;
}

void tg_encoder_pool_release(struct tg_encoder_pool *pool)
{
    tg_assert(pool->leased == 0);
    tg_encoder_pool_trim(pool);
}

static struct codec *find_idle(struct tg_encoder_pool *pool, enum tg_coding coding, int level)
{
    TG_LIST_FOREACH(&pool->idle, it)
    {
        struct codec *e = TG_LIST_ENTRY(it, struct codec, link);
        if (e->coding == coding && e->level == level)
            return take_idle(pool, it);
    }
    pool->spare = 0;
    return NULL;
}

static bool set_one_aside(size_t bytes)
{
    size_t before = atomic_fetch_add_explicit(&set_aside, bytes, memory_order_relaxed);
    if (before + bytes <= tg_mem_cap(TG_MEM_ENCODER))
        return true;
    atomic_fetch_sub_explicit(&set_aside, bytes, memory_order_relaxed);
    return false;
}

static void release_one(size_t bytes)
{
    atomic_fetch_sub_explicit(&set_aside, bytes, memory_order_relaxed);
}

enum tg_err tg_encoder_lease(struct tg_encoder_pool *pool, enum tg_coding coding, int level,
                             struct tg_encoder **out)
{
    size_t bytes = kinds[coding].bytes;
    tg_assert(bytes > 0 && level >= 1 && level <= TG_ENCODER_LEVEL_MAX);
    *out = NULL;
    bool room = set_one_aside(bytes);
    while (!room && !tg_list_is_empty(&pool->idle)) {
        drop(pool);
        room = set_one_aside(bytes);
    }
    if (!room)
        return TG_E_LIMIT;
    *out = tg_mem_alloc(TG_MEM_ENCODER, sizeof(**out));
    if (*out == NULL) {
        release_one(bytes);
        return TG_E_NOMEM;
    }
    **out = (struct tg_encoder){.pool = pool, .coding = coding, .level = level};
    pool->leased++;
    return TG_OK;
}

/* The first step: an idle codec, which has been set aside already, or a new one. */
static bool open_codec(struct tg_encoder *encoder)
{
    encoder->codec = find_idle(encoder->pool, encoder->coding, encoder->level);
    if (encoder->codec != NULL)
        release_one(kinds[encoder->coding].bytes);
    else
        encoder->codec = new_codec(encoder->coding, encoder->level);
    return encoder->codec != NULL;
}

static void keep(struct tg_encoder_pool *pool, struct codec *codec)
{
    if (!reset(codec)) {
        free_codec(codec);
        return;
    }
    tg_list_push_front(&pool->idle, &codec->link);
    pool->idle_count++;
    pool->idle_bytes += kinds[codec->coding].bytes;
    if (pool->idle_bytes > TG_ENCODER_IDLE_MAX)
        drop(pool);
}

void tg_encoder_return(struct tg_encoder_pool *pool, struct tg_encoder **encoder)
{
    struct tg_encoder *e = *encoder;
    *encoder = NULL;
    if (e == NULL)
        return;
    tg_assert(pool->leased > 0 && pool == e->pool);
    pool->leased--;
    if (e->codec != NULL)
        keep(pool, e->codec);
    else
        release_one(kinds[e->coding].bytes);
    tg_mem_free(TG_MEM_ENCODER, e);
}

/* ---- Bytes -------------------------------------------------------------------------------------
 */

/* Where a step reads and writes. */
struct window {
    struct tg_str in;
    char *out;
    size_t room;
};

static bool step_gzip(z_stream *z, enum tg_encoder_op op, struct window *w, bool *more)
{
    static const int ops[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
    uInt shown = (uInt)TG_MIN(w->in.n, (size_t)UINT32_MAX);
    uInt room = (uInt)TG_MIN(w->room, (size_t)UINT32_MAX);
    z->next_in = (z_const Bytef *)(uintptr_t)w->in.p;
    z->avail_in = shown;
    z->next_out = (Bytef *)w->out;
    z->avail_out = room;
    int status = deflate(z, shown < w->in.n ? Z_NO_FLUSH : ops[op]);
    w->in = tg_str_sub(w->in, shown - z->avail_in, w->in.n);
    w->room -= room - z->avail_out;
    *more = op == TG_ENCODER_END ? status != Z_STREAM_END : z->avail_out == 0 || w->in.n > 0;
    return status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR;
}

static bool step_br(BrotliEncoderState *br, enum tg_encoder_op op, struct window *w, bool *more)
{
    static const BrotliEncoderOperation ops[] = {BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH,
                                                 BROTLI_OPERATION_FINISH};
    size_t left = w->in.n;
    const uint8_t *from = (const uint8_t *)w->in.p;
    uint8_t *to = (uint8_t *)w->out;
    bool good = BrotliEncoderCompressStream(br, ops[op], &left, &from, &w->room, &to, NULL);
    w->in = tg_str_sub(w->in, w->in.n - left, w->in.n);
    *more = w->in.n > 0 || BrotliEncoderHasMoreOutput(br) ||
            (op == TG_ENCODER_END && !BrotliEncoderIsFinished(br));
    return good;
}

static bool step_zstd(ZSTD_CCtx *zstd, enum tg_encoder_op op, struct window *w, bool *more)
{
    static const ZSTD_EndDirective ops[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};
    ZSTD_inBuffer from = {w->in.p, w->in.n, 0};
    ZSTD_outBuffer to = {w->out, w->room, 0};
    size_t left = ZSTD_compressStream2(zstd, &to, &from, ops[op]);
    w->in = tg_str_sub(w->in, from.pos, w->in.n);
    w->room -= to.pos;
    *more = op == TG_ENCODER_MORE ? w->in.n > 0 : left != 0;
    return !ZSTD_isError(left);
}

enum tg_err tg_encoder_step(struct tg_encoder *encoder, enum tg_encoder_op op, struct tg_str *in,
                            char *out, size_t room, size_t *n, bool *more)
{
    struct window w = {*in, out, room};
    bool good;
    tg_assert(room >= TG_ENCODER_ROOM_MIN);
    if (encoder->codec == NULL && !open_codec(encoder))
        return TG_E_NOMEM;
    struct codec *codec = encoder->codec;
    if (codec->coding == TG_CODING_BR)
        good = step_br(codec->u.br, op, &w, more);
    else if (codec->coding == TG_CODING_ZSTD)
        good = step_zstd(codec->u.zstd, op, &w, more);
    else
        good = step_gzip(&codec->u.z, op, &w, more);
    *in = w.in;
    *n = room - w.room;
    return good ? TG_OK : TG_E_NOMEM;
}
