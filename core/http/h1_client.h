/* h1_client.h: a connection to an origin that speaks HTTP/1.1 (RFC 9112).
 *
 *             connected        begin                response and request whole
 *   CONNECTING -------> IDLE -------> BUSY ------------------------------------> IDLE
 *        |                |            |  \--- 101, or 2xx to CONNECT --> TUNNEL
 *        +--- failed -----+------------+------------ failed ----------------> CLOSED
 *
 * One exchange at a time. Writing: send_head, then send_body as the body comes, then send_end; a
 * head is kept back until there is company, flush or the end. Reading: heads are parsed into the
 * exchange's arena, which adopts the read buffer; bodies are decoded and handed on.
 *
 * Deadlines by phase: connect, then (nothing of ours pending, request whole) response, then io
 * between two pieces of the body while it is wanted. Any failure closes the connection and is told
 * once: on_failed, never from inside an operation.
 *
 * Ownership: embedded by the pool, freed not before the end of the loop's round. One thread.
 */
#ifndef TG_HTTP_H1_CLIENT_H
#define TG_HTTP_H1_CLIENT_H

#include "base/fmt.h"
#include "http/h1_body.h"
#include "http/inbuf.h"
#include "net/conn.h"

struct tg_h1_client;

struct tg_h1_client_events {
    void (*on_connected)(struct tg_h1_client *client);
    /* 1xx but 101; the head lives as long as the arena. */
    void (*on_info)(struct tg_h1_client *client, const struct tg_response_head *head);
    /* The final head, or the 101/2xx that opens a tunnel. What came with it is handed over after
     * this returns, or once reading is on again. */
    void (*on_head)(struct tg_h1_client *client, const struct tg_response_head *head);
    void (*on_body)(struct tg_h1_client *client, struct tg_str data);
    /* The body is complete. In a tunnel: the origin's end. */
    void (*on_end)(struct tg_h1_client *client, const struct tg_fields *trailers);
    /* All that one read brought was handed over: a good time to flush what was kept back. */
    void (*on_pause)(struct tg_h1_client *client);
    /* What was pending has gone. */
    void (*on_drained)(struct tg_h1_client *client);
    /* The connection is closed. `reason`: what a peer did wrong (TG_E_PROTOCOL), static text, else
     * NULL. */
    void (*on_failed)(struct tg_h1_client *client, enum tg_err err, const char *reason);
};

enum tg_h1_client_state {
    TG_H1_CLIENT_CONNECTING,
    TG_H1_CLIENT_IDLE,
    TG_H1_CLIENT_BUSY,
    TG_H1_CLIENT_TUNNEL,
    TG_H1_CLIENT_CLOSED,
};

/* Bounds of one exchange. */
struct tg_h1_client_limits {
    uint32_t fields;       /* of the response head */
    uint32_t head;         /* its bytes */
    uint32_t buffer;       /* bytes read at a time */
    uint64_t response, io; /* us */
    uint64_t deadline;     /* us of the clock: the head must be there; 0: none */
};

struct tg_h1_client {
    uint32_t magic;
    struct tg_conn conn;
    const struct tg_h1_client_events *events;
    void *owner;       /* the exchange's, for the events */
    uint64_t requests; /* exchanges begun on this connection */
    bool got_bytes;    /* of an answer, in this exchange */

    /* private */
    enum tg_h1_client_state state;
    struct tg_inbuf in;
    struct tg_head_scan scan;
    struct tg_h1_body body;
    struct tg_h1_client_limits limits;
    struct tg_arena *arena; /* of the exchange; borrowed */
    struct tg_fmt stage;
    enum tg_method method;
    enum tg_framing out_framing;
    uint64_t since; /* us: when connecting began, the request was whole, or bytes came last */
    uint64_t connect_timeout;
    bool head_done;
    bool in_done; /* the response is whole */
    bool out_done;
    bool want; /* reading is on */
    bool keep_alive;
    struct tg_task report;
    enum tg_err failure;
    const char *reason;
};

/* Starts to connect; `timeout` in us. On failure nothing is open. */
enum tg_err tg_h1_client_open(struct tg_h1_client *client, struct tg_worker *worker,
                              const struct tg_addr *addr, uint64_t timeout,
                              const struct tg_h1_client_events *events, void *owner) TG_MUST_USE;

/* The same on a socket that is connected already (taken over, also on failure). on_connected still
 * comes later. */
enum tg_err tg_h1_client_open_fd(struct tg_h1_client *client, struct tg_worker *worker, int fd,
                                 const struct tg_h1_client_events *events, void *owner) TG_MUST_USE;

/* The same for a connection that is being made elsewhere: CONNECTING for at most `timeout` us,
 * until tg_h1_client_connected() tells how that went. */
enum tg_err tg_h1_client_open_pending(struct tg_h1_client *client, struct tg_worker *worker, int fd,
                                      uint64_t timeout, const struct tg_h1_client_events *events,
                                      void *owner) TG_MUST_USE;

/* Ends CONNECTING of such a connection, once: TG_OK or why there is none. on_connected or on_failed
 * follows in this round of the loop. */
void tg_h1_client_connected(struct tg_h1_client *client, enum tg_err err);

/* Begins an exchange on an idle connection: where its heads go, how it is bounded, who listens. */
void tg_h1_client_begin(struct tg_h1_client *client, struct tg_arena *arena, enum tg_method method,
                        const struct tg_h1_client_limits *limits,
                        const struct tg_h1_client_events *events, void *owner);

/* A builder in the arena for the request head, with room for `size` bytes and a little body. The
 * caller writes the head, the empty line included. */
struct tg_fmt *tg_h1_client_stage(struct tg_h1_client *client, size_t size);

/* Body bytes in `framing` (as told in the head) and the end. Trailers go only with CHUNKED. */
void tg_h1_client_set_framing(struct tg_h1_client *client, enum tg_framing framing);
void tg_h1_client_send_body(struct tg_h1_client *client, struct tg_str data);
void tg_h1_client_send_end(struct tg_h1_client *client, const struct tg_fields *trailers);
void tg_h1_client_flush(struct tg_h1_client *client);

/* Bytes of ours that the kernel did not take yet. */
size_t tg_h1_client_pending(const struct tg_h1_client *client);

/* Whether the response's body is wanted (it is, at first). What is there already is handed over
 * before this returns: let it be the last thing a function does. */
void tg_h1_client_read(struct tg_h1_client *client, bool on);

/* After the head that opens a tunnel: both directions are raw. */
void tg_h1_client_begin_tunnel(struct tg_h1_client *client);

/* True when the exchange is over and the connection may carry another. */
bool tg_h1_client_is_reusable(const struct tg_h1_client *client);

/* Ends the exchange of a reusable connection, before its arena goes: it is IDLE, and watched; an
 * end or bytes from the origin come as on_failed. */
void tg_h1_client_rest(struct tg_h1_client *client, const struct tg_h1_client_events *events,
                       void *owner, uint64_t idle_timeout);

/* From on_connected: nothing is sent yet; watched as after tg_h1_client_rest(). */
void tg_h1_client_wait(struct tg_h1_client *client, const struct tg_h1_client_events *events,
                       void *owner, uint64_t idle_timeout);

/* Closes at once; no event follows. */
void tg_h1_client_close(struct tg_h1_client *client);

#endif
