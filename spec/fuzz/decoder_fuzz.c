/*
 * Any bytes as a compressed body: refused or unfolded, within the bounds, and to the same bytes and
 * verdict however the input is cut. The first byte chooses the coding, the second the cut.
 */
#include "base/banned.h"
#include "http/decoder.h"

#include "base/assert.h"

#define MAX   ((uint64_t)1 << 20)
#define RATIO 300
#define ROOM  4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum tg_err err;
    uint64_t n;
    uint64_t sum; /* of the bytes, by their places */
};

static void feed(struct tg_decoder *state, struct tg_str in, struct outcome *outcome)
{
    char out[ROOM];
    size_t n = ROOM;
    while (outcome->err == TG_OK && (in.n > 0 || n == ROOM)) {
        outcome->err = tg_decoder_step(state, &in, out, ROOM, &n);
        tg_assert(n <= ROOM);
        for (size_t i = 0; outcome->err == TG_OK && i < n; i++)
            outcome->sum = outcome->sum * 31 + (uint8_t)out[i];
        outcome->n += outcome->err == TG_OK ? n : 0;
    }
}

/* `in` in pieces of `piece` bytes. */
static struct outcome unfold(enum tg_coding coding, struct tg_str in, size_t piece)
{
    struct tg_decoder state;
    struct outcome outcome = {.err = TG_OK};
    tg_decoder_init(&state, coding, MAX, RATIO);
    for (size_t at = 0; outcome.err == TG_OK && at < in.n; at += piece)
        feed(&state, tg_str_sub(in, at, TG_MIN(at + piece, in.n)), &outcome);
    if (outcome.err == TG_OK)
        outcome.err = tg_decoder_finish(&state);
    tg_decoder_release(&state);
    tg_assert(outcome.n <= MAX);
    tg_assert(outcome.n <= TG_DECODER_FREE || outcome.n / RATIO <= in.n);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    static const enum tg_coding codings[] = {TG_CODING_GZIP, TG_CODING_DEFLATE, TG_CODING_BR,
                                             TG_CODING_ZSTD};
    enum tg_coding coding = codings[data[0] % TG_COUNT_OF(codings)];
    struct tg_str in = tg_str((const char *)data + 2, size - 2);
    struct outcome whole = unfold(coding, in, in.n);
    struct outcome pieces = unfold(coding, in, (size_t)data[1] + 1);
    if (whole.err == TG_E_LIMIT || pieces.err == TG_E_LIMIT)
        return 0; /* which piece goes beyond the ratio depends on the cut */
    tg_assert(whole.err == pieces.err);
    if (whole.err == TG_OK)
        tg_assert(whole.n == pieces.n && whole.sum == pieces.sum);
    return 0;
}
