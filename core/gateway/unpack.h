/* unpack.h: a compressed body of a request, decoded before anybody reads it, where a plugin asked
 * for it (tg.edits{ decompress = ... }).
 *
 *   client -> on_body -> tg_unpack_body -> [decode.h] -> who reads the body: a plugin, the origin
 *
 * From then on the request to the origin says nothing of a coding, and its length is not known. Who
 * reads asks for more, or for a pause, by tg_unpack_read(), which stands before the stream: pieces
 * come as fast as they are taken, PIECES of them in a round of the loop, and the client is not read
 * while some wait.
 *
 * What the client sent wrong is answered (RFC 9110, 15.5; RFC 7694, 3): 415 with Accept-Encoding
 * for a coding that is not taken, 400 for data that are not what they say, 413 beyond the bounds.
 *
 * Owned by the request (r->unpack). Threads: the worker's.
 */
#ifndef TG_GATEWAY_UNPACK_H
#define TG_GATEWAY_UNPACK_H

#include "base/err.h"
#include "http/coding.h"

struct tg_request;
struct tg_fields;
struct tg_unpack;

/* What a plugin asks for; lives as long as its VM. */
struct tg_decompression {
    uint32_t coding_count;
    enum tg_coding codings[TG_CODINGS]; /* that are taken */
    uint64_t max;                       /* bytes decoded; limits.request.decoded bounds it too */
};

/* Has the body of `r` decoded, before an origin is called: where there is one, and it has a coding.
 * What a plugin had collected of it is decoded as well. A coding that is not taken: 415 is prepared
 * as the answer (r->resp.status). TG_E_NOMEM. */
enum tg_err tg_unpack_begin(struct tg_request *r,
                            const struct tg_decompression *decompression) TG_MUST_USE;

/* Whether the body is wanted now, decoded or not: in place of the stream's read_body(). r->stream
 * is there. */
void tg_unpack_read(struct tg_request *r, bool on);

/* Bytes from the client, and the end of them; r->unpack is there. What they make comes by
 * tg_request_take_body() and tg_request_take_body_end(). */
void tg_unpack_body(struct tg_request *r, struct tg_str data);
void tg_unpack_body_end(struct tg_request *r, const struct tg_fields *trailers);

/* Frees r->unpack, if there is one, and nulls it. */
void tg_unpack_free(struct tg_request *r);

#endif
