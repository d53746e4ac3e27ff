/* pool.c: idle lists and queues in a small hash table by address. See pool.h.
 *
 * A place is given to a waiter by waking it; until it has asked again, `promised` keeps the place
 * from those who come later. */
#include "base/banned.h"
#include "upstream/pool.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "net/tls_conn.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "upstream/echo.h"
#include "upstream/size.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define BUCKETS 64u
#define LOOK    (20 * TG_USEC_PER_MSEC) /* between two looks at what other workers gave back */
#define WARM    TG_USEC_PER_SEC         /* between two attempts to have connections ready */
#define CAREFUL_AGE                                                                                \
    (100 * TG_USEC_PER_MSEC)              /* idle time from which a careful lease asks the kernel */
#define CARE       (60 * TG_USEC_PER_SEC) /* between two looks for leaks */
#define LEAK       (5 * 60 * TG_USEC_PER_SEC) /* without a byte, after which a lease is told of */
#define SHORTCUTS  16u
#define HOLDER_MAX 40u
#define RELAXED    memory_order_relaxed

enum state { CONNECTING, IDLE, VALIDATING, ACTIVE, RECYCLING, CLOSED };

/* The connections of one address and TLS settings. Lives while it has any, or somebody waits, or it
 * is kept warm. */
struct tg_pool_site {
    struct tg_list link;    /* in its bucket */
    struct tg_list idle;    /* of struct pooled, last used first */
    struct tg_list waiting; /* of struct tg_pool_waiter, first come first */
    struct tg_list starved; /* in pool->starved while somebody waits */
    struct tg_addr addr;
    uint64_t tls;  /* number of the settings; 0: clear text */
    uint64_t name; /* hash of what the certificate is for, and of the other family's address */
    struct tg_origin
        *origin; /* of the last lessee; borrowed from its balancer's or our connections */
    struct tg_pool_conf conf; /* of who came last to wait */
    uint32_t idle_count;
    uint32_t open_count;
    uint32_t connecting;
    uint32_t waiting_count;
    uint32_t promised; /* places of waiters that were woken */
    uint32_t turns;
    uint64_t left_at;    /* us: configurations changed, and it was not asked for since; 0: it was */
    struct tg_size size; /* of what is open */
    bool warm;
    struct tg_pool_target warm_target; /* where `warm` */
};

struct pooled {
    struct tg_h1_client client;
    struct tg_pool *pool;
    struct tg_pool_site *site;
    struct tg_origin *origin; /* held; NULL: nobody's */
    struct tg_list link;      /* in site->idle, or in pool->leased */
    enum state state;
    uint64_t since;         /* us: when it came into this state */
    uint64_t until;         /* us: its age is over; 0: never */
    bool single;            /* for one exchange */
    bool told;              /* of this lease, that it may be a leak */
    uint32_t route_since;   /* pool->changes when `route` was copied, */
    const char *route_from; /* and what: a place in memory, only compared */
    char request[HOLDER_MAX];
    char route[HOLDER_MAX];
    struct tg_task free_later;
};

/* Where an address was found: its place in memory stands for it, until configurations change. */
struct shortcut {
    const struct tg_addr *addr;
    const struct tg_tls_context *tls;
    struct tg_pool_site *site;
};

struct tg_pool {
    struct tg_worker *worker;
    struct shortcut shortcuts[SHORTCUTS];
    struct tg_tls_shared *tls;           /* borrowed; NULL: sessions are not kept */
    const struct tg_pool_dialer *dialer; /* borrowed; NULL: the network */
    struct tg_list buckets[BUCKETS];     /* of struct tg_pool_site */
    struct tg_list leased;               /* of struct pooled */
    struct tg_list starved;              /* of sites where somebody waits */
    struct tg_list echoes;               /* far ends of connections to the echo origin */
    struct tg_timer look;
    uint32_t sites;
    uint32_t idle;
    uint32_t open;
    uint32_t waiting;
    uint64_t order;   /* of waiters */
    uint32_t changes; /* of the configuration */
};

static uint64_t now_of(const struct tg_pool *pool)
{
    return tg_loop_now(&pool->worker->loop);
}

static void set_state(struct pooled *p, enum state to)
{
    static const unsigned allowed[] = {
        [CONNECTING] = 1u << IDLE | 1u << ACTIVE | 1u << RECYCLING | 1u << CLOSED,
        [IDLE] = 1u << VALIDATING | 1u << CLOSED,
        [VALIDATING] = 1u << ACTIVE | 1u << CLOSED,
        [ACTIVE] = 1u << RECYCLING,
        [RECYCLING] = 1u << IDLE | 1u << CLOSED,
        [CLOSED] = 0,
    };
    tg_assert(allowed[p->state] & (1u << to));
    p->state = to;
    p->since = now_of(p->pool);
}

