/* pool.c: leases, and connections that carry one exchange at a time. See pool.h. */
#include "base/banned.h"
#include "upstream/pool.h"

#include "base/assert.h"
#include "base/limits.h"
#include "net/tls_conn.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "upstream/echo.h"
#include "upstream/pool_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define RELAXED memory_order_relaxed

static void set_state(struct tg_pooled *p, enum tg_pooled_state to)
{
    static const unsigned allowed[] = {
        [TG_POOLED_CONNECTING] = 1u << TG_POOLED_IDLE | 1u << TG_POOLED_ACTIVE |
                                 1u << TG_POOLED_RECYCLING | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_IDLE] = 1u << TG_POOLED_VALIDATING | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_VALIDATING] = 1u << TG_POOLED_ACTIVE | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_ACTIVE] = 1u << TG_POOLED_RECYCLING,
        [TG_POOLED_RECYCLING] = 1u << TG_POOLED_IDLE | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_CLOSED] = 0,
    };
    tg_assert(allowed[p->state] & (1u << to));
    p->state = to;
    p->since = tg_pool_now(p->pool);
}

struct tg_pool *tg_pool_new(struct tg_worker *worker)
{
    struct tg_pool *pool = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    if (tg_timer_init(&pool->look, &worker->loop.timers, tg_pool_on_look) != TG_OK) {
        tg_mem_free(TG_MEM_CONNECTION, pool);
        return NULL;
    }
    pool->worker = worker;
    tg_list_init(&pool->echoes);
    tg_list_init(&pool->leased);
    for (unsigned i = 0; i < TG_POOL_BUCKETS; i++)
        tg_list_init(&pool->buckets[i]);
    return pool;
}

void tg_pool_set_dialer(struct tg_pool *pool, const struct tg_pool_dialer *dialer)
{
    pool->dialer = dialer;
}

/* ---- Sites -------------------------------------------------------------------------------------
 */

static inline struct tg_pool_site *find_site(struct tg_pool *pool,
                                             const struct tg_pool_target *target)
{
    const struct tg_addr *addr = target->addr;
    if (target->passing)
        return tg_pool_look_up_site(pool, target);
    struct tg_pool_shortcut *s =
        &pool->shortcuts[((uintptr_t)addr / sizeof(*addr)) % TG_POOL_SHORTCUTS];
    if (TG_LIKELY(s->addr == addr && s->tls == target->tls && s->http == target->http))
        return s->site;
    struct tg_pool_site *site = tg_pool_look_up_site(pool, target);
    if (site != NULL)
        *s = (struct tg_pool_shortcut){addr, target->tls, target->http, site};
    return site;
}

static struct tg_pooled *pooled_of(struct tg_call *call)
{
    return TG_CONTAINER_OF(call, struct tg_pooled, client.call);
}

/* ---- The end of a connection -------------------------------------------------------------------
 */

static void on_free(struct tg_task *task)
{
    struct tg_pooled *p = TG_CONTAINER_OF(task, struct tg_pooled, free_later);
    tg_slab_return(p->client.conn.worker->slab, p, sizeof(*p)); /* the pool may be gone */
}

void tg_pool_count_closed(struct tg_pool *pool, struct tg_pool_site *site,
                          struct tg_origin **origin)
{
    site->open_count--;
    pool->open--;
    if (*origin != NULL)
        atomic_fetch_sub_explicit(&(*origin)->open, 1, RELAXED);
    tg_origin_unref(origin, tg_pool_now(pool));
    tg_metric_dec(pool->worker->cells, TG_METRIC_UPSTREAM_OPEN);
    if (site->waiting_count > 0)
        tg_pool_serve(pool, site);
    if (site->warm)
        tg_pool_look_soon(pool, TG_POOL_WARM);
    tg_pool_drop_site_if_empty(pool, site);
}

