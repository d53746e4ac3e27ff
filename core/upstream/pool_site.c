/* pool_site.c: the sites of a pool: a small hash table by address, TLS settings and protocol, of at
 * most TG_POOL_SITES_MAX. See pool.h. */
#include "base/banned.h"
#include "upstream/pool_internal.h"

#include "base/hash.h"
#include "net/tls_context.h"
#include "observe/metrics.h"

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
    return &pool->buckets[hash % TG_POOL_BUCKETS];
}

/* HTTP/2 is spoken on the network alone, and where it is chosen by ALPN, only over TLS. */
static enum tg_origin_http http_of(const struct tg_pool *pool, const struct tg_pool_target *target)
{
    if (target->addr->len == 0 || pool->dialer != NULL || target->preface.n > 0)
        return TG_ORIGIN_HTTP1;
    if (target->http == TG_ORIGIN_AUTO && target->tls == NULL)
        return TG_ORIGIN_HTTP1;
    return target->http;
}

/* us: when a connection of a site that has idle ones was used last; UINT64_MAX: it is in use. */
static uint64_t used_at(const struct tg_pool_site *site)
{
    if (site->warm || site->waiting_count + site->promised > 0 || site->idle_count == 0 ||
        site->idle_count < site->open_count)
        return UINT64_MAX;
    uint64_t at = tg_pool_shared_used(site);
    if (!tg_list_is_empty(&site->idle))
        at = TG_MAX(at, TG_LIST_ENTRY(site->idle.next, struct tg_pooled, link)->since);
    return at;
}

/* The pool of which a connection was used least recently, if all of its own are idle, is closed. */
static void evict_site(struct tg_pool *pool)
{
    struct tg_pool_site *oldest = NULL;
    uint64_t since = UINT64_MAX;
    for (unsigned i = 0; i < TG_POOL_BUCKETS; i++) {
        TG_LIST_FOREACH(&pool->buckets[i], it)
        {
            struct tg_pool_site *site = TG_LIST_ENTRY(it, struct tg_pool_site, link);
            if (used_at(site) >= since)
                continue;
            since = used_at(site);
            oldest = site;
        }
    }
    if (oldest == NULL)
        return;
    tg_metric_inc(pool->worker->cells, TG_METRIC_UPSTREAM_EVICTED);
    tg_pool_close_idle_of(pool, oldest);
}

struct tg_pool_site *tg_pool_look_up_site(struct tg_pool *pool, const struct tg_pool_target *target)
{
    const struct tg_addr *addr = target->addr;
    uint64_t tls = target->tls != NULL ? tg_tls_context_id(target->tls) : 0;
    enum tg_origin_http http = http_of(pool, target);
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
        if (site->tls == tls && site->name == name && site->http == http &&
            tg_addr_eq(&site->addr, addr)) {
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
    *site = (struct tg_pool_site){.addr = *addr, .tls = tls, .name = name, .http = http};
    tg_list_init(&site->idle);
    tg_list_init(&site->shared);
    tg_list_init(&site->waiting);
    tg_list_push_front(bucket, &site->link);
    pool->sites++;
    return site;
}

void tg_pool_drop_site_if_empty(struct tg_pool *pool, struct tg_pool_site *site)
{
    if (site->open_count > 0 || site->waiting_count > 0 || site->promised > 0 || site->warm)
        return;
    for (unsigned i = 0; i < TG_POOL_SHORTCUTS; i++) {
        if (pool->shortcuts[i].site == site)
            pool->shortcuts[i] = (struct tg_pool_shortcut){0};
    }
    tg_size_end(&site->size, tg_pool_now(pool));
    tg_list_remove(&site->link);
    tg_slab_return(pool->worker->slab, site, sizeof(*site));
    pool->sites--;
}

void tg_pool_visit_sites(struct tg_pool *pool,
                         void (*visit)(struct tg_pool *pool, struct tg_pool_site *site))
{
    for (unsigned i = 0; i < TG_POOL_BUCKETS; i++) {
        TG_LIST_FOREACH(&pool->buckets[i], it)
        visit(pool, TG_LIST_ENTRY(it, struct tg_pool_site, link));
    }
}
