/* pool_internal.h: what the files of the pool share. pool.c has leases, and connections that carry
 * one exchange at a time; pool_shared.c those that carry many; pool_site.c where they are kept;
 * pool_queue.c those who wait; pool_look.c what happens without a request.
 *
 * Nobody outside of them includes it. */
#ifndef TG_UPSTREAM_POOL_INTERNAL_H
#define TG_UPSTREAM_POOL_INTERNAL_H

#include "http/h1_client.h"
#include "upstream/pool.h"
#include "upstream/size.h"

#define TG_POOL_SHORTCUTS  16u
#define TG_POOL_BUCKETS    64u
#define TG_POOL_HOLDER_MAX 40u

/* Between two looks at what other workers gave back. */
#define TG_POOL_LOOK (20 * TG_USEC_PER_MSEC)

/* Between two looks at whether other workers wait for a place that idles here. */
#define TG_POOL_GIVE_WAY (100 * TG_USEC_PER_MSEC)

/* Between two attempts to have connections ready, and two looks for leaks. */
#define TG_POOL_WARM TG_USEC_PER_SEC
#define TG_POOL_CARE (60 * TG_USEC_PER_SEC)

/* Idle time from which a careful lease looks whether the connection is alive. */
#define TG_POOL_CAREFUL_AGE (100 * TG_USEC_PER_MSEC)

/* The connections of one address, TLS settings and protocol. Lives while it has any, or somebody
 * waits, or it is kept warm. */
struct tg_pool_site {
    struct tg_list link;    /* in its bucket */
    struct tg_list idle;    /* of struct tg_pooled, last used first */
    struct tg_list shared;  /* of struct tg_pool_shared, last used first */
    struct tg_list waiting; /* of struct tg_pool_waiter, first come first */
    struct tg_addr addr;
    uint64_t tls;  /* number of the settings; 0: clear text */
    uint64_t name; /* hash of what the certificate is for, and of the other family's address */
    enum tg_origin_http http; /* what is spoken there, */
    uint32_t streams;         /* that the origin allowed on a connection; 0: not known */
    bool is_serial;           /* where that is AUTO: the last connection was for HTTP/1.1 */
    struct tg_origin
        *origin; /* of the last lessee; borrowed from its balancer's or our connections */
    struct tg_pool_conf conf; /* of who came last to wait */
    uint32_t idle_count;      /* connections of either kind that carry nothing */
    uint32_t open_count;
    uint32_t connecting;
    uint32_t waiting_count;
    uint32_t promised; /* places of waiters that were woken */
    uint32_t turns;
    uint64_t left_at;    /* us: configurations changed, and it was not asked for since; 0: it was */
    struct tg_size size; /* of what is open */
    bool bounded;        /* how many may be open, of all workers together */
    bool warm;
    struct tg_pool_target warm_target; /* where `warm` */
};

/* Who holds a lease, for the report of leaks. */
struct tg_pool_holder {
    struct tg_list link;    /* in pool->leased */
    bool shared;            /* of a stream */
    bool told;              /* that it may be a leak */
    uint32_t route_since;   /* pool->changes when `route` was copied, */
    const char *route_from; /* and what: a place in memory, only compared */
    char request[TG_POOL_HOLDER_MAX];
    char route[TG_POOL_HOLDER_MAX];
};

enum tg_pooled_state {
    TG_POOLED_CONNECTING,
    TG_POOLED_IDLE,
    TG_POOLED_VALIDATING,
    TG_POOLED_ACTIVE,
    TG_POOLED_RECYCLING,
    TG_POOLED_CLOSED
};

/* A connection that carries one exchange at a time, or has not said yet what it carries. */
struct tg_pooled {
    struct tg_h1_client client;
    struct tg_pool *pool;
    struct tg_pool_site *site;
    struct tg_origin *origin;     /* held; NULL: nobody's */
    struct tg_list link;          /* in site->idle */
    struct tg_pool_holder holder; /* while it is leased */
    enum tg_pooled_state state;
    uint64_t since; /* us: when it came into this state */
    uint64_t until; /* us: its age is over; 0: never */
    bool single;    /* for one exchange */
    struct tg_task free_later;
};

/* Where an address was found: its place in memory stands for it, until configurations change. */
struct tg_pool_shortcut {
    const struct tg_addr *addr;
    const struct tg_tls_context *tls;
    enum tg_origin_http http;
    struct tg_pool_site *site;
};

struct tg_pool {
    struct tg_worker *worker;
    struct tg_pool_shortcut shortcuts[TG_POOL_SHORTCUTS];
    struct tg_tls_shared *tls;               /* borrowed; NULL: sessions are not kept */
    const struct tg_pool_dialer *dialer;     /* borrowed; NULL: the network */
    struct tg_list buckets[TG_POOL_BUCKETS]; /* of struct tg_pool_site */
    struct tg_list leased;                   /* of struct tg_pool_holder */
    struct tg_list echoes;                   /* far ends of connections to the echo origin */
    struct tg_timer look;
    uint32_t sites;
    uint32_t idle;
    uint32_t open;
    uint32_t waiting;
    uint64_t order;   /* of waiters */
    uint32_t changes; /* of the configuration */
};

static inline uint64_t tg_pool_now(const struct tg_pool *pool)
{
    return tg_loop_now(&pool->worker->loop);
}

/* Whether the size that follows from use is reached, with `more` that are to come. */
static inline bool tg_pool_is_full(const struct tg_pool_site *site, uint32_t more)
{
    return site->size.limit > 0 && site->open_count + more >= site->size.limit;
}