/* Closes `p`, which is in no list, and frees it at the end of the round. */
static void discard(struct tg_pooled *p)
{
    struct tg_pool *pool = p->pool;
    struct tg_pool_site *site = p->site;
    tg_h1_client_close(&p->client);
    set_state(p, TG_POOLED_CLOSED);
    p->site = NULL;
    tg_loop_defer(&pool->worker->loop, &p->free_later);
    tg_pool_count_closed(pool, site, &p->origin);
}

void tg_pool_count_idle(struct tg_pool *pool, struct tg_pool_site *site, struct tg_origin *origin,
                        int by)
{
    site->idle_count += (uint32_t)by;
    tg_limit_note(upstream_keepalive, site->idle_count);
    pool->idle += (uint32_t)by;
    if (by > 0 && site->bounded)
        tg_pool_look_soon(pool, TG_POOL_GIVE_WAY);
    if (origin != NULL)
        atomic_fetch_add_explicit(&origin->idle, (uint32_t)by, RELAXED);
}

static void take_from_idle(struct tg_pooled *p)
{
    tg_list_remove(&p->link);
    tg_pool_count_idle(p->pool, p->site, p->origin, -1);
}

static void on_idle_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    struct tg_pooled *p = pooled_of(call);
    (void)err;
    (void)reason;
    take_from_idle(p);
    discard(p);
}

static const struct tg_call_events idle_events = {.on_failed = on_idle_failed};

void tg_pool_close_idle_of(struct tg_pool *pool, struct tg_pool_site *site)
{
    site->open_count++; /* so that the site stays */
    while (!tg_list_is_empty(&site->idle)) {
        struct tg_pooled *p = TG_LIST_ENTRY(site->idle.next, struct tg_pooled, link);
        take_from_idle(p);
        discard(p);
    }
    tg_pool_shared_close_idle(site);
    site->open_count--;
    tg_pool_drop_site_if_empty(pool, site);
}

bool tg_pool_close_oldest(struct tg_pool *pool, struct tg_pool_site *site, bool wanted)
{
    if (tg_list_is_empty(&site->idle))
        return tg_pool_shared_close_oldest(site, wanted);
    struct tg_pooled *p = TG_LIST_ENTRY(site->idle.prev, struct tg_pooled, link);
    tg_assert(p->pool == pool);
    if (wanted && !tg_pool_is_wanted(p->origin))
        return false;
    take_from_idle(p);
    discard(p);
    return true;
}

void tg_pool_close_idle(struct tg_pool *pool)
{
    tg_pool_visit_sites(pool, tg_pool_close_idle_of);
}

static void report_leaks(const struct tg_pool *pool)
{
    TG_LIST_FOREACH(&pool->leased, it)
    {
        const struct tg_pool_holder *h = TG_LIST_ENTRY(it, struct tg_pool_holder, link);
        tg_log_kv(TG_LOG_ERROR, "pool", "a connection was never returned",
                  tg_log_str("request", tg_str_c(h->request)),
                  tg_log_str("route", tg_str_c(h->route)));
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
    return tg_pool_now(pool) + conf->lifetime -
           (spread > 0 ? tg_rand_below(&pool->worker->rand, spread) : 0);
}

void tg_pool_set_tls(struct tg_pool *pool, struct tg_tls_shared *shared)
{
    pool->tls = shared;
}

/* What goes first on a new connection, and TLS on it. On failure it is closed. */
static enum tg_err dress(struct tg_pool *pool, struct tg_h1_client *client,
                         const struct tg_pool_target *target, enum tg_origin_http http)
{
    static const enum tg_tls_offer offers[] = {
        [TG_ORIGIN_HTTP1] = TG_TLS_OFFER_HTTP1,
        [TG_ORIGIN_HTTP2] = TG_TLS_OFFER_HTTP2,
        [TG_ORIGIN_AUTO] = TG_TLS_OFFER_BOTH,
    };
    enum tg_err err = TG_OK;
    struct tg_transport *t = NULL;
    if (target->preface.n > 0)
        err = tg_conn_preface(&client->conn, target->preface.p, target->preface.n);
    if (err == TG_OK && target->tls != NULL) {
        t = tg_tls_connect(target->tls, pool->tls, pool->worker, target->addr, target->tls_name,
                           offers[http]);
        err = t != NULL ? TG_OK : TG_E_NOMEM;
    }
    if (err != TG_OK)
        tg_h1_client_close(client);
    else if (t != NULL)
        tg_conn_secure(&client->conn, t);
    return err;
}

static enum tg_err dial(struct tg_pool *pool, struct tg_pooled *p,
                        const struct tg_pool_target *target, const struct tg_call_events *events,
                        void *owner)
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
    return err == TG_OK ? dress(pool, &p->client, target, p->site->http) : err;
}

