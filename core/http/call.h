/* call.h: one exchange with an origin, whatever protocol carries it: the other side of stream.h.
 *
 * HTTP/1.1 has one at a time on a connection (h1_client.h), HTTP/2 many (h2_client.h). The gateway
 * sees only this: it leases a call from the pool, writes a request piece by piece, and reads the
 * answer when it wants it.
 *
 *     operations (by the lessee)                     events (to the lessee)
 *       begin                                          on_connected, where the lease had to wait
 *       stage set_framing send_body* send_end          on_info* on_head
 *       flush, pending                                 on_body* on_end, on_pause
 *       read(on/off)                                   on_drained
 *       begin_tunnel                                   on_failed, once and last
 *
 * Order: begin, stage (the head is written into what that returns), set_framing, any number of
 * send_body, one send_end. A head is kept back until there is company, flush or the end. The answer
 * may come before the request is whole. Any failure ends the call and is told once: on_failed,
 * never from inside an operation. However it ends, the lessee gives the call back to the pool.
 *
 * The head is the text of HTTP/1.1 in every protocol: those who write requests write one form, and
 * what was checked for it (no line ends in a value) holds for all. HTTP/2 reads the text back
 * (h2_client_fields.h), which costs less than what its header compression does with it.
 *
 * WebSockets. A head with "Upgrade: websocket" of a call that `asks_tunnel` is an extended CONNECT
 * over HTTP/2 (RFC 8441), and what the origin agrees to by a 200 is told as the 101 of HTTP/1.1:
 * the lessee sees one protocol. Where the origin takes none, and HTTP/1.1 may be spoken with it,
 * that is TG_CALL_WANTS_HTTP1, else TG_E_UNSUPPORTED.
 *
 * Deadlines by phase: response, once nothing of ours is pending and the request is whole; then io
 * between two pieces of the body while it is wanted.
 *
 * Cost of the seam: one indirect call an operation. One thread.
 */
#ifndef TG_HTTP_CALL_H
#define TG_HTTP_CALL_H

#include "base/fmt.h"
#include "http/message.h"

struct tg_call;

struct tg_call_events {
    void (*on_connected)(struct tg_call *call);
    /* 1xx but 101; the head lives as long as the arena. */
    void (*on_info)(struct tg_call *call, const struct tg_response_head *head);
    /* The final head, or the 101/2xx that opens a tunnel. What came with it is handed over after
     * this returns, or once reading is on again. */
    void (*on_head)(struct tg_call *call, const struct tg_response_head *head);
    void (*on_body)(struct tg_call *call, struct tg_str data);
    /* The body is complete. In a tunnel: the origin's end. */
    void (*on_end)(struct tg_call *call, const struct tg_fields *trailers);
    /* All that one read brought was handed over: a good time to flush what was kept back. */
    void (*on_pause)(struct tg_call *call);
    /* What was pending has gone. */
    void (*on_drained)(struct tg_call *call);
    /* The exchange is over. `reason`: what a peer did wrong (TG_E_PROTOCOL), static text, else
     * NULL. */
    void (*on_failed)(struct tg_call *call, enum tg_err err, const char *reason);
};

/* Bounds of one exchange. */
struct tg_call_limits {
    uint32_t fields;       /* of the response head */
    uint32_t head;         /* its bytes */
    uint32_t buffer;       /* bytes read at a time */
    uint64_t response, io; /* us */
    uint64_t deadline;     /* us of the clock: the head must be there; 0: none */
};

/* What a protocol does; see the functions below. */
struct tg_call_ops {
    void (*begin)(struct tg_call *call, struct tg_arena *arena, enum tg_method method,
                  const struct tg_call_limits *limits);
    struct tg_fmt *(*stage)(struct tg_call *call, size_t size);
    void (*set_framing)(struct tg_call *call, enum tg_framing framing);
    void (*send_body)(struct tg_call *call, struct tg_str data);
    void (*send_end)(struct tg_call *call, const struct tg_fields *trailers);
    void (*flush)(struct tg_call *call);
    size_t (*pending)(const struct tg_call *call);
    void (*read)(struct tg_call *call, bool on);
    void (*begin_tunnel)(struct tg_call *call);
};

/* What the origin says that the call came to, where it says so. */
enum tg_call_refusal {
    TG_CALL_NOT_REFUSED,
    TG_CALL_UNTOUCHED,   /* it did nothing of it: the request may go again, whatever its method */
    TG_CALL_WANTS_HTTP1, /* the same, and it is to go by HTTP/1.1 */
};

enum tg_call_protocol { TG_CALL_HTTP1, TG_CALL_HTTP2 };

struct tg_call {
    const struct tg_call_ops *ops;
    const struct tg_call_events *events;
    void *owner; /* the exchange's, for the events */
    enum tg_call_protocol protocol;
    bool
        asks_tunnel; /* the head asks for a WebSocket; the lessee says so between begin and stage */
    bool reused;     /* the connection has carried an exchange before */
    bool got_bytes;  /* of an answer, in this exchange */
    enum tg_call_refusal refusal;
};

/* Begins an exchange on a connected call: where its heads go, how it is bounded, who listens. */
static inline void tg_call_begin(struct tg_call *call, struct tg_arena *arena,
                                 enum tg_method method, const struct tg_call_limits *limits,
                                 const struct tg_call_events *events, void *owner)
{
    call->events = events;
    call->owner = owner;
    call->ops->begin(call, arena, method, limits);
}

/* A builder in the arena for the request head, with room for `size` bytes and a little body. The
 * caller writes the head, the empty line included. */
static inline struct tg_fmt *tg_call_stage(struct tg_call *call, size_t size)
{
    return call->ops->stage(call, size);
}

/* Body bytes in `framing` (as told in the head) and the end. Trailers go only with CHUNKED. */
static inline void tg_call_set_framing(struct tg_call *call, enum tg_framing framing)
{
    call->ops->set_framing(call, framing);
}

static inline void tg_call_send_body(struct tg_call *call, struct tg_str data)
{
    call->ops->send_body(call, data);
}

static inline void tg_call_send_end(struct tg_call *call, const struct tg_fields *trailers)
{
    call->ops->send_end(call, trailers);
}

static inline void tg_call_flush(struct tg_call *call)
{
    call->ops->flush(call);
}

/* More than 0: the source of the body is to wait for on_drained. */
static inline size_t tg_call_pending(const struct tg_call *call)
{
    return call->ops->pending(call);
}

/* Whether the response's body is wanted (it is, at first). What is there already is handed over
 * before this returns: let it be the last thing a function does. */
static inline void tg_call_read(struct tg_call *call, bool on)
{
    call->ops->read(call, on);
}

/* After the head that opens a tunnel: both directions are raw. */
static inline void tg_call_begin_tunnel(struct tg_call *call)
{
    call->ops->begin_tunnel(call);
}

#endif
