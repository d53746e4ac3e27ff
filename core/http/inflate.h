/* inflate.h: the content codings gzip and deflate (RFC 9110, 8.4.1), undone as bytes come in.
 *
 * The caller owns input and output and says how much of each there is: a step writes at most `room`
 * bytes, however small the input that they came from, so a body that unfolds a thousandfold costs
 * its reader one piece at a time and can be left standing between two steps.
 *
 *   tg_inflate_init -> { tg_inflate_step } -> tg_inflate_finish -> tg_inflate_release
 *
 * Two bounds are checked at each step: the size of the whole, and, once that is above
 * TG_INFLATE_FREE, how many times the input it is. "deflate" is the zlib format; raw deflate data,
 * which some origins send under that name, are told apart by their first two bytes. Several gzip
 * members behind each other are one text (RFC 1952, 2.2); other bytes behind the end are an error.
 *
 * Threads: the owner's. Memory: some 44 KiB of zlib's from the first bytes on, until release.
 */
#ifndef TG_HTTP_INFLATE_H
#define TG_HTTP_INFLATE_H

#include "base/err.h"
#include "base/str.h"

#include <zlib.h>

#define TG_INFLATE_FREE     65536 /* bytes: up to here any ratio is fine */
#define TG_INFLATE_ROOM_MIN 64    /* least room of a step, bytes */

enum tg_coding {
    TG_CODING_OTHER, /* not one that can be undone here */
    TG_CODING_GZIP,
    TG_CODING_DEFLATE
};

struct tg_inflate {
    z_stream z;
    enum tg_coding coding;
    bool open;       /* z is initialised */
    bool done;       /* a member, or the whole, has ended; nothing came since */
    uint8_t head[2]; /* of "deflate": what the format is told by */
    unsigned head_n;
    uint64_t in, out; /* bytes so far */
    uint64_t max;     /* bytes of output in all */
    uint64_t ratio;   /* output to input */
};

/* The coding of that name, without case; "x-gzip" is gzip (RFC 9110, 8.4.1.3). */
enum tg_coding tg_coding_of(struct tg_str name);

/* Prepares for a body of `coding`, which is not OTHER. Takes no memory yet. */
void tg_inflate_init(struct tg_inflate *state, enum tg_coding coding, uint64_t max, uint64_t ratio);

/* Takes bytes off the front of `*in` and writes what they unfold to, at most `room` bytes (at least
 * TG_INFLATE_ROOM_MIN); *n is how many. *n == room: there may be more, even when `*in` is empty by
 * now. Otherwise `*in` was used up.
 * TG_E_PROTOCOL: not data of this coding; TG_E_LIMIT: larger than a bound; TG_E_NOMEM. After an
 * error only release is allowed. */
enum tg_err tg_inflate_step(struct tg_inflate *state, struct tg_str *in, char *out, size_t room,
                            size_t *n) TG_MUST_USE;

/* No more input comes, and the last step left room. TG_E_PROTOCOL: the data end in the middle. A
 * body of no bytes at all is one of none. */
enum tg_err tg_inflate_finish(const struct tg_inflate *state) TG_MUST_USE;

/* Gives zlib's memory back; twice is fine. */
void tg_inflate_release(struct tg_inflate *state);

#endif