static void serve_waiters(struct tg_pool *pool, struct tg_pool_site *site);
static void close_idle(struct tg_pool *pool, struct tg_pool_site *site);
static void look_soon(struct tg_pool *pool, uint64_t distance);
static void on_look(struct tg_timer *timer);

struct tg_pool *tg_pool_new(struct tg_worker *worker)
{
    struct tg_pool *pool = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    if (tg_timer_init(&pool->look, &worker->loop.timers, on_look) != TG_OK) {
        tg_mem_free(TG_MEM_CONNECTION, pool);
        return NULL;
    }
    pool->worker = worker;
    tg_list_init(&pool->echoes);
    tg_list_init(&pool->leased);
    tg_list_init(&pool->starved);
    for (unsigned i = 0; i < BUCKETS; i++)
        tg_list_init(&pool->buckets[i]);
    return pool;
}

void tg_pool_set_dialer(struct tg_pool *pool, const struct tg_pool_dialer *dialer)
{
    pool->dialer = dialer;
}

/* ---- Sites -------------------------------------------------------------------------------------
 */

/* Addresses are the operator's, not a client's, so a plain mix spreads them well enough. */
static struct tg_list *bucket_of(struct tg_pool *pool, const struct tg_addr *addr)
{
    size_t n;
    const unsigned char *ip = tg_addr_ip_bytes(addr, &n);
    uint32_t hash = tg_addr_port(addr);
    if (tg_addr_is_unix(addr))
        hash = addr->u.local.path;
    for (size_t i = n > 4 ? n - 4 : 0; i < n; i++)
        hash = hash * 31 + ip[i];
    return &pool->buckets[hash % BUCKETS];
}

/* The pool of which a connection was used least recently, if all of its own are idle, is closed. */
static void evict_site(struct tg_pool *pool)
{
    struct tg_pool_site *oldest = NULL;
    uint64_t since = UINT64_MAX;
    for (unsigned i = 0; i < BUCKETS; i++) {
        TG_LIST_FOREACH(&pool->buckets[i], it)
        {
            struct tg_pool_site *site = TG_LIST_ENTRY(it, struct tg_pool_site, link);
            if (site->warm || site->waiting_count + site->promised > 0 || site->idle_count == 0 ||
                site->idle_count < site->open_count)
                continue;
            const struct pooled *p = TG_LIST_ENTRY(site->idle.next, struct pooled, link);
            if (p->since < since) {
                since = p->since;
                oldest = site;
            }
        }
    }
    if (oldest == NULL)
        return;
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_EVICTED);
    close_idle(pool, oldest);
}

static struct tg_pool_site *look_up_site(struct tg_pool *pool, const struct tg_pool_target *target)
{
    const struct tg_addr *addr = target->addr;
    uint64_t tls = target->tls != NULL ? tg_tls_context_id(target->tls) : 0;
    uint64_t name = tls != 0 ? tg_hash_bytes(target->tls_name.p, target->tls_name.n) : 0;
    if (target->another != NULL) {
        size_t n;
        const unsigned char *ip = tg_addr_ip_bytes(target->another, &n);
        name += tg_hash_bytes(ip, n);
    }
    struct tg_list *bucket = bucket_of(pool, addr);
    TG_LIST_FOREACH(bucket, it)
    {
        struct tg_pool_site *site = TG_LIST_ENTRY(it, struct tg_pool_site, link);
        if (site->tls == tls && site->name == name && tg_addr_eq(&site->addr, addr)) {
            site->left_at = 0;
            return site;
        }
    }
    if (pool->sites >= TG_POOL_SITES_MAX)
        evict_site(pool);
    if (pool->sites >= TG_POOL_SITES_MAX)
        return NULL;
    struct tg_pool_site *site = tg_slab_lease(pool->worker->slab, sizeof(*site));
    if (site == NULL)
        return NULL;
    *site = (struct tg_pool_site){.addr = *addr, .tls = tls, .name = name};
    tg_list_init(&site->idle);
    tg_list_init(&site->waiting);
    tg_list_init(&site->starved);
    tg_list_push_front(bucket, &site->link);
    pool->sites++;
    return site;
}

