/* pool.c: idle lists in a small hash table by address. See pool.h. */
#include "base/banned.h"
#include "upstream/pool.h"

#include "base/assert.h"
#include "net/tls_conn.h"
#include "observe/metrics.h"
#include "upstream/echo.h"

#define BUCKETS 64u

/* The connections of one address. Lives while it has any. */
struct site {
    struct tg_list link; /* in its bucket */
    struct tg_list idle; /* of struct pooled, last used first */
    struct tg_addr addr;
    uint64_t tls; /* number of the settings; 0: clear text */
    uint32_t idle_count;
    uint32_t open_count;
};

struct pooled {
    struct tg_h1_client client;
    struct tg_pool *pool;
    struct site *site;
    struct tg_list link; /* in site->idle */
    struct tg_task free_later;
    bool single; /* for one exchange */
};

struct tg_pool {
    struct tg_worker *worker;
    struct tg_tls_shared *tls;           /* borrowed; NULL: sessions are not kept */
    const struct tg_pool_dialer *dialer; /* borrowed; NULL: the network */
    struct tg_list buckets[BUCKETS];     /* of struct site */
    struct tg_list echoes;               /* far ends of connections to the echo origin */
    uint32_t idle;
    uint32_t open;
};

struct tg_pool *tg_pool_new(struct tg_worker *worker)
{
    struct tg_pool *pool = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->worker = worker;
    tg_list_init(&pool->echoes);
    for (unsigned i = 0; i < BUCKETS; i++)
        tg_list_init(&pool->buckets[i]);
    return pool;
}

void tg_pool_set_dialer(struct tg_pool *pool, const struct tg_pool_dialer *dialer)
{
    pool->dialer = dialer;
}

/* Addresses are the operator's, not a client's, so a plain mix spreads them well enough. */
static struct tg_list *bucket_of(struct tg_pool *pool, const struct tg_addr *addr)
{
    size_t n;
    const unsigned char *ip = tg_addr_ip_bytes(addr, &n);
    uint32_t hash = tg_addr_port(addr);
    for (size_t i = n > 4 ? n - 4 : 0; i < n; i++)
        hash = hash * 31 + ip[i];
    return &pool->buckets[hash % BUCKETS];
}

static struct site *find_site(struct tg_pool *pool, const struct tg_pool_target *target)
{
    const struct tg_addr *addr = &target->addr;
    uint64_t tls = target->tls != NULL ? tg_tls_context_id(target->tls) : 0;
    struct tg_list *bucket = bucket_of(pool, addr);
    TG_LIST_FOREACH(bucket, it)
    {
        struct site *site = TG_LIST_ENTRY(it, struct site, link);
        if (site->tls == tls && tg_addr_eq(&site->addr, addr))
            return site;
    }
    struct site *site = tg_slab_lease(pool->worker->slab, sizeof(*site));
    if (site == NULL)
        return NULL;
    *site = (struct site){.addr = *addr, .tls = tls};
    tg_list_init(&site->idle);
    tg_list_push_front(bucket, &site->link);
    return site;
}

static void drop_site_if_empty(struct tg_pool *pool, struct site *site)
{
    if (site->open_count > 0)
        return;
    tg_list_remove(&site->link);
    tg_slab_return(pool->worker->slab, site, sizeof(*site));
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
    tg_h1_client_close(&p->client);
    p->site->open_count--;
    pool->open--;
    tg_metric_dec(pool->worker->cells, TG_METRIC_UPSTREAM_OPEN);
    drop_site_if_empty(pool, p->site);
    p->site = NULL;
    tg_loop_defer(&pool->worker->loop, &p->free_later);
}

static void take_from_idle(struct pooled *p)
{
    tg_list_remove(&p->link);
    p->site->idle_count--;
    p->pool->idle--;
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

void tg_pool_close_idle(struct tg_pool *pool)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        TG_LIST_FOREACH(&pool->buckets[i], it)
        {
            struct site *site = TG_LIST_ENTRY(it, struct site, link);
            uint32_t left = site->idle_count;
            for (; left > 0; left--) {
                struct pooled *p = TG_LIST_ENTRY(site->idle.next, struct pooled, link);
                take_from_idle(p);
                discard(p); /* with the last one `site` goes */
            }
        }
    }
}

