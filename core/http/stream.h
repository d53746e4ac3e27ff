/* stream.h: one request-response exchange with a client, whatever protocol carries it.
 *
 * HTTP/1.1 has one at a time on a connection, HTTP/2 will have many. The gateway sees only this:
 * it reads the request's body when it asks for it, and writes a response piece by piece.
 *
 *     events (to the gateway)                    operations (by the gateway)
 *       on_body, on_body_end                       read_body(on/off)
 *       on_drained                                 send_info* send_head send_body* send_end
 *       on_aborted                                 flush, pending, abort
 *
 * Order of operations: any number of send_info, one send_head, any number of send_body, one
 * send_end. With TG_FRAMING_NONE in the head send_end follows the head. After send_end the stream
 * belongs to its protocol again and no event follows; the same holds after on_aborted and abort().
 *
 * A head and a little of the body are kept back until more comes, send_end or flush(), so that a
 * short answer leaves in one system call. send_body takes all bytes, sent or copied; pending() > 0
 * asks the caller to stop its source until on_drained. Errors of the connection arrive as
 * on_aborted, never from inside an operation, so callers need no checks in between.
 *
 * switch_protocols() sends a 101 (or 2xx for CONNECT) and turns both directions into raw bytes:
 * on_body and send_body then carry the tunnel; on_body_end is the client's end, send_end ours.
 */
#ifndef TG_HTTP_STREAM_H
#define TG_HTTP_STREAM_H

#include "http/message.h"
#include "net/addr.h"

struct tg_stream;

struct tg_stream_events {
    /* Bytes of the body, decoded; valid during the call; all of them count as taken. */
    void (*on_body)(struct tg_stream *stream, struct tg_str data);
    /* The body is complete. `trailers` (may be empty) live as long as the request. */
    void (*on_body_end)(struct tg_stream *stream, const struct tg_fields *trailers);
    /* What was pending has gone. */
    void (*on_drained)(struct tg_stream *stream);
    /* The client is gone, too slow, or broke the protocol in the body. `status` is what it should
     * be told when no head went out yet (400, 408, 413), 0 when nobody listens. The stream stays
     * usable for that answer only where status != 0. */
    void (*on_aborted)(struct tg_stream *stream, enum tg_err err, unsigned status);
};

/* By how much longer an idle connection on which an exchange went well may stay when memory is
 * short: who was told to come back in 1 to 3 seconds does so on it. */
#define TG_STREAM_CREDIT 4

struct tg_stream_ops {
    /* Whether on_body is wanted. Bytes that are there already are handed over before it returns:
     * let it be the last thing a function does. */
    void (*read_body)(struct tg_stream *stream, bool on);
    /* A body of more than `max` bytes is aborted with 413; never more than the protocol allows. */
    void (*limit_body)(struct tg_stream *stream, uint64_t max);
    void (*send_info)(struct tg_stream *stream, unsigned status, const struct tg_fields *fields);
    void (*send_head)(struct tg_stream *stream, const struct tg_response_head *head);
    void (*send_body)(struct tg_stream *stream, struct tg_str data);
    void (*send_end)(struct tg_stream *stream, const struct tg_fields *trailers);
    void (*switch_protocols)(struct tg_stream *stream, const struct tg_response_head *head);
    void (*flush)(struct tg_stream *stream);
    size_t (*pending)(const struct tg_stream *stream);
    /* Breaks off: the client sees that the answer is not complete. */
    void (*abort)(struct tg_stream *stream);
};

struct tg_stream {
    const struct tg_stream_ops *ops;
    const struct tg_stream_events *events; /* set by the gateway with `owner` */
    void *owner;                           /* the gateway's request */
    struct tg_arena *arena;                /* of the request; what the stream keeps for it */
    uint64_t bytes_in;                     /* of the body */
    uint64_t bytes_out;                    /* of the body as framed: without heads */
    bool proven;                           /* an exchange on this connection went well before */
};

#endif
