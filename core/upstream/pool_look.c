/* pool_look.c: what a pool does by itself, on a timer: connections that are ready before they are
 * asked for, sizes that follow from use, places that other workers wait for, pools of targets that
 * went, leases that nobody returns. See pool.h. */
#include "base/banned.h"
#include "upstream/pool_internal.h"

#include "observe/log.h"
#include "observe/metrics.h"

#define LEAK (5 * 60 * TG_USEC_PER_SEC) /* without a byte, after which a lease is told of */

/* ---- Ready before asked ------------------------------------------------------------------------
 */

/* How many connections there are that would take a request at once. */
static uint32_t ready_count(const struct tg_pool_site *site)
{
    return tg_pool_is_many(site) ? tg_pool_shared_ready(site) : site->idle_count;
}

static void warm_up(struct tg_pool *pool, struct tg_pool_site *site)
{
    const struct tg_pool_target *target = &site->warm_target;
    if (!site->warm || pool->worker->draining)
        return;
    while (ready_count(site) + site->connecting < target->conf->min_idle) {
        if (tg_pool_connect_ahead(pool, site) != TG_OK)
            break;
    }
    tg_pool_look_soon(pool, TG_POOL_WARM);
}

void tg_pool_keep_warm(struct tg_pool *pool, const struct tg_pool_target *target)
{
    struct tg_pool_site *site = tg_pool_look_up_site(pool, target);
    if (site == NULL)
        return;
    site->warm = target->conf->min_idle > 0;
    site->warm_target = *target;
    if (site->warm)
        warm_up(pool, site);
    else
        tg_pool_drop_site_if_empty(pool, site);
}

static void cool_down(struct tg_pool *pool, struct tg_pool_site *site)
{
    site->warm = site->bounded = false;
    if (site->left_at == 0)
        site->left_at = tg_pool_now(pool);
    tg_pool_drop_site_if_empty(pool, site);
}

void tg_pool_forget_warm(struct tg_pool *pool)
{
    memset(pool->shortcuts, 0, sizeof(pool->shortcuts));
    pool->changes++;
    tg_pool_visit_sites(pool, cool_down);
}

/* ---- Looking around ----------------------------------------------------------------------------
 */

void tg_pool_look_soon(struct tg_pool *pool, uint64_t distance)
{
    uint64_t at = tg_pool_now(pool) + distance;
    if (pool->look.deadline == 0 || at < pool->look.deadline)
        tg_timer_set(&pool->look, at);
}

/* The size as of now: waiters for whom there is room come in, idle connections beyond it go. */
static void resize(struct tg_pool *pool, struct tg_pool_site *site)
{
    enum tg_size_change change = tg_size_step(&site->size, tg_pool_now(pool));
    tg_pool_look_soon(pool, site->size.began + TG_SIZE_PERIOD - tg_pool_now(pool));
    if (change == TG_SIZE_KEPT)
        return;
    tg_metric_inc(pool->worker->cells,
                  change == TG_SIZE_GROWN ? TG_METRIC_UPSTREAM_GROWN : TG_METRIC_UPSTREAM_SHRUNK);
    while (site->open_count > site->size.limit && tg_pool_close_oldest(pool, site, false))
        continue; /* not the last one: the limit is 1 or more */
}

/* Places at an origin are counted for all workers: what idles here is given up for who waits there,
 * but for what is kept warm. */
static void give_way(struct tg_pool *pool, struct tg_pool_site *site)
{
    uint32_t kept = site->warm ? site->warm_target.conf->min_idle : 0;
    if (!site->bounded || site->idle_count <= kept)
        return;
    tg_pool_look_soon(pool, TG_POOL_GIVE_WAY);
    if (site->waiting_count == 0)
        (void)tg_pool_close_oldest(pool, site, true);
}

static void look_at(struct tg_pool *pool, struct tg_pool_site *site)
{
    if (site->size.limit > 0)
        resize(pool, site);
    if (site->waiting_count > 0)
        tg_pool_serve(pool, site);
    if (site->warm && ready_count(site) + site->connecting < site->warm_target.conf->min_idle)
        warm_up(pool, site);
    if (site->left_at > 0 && tg_pool_now(pool) >= site->left_at + TG_ORIGIN_KEEP)
        tg_pool_close_idle_of(pool, site); /* which may be its end, */
    else
        give_way(pool, site); /* and so may this */
}

/* When something last moved on a lease of a whole connection. */
static uint64_t single_moved(const struct tg_pool_holder *holder)
{
    const struct tg_pooled *p = TG_CONTAINER_OF(holder, struct tg_pooled, holder);
    if (p->client.state == TG_H1_CLIENT_TUNNEL)
        return tg_pool_now(p->pool);
    return TG_MAX(TG_MAX(p->since, p->client.since), p->client.conn.sent_at);
}

/* Leases on which nothing has moved for long. Tunnels rest as long as they like. */
static void look_for_leaks(struct tg_pool *pool)
{
    uint64_t now = tg_pool_now(pool);
    TG_LIST_FOREACH(&pool->leased, it)
    {
        struct tg_pool_holder *h = TG_LIST_ENTRY(it, struct tg_pool_holder, link);
        uint64_t moved = h->shared ? tg_pool_shared_moved(h) : single_moved(h);
        if (h->told || now < moved + LEAK)
            continue;
        h->told = true;
        tg_log_kv(TG_LOG_WARN, "pool", "a connection has been leased without a byte for 5 minutes",
                  tg_log_str("request", tg_str_c(h->request)),
                  tg_log_str("route", tg_str_c(h->route)));
    }
}

void tg_pool_on_look(struct tg_timer *timer)
{
    struct tg_pool *pool = TG_CONTAINER_OF(timer, struct tg_pool, look);
    tg_pool_visit_sites(pool, look_at);
    look_for_leaks(pool);
    if (pool->waiting > 0)
        tg_pool_look_soon(pool, TG_POOL_LOOK);
    else if (pool->open > 0)
        tg_pool_look_soon(pool, TG_POOL_CARE);
}