/* With a place taken. */
static enum tg_err connect_new(struct tg_pool *pool, struct tg_pool_site *site,
                               const struct tg_pool_target *target,
                               const struct tg_call_events *events, void *owner,
                               struct tg_pooled **out)
{
    struct tg_pooled *p = tg_slab_lease(pool->worker->slab, sizeof(*p));
    if (p == NULL)
        return TG_E_NOMEM;
    p->pool = pool;
    p->site = site;
    p->state = TG_POOLED_CONNECTING;
    p->since = tg_pool_now(pool);
    p->until = end_of_life(pool, target->conf);
    p->single = target->preface.n > 0;
    p->holder.request[0] = p->holder.route[0] = '\0';
    p->holder.route_from = NULL;
    p->holder.shared = false;
    tg_list_init(&p->link);
    tg_list_init(&p->holder.link);
    tg_task_init(&p->free_later, on_free);
    enum tg_err err = dial(pool, p, target, events, owner);
    if (err != TG_OK) {
        tg_slab_return(pool->worker->slab, p, sizeof(*p));
        return err;
    }
    p->origin = target->origin != NULL ? tg_origin_hold(target->origin) : NULL;
    site->bounded |= target->conf->max_open > 0;
    site->open_count++;
    site->connecting++;
    pool->open++;
    tg_pool_look_soon(pool, TG_POOL_CARE);
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_CONNECTS);
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_OPEN);
    *out = p;
    return TG_OK;
}

/* ---- Leases ------------------------------------------------------------------------------------
 */

/* A readable idle socket is dead: the origin has ended it, or speaks out of turn. Under TLS it may
 * have sent a ticket, so there only who is careful takes it for dead. */