static inline struct tg_pool_site *find_site(struct tg_pool *pool,
                                             const struct tg_pool_target *target)
{
    const struct tg_addr *addr = target->addr;
    if (target->passing)
        return look_up_site(pool, target);
    struct shortcut *s = &pool->shortcuts[((uintptr_t)addr / sizeof(*addr)) % SHORTCUTS];
    if (TG_LIKELY(s->addr == addr && s->tls == target->tls))
        return s->site;
    struct tg_pool_site *site = look_up_site(pool, target);
    if (site != NULL)
        *s = (struct shortcut){addr, target->tls, site};
    return site;
}

static void drop_site_if_empty(struct tg_pool *pool, struct tg_pool_site *site)
{
    if (site->open_count > 0 || site->waiting_count > 0 || site->promised > 0 || site->warm)
        return;
    for (unsigned i = 0; i < SHORTCUTS; i++) {
        if (pool->shortcuts[i].site == site)
            pool->shortcuts[i] = (struct shortcut){NULL, NULL, NULL};
    }
    tg_size_end(&site->size, now_of(pool));
    tg_list_remove(&site->link);
    tg_slab_return(pool->worker->slab, site, sizeof(*site));
    pool->sites--;
}

static void visit_sites(struct tg_pool *pool,
                        void (*visit)(struct tg_pool *pool, struct tg_pool_site *site))
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        TG_LIST_FOREACH(&pool->buckets[i], it)
        visit(pool, TG_LIST_ENTRY(it, struct tg_pool_site, link));
    }
}

/* ---- The end of a connection -------------------------------------------------------------------
 */

static void on_free(struct tg_task *task)
{
    struct pooled *p = TG_CONTAINER_OF(task, struct pooled, free_later);
    tg_slab_return(p->client.conn.worker->slab, p, sizeof(*p)); /* the pool may be gone */
}

/* Closes `p`, which is in no list, and frees it at the end of the round. */
static void discard(struct pooled *p)
{
    struct tg_pool *pool = p->pool;
    struct tg_pool_site *site = p->site;
    tg_h1_client_close(&p->client);
    set_state(p, CLOSED);
    site->open_count--;
    pool->open--;
    if (p->origin != NULL)
        atomic_fetch_sub_explicit(&p->origin->open, 1, RELAXED);
    tg_origin_unref(&p->origin, now_of(pool));
    tg_metric_dec(pool->worker->cells, TG_METRIC_UPSTREAM_OPEN);
    p->site = NULL;
    tg_loop_defer(&pool->worker->loop, &p->free_later);
    if (site->waiting_count > 0)
        serve_waiters(pool, site);
    if (site->warm)
        look_soon(pool, WARM);
    drop_site_if_empty(pool, site);
}

static void take_from_idle(struct pooled *p)
{
    tg_list_remove(&p->link);
    tg_limit_note(upstream_keepalive, --p->site->idle_count);
    p->pool->idle--;
    if (p->origin != NULL)
        atomic_fetch_sub_explicit(&p->origin->idle, 1, RELAXED);
}

static void on_idle_failed(struct tg_h1_client *client, enum tg_err err, const char *reason)
{
    struct pooled *p = TG_CONTAINER_OF(client, struct pooled, client);
    (void)err;
    (void)reason;
    take_from_idle(p);
    discard(p);
}

static const struct tg_h1_client_events idle_events = {.on_failed = on_idle_failed};

static void close_idle(struct tg_pool *pool, struct tg_pool_site *site)
{
    (void)pool;
    for (uint32_t left = site->idle_count; left > 0; left--) {
        struct pooled *p = TG_LIST_ENTRY(site->idle.next, struct pooled, link);
        take_from_idle(p);
        discard(p); /* with the last one `site` may go */
    }
}

void tg_pool_close_idle(struct tg_pool *pool)
{
    visit_sites(pool, close_idle);
}

static void report_leaks(const struct tg_pool *pool)
{
    TG_LIST_FOREACH(&pool->leased, it)
    {
        const struct pooled *p = TG_LIST_ENTRY(it, struct pooled, link);
        tg_log_kv(TG_LOG_ERROR, "pool", "a connection was never returned",
                  tg_log_str("request", tg_str_c(p->request)),
                  tg_log_str("route", tg_str_c(p->route)));
    }
}

void tg_pool_free(struct tg_pool **poolp)
{
    struct tg_pool *pool = *poolp;
    if (pool == NULL)
        return;
    tg_pool_forget_warm(pool);
    tg_pool_close_idle(pool);
    report_leaks(pool);
    tg_assert(pool->open == 0);
    tg_echo_close_all(&pool->echoes);
    tg_timer_release(&pool->look);
    tg_mem_free(TG_MEM_CONNECTION, pool);
    *poolp = NULL;
}

