/* pool.h: connections to origins, one pool per worker.
 *
 * Connections are kept per target address and TLS settings, the last used first, and carry one
 * exchange at a time. One that began with a preface belongs to who it tells of, and is not kept.
 * A pool outlives snapshots: a reload that keeps a target keeps its connections.
 *
 *             lease: none idle            connected             return, reusable
 *   (new) ------------------> connecting ----------> leased <------------------- idle
 *                                 |                    |   ------------------->   |
 *                                 | failed             | return, not reusable     | origin ends it,
 *                                 v                    v                          v idle too long
 *                               closed, freed at the end of the loop's round
 *
 * Bounds: `keep` idle connections a target (the lessee says, from its service's config); idle ones
 * close after their timeout. One thread. Cost of a lease from the idle list: some 30 ns.
 */
#ifndef TG_UPSTREAM_POOL_H
#define TG_UPSTREAM_POOL_H

#include "http/h1_client.h"

struct tg_pool;
struct tg_tls_context;
struct tg_tls_shared;

/* A pool for `worker` (borrowed). NULL: no memory. */
struct tg_pool *tg_pool_new(struct tg_worker *worker) TG_MUST_USE;

/* Closes idle connections; none may be leased. */
void tg_pool_free(struct tg_pool **pool);

/* How to reach a target. */
struct tg_pool_target {
    struct tg_addr addr;        /* len 0: the built-in echo origin */
    uint64_t connect_timeout;   /* TCP and TLS together */
    struct tg_tls_context *tls; /* NULL: clear text */
    struct tg_str tls_name;     /* what the certificate is for; empty: the address */
    struct tg_str preface;      /* sent first, in clear: a PROXY header; empty: none */
    bool fresh; /* never an idle connection: the last one failed before it answered */
};

/* Makes connections in the pool's place: for gateways without a network. */
struct tg_pool_dialer {
    /* Opens `client` to `addr` as tg_h1_client_open() would. */
    enum tg_err (*dial)(void *arg, struct tg_h1_client *client, const struct tg_addr *addr,
                        uint64_t timeout, const struct tg_h1_client_events *events, void *owner);
    void *arg;
};

/* Where sessions with origins are kept (borrowed); without, each handshake is a full one. */
void tg_pool_set_tls(struct tg_pool *pool, struct tg_tls_shared *shared);

/* From now on connections are made by `dialer` (borrowed); NULL: on the network. The echo origin
 * stays what it is. */
void tg_pool_set_dialer(struct tg_pool *pool, const struct tg_pool_dialer *dialer);

/* Leases a connection. *connected: it may be used at once (tg_h1_client_begin), else
 * events->on_connected or on_failed will tell, with `owner`. On failure nothing is leased. */
enum tg_err tg_pool_lease(struct tg_pool *pool, const struct tg_pool_target *target,
                          const struct tg_h1_client_events *events, void *owner,
                          struct tg_h1_client **out, bool *connected) TG_MUST_USE;

/* Returns a lease in any state, before the arena of its exchange goes, and nulls the caller's
 * pointer. Reusable connections stay when fewer than `keep` are idle, for `idle_timeout` us. */
void tg_pool_return(struct tg_pool *pool, struct tg_h1_client **client, uint32_t keep,
                    uint64_t idle_timeout);

/* Closes all idle connections: the worker drains. */
void tg_pool_close_idle(struct tg_pool *pool);

/* Connections that are idle, and all that exist. */
uint32_t tg_pool_idle(const struct tg_pool *pool);
uint32_t tg_pool_open(const struct tg_pool *pool);

#endif
