/* decoder.c: see decoder.h.
 *
 * One loop for all codings; what differs is `run`: it shows the library one piece of the input and
 * an output of at most the caller's room. What a library keeps inside (input that it took and could
 * not unfold for lack of room) comes with the next step, which is why a full output means "call
 * again". */
#include "base/banned.h"
#include "http/decoder.h"

#include "base/assert.h"
#include "base/mem.h"

#define ZSTD_STATIC_LINKING_ONLY /* for the functions that take an allocator */
#include <brotli/decode.h>
#include <zstd.h>
#include <zstd_errors.h>

#define GZIP_FRAME      16 /* added to the window's bits: gzip, not zlib */
#define ZSTD_WINDOW_LOG 23 /* 8 MiB: what RFC 9659 lets senders use */

static void *take(void *arg, size_t size)
{
    (void)arg;
    return tg_mem_alloc(TG_MEM_DECODER, size);
}

static voidpf take_items(voidpf arg, uInt items, uInt size)
{
    (void)arg;
    return tg_mem_zalloc(TG_MEM_DECODER, items, size);
}

static void give_back(void *arg, void *p)
{
    (void)arg;
    tg_mem_free(TG_MEM_DECODER, p);
}

void tg_decoder_init(struct tg_decoder *state, enum tg_coding coding, uint64_t max, uint64_t ratio)
{
    tg_assert(coding != TG_CODING_OTHER && ratio > 0);
    *state = (struct tg_decoder){.coding = coding, .max = max, .ratio = ratio};
}

static enum tg_err check_bounds(const struct tg_decoder *state)
{
    if (state->out > state->max)
        return TG_E_LIMIT;
    bool unlikely = state->out > TG_DECODER_FREE && state->out / state->ratio > state->in;
    return unlikely ? TG_E_LIMIT : TG_OK;
}

/* What a call of a library took and made. */
static void count(struct tg_decoder *state, struct tg_str *in, size_t used, size_t made)
{
    if (used > 0)
        *in = tg_str_sub(*in, used, in->n);
    state->in += used;
    state->next += made;
    state->room -= made;
    state->out += made;
}

/* ---- gzip and deflate --------------------------------------------------------------------------
 */

static enum tg_err open_zlib(struct tg_decoder *state, int window_bits)
{
    state->u.z = (z_stream){.zalloc = take_items, .zfree = give_back};
    if (inflateInit2(&state->u.z, window_bits) != Z_OK)
        return TG_E_NOMEM;
    state->open = true;
    return TG_OK;
}

static enum tg_err run_zlib(struct tg_decoder *state, struct tg_str *in)
{
    z_stream *z = &state->u.z;
    uInt shown = (uInt)TG_MIN(in->n, (size_t)UINT32_MAX);
    uInt room = (uInt)TG_MIN(state->room, (size_t)UINT32_MAX);
    z->next_in = (z_const Bytef *)(uintptr_t)in->p;
    z->avail_in = shown;
    z->next_out = (Bytef *)state->next;
    z->avail_out = room;
    int status = inflate(z, Z_NO_FLUSH);
    count(state, in, shown - z->avail_in, room - z->avail_out);
    state->done = status == Z_STREAM_END;
    if (status == Z_MEM_ERROR)
        return TG_E_NOMEM;
    return status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR ? TG_OK
                                                                             : TG_E_PROTOCOL;
}

/* RFC 1950, 2.2: method 8 in the low half of the first byte, both together a multiple of 31. */
static bool is_zlib(const uint8_t head[static 2])
{
    return (head[0] & 0x0f) == 8 && (head[0] * 256 + head[1]) % 31 == 0;
}

/* ---- br ----------------------------------------------------------------------------------------
 */

static enum tg_err open_br(struct tg_decoder *state)
{
    state->u.br = BrotliDecoderCreateInstance(take, give_back, NULL);
    state->open = state->u.br != NULL;
    return state->open ? TG_OK : TG_E_NOMEM;
}

static enum tg_err run_br(struct tg_decoder *state, struct tg_str *in)
{
    size_t left = in->n;
    size_t room = state->room;
    const uint8_t *from = (const uint8_t *)in->p;
    uint8_t *to = (uint8_t *)state->next;
    BrotliDecoderResult result =
        BrotliDecoderDecompressStream(state->u.br, &left, &from, &room, &to, NULL);
    count(state, in, in->n - left, state->room - room);
    state->done = result == BROTLI_DECODER_RESULT_SUCCESS;
    if (result != BROTLI_DECODER_RESULT_ERROR)
        return TG_OK;
    BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(state->u.br);
    bool memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                  code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
    return memory ? TG_E_NOMEM : TG_E_PROTOCOL;
}

/* ---- zstd --------------------------------------------------------------------------------------
 */