/* ---- New connections ---------------------------------------------------------------------------
 */

/* One worker is through the door at a time: the count is raised before it is looked at. */
static bool take_place(const struct tg_pool_target *target)
{
    struct tg_origin *origin = target->origin;
    if (origin == NULL)
        return true;
    uint32_t before = atomic_fetch_add_explicit(&origin->open, 1, RELAXED);
    if (target->conf->max_open == 0 || before < target->conf->max_open)
        return true;
    atomic_fetch_sub_explicit(&origin->open, 1, RELAXED);
    return false;
}

static void give_place_back(const struct tg_pool_target *target)
{
    if (target->origin != NULL)
        atomic_fetch_sub_explicit(&target->origin->open, 1, RELAXED);
}

static uint64_t end_of_life(struct tg_pool *pool, const struct tg_pool_conf *conf)
{
    if (conf->lifetime == 0)
        return 0;
    uint64_t spread = conf->lifetime / 10;
    return now_of(pool) + conf->lifetime -
           (spread > 0 ? tg_rand_below(&pool->worker->rand, spread) : 0);
}

void tg_pool_set_tls(struct tg_pool *pool, struct tg_tls_shared *shared)
{
    pool->tls = shared;
}

/* What goes first on a new connection, and TLS on it. On failure it is closed. */
static enum tg_err dress(struct tg_pool *pool, struct tg_h1_client *client,
                         const struct tg_pool_target *target)
{
    enum tg_err err = TG_OK;
    struct tg_transport *t = NULL;
    if (target->preface.n > 0)
        err = tg_conn_preface(&client->conn, target->preface.p, target->preface.n);
    if (err == TG_OK && target->tls != NULL) {
        t = tg_tls_connect(target->tls, pool->tls, pool->worker, target->addr, target->tls_name);
        err = t != NULL ? TG_OK : TG_E_NOMEM;
    }
    if (err != TG_OK)
        tg_h1_client_close(client);
    else if (t != NULL)
        tg_conn_secure(&client->conn, t);
    return err;
}

static enum tg_err dial(struct tg_pool *pool, struct pooled *p, const struct tg_pool_target *target,
                        const struct tg_h1_client_events *events, void *owner)
{
    if (target->addr->len == 0)
        return tg_echo_open(pool->worker, &pool->echoes, &p->client, events, owner);
    if (pool->dialer != NULL)
        return pool->dialer->dial(pool->dialer->arg, &p->client, target->addr,
                                  target->connect_timeout, events, owner);
    enum tg_err err = tg_h1_client_open(&p->client, pool->worker, target->addr,
                                        target->connect_timeout, events, owner);
    if (target->another != NULL && err == TG_OK)
        tg_conn_race(&p->client.conn, target->another);
    else if (target->another != NULL) /* no route to the first */
        err = tg_h1_client_open(&p->client, pool->worker, target->another, target->connect_timeout,
                                events, owner);
    return err == TG_OK ? dress(pool, &p->client, target) : err;
}

/* With a place taken. */
static enum tg_err connect_new(struct tg_pool *pool, struct tg_pool_site *site,
                               const struct tg_pool_target *target,
                               const struct tg_h1_client_events *events, void *owner,
                               struct pooled **out)
{
    struct pooled *p = tg_slab_lease(pool->worker->slab, sizeof(*p));
    if (p == NULL)
        return TG_E_NOMEM;
    p->pool = pool;
    p->site = site;
    p->state = CONNECTING;
    p->since = now_of(pool);
    p->until = end_of_life(pool, target->conf);
    p->single = target->preface.n > 0;
    p->request[0] = p->route[0] = '\0';
    p->route_from = NULL;
    tg_list_init(&p->link);
    tg_task_init(&p->free_later, on_free);
    enum tg_err err = dial(pool, p, target, events, owner);
    if (err != TG_OK) {
        tg_slab_return(pool->worker->slab, p, sizeof(*p));
        return err;
    }
    p->origin = target->origin != NULL ? tg_origin_hold(target->origin) : NULL;
    site->open_count++;
    site->connecting++;
    pool->open++;
    look_soon(pool, CARE);
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_CONNECTS);
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_OPEN);
    *out = p;
    return TG_OK;
}

/* ---- Leases ------------------------------------------------------------------------------------
 */

