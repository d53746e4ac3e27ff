/* encode.h: an answer compressed on its way to the client, where a plugin asked for it.
 *
 *   origin, cache, plugin -> body filters -> tg_encode_add -> [in] -> encoder -> stream
 *
 * tg.edits{ compress = ... } puts a tg_compression into r->compression while headers are filtered;
 * whether there is something to compress is decided once, when they are done (tg_encode_begin): by
 * what the client takes, the answer's type and size, and what its head forbids. The head then says
 * so, and the body goes through an encoder of the worker's pool.
 *
 * Bytes gather in `in` until there is a SLICE of them, or the end, or none came for a round of the
 * loop: then they are compressed, and where it was the last, flushed, so that the client has what
 * it may have. That round makes most answers pass in one go, while the encoder's memory is in the
 * processor's cache. At most a slice or two are compressed in one round; the source is held while
 * as much waits.
 *
 * Owned by the request (r->encode); relay.c drives it. Failures are latched: nothing goes out any
 * more, and `again` runs, which finds `failed`. Threads: the worker's.
 */
#ifndef TG_GATEWAY_ENCODE_H
#define TG_GATEWAY_ENCODE_H

#include "base/buf.h"
#include "event/loop.h"
#include "http/encoder.h"

#define TG_ENCODE_PIECE 16384 /* bytes of output at a time */

struct tg_request;

/* What a plugin asks for; lives as long as its VM. */
struct tg_compression {
    uint32_t coding_count;
    enum tg_coding codings[TG_CODINGS]; /* the best first */
    int levels[TG_CODINGS];             /* by coding */
    uint64_t min_size; /* smaller bodies, where the size is known, stay as they are */
    uint32_t type_count;
    struct tg_str types[]; /* "text/html", "text/" and a star, "+json" for all that end so */
};

struct tg_encode {
    struct tg_request *r;
    struct tg_encoder *encoder; /* leased */
    struct tg_buf in;           /* bytes that wait */
    bool eof;                   /* none come behind them */
    bool patient;               /* a round has passed since some came */
    bool failed;
    size_t held;          /* bytes of `out` that did not go yet: until it is full, or a flush */
    uint64_t taken, made; /* bytes in and out */
    struct tg_fields trailers; /* the answer's, without digests of its bytes */
    struct tg_task again;
    char out[TG_ENCODE_PIECE];
};

/* Whether the content type (with its parameters) is one of the list. */
bool tg_compression_takes(const struct tg_compression *compression, struct tg_str type);

/* Looks at the answer in r->resp, as it is about to go, and at what the client takes. Where it is
 * to be compressed, edits its head and makes r->encode, unless it is one without body. `again` runs
 * in the loop's next round where there is more to do. TG_E_NOMEM: of the head; for an encoder that
 * cannot be had there is none, which is counted. */
enum tg_err tg_encode_begin(struct tg_request *r, bool bodiless,
                            void (*again)(struct tg_task *task)) TG_MUST_USE;

/* Bytes of the body; `again` sees to them. */
void tg_encode_add(struct tg_encode *encode, struct tg_str data);

/* They have come whole. True: so has all that is made of them gone to the stream; false: `again`
 * has the rest. */
bool tg_encode_end(struct tg_encode *encode);

/* The answer's trailers (may be NULL) without digests of its bytes, in their place. TG_E_NOMEM. */
enum tg_err tg_encode_trailers(struct tg_encode *encode,
                               const struct tg_fields **trailers) TG_MUST_USE;

/* Whether so much waits that no more should come. */
bool tg_encode_is_full(const struct tg_encode *encode);

/* The turn of what waits, in `again`, where the client has taken what was sent. True: all of it is
 * with the stream, which is to be flushed; false: there is another turn. */
bool tg_encode_go_on(struct tg_encode *encode);

/* Has `again` run in the loop's next round. */
void tg_encode_later(struct tg_encode *encode);

/* Frees r->encode, if there is one, and nulls it. */
void tg_encode_free(struct tg_request *r);

#endif