void tg_pool_free(struct tg_pool **poolp)
{
    struct tg_pool *pool = *poolp;
    if (pool == NULL)
        return;
    tg_pool_close_idle(pool);
    tg_assert(pool->open == 0);
    tg_echo_close_all(&pool->echoes);
    tg_mem_free(TG_MEM_CONNECTION, pool);
    *poolp = NULL;
}

/* ---- Leases ------------------------------------------------------------------------------------
 */

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
        t = tg_tls_connect(target->tls, pool->tls, pool->worker, &target->addr, target->tls_name);
        err = t != NULL ? TG_OK : TG_E_NOMEM;
    }
    if (err != TG_OK)
        tg_h1_client_close(client);
    else if (t != NULL)
        tg_conn_secure(&client->conn, t);
    return err;
}

static enum tg_err dial(struct tg_pool *pool, struct tg_h1_client *client,
                        const struct tg_pool_target *target,
                        const struct tg_h1_client_events *events, void *owner)
{
    uint64_t timeout = target->connect_timeout;
    if (target->addr.len == 0)
        return tg_echo_open(pool->worker, &pool->echoes, client, events, owner);
    if (pool->dialer != NULL)
        return pool->dialer->dial(pool->dialer->arg, client, &target->addr, timeout, events, owner);
    enum tg_err err =
        tg_h1_client_open(client, pool->worker, &target->addr, timeout, events, owner);
    return err == TG_OK ? dress(pool, client, target) : err;
}

static enum tg_err connect_new(struct tg_pool *pool, struct site *site,
                               const struct tg_pool_target *target,
                               const struct tg_h1_client_events *events, void *owner,
                               struct tg_h1_client **out)
{
    struct pooled *p = tg_slab_lease(pool->worker->slab, sizeof(*p));
    if (p == NULL)
        return TG_E_NOMEM;
    p->pool = pool;
    p->site = site;
    tg_list_init(&p->link);
    tg_task_init(&p->free_later, on_free);
    p->single = target->preface.n > 0;
    enum tg_err err = dial(pool, &p->client, target, events, owner);
    if (err != TG_OK) {
        tg_slab_return(pool->worker->slab, p, sizeof(*p));
        return err;
    }
    site->open_count++;
    pool->open++;
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_CONNECTS);
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_OPEN);
    *out = &p->client;
    return TG_OK;
}

enum tg_err tg_pool_lease(struct tg_pool *pool, const struct tg_pool_target *target,
                          const struct tg_h1_client_events *events, void *owner,
                          struct tg_h1_client **out, bool *connected)
{
    struct site *site = find_site(pool, target);
    if (site == NULL)
        return TG_E_NOMEM;
    *connected = false;
    if (!target->fresh && target->preface.n == 0 && !tg_list_is_empty(&site->idle)) {
        struct pooled *p = TG_LIST_ENTRY(site->idle.next, struct pooled, link);
        take_from_idle(p);
        *out = &p->client;
        *connected = true;
        tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_REUSES);
        return TG_OK;
    }
    enum tg_err err = connect_new(pool, site, target, events, owner, out);
    if (err != TG_OK)
        drop_site_if_empty(pool, site);
    return err;
}

void tg_pool_return(struct tg_pool *pool, struct tg_h1_client **client, uint32_t keep,
                    uint64_t idle_timeout)
{
    if (*client == NULL)
        return;
    struct pooled *p = TG_CONTAINER_OF(*client, struct pooled, client);
    *client = NULL;
    tg_assert(p->pool == pool);
    if (p->single || !tg_h1_client_is_reusable(&p->client) || p->site->idle_count >= keep ||
        pool->worker->draining) {
        discard(p);
        return;
    }
    tg_h1_client_rest(&p->client, &idle_events, NULL, idle_timeout);
    tg_list_push_front(&p->site->idle, &p->link);
    p->site->idle_count++;
    pool->idle++;
}

uint32_t tg_pool_idle(const struct tg_pool *pool)
{
    return pool->idle;
}

uint32_t tg_pool_open(const struct tg_pool *pool)
{
    return pool->open;
}
