/* pool.h: connections to origins, one pool per worker.
 *
 * Connections are kept per target address, TLS settings and protocol, the last used first. What is
 * leased is a call (http/call.h): a connection that carries one exchange at a time, or a stream of
 * one that carries many (HTTP/2). One that began with a preface belongs to who it tells of, and is
 * not kept. A pool outlives snapshots: a reload that keeps a target keeps its connections.
 *
 *               lease: none idle            connected                return
 *     (new) ------------------> CONNECTING -----------> ACTIVE -----------> RECYCLING
 *                               |   |  |                  ^                  |     |
 *             made before asked |   |  | failed           | still good       |     | not reusable,
 *                               |   |  |              VALIDATING             |     | too many, old
 *                               |   |  |                |  ^                 |     |
 *                               |   |  |           dead |  | lease           |     |
 *                               '---|--|----------------|--IDLE <------------'     |
 *                                   v  v                v   | origin ends it,      |
 *     freed at the end of the      CLOSED <-----------------' idle too long        |
 *     loop's round                    ^--------------------------------------------'
 *
 * What the lessee's service says (struct tg_pool_conf) holds: `max_idle` kept for a target,
 * `max_open` of all workers (counted in the target's tg_origin), `max_connecting` at a time, an age
 * and a number of requests at which one is closed. A lease that has to wait is TG_E_AGAIN: its
 * waiter stands in a queue of at most `max_waiting`, by priority, then first come; each fourth turn
 * is that of the oldest, whatever its priority, so that nobody starves. A waiter whose turn comes
 * asks again.
 *
 * Validation: an idle connection that became readable is dead. The loop watches them, so those it
 * knows of are gone already; what the current round has reported and not yet handled is looked up;
 * and a `careful` lease, of a request that cannot be repeated, asks the kernel too.
 *
 * Many on one connection: every connection is made alike; once it stands, ALPN (or the service)
 * says whether it is shared, and the lease becomes one of a stream. Bounds and counts are of
 * connections as ever: an idle one carries no stream, a lessee who finds no room while one is being
 * made waits for that, and a connection that is too old or has had its requests takes no more and
 * closes after its last stream. `min_idle` is met by connections that have room.
 *
 * Size: where the service asks for it, how many connections there may be follows from use (size.h).
 *
 * Order: a pool that nobody asked for since configurations changed is closed after TG_ORIGIN_KEEP;
 * of more than TG_POOL_SITES_MAX the idle one that was used least recently goes.
 *
 * Leaks: a lease knows its request and route. One on which nothing has moved for five minutes is
 * logged, and so is what is still leased when the pool goes.
 *
 * One thread; with other workers a pool shares the counts in tg_origin. A place that another worker
 * gives back is seen within LOOK; one that idles there is given back within GIVE_WAY. Cost of a
 * lease from the idle list: some 30 ns.
 */
#ifndef TG_UPSTREAM_POOL_H
#define TG_UPSTREAM_POOL_H

#include "event/worker.h"
#include "http/call.h"
#include "upstream/origin.h"

struct tg_h1_client;
struct tg_pool;
struct tg_tls_context;
struct tg_tls_shared;

/* A pool for `worker` (borrowed). NULL: no memory. */
struct tg_pool *tg_pool_new(struct tg_worker *worker) TG_MUST_USE;

/* Closes idle connections; none may be leased. */
void tg_pool_free(struct tg_pool **pool);

#define TG_POOL_PRIORITY  5u /* of whoever says none; 9 comes first */
#define TG_POOL_SITES_MAX 1000u

struct tg_pool_site;

/* A request that waits for a connection; embedded by its owner, zeroed before the first use. */
struct tg_pool_waiter {
    void (*on_turn)(struct tg_pool_waiter *waiter); /* lease again; from the loop */

    /* private */
    struct tg_list link;
    struct tg_pool_site *site; /* NULL: it does not wait */
    uint64_t order;
    uint64_t since; /* us */
    uint32_t priority;
    bool turn; /* it has come */
    struct tg_task task;
};