static bool is_dead(const struct tg_pooled *p, bool careful)
{
    char byte;
    if (ev_is_pending(&p->client.conn.io) && (p->site->tls == 0 || careful))
        return true;
    if (p->until > 0 && tg_pool_now(p->pool) >= p->until)
        return true;
    if (!careful || p->client.conn.fd < 0 || tg_pool_now(p->pool) - p->since < TG_POOL_CAREFUL_AGE)
        return false;
    return recv(p->client.conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static void copy_name(char to[TG_POOL_HOLDER_MAX], struct tg_str from)
{
    size_t n = TG_MIN(from.n, TG_POOL_HOLDER_MAX - 1);
    if (n > 0)
        memcpy(to, from.p, n);
    to[n] = '\0';
}

static void copy_request(char to[TG_POOL_HOLDER_MAX], struct tg_str id)
{
    if (id.n == TG_RAND_ID_LEN) { /* as it mostly is */
        memcpy(to, id.p, TG_RAND_ID_LEN);
        to[TG_RAND_ID_LEN] = '\0';
    } else {
        copy_name(to, id);
    }
}

/* Mostly it is the route of the last lease, and that is there. */
static void copy_route(struct tg_pool *pool, struct tg_pool_holder *holder, struct tg_str route)
{
    uint32_t changes = pool->changes;
    if (TG_LIKELY(holder->route_from == route.p && holder->route_since == changes))
        return;
    copy_name(holder->route, route);
    holder->route_from = route.p;
    holder->route_since = changes;
}

void tg_pool_hold(struct tg_pool *pool, struct tg_pool_holder *holder,
                  const struct tg_pool_target *target)
{
    copy_request(holder->request, target->request);
    copy_route(pool, holder, target->route);
    holder->told = false;
    tg_list_push_front(&pool->leased, &holder->link);
}

static inline void hand_out(struct tg_pool *pool, struct tg_pooled *p,
                            const struct tg_pool_target *target)
{
    struct tg_pool_site *site = p->site;
    tg_pool_hold(pool, &p->holder, target);
    if (TG_UNLIKELY(site->size.limit > 0))
        tg_size_note_lease(&site->size, site->open_count - site->idle_count);
}

/* The idle connection that was used last and is alive; NULL: none. */
static struct tg_pooled *take_idle(struct tg_pool_site *site, bool careful)
{
    while (!tg_list_is_empty(&site->idle)) {
        struct tg_pooled *p = TG_LIST_ENTRY(site->idle.next, struct tg_pooled, link);
        uint64_t since = p->since;
        take_from_idle(p);
        set_state(p, TG_POOLED_VALIDATING);
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

/* Its size follows from use, or has. */
static void follow_size(struct tg_pool *pool, struct tg_pool_site *site,
                        const struct tg_pool_target *target)
{
    bool follows = site->size.limit > 0;
    tg_size_follow(&site->size, target->conf, target->origin, tg_pool_now(pool));
    if (!follows && site->size.limit > 0)
        tg_pool_look_soon(pool, TG_SIZE_PERIOD);
}

static enum tg_err lease_new(struct tg_pool *pool, struct tg_pool_site *site,
                             const struct tg_pool_target *target,
                             const struct tg_call_events *events, void *owner, struct tg_call **out)
{
    struct tg_pooled *p;
    bool throttled =
        target->conf->max_connecting > 0 && site->connecting >= target->conf->max_connecting;
    if (throttled || tg_pool_is_full(site, 0) || !take_place(target))
        return tg_pool_wait(pool, site, target);
    tg_pool_end_turn(site, target->waiter);
    enum tg_err err = connect_new(pool, site, target, events, owner, &p);
    if (err != TG_OK) {
        give_place_back(target);
        return err;
    }
    hand_out(pool, p, target);
    *out = &p->client.call;
    return TG_OK;
}

/* A stream of a connection that stands; or of the one that is being made, which will have room; or
 * another connection. */
static enum tg_err lease_of_many(struct tg_pool *pool, struct tg_pool_site *site,
                                 const struct tg_pool_target *target,
                                 const struct tg_call_events *events, void *owner,
                                 struct tg_call **out, bool *connected)
{
    struct tg_pool_holder *holder;
    enum tg_err err = tg_pool_shared_lease(site, target->careful, &holder, out);
    if (err == TG_OK) {
        tg_pool_end_turn(site, target->waiter);
        tg_pool_hold(pool, holder, target);
        *connected = true;
        tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_REUSES);
        return TG_OK;
    }
    if (err != TG_E_NOT_FOUND)
        return err;
    if (site->connecting > 0 && target->waiter != NULL &&
        (target->waiter->turn || site->waiting_count < target->conf->max_waiting))
        return tg_pool_wait(pool, site, target);
    return lease_new(pool, site, target, events, owner, out);
}

/* The idle connection that was used last, or another. */
static enum tg_err lease_single(struct tg_pool *pool, struct tg_pool_site *site,
                                const struct tg_pool_target *target,
                                const struct tg_call_events *events, void *owner,
                                struct tg_call **out, bool *connected)
{
    bool fresh = target->fresh || target->preface.n > 0;
    struct tg_pooled *p = fresh ? NULL : take_idle(site, target->careful);
    if (p == NULL)
        return lease_new(pool, site, target, events, owner, out);
    set_state(p, TG_POOLED_ACTIVE);
    tg_pool_end_turn(site, target->waiter);
    hand_out(pool, p, target);
    *out = &p->client.call;
    *connected = true;
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_REUSES);
    if (site->warm && site->idle_count < site->warm_target.conf->min_idle)
        tg_pool_look_soon(pool, TG_POOL_LOOK);
    return TG_OK;
}

enum tg_err tg_pool_lease(struct tg_pool *pool, const struct tg_pool_target *target,
                          const struct tg_call_events *events, void *owner, struct tg_call **out,
                          bool *connected)
{
    struct tg_pool_site *site = find_site(pool, target);
    if (site == NULL)
        return pool->sites >= TG_POOL_SITES_MAX ? TG_E_LIMIT : TG_E_NOMEM;
    *connected = false;
    if (TG_UNLIKELY(target->conf->size_max > 0 || site->size.limit > 0))
        follow_size(pool, site, target);
    if (TG_UNLIKELY(must_wait(site, target)))
        return tg_pool_wait(pool, site, target);
    enum tg_err err = TG_UNLIKELY(tg_pool_is_many(site))
                          ? lease_of_many(pool, site, target, events, owner, out, connected)
                          : lease_single(pool, site, target, events, owner, out, connected);
    if (err != TG_OK && err != TG_E_AGAIN)
        tg_pool_drop_site_if_empty(pool, site);
    return err;
}

static void to_idle(struct tg_pooled *p)
{
    tg_list_push_front(&p->site->idle, &p->link);
    tg_pool_count_idle(p->pool, p->site, p->origin, 1);
    set_state(p, TG_POOLED_IDLE);
}

bool tg_pool_keeps(const struct tg_pool_site *site, const struct tg_origin *origin,
                   const struct tg_pool_conf *conf)
{
    if (site->waiting_count > 0)
        return true;
    if (tg_pool_is_wanted(origin))
        return false; /* by another worker */
    if (site->idle_count < conf->max_idle)
        return true;
    tg_limit_hit(upstream_keepalive);
    return false;
}

/* Whether a connection whose exchange is over is kept. */
static bool is_kept(struct tg_pooled *p, const struct tg_pool_conf *conf)
{
    if (p->single || !tg_h1_client_is_reusable(&p->client) || p->pool->worker->draining)
        return false;
    if ((p->until > 0 && tg_pool_now(p->pool) >= p->until) ||
        (conf->max_requests > 0 && p->client.requests >= conf->max_requests))
        return false;
    return tg_pool_keeps(p->site, p->origin, conf);
}

static void return_single(struct tg_pool *pool, struct tg_pooled *p,
                          const struct tg_pool_conf *conf)
{
    struct tg_pool_site *site = p->site;
    tg_assert(p->pool == pool);
    tg_list_remove(&p->holder.link);
    if (p->state == TG_POOLED_CONNECTING)
        site->connecting--;
    set_state(p, TG_POOLED_RECYCLING);
    if (!is_kept(p, conf)) {
        discard(p);
        return;
    }
    tg_h1_client_rest(&p->client, &idle_events, NULL, conf->idle_timeout);
    to_idle(p);
    if (site->waiting_count > 0)
        tg_pool_serve(pool, site);
}

void tg_pool_return(struct tg_pool *pool, struct tg_call **callp, const struct tg_pool_conf *conf)
{
    struct tg_call *call = *callp;
    *callp = NULL;
    if (call == NULL)
        return;
    if (TG_LIKELY(call->protocol == TG_CALL_HTTP1))
        return_single(pool, pooled_of(call), conf);
    else
        tg_pool_shared_return(pool, call, conf);
}

/* A connection where exchanges may share one has come about: what it speaks. *shared: `p` has given
 * its socket to one of those, the site's first. */
static enum tg_err settle_protocol(struct tg_pooled *p, const struct tg_pool_conf *conf,
                                   bool *shared, const char **reason)
{
    struct tg_pool_site *site = p->site;
    enum tg_err err = tg_pool_shared_asked(p, shared);
    if (err == TG_E_PROTOCOL)
        *reason = "origin: it does not agree to HTTP/2 (ALPN)";
    if (err != TG_OK)
        return err;
    site->is_serial = !*shared;
    return *shared ? tg_pool_shared_open(p, conf, site) : TG_OK;
}

/* The lease of `p` becomes one of a stream. */
static enum tg_err turn_into_many(struct tg_pool *pool, struct tg_pooled *p,
                                  const struct tg_pool_conf *conf, struct tg_call **call,
                                  const char **reason)
{
    struct tg_pool_holder was = p->holder;
    struct tg_pool_holder *holder;
    struct tg_pool_site *site = p->site;
    struct tg_call made = **call;
    bool shared;
    enum tg_err err = settle_protocol(p, conf, &shared, reason);
    if (err != TG_OK || !shared)
        return err;
    *call = NULL;
    err = tg_pool_shared_lease_new(site, &holder, call);
    if (err != TG_OK) {
        tg_pool_shared_rest(site, conf);
        return err;
    }
    memcpy(holder->request, was.request, sizeof(was.request));
    memcpy(holder->route, was.route, sizeof(was.route));
    tg_list_push_front(&pool->leased, &holder->link);
    (*call)->events = made.events;
    (*call)->owner = made.owner;
    return TG_OK;
}

enum tg_err tg_pool_note_connected(struct tg_pool *pool, struct tg_call **call,
                                   const struct tg_pool_conf *conf, const char **reason)
{
    struct tg_pooled *p = pooled_of(*call);
    struct tg_pool_site *site = p->site;
    enum tg_err err = TG_OK;
    *reason = NULL;
    tg_assert(p->state == TG_POOLED_CONNECTING);
    site->connecting--;
    set_state(p, TG_POOLED_ACTIVE);
    if (TG_UNLIKELY(site->http != TG_ORIGIN_HTTP1))
        err = turn_into_many(pool, p, conf, call, reason);
    if (site->waiting_count > 0)
        tg_pool_serve(pool, site);
    return err;
}

/* ---- Ready before asked ------------------------------------------------------------------------
 */

static void on_warm_connected(struct tg_call *call)
{
    struct tg_pooled *p = pooled_of(call);
    struct tg_pool *pool = p->pool;
    struct tg_pool_site *site = p->site;
    const struct tg_pool_conf *conf = site->warm ? site->warm_target.conf : NULL;
    const char *reason;
    bool shared = false;
    site->connecting--;
    if (conf == NULL ||
        (site->http != TG_ORIGIN_HTTP1 && settle_protocol(p, conf, &shared, &reason) != TG_OK)) {
        discard(p);
        return;
    }
    if (shared) {
        tg_pool_shared_rest(site, conf);
    } else {
        tg_h1_client_wait(&p->client, &idle_events, NULL, conf->idle_timeout);
        to_idle(p);
    }
    if (site->waiting_count > 0)
        tg_pool_serve(pool, site);
}

static void on_warm_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    struct tg_pooled *p = pooled_of(call);
    (void)err;
    (void)reason;
    p->site->connecting--;
    discard(p);
}

static const struct tg_call_events warm_events = {
    .on_connected = on_warm_connected,
    .on_failed = on_warm_failed,
};

enum tg_err tg_pool_connect_ahead(struct tg_pool *pool, struct tg_pool_site *site)
{
    const struct tg_pool_target *target = &site->warm_target;
    struct tg_pooled *p;
    if (!take_place(target))
        return TG_E_UNAVAILABLE;
    enum tg_err err = connect_new(pool, site, target, &warm_events, NULL, &p);
    if (err != TG_OK)
        give_place_back(target);
    return err;
}

/* ---- Counts ------------------------------------------------------------------------------------
 */

uint32_t tg_pool_idle(const struct tg_pool *pool)
{
    return pool->idle;
}

uint32_t tg_pool_open(const struct tg_pool *pool)
{
    return pool->open;
}
