/* pool_shared.c: connections to origins that carry many exchanges at a time: HTTP/2.
 *
 *              lease of the first stream               the last one is returned, and it is kept
 *     IDLE ----------> VALIDATING ------> ACTIVE -----------------------------------> IDLE
 *       |                   |                |  not kept: old, worn, left by the origin
 *       '-------------------'----------------'------------------> CLOSED
 *
 * A lease is a stream (struct lease): what is returned is that, and the connection rests with the
 * last one. The one that was used last is leased first, so that others fall idle and go. */
#include "base/banned.h"
#include "upstream/pool_internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "http/h2_call.h"
#include "net/tls_conn.h"

struct tg_pool_shared {
    struct tg_h2_client client;
    struct tg_pool *pool;
    struct tg_pool_site *site;
    struct tg_origin *origin; /* held; NULL: nobody's */
    struct tg_list link;      /* in site->shared */
    enum tg_pooled_state state;
    uint32_t leases;
    uint32_t max_requests; /* 0: no bound */
    uint64_t since;        /* us: when it came into this state */
    uint64_t until;        /* us: its age is over; 0: never */
    struct tg_task free_later;
};

struct lease {
    struct tg_h2_call call;
    struct tg_pool_shared *on;
    struct tg_slab *slab; /* borrowed from the worker: the connection may be gone */
    struct tg_pool_holder holder;
    struct tg_task free_later;
};

static void set_state(struct tg_pool_shared *s, enum tg_pooled_state to)
{
    static const unsigned allowed[] = {
        [TG_POOLED_CONNECTING] = 1u << TG_POOLED_ACTIVE,
        [TG_POOLED_IDLE] = 1u << TG_POOLED_VALIDATING | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_VALIDATING] =
            1u << TG_POOLED_ACTIVE | 1u << TG_POOLED_IDLE | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_ACTIVE] = 1u << TG_POOLED_RECYCLING | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_RECYCLING] = 1u << TG_POOLED_IDLE | 1u << TG_POOLED_CLOSED,
        [TG_POOLED_CLOSED] = 0,
    };
    tg_assert(allowed[s->state] & (1u << to));
    if ((s->state == TG_POOLED_IDLE) != (to == TG_POOLED_IDLE))
        tg_pool_count_idle(s->pool, s->site, s->origin, to == TG_POOLED_IDLE ? 1 : -1);
    s->state = to;
    s->since = tg_pool_now(s->pool);
}

/* ---- The end of a connection -------------------------------------------------------------------
 */

static void on_free(struct tg_task *task)
{
    struct tg_pool_shared *s = TG_CONTAINER_OF(task, struct tg_pool_shared, free_later);
    tg_slab_return(s->client.conn.worker->slab, s, sizeof(*s)); /* the pool may be gone */
}

/* Closes a connection without leases, and frees it at the end of the round. */
static void discard(struct tg_pool_shared *s)
{
    struct tg_pool *pool = s->pool;
    struct tg_pool_site *site = s->site;
    tg_h2_client_close(&s->client);
    set_state(s, TG_POOLED_CLOSED);
    tg_list_remove(&s->link);
    s->site = NULL;
    tg_loop_defer(&pool->worker->loop, &s->free_later);
    tg_pool_count_closed(pool, site, &s->origin);
}

static void on_closed(struct tg_h2_client *client)
{
    struct tg_pool_shared *s = TG_CONTAINER_OF(client, struct tg_pool_shared, client);
    if (s->state != TG_POOLED_CLOSED && s->leases == 0)
        discard(s);
}

/* The origin takes more than it did, or less; who takes nothing any more and has nothing goes. */
static void on_room(struct tg_h2_client *client)
{
    struct tg_pool_shared *s = TG_CONTAINER_OF(client, struct tg_pool_shared, client);
    if (s->state == TG_POOLED_CLOSED)
        return;
    s->site->streams = tg_h2_client_allowed(client);
    if (s->leases == 0 && tg_h2_client_room(client) == 0)
        discard(s);
    else if (s->site->waiting_count > 0)
        tg_pool_serve(s->pool, s->site);
}

static const struct tg_h2_client_events client_events = {
    .on_room = on_room,
    .on_closed = on_closed,
};

void tg_pool_shared_close_idle(struct tg_pool_site *site)
{
    TG_LIST_FOREACH(&site->shared, it)
    {
        struct tg_pool_shared *s = TG_LIST_ENTRY(it, struct tg_pool_shared, link);
        if (s->state == TG_POOLED_IDLE)
            discard(s);
    }
}

bool tg_pool_shared_close_oldest(struct tg_pool_site *site, bool wanted)
{
    struct tg_pool_shared *oldest = NULL;
    TG_LIST_FOREACH(&site->shared, it)
    {
        struct tg_pool_shared *s = TG_LIST_ENTRY(it, struct tg_pool_shared, link);
        if (s->state == TG_POOLED_IDLE && (oldest == NULL || s->since < oldest->since))
            oldest = s;
    }
    if (oldest == NULL || (wanted && !tg_pool_is_wanted(oldest->origin)))
        return false;
    discard(oldest);
    return true;
}