static enum tg_err open_zstd(struct tg_decoder *state)
{
    state->u.zstd = ZSTD_createDCtx_advanced((ZSTD_customMem){take, give_back, NULL});
    if (state->u.zstd == NULL)
        return TG_E_NOMEM;
    state->open = true;
    size_t status = ZSTD_DCtx_setParameter(state->u.zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    tg_assert(!ZSTD_isError(status));
    return TG_OK;
}

static enum tg_err run_zstd(struct tg_decoder *state, struct tg_str *in)
{
    ZSTD_inBuffer from = {in->p, in->n, 0};
    ZSTD_outBuffer to = {state->next, state->room, 0};
    size_t left = ZSTD_decompressStream(state->u.zstd, &to, &from);
    count(state, in, from.pos, to.pos);
    state->done = left == 0;
    if (!ZSTD_isError(left))
        return TG_OK;
    return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? TG_E_NOMEM : TG_E_PROTOCOL;
}

/* ---- All of them -------------------------------------------------------------------------------
 */

/* One member has ended; what comes behind it may be the next. */
static enum tg_err begin_member(struct tg_decoder *state)
{
    bool may = state->coding == TG_CODING_ZSTD || state->coding == TG_CODING_GZIP;
    if (!may || (state->coding == TG_CODING_GZIP && inflateReset(&state->u.z) != Z_OK))
        return TG_E_PROTOCOL;
    state->done = false;
    return TG_OK;
}

/* Shows the library what there is; sets `*stuck` when it can do nothing more now. */
static enum tg_err run(struct tg_decoder *state, struct tg_str *in, bool *stuck)
{
    size_t left = in->n;
    size_t room = state->room;
    enum tg_err err;
    if (state->coding == TG_CODING_BR)
        err = run_br(state, in);
    else if (state->coding == TG_CODING_ZSTD)
        err = run_zstd(state, in);
    else
        err = run_zlib(state, in);
    *stuck = state->done ? in->n == 0 : (left == in->n && room == state->room);
    return err;
}

/* Unfolds all of `*in`, or until the output is full. */
static enum tg_err unfold(struct tg_decoder *state, struct tg_str *in)
{
    bool stuck = false;
    enum tg_err err = TG_OK;
    while (err == TG_OK && !stuck && state->room > 0) {
        if (state->done && in->n == 0)
            return TG_OK;
        if (state->done)
            err = begin_member(state);
        if (err == TG_OK)
            err = run(state, in, &stuck);
        if (err == TG_OK)
            err = check_bounds(state);
    }
    return err;
}

/* Takes the bytes by which the format is told, and opens zlib; TG_E_AGAIN: they are not there yet.
 */
static enum tg_err open_deflate(struct tg_decoder *state, struct tg_str *in)
{
    while (state->head_n < 2 && in->n > 0) {
        state->head[state->head_n++] = (uint8_t)in->p[0];
        *in = tg_str_sub(*in, 1, in->n);
    }
    if (state->head_n < 2)
        return TG_E_AGAIN;
    enum tg_err err = open_zlib(state, is_zlib(state->head) ? MAX_WBITS : -MAX_WBITS);
    struct tg_str head = tg_str((const char *)state->head, 2);
    return err == TG_OK ? unfold(state, &head) : err;
}

static enum tg_err open_for(struct tg_decoder *state, struct tg_str *in)
{
    switch (state->coding) {
    case TG_CODING_GZIP:
        return open_zlib(state, MAX_WBITS + GZIP_FRAME);
    case TG_CODING_DEFLATE:
        return open_deflate(state, in);
    case TG_CODING_BR:
        return open_br(state);
    default:
        return open_zstd(state);
    }
}

enum tg_err tg_decoder_step(struct tg_decoder *state, struct tg_str *in, char *out, size_t room,
                            size_t *n)
{
    enum tg_err err = TG_OK;
    tg_assert(room >= TG_DECODER_ROOM_MIN);
    state->next = out;
    state->room = room;
    *n = 0;
    if (!state->open && in->n > 0)
        err = open_for(state, in);
    if (!state->open)
        return err == TG_E_AGAIN ? TG_OK : err;
    if (err == TG_OK)
        err = unfold(state, in);
    *n = room - state->room;
    return err;
}

enum tg_err tg_decoder_finish(const struct tg_decoder *state)
{
    bool nothing = state->in == 0 && state->head_n == 0;
    return state->done || nothing ? TG_OK : TG_E_PROTOCOL;
}

void tg_decoder_release(struct tg_decoder *state)
{
    if (!state->open)
        return;
    state->open = false;
    if (state->coding == TG_CODING_BR)
        BrotliDecoderDestroyInstance(state->u.br);
    else if (state->coding == TG_CODING_ZSTD)
        (void)ZSTD_freeDCtx(state->u.zstd);
    else
        (void)inflateEnd(&state->u.z);
}