/* How to reach a target, and for whom. */
struct tg_pool_target {
    const struct tg_addr
        *addr;    /* len 0: the built-in echo origin; stays until tg_pool_forget_warm() */
    bool passing; /* it does not: it is gone after the call */
    const struct tg_addr *another; /* the same in the other family of addresses; NULL: none */
    uint64_t connect_timeout;      /* TCP and TLS together */
    struct tg_tls_context *tls;    /* NULL: clear text */
    enum tg_origin_http http;      /* what is spoken there */
    struct tg_str tls_name;        /* what the certificate is for; empty: the address */
    struct tg_str preface;         /* sent first, in clear: a PROXY header; empty: none */
    bool fresh;   /* never an idle connection: the last one failed before it answered */
    bool careful; /* what is sent cannot be repeated */
    const struct tg_pool_conf *conf;
    struct tg_origin *origin;      /* whose connections are counted; NULL: nobody's */
    struct tg_pool_waiter *waiter; /* NULL: never waits */
    uint32_t priority;             /* 0..9 */
    struct tg_str request, route;  /* for leaks; copied */
};

/* Makes connections in the pool's place: for gateways without a network. */
struct tg_pool_dialer {
    /* Opens `client` to `addr` as tg_h1_client_open() would. */
    enum tg_err (*dial)(void *arg, struct tg_h1_client *client, const struct tg_addr *addr,
                        uint64_t timeout, const struct tg_call_events *events, void *owner);
    void *arg;
};

/* Where sessions with origins are kept (borrowed); without, each handshake is a full one. */
void tg_pool_set_tls(struct tg_pool *pool, struct tg_tls_shared *shared);

/* From now on connections are made by `dialer` (borrowed); NULL: on the network. The echo origin
 * stays what it is. */
void tg_pool_set_dialer(struct tg_pool *pool, const struct tg_pool_dialer *dialer);

/* Leases a call: a connection, or a stream of one. *connected: it may be used at once
 * (tg_call_begin), else events->on_connected or on_failed will tell, with `owner`. On failure
 * nothing is leased. TG_E_AGAIN: the waiter waits, as long as its owner likes; TG_E_UNAVAILABLE:
 * too many wait. */
enum tg_err tg_pool_lease(struct tg_pool *pool, const struct tg_pool_target *target,
                          const struct tg_call_events *events, void *owner, struct tg_call **out,
                          bool *connected) TG_MUST_USE;

/* The owner of a lease that was not connected says so from on_connected, before it uses it: another
 * may connect now, and *call becomes what the connection speaks. On failure it is to be returned
 * (NULL is fine); TG_E_PROTOCOL with *reason: the origin will not speak what it is to. */
enum tg_err tg_pool_note_connected(struct tg_pool *pool, struct tg_call **call,
                                   const struct tg_pool_conf *conf,
                                   const char **reason) TG_MUST_USE;

/* The waiter waits no more; a turn that has come goes to the next. Allowed when it does not wait.
 */
void tg_pool_leave(struct tg_pool *pool, struct tg_pool_waiter *waiter);

/* Returns a lease in any state, before the arena of its exchange goes, and nulls the caller's
 * pointer. */
void tg_pool_return(struct tg_pool *pool, struct tg_call **call, const struct tg_pool_conf *conf);

/* From now on `target` has conf->min_idle connections ready (0: none); conf and origin are borrowed
 * until the next call for that address or tg_pool_forget_warm(). */
void tg_pool_keep_warm(struct tg_pool *pool, const struct tg_pool_target *target);
void tg_pool_forget_warm(struct tg_pool *pool);

/* Closes all idle connections: the worker drains. */
void tg_pool_close_idle(struct tg_pool *pool);

/* Connections that are idle, and all that exist. */
uint32_t tg_pool_idle(const struct tg_pool *pool);
uint32_t tg_pool_open(const struct tg_pool *pool);

#endif
