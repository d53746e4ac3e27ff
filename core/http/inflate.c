/* inflate.c: see inflate.h.
 *
 * zlib is shown the input in pieces whose size fits its 32-bit counters, and an output of at most
 * the caller's room. What it keeps inside (input that it took and could not unfold for lack of
 * room) comes with the next step, which is why a full output means "call again". */
#include "base/banned.h"
#include "http/inflate.h"

#include "base/assert.h"
#include "base/mem.h"

#define GZIP_FRAME 16 /* added to the window's bits: gzip, not zlib */

enum tg_coding tg_coding_of(struct tg_str name)
{
    if (tg_str_eq_nocase(name, TG_STR("gzip")) || tg_str_eq_nocase(name, TG_STR("x-gzip")))
        return TG_CODING_GZIP;
    return tg_str_eq_nocase(name, TG_STR("deflate")) ? TG_CODING_DEFLATE : TG_CODING_OTHER;
}

static voidpf take(voidpf arg, uInt items, uInt size)
{
    (void)arg;
    return tg_mem_zalloc(TG_MEM_CONNECTION, items, size);
}

static void give_back(voidpf arg, voidpf p)
{
    (void)arg;
    tg_mem_free(TG_MEM_CONNECTION, p);
}

void tg_inflate_init(struct tg_inflate *state, enum tg_coding coding, uint64_t max, uint64_t ratio)
{
    tg_assert(coding != TG_CODING_OTHER && ratio > 0);
    *state = (struct tg_inflate){.coding = coding, .max = max, .ratio = ratio};
    state->z.zalloc = take;
    state->z.zfree = give_back;
}

static enum tg_err open_as(struct tg_inflate *state, int window_bits)
{
    if (inflateInit2(&state->z, window_bits) != Z_OK)
        return TG_E_NOMEM;
    state->open = true;
    return TG_OK;
}

/* RFC 1950, 2.2: method 8 in the low half of the first byte, both together a multiple of 31. */
static bool is_zlib(const uint8_t head[static 2])
{
    return (head[0] & 0x0f) == 8 && (head[0] * 256 + head[1]) % 31 == 0;
}

static enum tg_err check_bounds(const struct tg_inflate *state)
{
    if (state->out > state->max)
        return TG_E_LIMIT;
    bool unlikely = state->out > TG_INFLATE_FREE && state->out / state->ratio > state->in;
    return unlikely ? TG_E_LIMIT : TG_OK;
}

/* One member has ended; what comes behind it may be the next. */
static enum tg_err begin_member(struct tg_inflate *state)
{
    if (state->coding != TG_CODING_GZIP || inflateReset(&state->z) != Z_OK)
        return TG_E_PROTOCOL;
    state->done = false;
    return TG_OK;
}

/* Shows zlib one piece of `*in`; sets `*stuck` when it can do nothing more now. */
static enum tg_err run(struct tg_inflate *state, struct tg_str *in, bool *stuck)
{
    z_stream *z = &state->z;
    uInt shown = (uInt)TG_MIN(in->n, (size_t)UINT32_MAX);
    uInt room = z->avail_out;
    z->next_in = (z_const Bytef *)(uintptr_t)in->p;
    z->avail_in = shown;
    int status = inflate(z, Z_NO_FLUSH);
    size_t used = shown - z->avail_in;
    if (used > 0)
        *in = tg_str_sub(*in, used, in->n);
    state->in += used;
    state->out += room - z->avail_out;
    state->done = status == Z_STREAM_END;
    *stuck = state->done ? in->n == 0 : (used == 0 && room == z->avail_out);
    if (status == Z_MEM_ERROR)
        return TG_E_NOMEM;
    return status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR ? TG_OK
                                                                             : TG_E_PROTOCOL;
}

/* Unfolds all of `*in`, or until the output is full. */
static enum tg_err unfold(struct tg_inflate *state, struct tg_str *in)
{
    bool stuck = false;
    enum tg_err err = TG_OK;
    while (err == TG_OK && !stuck && state->z.avail_out > 0) {
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
static enum tg_err open_deflate(struct tg_inflate *state, struct tg_str *in)
{
    while (state->head_n < 2 && in->n > 0) {
        state->head[state->head_n++] = (uint8_t)in->p[0];
        *in = tg_str_sub(*in, 1, in->n);
    }
    if (state->head_n < 2)
        return TG_E_AGAIN;
    enum tg_err err = open_as(state, is_zlib(state->head) ? MAX_WBITS : -MAX_WBITS);
    struct tg_str head = tg_str((const char *)state->head, 2);
    return err == TG_OK ? unfold(state, &head) : err;
}

enum tg_err tg_inflate_step(struct tg_inflate *state, struct tg_str *in, char *out, size_t room,
                            size_t *n)
{
    enum tg_err err = TG_OK;
    tg_assert(room >= TG_INFLATE_ROOM_MIN && room <= UINT32_MAX);
    state->z.next_out = (Bytef *)out;
    state->z.avail_out = (uInt)room;
    *n = 0;
    if (!state->open && in->n > 0)
        err = state->coding == TG_CODING_GZIP ? open_as(state, MAX_WBITS + GZIP_FRAME)
                                              : open_deflate(state, in);
    if (!state->open)
        return err == TG_E_AGAIN ? TG_OK : err;
    if (err == TG_OK)
        err = unfold(state, in);
    *n = room - state->z.avail_out;
    return err;
}

enum tg_err tg_inflate_finish(const struct tg_inflate *state)
{
    bool nothing = state->in == 0 && state->head_n == 0;
    return state->done || nothing ? TG_OK : TG_E_PROTOCOL;
}

void tg_inflate_release(struct tg_inflate *state)
{
    if (state->open)
        (void)inflateEnd(&state->z);
    state->open = false;
}
