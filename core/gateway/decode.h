/* decode.h: the origin's compressed body on its way to body filters that asked for it decoded.
 *
 *   origin -> tg_decode_add -> [in] -> tg_decode_next -> [piece] -> body filters
 *
 * Decided once for each answer, before anybody edits its head: the chain has a body filter whose
 * plugin says needs.decode, and the answer has one content coding that is known. The head then
 * loses what speaks of the coded bytes. Other codings, and parts (206), pass as they are.
 *
 * Owned by the request (r->decode), which is the only one to call; relay.c drives it. What clients
 * send compressed takes the same way in unpack.c, with an object of its own. Bounded by
 * what the origin's reader hands over at a time (in) and one piece of output. Threads: the
 * worker's.
 */
#ifndef TG_GATEWAY_DECODE_H
#define TG_GATEWAY_DECODE_H

#include "base/buf.h"
#include "event/loop.h"
#include "http/field.h"
#include "http/decoder.h"

#define TG_DECODE_PIECE 16384 /* bytes of output at a time */

struct tg_request;

struct tg_decode {
    struct tg_request *r;
    struct tg_decoder decoder;
    struct tg_buf in;          /* coded bytes that wait */
    bool eof;                  /* none come behind them */
    bool opening;              /* an answer: its head waits for the first piece */
    bool full;                 /* the last piece was whole: the decoder may hold more */
    size_t ready;              /* bytes of `out` that nobody took yet */
    struct tg_fields trailers; /* the origin's, without digests of coded bytes */
    struct tg_task again;      /* more in the next round */
    char out[TG_DECODE_PIECE];
};

/* Looks at the origin's answer in r->resp. When its body is to be decoded, edits the head and makes
 * r->decode, unless the answer has no body. `again` runs when tg_decode_later() asked for it.
 * TG_E_NOMEM. */
enum tg_err tg_decode_begin(struct tg_request *r, bool bodiless,
                            void (*again)(struct tg_task *task)) TG_MUST_USE;

/* For a body of `coding` within these bounds (http/decoder.h); NULL: no memory. Owned by the
 * caller.
 */
struct tg_decode *tg_decode_new(struct tg_request *r, enum tg_coding coding, uint64_t max,
                                uint64_t ratio, void (*again)(struct tg_task *task)) TG_MUST_USE;

/* Whether the body that is being relayed is one to decode: an answer of ours is not. */
bool tg_decode_is_on(const struct tg_request *r);

/* Coded bytes from the origin; copied. TG_E_NOMEM. */
enum tg_err tg_decode_add(struct tg_decode *decode, struct tg_str data) TG_MUST_USE;

/* They have come whole; `trailers` (may be NULL) as the client gets them, in *out. TG_E_NOMEM. */
enum tg_err tg_decode_end(struct tg_decode *decode, const struct tg_fields *trailers,
                          const struct tg_fields **out) TG_MUST_USE;

/* Makes the next piece, unless one is ready. TG_OK: `ready` bytes are in `out`; none: that was all.
 * TG_E_AGAIN: more input is needed; TG_E_PROTOCOL, TG_E_LIMIT, TG_E_NOMEM as in http/decoder.h. */
enum tg_err tg_decode_next(struct tg_decode *decode) TG_MUST_USE;

/* Whether there is something to make a piece of without more input. */
bool tg_decode_waits(const struct tg_decode *decode);

/* The piece that is ready, which is taken by this; valid until the next one is made. */
struct tg_str tg_decode_take(struct tg_decode *decode);

/* Goes on in the loop's next round. */
void tg_decode_later(struct tg_decode *decode);

/* Name for the access record and answers of what `err` of tg_decode_next() means for an answer;
 * logs it. */
const char *tg_decode_failure(const struct tg_decode *decode, enum tg_err err);

/* Frees it and nulls the caller's pointer; NULL is fine. */
void tg_decode_free(struct tg_decode **decode);

#endif
