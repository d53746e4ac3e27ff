/* h2_stream.h: one stream of h2_server.h, and what the server's files call of each other. Private
 * to them: h2_server.c (connection, time), h2_frames.c (what nghttp2 tells), h2_stream.c (what the
 * gateway asks for).
 *
 * A stream lives from its first HEADERS until nghttp2 closes it, which is after the exchange of the
 * gateway where the answer still has to go out, and before its end where the client resets it. It
 * is freed in nghttp2's callbacks alone, or with the connection, so it stays while an operation of
 * the gateway is under way.
 */
#ifndef TG_HTTP_H2_STREAM_H
#define TG_HTTP_H2_STREAM_H

#include "http/h2_fields.h"
#include "http/h2_server.h"

#define TG_H2_STREAM_MAGIC 0x42573ea1u

/* Whom a stream waits for, as far as that is the client. */
enum tg_h2_wait { TG_H2_WAIT_NONE, TG_H2_WAIT_BODY, TG_H2_WAIT_ANSWER };

struct tg_h2_trailers;

struct tg_h2_stream {
    uint32_t magic;
    int32_t id;
    struct tg_stream stream;
    struct tg_h2_server *server;
    struct tg_list link;                  /* in server->streams */
    struct tg_list drained;               /* in server->drained */
    struct tg_request_head *head;         /* the gateway's; is parsed to here */
    struct tg_h2_block *block;            /* that is coming, then its trailers; in the arena */
    const struct tg_fields *trailers;     /* of the request; in the arena; NULL: none */
    struct tg_h2_trailers *last_trailers; /* of the answer, behind what waits; owned */
    struct tg_buf in;                     /* of the request's body, not taken yet */
    struct tg_buf out;                    /* of the answer's, not sent yet */
    uint64_t body_max;
    uint64_t moved_at;   /* us: a byte moved, or the wait began */
    uint64_t pace_at;    /* us: since when the rate is measured, */
    uint64_t pace_bytes; /* from how many bytes on */
    uint32_t run;        /* bytes of the body that were taken since it had to wait */
    uint32_t in_held;    /* of `in`: connection window that is not given back yet */
    enum tg_method method;
    enum tg_h2_wait wait;
    bool want_body;
    bool in_done; /* the client has ended its side */
    bool in_told; /* and the gateway knows, or will never */
    bool head_sent;
    bool out_done; /* send_end was called */
    bool deferred; /* nghttp2 waits for bytes */
    bool dead;     /* it is being reset */
    bool tunnel : 1;
    bool merge_slashes : 1;
};

_Static_assert(sizeof(struct tg_h2_stream) <= 256, "a stream is a block of 256 bytes");

extern const struct tg_stream_ops tg_h2_stream_ops;

/* ---- h2_stream.c ---- */

/* A stream `id` that opens; NULL: no memory, or the gateway refuses. */
struct tg_h2_stream *tg_h2_stream_new(struct tg_h2_server *server, int32_t id);

/* Its end for nghttp2: the gateway is told with `err` unless its exchange is over. */
void tg_h2_stream_end(struct tg_h2_stream *st, enum tg_err err);

/* Bytes of the body have come, or its end. */
void tg_h2_stream_take(struct tg_h2_stream *st, struct tg_str data);
void tg_h2_stream_take_end(struct tg_h2_stream *st);

/* The exchange is broken off: the gateway may answer with `status`, or, where it is 0 or a head is
 * out, the stream is reset with `code`. */
void tg_h2_stream_break(struct tg_h2_stream *st, enum tg_err err, unsigned status, uint32_t code);

/* A round trip was measured: the window of the connection follows. / Windows are as at first, as
 * far as what is on its way lets them. */
void tg_h2_stream_widen(struct tg_h2_server *s);
void tg_h2_stream_narrow(struct tg_h2_server *s);

/* What the stream waits for now, and bytes that have moved since it waits for that. */
enum tg_h2_wait tg_h2_stream_waits(const struct tg_h2_stream *st);
uint64_t tg_h2_stream_moved(const struct tg_h2_stream *st);

/* ---- h2_frames.c ---- */

/* The session of a server, with what it says first; TG_E_NOMEM. */
enum tg_err tg_h2_frames_open(struct tg_h2_server *s) TG_MUST_USE;

/* ---- h2_server.c ---- */

/* There is something to send: it goes at the end of the round. */
void tg_h2_server_wake(struct tg_h2_server *s);

/* A PING that measures a round trip goes. */
void tg_h2_server_measure(struct tg_h2_server *s);

/* One more of a kind; false: that was one too many, and the connection is told to go. */
bool tg_h2_server_count(struct tg_h2_server *s, enum tg_h2_flood kind);

/* The client has seen that it is to go: what it opens from now on is not served. */
void tg_h2_server_close_door(struct tg_h2_server *s);

static inline const struct tg_limits *tg_h2_stream_limits(const struct tg_h2_stream *st)
{
    return st->server->events->limits(st->server);
}

static inline uint64_t tg_h2_server_now(const struct tg_h2_server *s)
{
    return tg_loop_now(&s->conn.worker->loop);
}

#endif