/* Whether exchanges there share connections, as far as is known. */
static inline bool tg_pool_is_many(const struct tg_pool_site *site)
{
    return site->http != TG_ORIGIN_HTTP1 && !site->is_serial;
}

/* Whether somebody waits for a place at `origin` (NULL: nobody's), in whichever worker. */
static inline bool tg_pool_is_wanted(const struct tg_origin *origin)
{
    return origin != NULL && atomic_load_explicit(&origin->waiting, memory_order_relaxed) > 0;
}

/* ---- pool.c ---- */

/* Notes who leases, and that it is leased. */
void tg_pool_hold(struct tg_pool *pool, struct tg_pool_holder *holder,
                  const struct tg_pool_target *target);

/* A connection carries nothing any more, or something again. */
void tg_pool_count_idle(struct tg_pool *pool, struct tg_pool_site *site, struct tg_origin *origin,
                        int by);

/* A connection is closed: it is counted no more, and its reference to the origin goes. The site may
 * go too. */
void tg_pool_count_closed(struct tg_pool *pool, struct tg_pool_site *site,
                          struct tg_origin **origin);

/* Whether a connection to `origin` that carries nothing now, and could again, is kept. */
bool tg_pool_keeps(const struct tg_pool_site *site, const struct tg_origin *origin,
                   const struct tg_pool_conf *conf);

/* A connection that nobody asked for, to site->warm_target; TG_E_UNAVAILABLE: there is no place. */
enum tg_err tg_pool_connect_ahead(struct tg_pool *pool, struct tg_pool_site *site) TG_MUST_USE;

/* Closes what is idle. The site may go too. */
void tg_pool_close_idle_of(struct tg_pool *pool, struct tg_pool_site *site);

/* Closes the idle connection that was used least recently, where `wanted` only if somebody waits
 * for its place; false: there is none. The site may go too. */
bool tg_pool_close_oldest(struct tg_pool *pool, struct tg_pool_site *site, bool wanted);

/* ---- pool_site.c ---- */

/* The site of a target, made where there is none; NULL: no memory, or too many are in use. */
struct tg_pool_site *tg_pool_look_up_site(struct tg_pool *pool,
                                          const struct tg_pool_target *target);

/* The site goes if it is not needed any more. */
void tg_pool_drop_site_if_empty(struct tg_pool *pool, struct tg_pool_site *site);

/* `visit` may drop the site that it is shown. */
void tg_pool_visit_sites(struct tg_pool *pool,
                         void (*visit)(struct tg_pool *pool, struct tg_pool_site *site));

/* ---- pool_look.c ---- */

/* The pool looks around, `distance` us from now at the latest. */
void tg_pool_look_soon(struct tg_pool *pool, uint64_t distance);

/* For pool->look. */
void tg_pool_on_look(struct tg_timer *timer);

/* ---- pool_queue.c ---- */

/* Wakes waiters for whom there is room. */
void tg_pool_serve(struct tg_pool *pool, struct tg_pool_site *site);

/* Takes the lessee's turn, which has been used. */
void tg_pool_end_turn(struct tg_pool_site *site, struct tg_pool_waiter *waiter);

/* A place in the queue: TG_E_AGAIN; TG_E_UNAVAILABLE: there is none. */
enum tg_err tg_pool_wait(struct tg_pool *pool, struct tg_pool_site *site,
                         const struct tg_pool_target *target) TG_MUST_USE;

/* ---- pool_shared.c ---- */

/* How many exchanges the shared connections take now; how many of them take one. */
uint32_t tg_pool_shared_room(const struct tg_pool_site *site);
uint32_t tg_pool_shared_ready(const struct tg_pool_site *site);

/* Leases a stream of a shared connection, for whom *holder is to say; TG_E_NOT_FOUND: none has
 * room. */
enum tg_err tg_pool_shared_lease(struct tg_pool_site *site, bool careful,
                                 struct tg_pool_holder **holder, struct tg_call **out) TG_MUST_USE;

/* Whether a connection that has come about speaks HTTP/2; TG_E_PROTOCOL: it should, and does not.
 */
enum tg_err tg_pool_shared_asked(struct tg_pooled *p, bool *yes) TG_MUST_USE;

/* A connection that speaks HTTP/2 in place of `p`, which is freed later; its counts go over. It is
 * the first of the site's, and to be leased or put to rest next. On failure `p` stays as it is, but
 * for its socket. */
enum tg_err tg_pool_shared_open(struct tg_pooled *p, const struct tg_pool_conf *conf,
                                struct tg_pool_site *site) TG_MUST_USE;
void tg_pool_shared_rest(struct tg_pool_site *site, const struct tg_pool_conf *conf);

/* The first stream of it, for the lessee whom it was made for: however long that took. */
enum tg_err tg_pool_shared_lease_new(struct tg_pool_site *site, struct tg_pool_holder **holder,
                                     struct tg_call **out) TG_MUST_USE;

void tg_pool_shared_return(struct tg_pool *pool, struct tg_call *call,
                           const struct tg_pool_conf *conf);

/* us: when a connection that rests was used last; 0: there is none. */
uint64_t tg_pool_shared_used(const struct tg_pool_site *site);

/* us: when something last moved on a lease; a tunnel moves always. */
uint64_t tg_pool_shared_moved(const struct tg_pool_holder *holder);

/* Closes those that carry nothing; the one of them that was used least recently, as
 * tg_pool_close_oldest(). */
void tg_pool_shared_close_idle(struct tg_pool_site *site);
bool tg_pool_shared_close_oldest(struct tg_pool_site *site, bool wanted);

#endif
