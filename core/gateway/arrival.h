/* arrival.h: a connection between accept and its first request.
 *
 *     accepted -> [PROXY header] -> [TLS handshake] -> done: the connection is adopted by HTTP
 *                       |                  |
 *                       +--- refused ------+--> closed, counted
 *                                          +--- spoke HTTP ---> a 400 that says so, closed
 *
 * Each listener takes the steps that it is configured for; one that takes none needs no arrival.
 * Bounds: limits.connection.handshakes at a time in the process, handshake_timeout for all of it.
 * Threads: the worker's.
 */
#ifndef TG_GATEWAY_ARRIVAL_H
#define TG_GATEWAY_ARRIVAL_H

#include "gateway/gate.h"
#include "net/conn.h"

struct tg_arrival_events {
    /* Who the client is: a PROXY header told it, or there is none to come. False: one connection
     * too many of it. */
    bool (*admit)(void *owner, const struct tg_addr *peer);
    /* `conn` stands (open: adopt it within the call, else it is closed). */
    void (*done)(void *owner, struct tg_conn *conn, const struct tg_addr *peer);
    /* It came to nothing; `peer` is NULL where admit() did not let it in. */
    void (*lost)(void *owner, const struct tg_addr *peer);
};

/* Leads the socket `fd` (taken over, also on failure) of a connection from `peer` through the steps
 * of `listener`. done() or lost() follows once, perhaps from within; not on failure: TG_E_LIMIT,
 * TG_E_NOMEM. `events` are static. */
enum tg_err tg_arrival_open(struct tg_gate *gate, const struct tg_listener_conf *listener, int fd,
                            const struct tg_addr *peer, const struct tg_arrival_events *events,
                            void *owner) TG_MUST_USE;

/* All of the gate close now; lost() is called for each. */
void tg_arrivals_close(struct tg_gate *gate);

#endif
