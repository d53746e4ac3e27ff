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
    uint32_t program;
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
    for (size_t i = 0; i < key->n && key->p[i] != TG_ROUTE_KEY_REGEX; i++) {
        if (key->p[i] != TG_ROUTE_KEY_SET)
            continue;
        enum tg_err err = intern_set(a->b, key->p + i + 3);
        if (err != TG_OK)
            return err;
        i += tg_route_token_size(key->p + i) - 1;
    }
    return TG_OK;
}

enum tg_err tg_route_builder_regex(struct tg_route_builder *b, struct tg_str pattern, bool anchored,
                                   uint32_t *index, struct tg_route_problem *problem)
{
    struct tg_route_regex **known = (struct tg_route_regex **)(void *)b->regexes.p;
    struct tg_route_regex *regex;
    uint32_t count = (uint32_t)(b->regexes.n / sizeof(regex)), at;
    for (*index = 0; *index < count; (*index)++) {
        regex = known[*index];
        if (tg_route_regex_is_anchored(regex) == anchored &&
            tg_str_eq(tg_route_regex_pattern(regex), pattern))
            return TG_OK;
    }
    *problem = (struct tg_route_problem){"more than 4096 different regular expressions in all",
                                         "use parameters: {id:int}, {id:[a-z]+}", 0};
    if (count == TG_ROUTE_REGEXES_MAX)
        return TG_E_LIMIT;
    enum tg_err err = tg_route_regex_new(pattern, anchored, &regex, problem);
    if (err != TG_OK)
        return err;
    if (tg_route_pool_copy(&b->regexes, &regex, sizeof(regex), &at))
        return TG_OK;
    tg_route_regex_unref(&regex);
    return TG_E_NOMEM;
}

/* Compiles the path's expression and names its captures, by number where they have no name. */
static enum tg_err add_regex(struct addition *a, struct tg_route_item *base,
                             struct tg_route_problem *problem)
{
    struct tg_route_path *path = &a->path;
    enum tg_err err = tg_route_builder_regex(a->b, path->regex, true, &base->regex, problem);
    if (err != TG_OK) {
        problem->at += 1; /* the "~" */
        return err;
    }
    const struct tg_route_regex *regex =
        ((struct tg_route_regex **)(void *)a->b->regexes.p)[base->regex];
    path->captures = tg_route_regex_groups(regex);
    for (unsigned group = 1; group <= path->captures; group++) {
        struct tg_str name = tg_route_regex_group_name(regex, group);
        char *to = path->names + path->names_n;
        size_t n = name.n;
        if (n > 0)
            memcpy(to + 1, name.p, n);
        else
            n = (size_t)snprintf(to + 1, TG_ROUTE_NAME_MAX, "%u", group);
        to[0] = (char)n;
        path->names_n += 1 + n;
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
    item.program = a->program;
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
        err = a->path.regex.n > 0 ? add_regex(a, &base, &what) : intern_sets(a);
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
    if (err == TG_OK)
        err = tg_route_builder_conditions(a->b, spec, &a->program, a->refusal);
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

static void list_pools(struct tg_route_builder *b, struct tg_route_pool *pools[TG_ROUTE_POOLS])
{
    struct tg_route_pool *all[TG_ROUTE_POOLS] = {&b->keys,   &b->texts,  &b->names,    &b->items,
                                                 &b->routes, &b->sets,   &b->programs, &b->tests,
                                                 &b->values, &b->ranges, &b->regexes};
    memcpy(pools, all, sizeof(all));
}

/* Drops the expressions behind the first `n` bytes of them. */
static void cut_regexes(struct tg_route_builder *b, size_t n)
{
    for (size_t at = n; at < b->regexes.n; at += sizeof(struct tg_route_regex *))
        tg_route_regex_unref((struct tg_route_regex **)(void *)(b->regexes.p + at));
    b->regexes.n = n;
}

enum tg_err tg_route_builder_add(struct tg_route_builder *b, const struct tg_route_spec *spec,
                                 struct tg_route_refusal *refusal)
{
    struct tg_route_pool *pools[TG_ROUTE_POOLS];
    size_t before[TG_ROUTE_POOLS];
    size_t regexes = b->regexes.n;
    unsigned methods = b->methods.count;
    struct addition a = {.b = b, .refusal = refusal};
    list_pools(b, pools);
    for (size_t i = 0; i < TG_ROUTE_POOLS; i++)
        before[i] = pools[i]->n;
    enum tg_err err = add_route(&a, spec);
    if (err == TG_OK)
        return TG_OK;
    cut_regexes(b, regexes);
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
    struct tg_route_pool *pools[TG_ROUTE_POOLS];
    cut_regexes(b, 0);
    list_pools(b, pools);
    for (size_t i = 0; i < TG_ROUTE_POOLS; i++)
        tg_route_pool_release(pools[i]);
    tg_mem_free(TG_MEM_CONFIG, b);
    *bp = NULL;
}
