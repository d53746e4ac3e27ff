/* builder.c: collecting routes as items with sortable keys. What turns them into a table is
 * build.c.
 *
 * Adding turns each host x path pair of a route into an item: the key of the host and the key of
 * the path in one byte string (see pattern.h), and the methods. A route for GET without HEAD makes
 * a second item for HEAD alone, ranked behind every route that names HEAD: that is the automatic
 * HEAD, at no cost for the lookup.
 *
 * Everything stands in growing arrays, referred to by offset. A refused route is undone by cutting
 * the arrays back to where they were.
 */
#include "base/banned.h"
#include "route/builder.h"

#include "base/mem.h"
#include "route/items.h"

/* ---- Growing arrays ------------------------------------------------------------------------ */

void *tg_route_pool_add(struct tg_route_pool *pool, size_t n)
{
    if (pool->n + n > pool->cap) {
        size_t cap = TG_MAX(TG_MAX(pool->cap * 2, pool->n + n), (size_t)256);
        char *p = cap <= UINT32_MAX ? tg_mem_realloc(TG_MEM_CONFIG, pool->p, cap) : NULL;
        if (p == NULL)
            return NULL;
        pool->p = p;
        pool->cap = cap;
    }
    pool->n += n;
    return pool->p + pool->n - n;
}

bool tg_route_pool_copy(struct tg_route_pool *pool, const void *from, size_t n, uint32_t *at)
{
    void *to = n > 0 ? tg_route_pool_add(pool, n) : NULL;
    *at = (uint32_t)(pool->n - n);
    if (to != NULL)
        memcpy(to, from, n);
    return to != NULL || n == 0;
}

void tg_route_pool_release(struct tg_route_pool *pool)
{
    tg_mem_free(TG_MEM_CONFIG, pool->p);
    *pool = (struct tg_route_pool){NULL, 0, 0};
}

/* ---- Adding -------------------------------------------------------------------------------- */

/* A route on its way in: what its items have in common. */
struct addition {
    struct tg_route_builder *b;
    struct tg_route_refusal *refusal;
    uint32_t route;
    uint64_t methods;
    unsigned method_count;
    struct tg_route_path path;
    struct tg_route_key host_key;
};

static enum tg_err refuse(struct addition *a, enum tg_err err, enum tg_route_field field,
                          size_t index, struct tg_route_problem what)
{
    *a->refusal = (struct tg_route_refusal){field, index, what};
    return err;
}

static enum tg_err add_methods(struct addition *a, const struct tg_route_spec *spec)
{
    a->methods = spec->method_count > 0 ? 0 : TG_ROUTE_METHOD_ANY;
    for (size_t i = 0; i < spec->method_count; i++) {
        struct tg_route_problem what = {"not a method", "write it as in \"GET\"", 0};
        uint64_t bit;
        enum tg_err err = tg_route_methods_add(&a->b->methods, spec->methods[i], &bit);
        if (err == TG_E_LIMIT)
            what = (struct tg_route_problem){"more than 63 different methods in all",
                                             "leave methods out to take any", 0};
        if (err != TG_OK)
            return refuse(a, err, TG_ROUTE_FIELD_METHODS, i, what);
        a->methods |= bit;
    }
    a->method_count = (unsigned)__builtin_popcountll(a->methods);
    return TG_OK;
}

/* Notes the set at `bits`; sets are few, so a linear search will do. */
static enum tg_err intern_set(struct tg_route_builder *b, const unsigned char *bits)
{
    uint32_t at;
    if (tg_route_builder_set(b, bits) != TG_ROUTE_NO_SET)
        return TG_OK;
    if (b->sets.n / TG_ROUTE_SET_BYTES == TG_ROUTE_SETS_MAX)
        return TG_E_LIMIT;
    return tg_route_pool_copy(&b->sets, bits, TG_ROUTE_SET_BYTES, &at) ? TG_OK : TG_E_NOMEM;
}

uint16_t tg_route_builder_set(const struct tg_route_builder *b, const unsigned char *bits)
{
    for (size_t at = 0; at < b->sets.n; at += TG_ROUTE_SET_BYTES) {
        if (memcmp(b->sets.p + at, bits, TG_ROUTE_SET_BYTES) == 0)
            return (uint16_t)(at / TG_ROUTE_SET_BYTES);
    }
    return TG_ROUTE_NO_SET;
}

static enum tg_err intern_sets(struct addition *a)
{
    const struct tg_route_key *key = &a->path.key;
    for (size_t i = 0; i < key->n; i++) {
        if (key->p[i] != TG_ROUTE_KEY_PARAM)
            continue;
        size_t n = tg_route_token_size(key->p + i);
        enum tg_err err = n > 3 ? intern_set(a->b, key->p + i + 3) : TG_OK;
        if (err != TG_OK)
            return err;
        i += n - 1;
    }
    return TG_OK;
}

static enum tg_err add_item(struct addition *a, struct tg_route_item item)
{
    if (a->b->items.n / sizeof(item) >= TG_ROUTE_ENTRIES_MAX)
        return TG_E_LIMIT;
    uint32_t at;
    return tg_route_pool_copy(&a->b->items, &item, sizeof(item), &at) ? TG_OK : TG_E_NOMEM;
}