uint64_t tg_pool_shared_used(const struct tg_pool_site *site)
{
    uint64_t used = 0;
    TG_LIST_FOREACH(&site->shared, it)
    {
        const struct tg_pool_shared *s = TG_LIST_ENTRY(it, struct tg_pool_shared, link);
        if (s->state == TG_POOLED_IDLE)
            used = TG_MAX(used, s->since);
    }
    return used;
}

/* ---- New connections ---------------------------------------------------------------------------
 */

enum tg_err tg_pool_shared_asked(struct tg_pooled *p, bool *yes)
{
    const struct tg_tls_facts *facts = tg_tls_facts_of(p->client.conn.transport);
    *yes = facts == NULL ? p->site->http == TG_ORIGIN_HTTP2
                         : tg_str_eq(facts->alpn, TG_STR("h2")) && p->site->http != TG_ORIGIN_HTTP1;
    return *yes || p->site->http != TG_ORIGIN_HTTP2 ? TG_OK : TG_E_PROTOCOL;
}

/* `p` has given its socket and its counts away. */
static void drop_shell(struct tg_pooled *p)
{
    tg_h1_client_close(&p->client);
    tg_list_remove(&p->holder.link);
    p->state = TG_POOLED_CLOSED; /* not by the setter: the connection lives on */
    p->site = NULL;
    p->origin = NULL;
    tg_loop_defer(&p->pool->worker->loop, &p->free_later);
}

enum tg_err tg_pool_shared_open(struct tg_pooled *p, const struct tg_pool_conf *conf,
                                struct tg_pool_site *site)
{
    struct tg_slab *slab = p->pool->worker->slab;
    struct tg_h2_client_conf client = {.first = site->streams,
                                       .streams = conf->streams,
                                       .max_window = conf->window,
                                       .head = conf->head,
                                       .ping = conf->ping};
    struct tg_pool_shared *s = tg_slab_lease(slab, sizeof(*s));
    if (s == NULL)
        return TG_E_NOMEM;
    enum tg_err err = tg_h2_client_open(&s->client, &p->client.conn, &client, &client_events, s);
    if (err != TG_OK) {
        tg_slab_return(slab, s, sizeof(*s));
        return err;
    }
    s->pool = p->pool;
    s->site = site;
    s->origin = p->origin;
    s->state = TG_POOLED_CONNECTING;
    s->leases = 0;
    s->max_requests = conf->max_requests;
    s->until = p->until;
    tg_task_init(&s->free_later, on_free);
    set_state(s, TG_POOLED_ACTIVE);
    tg_list_push_front(&site->shared, &s->link);
    drop_shell(p);
    return TG_OK;
}

/* The one that was opened just now. */
static struct tg_pool_shared *newest(const struct tg_pool_site *site)
{
    return TG_LIST_ENTRY(site->shared.next, struct tg_pool_shared, link);
}

void tg_pool_shared_rest(struct tg_pool_site *site, const struct tg_pool_conf *conf)
{
    struct tg_pool_shared *s = newest(site);
    set_state(s, TG_POOLED_RECYCLING);
    set_state(s, TG_POOLED_IDLE);
    tg_h2_client_rest(&s->client, conf->idle_timeout);
}

/* ---- Leases ------------------------------------------------------------------------------------
 */

static bool is_worn(const struct tg_pool_shared *s)
{
    return (s->until > 0 && tg_pool_now(s->pool) >= s->until) ||
           (s->max_requests > 0 && s->client.requests >= s->max_requests);
}

static uint32_t room_of(const struct tg_pool_shared *s)
{
    return is_worn(s) ? 0 : tg_h2_client_room(&s->client);
}

uint32_t tg_pool_shared_room(const struct tg_pool_site *site)
{
    uint32_t room = 0;
    TG_LIST_FOREACH(&site->shared, it)
    room += room_of(TG_LIST_ENTRY(it, struct tg_pool_shared, link));
    return room;
}

uint32_t tg_pool_shared_ready(const struct tg_pool_site *site)
{
    uint32_t ready = 0;
    TG_LIST_FOREACH(&site->shared, it)
    ready += room_of(TG_LIST_ENTRY(it, struct tg_pool_shared, link)) > 0;
    return ready;
}

/* What the loop has not read yet may say that an idle connection is over: it is read now. A request
 * that cannot be repeated asks the kernel too. */
static void validate(struct tg_pool_shared *s, bool careful)
{
    uint64_t age = tg_pool_now(s->pool) - s->since;
    set_state(s, TG_POOLED_VALIDATING);
    if (ev_is_pending(&s->client.conn.io) || (careful && age >= TG_POOL_CAREFUL_AGE))
        tg_h2_client_look(&s->client);
}

