/* h1_server.h: a client connection that speaks HTTP/1.1 (RFC 9112).
 *
 * Reads one head after the other, hands each to the gateway as a tg_stream, reads the body when it
 * is asked for, writes the response with the framing that the client understands, and decides
 * whether the connection stays.
 *
 *          first byte        head complete          response and body done, connection stays
 *   IDLE -----------> HEAD --------------> ACTIVE --------------------------------> IDLE or HEAD
 *                      |                     | \--- protocols switched --> TUNNEL     (pipelined)
 *                      | refused             | response done, connection goes
 *                      +--> (answer) --------+--> LINGER --> CLOSED
 *
 *   LINGER   our side has ended; what the client still sends is read and dropped for a while, so
 *            that the answer reaches it before a reset could (RFC 9112, 9.6)
 *
 * Pipelined requests wait in the input until their turn; nothing of them is parsed before.
 *
 * Limits come from the struct tg_limits in force when a head begins. Timeouts: idle, head, body
 * read, write; each has one deadline on the connection's single timer. Beside them stand the least
 * rates at which a client has to send a head and a body and to take an answer; a wait for somebody
 * else (a plugin, an origin) is not counted against it, and a tunnel has none.
 *
 * Ownership: the gateway embeds the struct, frees it after on_closed and not before the end of the
 * loop's round. One thread.
 */
#ifndef TG_HTTP_H1_SERVER_H
#define TG_HTTP_H1_SERVER_H

#include "base/limits.h"
#include "base/fmt.h"
#include "http/h1_body.h"
#include "http/inbuf.h"
#include "http/stream.h"
#include "net/conn.h"

struct tg_h1_server;

struct tg_h1_server_events {
    /* A head is there. Returns where to parse it to and the arena for it (which becomes
     * stream->arena), sets stream->events and owner; NULL: no memory, the client gets a 503. */
    struct tg_request_head *(*begin)(struct tg_h1_server *server, struct tg_arena **arena);
    /* The head is good: begin()'s request starts. */
    void (*request)(struct tg_h1_server *server);
    /* It is not: answer with refusal->status, after which the connection closes. */
    void (*refused)(struct tg_h1_server *server, const struct tg_refusal *refusal);
    /* The connection is closed; no further call. */
    void (*closed)(struct tg_h1_server *server);
    /* It fell idle, and may be drained from within. May be NULL. */
    void (*idle)(struct tg_h1_server *server);
    /* The limits in force now; valid for as long as the request that begins with them, or for the
     * call. */
    const struct tg_limits *(*limits)(struct tg_h1_server *server);
    /* The connection begins as one of HTTP/2 does (RFC 9113, 3.4). True: somebody else has it now,
     * who called tg_h1_server_leave(), and the struct may be used for something else. False: it is
     * answered with 505. May be NULL. */
    bool (*preface)(struct tg_h1_server *server);
};

enum tg_h1_server_state {
    TG_H1_SERVER_IDLE,
    TG_H1_SERVER_HEAD,
    TG_H1_SERVER_ACTIVE,
    TG_H1_SERVER_TUNNEL,
    TG_H1_SERVER_LINGER,
    TG_H1_SERVER_CLOSED,
};

/* What a client's rate is measured on: bytes since `at`, over limits.connection.rate_grace, again
 * and again for as long as it is the client who is waited for. */
enum tg_h1_pace_kind { TG_H1_PACE_NONE, TG_H1_PACE_HEAD, TG_H1_PACE_BODY, TG_H1_PACE_ANSWER };

struct tg_h1_pace {
    enum tg_h1_pace_kind kind;
    uint64_t at;    /* us */
    uint64_t bytes; /* that had moved then */
};

/* What a connection needs only while a request is at work; in the request's arena. */
struct tg_h1_exchange {
    struct tg_h1_body body;
    uint64_t body_max;   /* of bytes; limits.request.body, or less */
    struct tg_fmt stage; /* head and first bytes that wait to leave together */
};

struct tg_h1_server {
    uint32_t magic;
    enum tg_h1_server_state state; /* private */
    struct tg_conn conn;
    struct tg_stream stream; /* the exchange of ACTIVE and TUNNEL */
    const struct tg_h1_server_events *events;

    /* private, but for the last one */
    struct tg_inbuf in;
    struct tg_h1_exchange *x; /* while ACTIVE or TUNNEL, until send_end */
    struct tg_head_scan scan;
    const struct tg_limits *limits; /* of the exchange */
    uint64_t since;                 /* us: when the state, or the last read in it, began */
    uint64_t requests;
    struct tg_h1_pace pace;
    enum tg_method method;
    enum tg_framing out_framing;
    uint64_t out_left; /* TG_FRAMING_LENGTH: bytes still to come; then of `discarding` */
    uint64_t lingered; /* bytes dropped */
    bool keep_alive;
    bool expects;   /* the client waits for 100 (Continue) before it sends the body */
    bool want_body; /* read_body(on) */
    bool body_done;
    bool head_sent;
    bool out_done;   /* send_end was called */
    bool discarding; /* the rest of the body is read for nobody */
    bool http10;
    struct tg_task soon; /* a failure is told, or the next pipelined request begins */
    enum tg_err failure;
    bool merge_slashes; /* set in begin(): how the path of this request is normalised */
};

_Static_assert(sizeof(struct tg_h1_server) <= 416,
               "an idle connection with what the gateway knows of it fits into 512 bytes");

/* Takes over the accepted socket `fd`, also on failure. */
enum tg_err tg_h1_server_open(struct tg_h1_server *server, struct tg_worker *worker, int fd,
                              const struct tg_h1_server_events *events) TG_MUST_USE;

/* The same on what `from` has: its socket, its transport, what is queued in it (net/conn.h). */
enum tg_err tg_h1_server_adopt(struct tg_h1_server *server, struct tg_conn *from,
                               const struct tg_h1_server_events *events) TG_MUST_USE;

/* In preface(): hands on the connection and what was read of it (owned by the caller from now on);
 * no event follows. TG_E_NOMEM: it is closed. */
enum tg_err tg_h1_server_leave(struct tg_h1_server *server, struct tg_conn *conn,
                               struct tg_inbuf *in) TG_MUST_USE;

/* Closes an idle connection at once, others as soon as their exchange is over: the process drains.
 */
void tg_h1_server_drain(struct tg_h1_server *server);

/* Closes at once, whatever goes on; a running exchange sees on_aborted. */
void tg_h1_server_close(struct tg_h1_server *server);

/* Memory is short: closes the connection when for `patience` us (TG_STREAM_CREDIT times that after
 * a request) it was idle, or kept the gateway waiting: it has not sent its head, or sent or taken
 * less than limits.connection.read_rate and write_rate ask for. Tells which it was. */
enum tg_h1_relief { TG_H1_RELIEF_NONE, TG_H1_RELIEF_IDLE, TG_H1_RELIEF_SLOW };
enum tg_h1_relief tg_h1_server_relieve(struct tg_h1_server *server, uint64_t now,
                                       uint64_t patience);

static inline struct tg_h1_server *tg_h1_server_of(struct tg_stream *stream)
{
    return TG_CONTAINER_OF(stream, struct tg_h1_server, stream);
}

#endif