/* The items of one host x path pair; `base` says what the pairs of this path have in common. */
static enum tg_err add_pair(struct addition *a, struct tg_route_item base, struct tg_str host)
{
    struct tg_route_builder *b = a->b;
    const struct tg_route_key *parts[] = {&a->host_key, &a->path.key};
    struct tg_route_item item = base;
    uint32_t tail;
    item.host_text_n = (uint16_t)host.n;
    item.host_n = (uint32_t)a->host_key.n;
    item.key_n = (uint32_t)(a->host_key.n + a->path.key.n);
    item.methods = a->methods;
    item.method_class = a->methods == TG_ROUTE_METHOD_ANY ? TG_ROUTE_METHODS_ANY : 0;
    item.method_count = (uint8_t)a->method_count;
    if (!tg_route_pool_copy(&b->texts, host.p, host.n, &item.host_text) ||
        !tg_route_pool_copy(&b->keys, parts[0]->p, parts[0]->n, &item.key) ||
        !tg_route_pool_copy(&b->keys, parts[1]->p, parts[1]->n, &tail))
        return TG_E_NOMEM;
    enum tg_err err = add_item(a, item);
    if (err != TG_OK || (a->methods & TG_ROUTE_METHOD_GET) == 0 ||
        (a->methods & TG_ROUTE_METHOD_HEAD) != 0)
        return err;
    item.methods = TG_ROUTE_METHOD_HEAD;
    item.method_class = TG_ROUTE_METHODS_AUTO_HEAD;
    return add_item(a, item);
}

static const struct tg_route_problem too_many = {"the table would hold too many routes",
                                                 "use fewer hosts and paths", 0};

static enum tg_err add_hosts(struct addition *a, const struct tg_route_spec *spec,
                             struct tg_route_item base)
{
    struct tg_str any = TG_STR("*");
    const struct tg_str *hosts = spec->host_count > 0 ? spec->hosts : &any;
    for (size_t i = 0; i < TG_MAX(spec->host_count, (size_t)1); i++) {
        struct tg_route_problem what = too_many;
        struct tg_route_host host;
        enum tg_err err = tg_route_host_parse(hosts[i], &host, &what);
        if (err == TG_OK) {
            tg_route_host_key(&host, &a->host_key);
            err = add_pair(a, base, hosts[i]);
        }
        if (err != TG_OK)
            return refuse(a, err, TG_ROUTE_FIELD_HOSTS, i, what);
    }
    return TG_OK;
}

static enum tg_err add_path(struct addition *a, const struct tg_route_spec *spec, size_t index,
                            struct tg_str path)
{
    struct tg_route_item base = {.route = a->route};
    struct tg_route_problem what = {"more than 256 different constraints in all",
                                    "share constraints among the routes", 0};
    enum tg_err err = tg_route_path_parse(path, &a->path, &what);
    if (err == TG_OK)
        err = intern_sets(a);
    if (err != TG_OK)
        return refuse(a, err, TG_ROUTE_FIELD_PATHS, index, what);
    base.path_n = (uint16_t)path.n;
    base.captures = (uint8_t)a->path.captures;
    if (!tg_route_pool_copy(&a->b->texts, path.p, path.n, &base.path) ||
        !tg_route_pool_copy(&a->b->names, a->path.names, a->path.names_n, &base.names))
        return refuse(a, TG_E_NOMEM, TG_ROUTE_FIELD_PATHS, index, too_many);
    return add_hosts(a, spec, base);
}

static enum tg_err add_route(struct addition *a, const struct tg_route_spec *spec)
{
    struct tg_str any = TG_STR("/*");
    const struct tg_str *paths = spec->path_count > 0 ? spec->paths : &any;
    struct tg_route_record record = {
        .handle = spec->handle, .priority = spec->priority, .name_n = (uint32_t)spec->name.n};
    uint32_t at;
    enum tg_err err = add_methods(a, spec);
    if (err != TG_OK)
        return err;
    a->route = (uint32_t)(a->b->routes.n / sizeof(record));
    if (!tg_route_pool_copy(&a->b->texts, spec->name.p, spec->name.n, &record.name) ||
        !tg_route_pool_copy(&a->b->routes, &record, sizeof(record), &at))
        return refuse(a, TG_E_NOMEM, TG_ROUTE_FIELD_PATHS, 0, too_many);
    for (size_t i = 0; i < TG_MAX(spec->path_count, (size_t)1) && err == TG_OK; i++)
        err = add_path(a, spec, i, paths[i]);
    return err;
}

enum tg_err tg_route_builder_add(struct tg_route_builder *b, const struct tg_route_spec *spec,
                                 struct tg_route_refusal *refusal)
{
    size_t before[TG_ROUTE_POOLS];
    unsigned methods = b->methods.count;
    struct addition a = {.b = b, .refusal = refusal};
    struct tg_route_pool *pools[TG_ROUTE_POOLS] = {&b->keys,  &b->texts,  &b->names,
                                                   &b->items, &b->routes, &b->sets};
    for (size_t i = 0; i < TG_ROUTE_POOLS; i++)
        before[i] = pools[i]->n;
    enum tg_err err = add_route(&a, spec);
    if (err == TG_OK)
        return TG_OK;
    for (size_t i = 0; i < TG_ROUTE_POOLS; i++)
        pools[i]->n = before[i];
    b->methods.count = methods;
    return err;
}

/* ---- Lifetime ------------------------------------------------------------------------------ */

struct tg_route_builder *tg_route_builder_new(void)
{
    struct tg_route_builder *b = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*b));
    if (b != NULL)
        tg_route_methods_init(&b->methods);
    return b;
}

void tg_route_builder_free(struct tg_route_builder **bp)
{
    struct tg_route_builder *b = *bp;
    if (b == NULL)
        return;
    tg_route_pool_release(&b->keys);
    tg_route_pool_release(&b->texts);
    tg_route_pool_release(&b->names);
    tg_route_pool_release(&b->items);
    tg_route_pool_release(&b->routes);
    tg_route_pool_release(&b->sets);
    tg_mem_free(TG_MEM_CONFIG, b);
    *bp = NULL;
}
