/* h1_client.h: a connection to an origin that speaks HTTP/1.1 (RFC 9112).
 *
 *             connected        begin                response and request whole
 *   CONNECTING -------> IDLE -------> BUSY ------------------------------------> IDLE
 *        |                |            |  \--- 101, or 2xx to CONNECT --> TUNNEL
 *        +--- failed -----+------------+------------ failed ----------------> CLOSED
 *
 * One exchange at a time, the embedded `call` (see call.h). Heads are parsed into the exchange's
 * arena, which adopts the read buffer; bodies are decoded and handed on. Besides the deadlines of
 * the call there is one for connecting. Any failure closes the connection.
 *
 * Ownership: embedded by the pool, freed not before the end of the loop's round. One thread.
 */
#ifndef TG_HTTP_H1_CLIENT_H
#define TG_HTTP_H1_CLIENT_H

#include "http/call.h"
#include "http/h1_body.h"
#include "http/inbuf.h"
#include "net/conn.h"

enum tg_h1_client_state {
    TG_H1_CLIENT_CONNECTING,
    TG_H1_CLIENT_IDLE,
    TG_H1_CLIENT_BUSY,
    TG_H1_CLIENT_TUNNEL,
    TG_H1_CLIENT_CLOSED,
};

struct tg_h1_client {
    uint32_t magic;
    struct tg_conn conn;
    struct tg_call call; /* the exchange */
    uint64_t requests;   /* exchanges begun on this connection */

    /* private */
    enum tg_h1_client_state state;
    struct tg_inbuf in;
    struct tg_head_scan scan;
    struct tg_h1_body body;
    struct tg_call_limits limits;
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
                              const struct tg_call_events *events, void *owner) TG_MUST_USE;

/* The same on a socket that is connected already (taken over, also on failure). on_connected still
 * comes later. */
enum tg_err tg_h1_client_open_fd(struct tg_h1_client *client, struct tg_worker *worker, int fd,
                                 const struct tg_call_events *events, void *owner) TG_MUST_USE;

/* The same for a connection that is being made elsewhere: CONNECTING for at most `timeout` us,
 * until tg_h1_client_connected() tells how that went. */
enum tg_err tg_h1_client_open_pending(struct tg_h1_client *client, struct tg_worker *worker, int fd,
                                      uint64_t timeout, const struct tg_call_events *events,
                                      void *owner) TG_MUST_USE;

/* Ends CONNECTING of such a connection, once: TG_OK or why there is none. on_connected or on_failed
 * follows in this round of the loop. */
void tg_h1_client_connected(struct tg_h1_client *client, enum tg_err err);

/* The exchange goes by the operations of `call` (http/call.h): begin on an idle connection. */

/* True when the exchange is over and the connection may carry another. What ended the request, and
 * waits for the end of the round though the answer is here, is sent for that. */
bool tg_h1_client_is_reusable(struct tg_h1_client *client);

/* Ends the exchange of a reusable connection, before its arena goes: it is IDLE, and watched; an
 * end or bytes from the origin come as on_failed. */
void tg_h1_client_rest(struct tg_h1_client *client, const struct tg_call_events *events,
                       void *owner, uint64_t idle_timeout);

/* From on_connected: nothing is sent yet; watched as after tg_h1_client_rest(). */
void tg_h1_client_wait(struct tg_h1_client *client, const struct tg_call_events *events,
                       void *owner, uint64_t idle_timeout);

/* Closes at once; no event follows. */
void tg_h1_client_close(struct tg_h1_client *client);

#endif