/* A readable idle socket is dead: the origin has ended it, or speaks out of turn. Under TLS it may
 * have sent a ticket, so there only who is careful takes it for dead. */
static bool is_dead(const struct pooled *p, bool careful)
{
    char byte;
    if (ev_is_pending(&p->client.conn.io) && (p->site->tls == 0 || careful))
        return true;
    if (p->until > 0 && now_of(p->pool) >= p->until)
        return true;
    if (!careful || p->client.conn.fd < 0 || now_of(p->pool) - p->since < CAREFUL_AGE)
        return false;
    return recv(p->client.conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static void copy_name(char to[HOLDER_MAX], struct tg_str from)
{
    size_t n = TG_MIN(from.n, HOLDER_MAX - 1);
    if (n > 0)
        memcpy(to, from.p, n);
    to[n] = '\0';
}

static void copy_request(char to[HOLDER_MAX], struct tg_str id)
{
    if (id.n == TG_RAND_ID_LEN) { /* as it mostly is */
        memcpy(to, id.p, TG_RAND_ID_LEN);
        to[TG_RAND_ID_LEN] = '\0';
    } else {
        copy_name(to, id);
    }
}

/* Mostly it is the route of the last lease, and that is there. */
static void copy_route(struct pooled *p, struct tg_str route)
{
    uint32_t changes = p->pool->changes;
    if (TG_LIKELY(p->route_from == route.p && p->route_since == changes))
        return;
    copy_name(p->route, route);
    p->route_from = route.p;
    p->route_since = changes;
}

static inline void hand_out(struct tg_pool *pool, struct pooled *p,
                            const struct tg_pool_target *target)
{
    struct tg_pool_site *site = p->site;
    copy_request(p->request, target->request);
    copy_route(p, target->route);
    p->told = false;
    tg_list_push_front(&pool->leased, &p->link);
    if (TG_UNLIKELY(site->size.limit > 0))
        tg_size_note_lease(&site->size, site->open_count - site->idle_count);
}

/* The idle connection that was used last and is alive; NULL: none. */
static struct pooled *take_idle(struct tg_pool_site *site, bool careful)
{
    while (!tg_list_is_empty(&site->idle)) {
        struct pooled *p = TG_LIST_ENTRY(site->idle.next, struct pooled, link);
        uint64_t since = p->since;
        take_from_idle(p);
        set_state(p, VALIDATING);
        p->since = since;
        if (TG_LIKELY(!is_dead(p, careful)))
            return p;
        site->open_count++; /* so that the site stays */
        discard(p);
        site->open_count--;
    }
    return NULL;
}

static bool must_wait(const struct tg_pool_site *site, const struct tg_pool_target *target)
{
    bool turn = target->waiter != NULL && target->waiter->turn;
    return !turn && target->waiter != NULL && site->waiting_count + site->promised > 0;
}

static enum tg_err wait_for_place(struct tg_pool *pool, struct tg_pool_site *site,
                                  const struct tg_pool_target *target);

static void end_turn(struct tg_pool_site *site, struct tg_pool_waiter *waiter)
{
    if (waiter == NULL || !waiter->turn)
        return;
    waiter->turn = false;
    waiter->site = NULL;
    site->promised--;
}

/* Whether the size that follows from use is reached, with `more` that are to come. */
static bool is_full(const struct tg_pool_site *site, uint32_t more)
{
    return site->size.limit > 0 && site->open_count + more >= site->size.limit;
}

/* Its size follows from use, or has. */
static void follow_size(struct tg_pool *pool, struct tg_pool_site *site,
                        const struct tg_pool_target *target)
{
    bool follows = site->size.limit > 0;
    tg_size_follow(&site->size, target->conf, target->origin, now_of(pool));
    if (!follows && site->size.limit > 0)
        look_soon(pool, TG_SIZE_PERIOD);
}

static enum tg_err lease_new(struct tg_pool *pool, struct tg_pool_site *site,
                             const struct tg_pool_target *target,
                             const struct tg_h1_client_events *events, void *owner,
                             struct tg_h1_client **out)
{
    struct pooled *p;
    bool throttled =
        target->conf->max_connecting > 0 && site->connecting >= target->conf->max_connecting;
    if (throttled || is_full(site, 0) || !take_place(target))
        return wait_for_place(pool, site, target);
    end_turn(site, target->waiter);
    enum tg_err err = connect_new(pool, site, target, events, owner, &p);
    if (err != TG_OK) {
        give_place_back(target);
        return err;
    }
    hand_out(pool, p, target);
    *out = &p->client;
    return TG_OK;
}

enum tg_err tg_pool_lease(struct tg_pool *pool, const struct tg_pool_target *target,
                          const struct tg_h1_client_events *events, void *owner,
                          struct tg_h1_client **out, bool *connected)
{
    struct tg_pool_site *site = find_site(pool, target);
    if (site == NULL)
        return pool->sites >= TG_POOL_SITES_MAX ? TG_E_LIMIT : TG_E_NOMEM;
    *connected = false;
    if (TG_UNLIKELY(target->conf->size_max > 0 || site->size.limit > 0))
        follow_size(pool, site, target);
    if (TG_UNLIKELY(must_wait(site, target)))
        return wait_for_place(pool, site, target);
    bool fresh = target->fresh || target->preface.n > 0;
    struct pooled *p = fresh ? NULL : take_idle(site, target->careful);
    if (p != NULL) {
        set_state(p, ACTIVE);
        end_turn(site, target->waiter);
        hand_out(pool, p, target);
        *out = &p->client;
        *connected = true;
        tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_REUSES);
        if (site->warm && site->idle_count < site->warm_target.conf->min_idle)
            look_soon(pool, LOOK);
        return TG_OK;
    }
    enum tg_err err = lease_new(pool, site, target, events, owner, out);
    if (err != TG_OK && err != TG_E_AGAIN)
        drop_site_if_empty(pool, site);
    return err;
}

static void to_idle(struct pooled *p)
{
    tg_list_push_front(&p->site->idle, &p->link);
    tg_limit_note(upstream_keepalive, ++p->site->idle_count);
    p->pool->idle++;
    if (p->origin != NULL)
        atomic_fetch_add_explicit(&p->origin->idle, 1, RELAXED);
    set_state(p, IDLE);
}

/* Whether a connection that may carry more is kept. */
static bool is_kept(const struct pooled *p, const struct tg_pool_conf *conf)
{
    const struct tg_pool_site *site = p->site;
    const struct tg_origin *origin = p->origin;
    if (p->single || !tg_h1_client_is_reusable(&p->client) || p->pool->worker->draining)
        return false;
    if ((p->until > 0 && now_of(p->pool) >= p->until) ||
        (conf->max_requests > 0 && p->client.requests >= conf->max_requests))
        return false;
    if (site->waiting_count > 0)
        return true;
    if (origin != NULL && atomic_load_explicit(&origin->waiting, RELAXED) > 0)
        return false; /* another worker has somebody waiting for the place */
    if (site->idle_count < conf->max_idle)
        return true;
    tg_limit_hit(upstream_keepalive);
    return false;
}

void tg_pool_return(struct tg_pool *pool, struct tg_h1_client **client,
                    const struct tg_pool_conf *conf)
{
    if (*client == NULL)
        return;
    struct pooled *p = TG_CONTAINER_OF(*client, struct pooled, client);
    struct tg_pool_site *site = p->site;
    *client = NULL;
    tg_assert(p->pool == pool);
    tg_list_remove(&p->link);
    if (p->state == CONNECTING)
        site->connecting--;
    set_state(p, RECYCLING);
    if (!is_kept(p, conf)) {
        discard(p);
        return;
    }
    tg_h1_client_rest(&p->client, &idle_events, NULL, TG_MIN(conf->idle_timeout, TG_POOL_KEEP));
    to_idle(p);
    if (site->waiting_count > 0)
        serve_waiters(pool, site);
}

void tg_pool_note_connected(struct tg_pool *pool, struct tg_h1_client *client)
{
    struct pooled *p = TG_CONTAINER_OF(client, struct pooled, client);
    if (p->state != CONNECTING)
        return;
    p->site->connecting--;
    set_state(p, ACTIVE);
    if (p->site->waiting_count > 0)
        serve_waiters(pool, p->site);
}

/* ---- Waiting -----------------------------------------------------------------------------------
 */

static void set_waiting(struct tg_pool *pool, struct tg_pool_site *site, int by)
{
    site->waiting_count += (uint32_t)by;
    pool->waiting += (uint32_t)by;
    if (site->origin != NULL)
        atomic_fetch_add_explicit(&site->origin->waiting, (uint32_t)by, RELAXED);
    if (site->waiting_count > 0 && tg_list_is_empty(&site->starved))
        tg_list_push_back(&pool->starved, &site->starved);
    if (site->waiting_count > 0)
        return;
    tg_list_remove(&site->starved);
    tg_origin_unref(&site->origin, now_of(pool));
}

static void on_turn(struct tg_task *task)
{
    struct tg_pool_waiter *waiter = TG_CONTAINER_OF(task, struct tg_pool_waiter, task);
    waiter->on_turn(waiter);
}

static enum tg_err wait_for_place(struct tg_pool *pool, struct tg_pool_site *site,
                                  const struct tg_pool_target *target)
{
    struct tg_pool_waiter *waiter = target->waiter;
    if (waiter == NULL)
        return TG_E_UNAVAILABLE;
    bool again = waiter->turn; /* somebody else was faster: its place is kept */
    end_turn(site, waiter);
    if (!again && site->waiting_count >= target->conf->max_waiting)
        return TG_E_UNAVAILABLE;
    if (!again) {
        waiter->order = pool->order++;
        waiter->since = now_of(pool);
    }
    if (site->origin == NULL && target->origin != NULL)
        site->origin = tg_origin_hold(target->origin);
    site->conf = *target->conf;
    waiter->priority = target->priority;
    waiter->site = site;
    tg_list_init(&waiter->link);
    tg_task_init(&waiter->task, on_turn);
    if (again)
        tg_list_push_front(&site->waiting, &waiter->link);
    else
        tg_list_push_back(&site->waiting, &waiter->link);
    set_waiting(pool, site, 1);
    look_soon(pool, LOOK);
    return TG_E_AGAIN;
}

/* By priority, then first come; each fourth turn is the oldest's. */
static struct tg_pool_waiter *next_waiter(struct tg_pool_site *site)
{
    struct tg_pool_waiter *best = NULL;
    bool oldest = site->turns++ % 4 == 3;
    TG_LIST_FOREACH(&site->waiting, it)
    {
        struct tg_pool_waiter *w = TG_LIST_ENTRY(it, struct tg_pool_waiter, link);
        if (best == NULL || (oldest ? w->order < best->order : w->priority > best->priority))
            best = w;
    }
    return best;
}

/* Whether one more lease would find a connection or a place for one. */
static bool has_room(const struct tg_pool_site *site)
{
    const struct tg_pool_conf *conf = &site->conf;
    if (site->idle_count > site->promised)
        return true;
    if (conf->max_connecting > 0 && site->connecting + site->promised >= conf->max_connecting)
        return false;
    if (is_full(site, site->promised))
        return false;
    return conf->max_open == 0 || site->origin == NULL ||
           atomic_load_explicit(&site->origin->open, RELAXED) + site->promised < conf->max_open;
}

static void serve_waiters(struct tg_pool *pool, struct tg_pool_site *site)
{
    while (site->waiting_count > 0 && has_room(site)) {
        struct tg_pool_waiter *waiter = next_waiter(site);
        tg_list_remove(&waiter->link);
        set_waiting(pool, site, -1);
        waiter->turn = true;
        site->promised++;
        tg_size_note_wait(&site->size, now_of(pool) - waiter->since);
        tg_loop_defer(&pool->worker->loop, &waiter->task);
    }
}

void tg_pool_leave(struct tg_pool *pool, struct tg_pool_waiter *waiter)
{
    struct tg_pool_site *site = waiter->site;
    if (site == NULL)
        return;
    tg_task_cancel(&waiter->task);
    if (waiter->turn) {
        end_turn(site, waiter);
        serve_waiters(pool, site);
    } else {
        tg_list_remove(&waiter->link);
        set_waiting(pool, site, -1);
        tg_size_note_wait(&site->size, now_of(pool) - waiter->since);
        waiter->site = NULL;
    }
    drop_site_if_empty(pool, site);
}

/* ---- Ready before asked ------------------------------------------------------------------------
 */

static void on_warm_connected(struct tg_h1_client *client)
{
    struct pooled *p = TG_CONTAINER_OF(client, struct pooled, client);
    struct tg_pool *pool = p->pool;
    struct tg_pool_site *site = p->site;
    site->connecting--;
    tg_h1_client_wait(client, &idle_events, NULL,
                      site->warm ? site->warm_target.conf->idle_timeout : 1);
    to_idle(p);
    if (site->waiting_count > 0)
        serve_waiters(pool, site);
}

static void on_warm_failed(struct tg_h1_client *client, enum tg_err err, const char *reason)
{
    struct pooled *p = TG_CONTAINER_OF(client, struct pooled, client);
    (void)err;
    (void)reason;
    p->site->connecting--;
    discard(p);
}

static const struct tg_h1_client_events warm_events = {
    .on_connected = on_warm_connected,
    .on_failed = on_warm_failed,
};

static void warm_up(struct tg_pool *pool, struct tg_pool_site *site)
{
    const struct tg_pool_target *target = &site->warm_target;
    if (!site->warm || pool->worker->draining)
        return;
    while (site->idle_count + site->connecting < target->conf->min_idle) {
        struct pooled *p;
        if (!take_place(target))
            return;
        if (connect_new(pool, site, target, &warm_events, NULL, &p) != TG_OK) {
            give_place_back(target);
            break;
        }
    }
    look_soon(pool, WARM);
}

void tg_pool_keep_warm(struct tg_pool *pool, const struct tg_pool_target *target)
{
    struct tg_pool_site *site = find_site(pool, target);
    if (site == NULL)
        return;
    site->warm = target->conf->min_idle > 0;
    site->warm_target = *target;
    if (site->warm)
        warm_up(pool, site);
    else
        drop_site_if_empty(pool, site);
}

static void cool_down(struct tg_pool *pool, struct tg_pool_site *site)
{
    site->warm = false;
    if (site->left_at == 0)
        site->left_at = now_of(pool);
    drop_site_if_empty(pool, site);
}

void tg_pool_forget_warm(struct tg_pool *pool)
{
    memset(pool->shortcuts, 0, sizeof(pool->shortcuts));
    pool->changes++;
    visit_sites(pool, cool_down);
}

/* ---- Looking around ----------------------------------------------------------------------------
 */

static void look_soon(struct tg_pool *pool, uint64_t distance)
{
    uint64_t at = now_of(pool) + distance;
    if (pool->look.deadline == 0 || at < pool->look.deadline)
        tg_timer_set(&pool->look, at);
}

/* The size as of now: waiters for whom there is room come in, idle connections beyond it go. */
static void resize(struct tg_pool *pool, struct tg_pool_site *site)
{
    enum tg_size_change change = tg_size_step(&site->size, now_of(pool));
    look_soon(pool, site->size.began + TG_SIZE_PERIOD - now_of(pool));
    if (change == TG_SIZE_KEPT)
        return;
    tg_metric_inc(pool->worker->cells,
                  change == TG_SIZE_GROWN ? TG_METRIC_UPSTREAM_GROWN : TG_METRIC_UPSTREAM_SHRUNK);
    while (site->open_count > site->size.limit && site->idle_count > 0) {
        struct pooled *p = TG_LIST_ENTRY(site->idle.prev, struct pooled, link);
        take_from_idle(p);
        discard(p); /* not the last one: the limit is 1 or more */
    }
}

static void look_at(struct tg_pool *pool, struct tg_pool_site *site)
{
    if (site->size.limit > 0)
        resize(pool, site);
    if (site->waiting_count > 0)
        serve_waiters(pool, site);
    if (site->warm && site->idle_count + site->connecting < site->warm_target.conf->min_idle)
        warm_up(pool, site);
    if (site->left_at > 0 && now_of(pool) >= site->left_at + TG_ORIGIN_KEEP)
        close_idle(pool, site); /* which may be its end */
}

/* Leases on which nothing has moved for long. Tunnels rest as long as they like. */
static void look_for_leaks(struct tg_pool *pool)
{
    uint64_t now = now_of(pool);
    TG_LIST_FOREACH(&pool->leased, it)
    {
        struct pooled *p = TG_LIST_ENTRY(it, struct pooled, link);
        uint64_t moved = TG_MAX(TG_MAX(p->since, p->client.since), p->client.conn.sent_at);
        if (p->told || now < moved + LEAK || p->client.state == TG_H1_CLIENT_TUNNEL)
            continue;
        p->told = true;
        tg_log_kv(TG_LOG_WARN, "pool", "a connection has been leased without a byte for 5 minutes",
                  tg_log_str("request", tg_str_c(p->request)),
                  tg_log_str("route", tg_str_c(p->route)));
    }
}

static void on_look(struct tg_timer *timer)
{
    struct tg_pool *pool = TG_CONTAINER_OF(timer, struct tg_pool, look);
    visit_sites(pool, look_at);
    look_for_leaks(pool);
    if (pool->waiting > 0)
        look_soon(pool, LOOK);
    else if (pool->open > 0)
        look_soon(pool, CARE);
}

uint32_t tg_pool_idle(const struct tg_pool *pool)
{
    return pool->idle;
}

uint32_t tg_pool_open(const struct tg_pool *pool)
{
    return pool->open;
}

uint32_t tg_pool_waiting(const struct tg_pool *pool)
{
    return pool->waiting;
}