/* The connection that was used last and has room; NULL: none. Those that are worn take no more. */
static struct tg_pool_shared *choose(struct tg_pool_site *site, bool careful)
{
    TG_LIST_FOREACH(&site->shared, it)
    {
        struct tg_pool_shared *s = TG_LIST_ENTRY(it, struct tg_pool_shared, link);
        if (s->state == TG_POOLED_IDLE)
            validate(s, careful);
        if (s->state == TG_POOLED_CLOSED)
            continue;
        if (room_of(s) > 0)
            return s;
        if (s->leases >= s->client.conf.streams)
            tg_limit_hit(upstream_streams);
        if (s->leases == 0)
            discard(s);
        else if (is_worn(s))
            tg_h2_client_leave(&s->client);
    }
    return NULL;
}

static void on_free_lease(struct tg_task *task)
{
    struct lease *lease = TG_CONTAINER_OF(task, struct lease, free_later);
    tg_slab_return(lease->slab, lease, sizeof(*lease));
}

static void count_stream(struct tg_pool_shared *s, int by)
{
    s->leases += (uint32_t)by;
    tg_limit_note(upstream_streams, s->leases);
    if (s->origin != NULL)
        atomic_fetch_add_explicit(&s->origin->streams, (uint32_t)by, memory_order_relaxed);
}

static enum tg_err lease_of(struct tg_pool_shared *s, struct lease **out)
{
    struct tg_slab *slab = s->pool->worker->slab;
    struct lease *lease = tg_slab_lease(slab, sizeof(*lease));
    if (lease == NULL)
        return TG_E_NOMEM;
    enum tg_err err = tg_h2_call_open(&lease->call, &s->client);
    if (err != TG_OK) {
        tg_slab_return(slab, lease, sizeof(*lease));
        return err;
    }
    lease->on = s;
    lease->slab = slab;
    lease->holder = (struct tg_pool_holder){.shared = true};
    tg_list_init(&lease->holder.link);
    tg_task_init(&lease->free_later, on_free_lease);
    count_stream(s, 1);
    *out = lease;
    return TG_OK;
}

/* A connection that was to carry a stream and does not rests again. */
static void give_up(struct tg_pool_shared *s)
{
    if (s->state == TG_POOLED_VALIDATING)
        set_state(s, TG_POOLED_IDLE);
}

enum tg_err tg_pool_shared_lease(struct tg_pool_site *site, bool careful,
                                 struct tg_pool_holder **holder, struct tg_call **out)
{
    struct lease *lease;
    site->open_count++; /* so that the site stays */
    struct tg_pool_shared *s = choose(site, careful);
    site->open_count--;
    if (s == NULL)
        return TG_E_NOT_FOUND;
    enum tg_err err = lease_of(s, &lease);
    if (err != TG_OK) {
        give_up(s);
        return err;
    }
    if (s->state == TG_POOLED_VALIDATING)
        set_state(s, TG_POOLED_ACTIVE);
    *holder = &lease->holder;
    *out = &lease->call.call;
    return TG_OK;
}

enum tg_err tg_pool_shared_lease_new(struct tg_pool_site *site, struct tg_pool_holder **holder,
                                     struct tg_call **out)
{
    struct lease *lease;
    enum tg_err err = lease_of(newest(site), &lease);
    if (err != TG_OK)
        return err;
    *holder = &lease->holder;
    *out = &lease->call.call;
    return TG_OK;
}

uint64_t tg_pool_shared_moved(const struct tg_pool_holder *holder)
{
    const struct lease *lease = TG_CONTAINER_OF(holder, struct lease, holder);
    if (lease->call.tunnel)
        return tg_pool_now(lease->on->pool);
    return TG_MAX(TG_MAX(lease->on->since, lease->call.since), lease->call.sent_at);
}

void tg_pool_shared_return(struct tg_pool *pool, struct tg_call *call,
                           const struct tg_pool_conf *conf)
{
    struct lease *lease = TG_CONTAINER_OF(call, struct lease, call.call);
    struct tg_pool_shared *s = lease->on;
    struct tg_pool_site *site = s->site;
    tg_assert(s->pool == pool);
    tg_h2_call_close(&lease->call);
    tg_list_remove(&lease->holder.link);
    tg_loop_defer(&pool->worker->loop, &lease->free_later);
    count_stream(s, -1);
    if (s->leases > 0) {
        if (site->waiting_count > 0)
            tg_pool_serve(pool, site);
        return;
    }
    set_state(s, TG_POOLED_RECYCLING);
    if (pool->worker->draining || room_of(s) == 0 || !tg_pool_keeps(site, s->origin, conf)) {
        discard(s);
        return;
    }
    tg_list_remove(&s->link);
    tg_list_push_front(&site->shared, &s->link);
    set_state(s, TG_POOLED_IDLE);
    tg_h2_client_rest(&s->client, conf->idle_timeout);
    if (site->waiting_count > 0)
        tg_pool_serve(pool, site);
}
