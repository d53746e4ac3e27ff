/* decoder.h: the content codings gzip, deflate, br and zstd, undone as bytes come in.
 *
 * The caller owns input and output and says how much of each there is: a step writes at most `room`
 * bytes, however small the input that they came from, so a body that unfolds a thousandfold costs
 * its reader one piece at a time and can be left standing between two steps.
 *
 *   tg_decoder_init -> { tg_decoder_step } -> tg_decoder_finish -> tg_decoder_release
 *
 * Two bounds are checked at each step: the size of the whole, and, once that is above
 * TG_DECODER_FREE, how many times the input it is. "deflate" is the zlib format; raw deflate data,
 * which some origins send under that name, are told apart by their first two bytes. Several gzip
 * members behind each other are one text (RFC 1952, 2.2), and so are several frames of zstd
 * (RFC 8878, 3); other bytes behind the end are an error.
 *
 * Threads: the owner's. Memory, charged to TG_MEM_DECODER, from the first bytes on until release:
 * some 44 KiB for gzip and deflate; for br as much as the data unfold to, up to a window of 16 MiB
 * (RFC 7932, 9.1); for zstd the window that they ask for, up to 8 MiB (RFC 9659, 3).
 */
#ifndef TG_HTTP_DECODER_H
#define TG_HTTP_DECODER_H

#include "base/err.h"
#include "http/coding.h"

#include <zlib.h>

#define TG_DECODER_FREE     65536 /* bytes: up to here any ratio is fine */
#define TG_DECODER_ROOM_MIN 64    /* least room of a step, bytes */

struct BrotliDecoderStateStruct;
struct ZSTD_DCtx_s;

struct tg_decoder {
    enum tg_coding coding;
    bool open;       /* the library's state is there */
    bool done;       /* a member, or the whole, has ended; nothing came since */
    uint8_t head[2]; /* of "deflate": what the format is told by */
    unsigned head_n;
    uint64_t in, out; /* bytes so far */
    uint64_t max;     /* bytes of output in all */
    uint64_t ratio;   /* output to input */
    char *next;       /* where the step that runs writes, */
    size_t room;      /* and how much it may yet */
    union {
        z_stream z;
        struct BrotliDecoderStateStruct *br;
        struct ZSTD_DCtx_s *zstd;
    } u;
};

/* Prepares for a body of `coding`, which is not OTHER. Takes no memory yet. */
void tg_decoder_init(struct tg_decoder *state, enum tg_coding coding, uint64_t max, uint64_t ratio);

/* Takes bytes off the front of `*in` and writes what they unfold to, at most `room` bytes (at least
 * TG_DECODER_ROOM_MIN); *n is how many. *n == room: there may be more, even when `*in` is empty by
 * now. Otherwise `*in` was used up.
 * TG_E_PROTOCOL: not data of this coding; TG_E_LIMIT: larger than a bound; TG_E_NOMEM. After an
 * error only release is allowed. */
enum tg_err tg_decoder_step(struct tg_decoder *state, struct tg_str *in, char *out, size_t room,
                            size_t *n) TG_MUST_USE;

/* No more input comes, and the last step left room. TG_E_PROTOCOL: the data end in the middle. A
 * body of no bytes at all is one of none. */
enum tg_err tg_decoder_finish(const struct tg_decoder *state) TG_MUST_USE;

/* Gives the library's memory back; twice is fine. */
void tg_decoder_release(struct tg_decoder *state);

#endif
