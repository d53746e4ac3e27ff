/*
 * What the route table costs with 1,000 and with 100,000 routes: a look-up (hosts exact and
 * wildcard, paths exact, with parameters and by prefix, one in ten with a condition on a header,
 * one in a hundred a regular expression; one request in eight finds nothing), the bytes of the
 * table, the time to build it. Prints `bench <name> <value> <unit>` lines: CPU time of this thread,
 * the least of three rounds. The requests are prepared beforehand, more of them than a cache holds.
 */
#include "base/banned.h"
#include "route/build.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"

#define ROUTES_PER_HOST 100
#define REQUESTS        100000u
#define ROUNDS          3

struct request {
    char host[32];
    char path[96];
    bool current; /* sends the header that some routes ask for */
};

/* Route `i` of a host: kinds in turn, names that share long beginnings as real ones do. */
static void write_pattern(char *out, size_t n, unsigned i)
{
    static const char *const forms[] = {
        "/api/v%u/service-%u/status", "/api/v%u/service-%u/items/{id}",
        "/api/v%u/service-%u/*",      "/api/v%u/service-%u/items/{id:int}/parts/{part}",
        "/static/v%u/bundle-%u.js",
    };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (i == ROUTES_PER_HOST - 1)
        snprintf(out, n, "~^/reports/(?<year>\\d{4})-(\\d\\d)/[a-z]+$");
    else
        snprintf(out, n, forms[i % TG_COUNT_OF(forms)], i % 3, i / 5);
#pragma GCC diagnostic pop
}

/* A path for route `i`, or for none when `miss`. */
static void write_path(char *out, size_t n, unsigned i, unsigned salt, bool miss)
{
    static const char *const forms[] = {
        "/api/v%u/service-%u/status",    "/api/v%u/service-%u/items/a%u",
        "/api/v%u/service-%u/more/x/%u", "/api/v%u/service-%u/items/%u/parts/p",
        "/static/v%u/bundle-%u.js",
    };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (i == ROUTES_PER_HOST - 1)
        snprintf(out, n, "/reports/%u-11/%s", miss ? 26 : 2026, "orders");
    else
        snprintf(out, n, forms[i % TG_COUNT_OF(forms)], miss ? 7 : i % 3, i / 5, salt);
#pragma GCC diagnostic pop
}

static void write_host(char *out, size_t n, unsigned host, bool pattern)
{
    bool wildcard = host % 10 == 0;
    snprintf(out, n, "%stenant-%u.example.com", !wildcard ? "" : pattern ? "*." : "eu.", host);
}

/* The header of the request at `arg`. */
static bool fetch(void *arg, enum tg_route_source source, struct tg_str name, unsigned nth,
                  struct tg_str *value)
{
    const struct request *r = arg;
    (void)source;
    (void)name;
    *value = TG_STR("2026-11");
    return nth == 0 && r->current;
}

static struct tg_route_table *build(unsigned routes, uint64_t *us)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_table *table = NULL;
    struct tg_route_refusal refusal;
    uint64_t start = tg_clock_thread_cpu();
    tg_assert(b != NULL);
    for (unsigned i = 0; i < routes; i++) {
        char name[16], host[48], path[96];
        snprintf(name, sizeof(name), "r%u", i);
        write_host(host, sizeof(host), i / ROUTES_PER_HOST, true);
        write_pattern(path, sizeof(path), i % ROUTES_PER_HOST);
        struct tg_str hosts = tg_str_c(host), paths = tg_str_c(path), get = TG_STR("GET");
        struct tg_str version = TG_STR("2026-11");
        struct tg_route_condition condition = {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE,
                                               TG_STR("X-Version"), &version, 1};
        struct tg_route_spec spec = {.name = tg_str_c(name),
                                     .handle = b,
                                     .hosts = &hosts,
                                     .host_count = 1,
                                     .paths = &paths,
                                     .path_count = 1,
                                     .methods = &get,
                                     .method_count = i % 2,
                                     .conditions = &condition,
                                     .condition_count = i % 10 == 7};
        tg_assert(tg_route_builder_add(b, &spec, &refusal) == TG_OK);
    }
    tg_assert(tg_route_table_build(b, NULL, NULL, &table) == TG_OK);
    tg_route_builder_free(&b);
    *us = tg_clock_thread_cpu() - start;
    return table;
}

static double measure(const struct tg_route_table *table, const struct request *requests)
{
    uint64_t best = UINT64_MAX, found = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (unsigned i = 0; i < REQUESTS; i++) {
            const struct request *r = &requests[i];
            struct tg_route_query query = {.host = tg_str_c(r->host),
                                           .path = tg_str_c(r->path),
                                           .method = TG_STR("GET"),
                                           .fetch = fetch,
                                           .arg = (void *)(uintptr_t)r};
            struct tg_route_match match;
            found += tg_route_match(table, &query, &match) == TG_ROUTE_FOUND;
        }
        uint64_t us = tg_clock_thread_cpu() - start;
        best = TG_MIN(best, us);
    }
    tg_assert(found > REQUESTS * ROUNDS / 2 && found < REQUESTS * ROUNDS);
    return (double)best * 1000 / REQUESTS;
}

static void run(unsigned routes, const char *label)
{
    struct request *requests = tg_mem_alloc_or_die(TG_MEM_OTHER, REQUESTS * sizeof(*requests));
    struct tg_rand rand;
    uint64_t us;
    struct tg_route_table *table = build(routes, &us);
    tg_rand_init_seed(&rand, routes);
    for (unsigned i = 0; i < REQUESTS; i++) {
        unsigned route = (unsigned)tg_rand_below(&rand, routes);
        write_host(requests[i].host, sizeof(requests[i].host), route / ROUTES_PER_HOST, false);
        write_path(requests[i].path, sizeof(requests[i].path), route % ROUTES_PER_HOST, i,
                   i % 8 == 0);
        requests[i].current = i % 5 != 0;
    }
    printf("bench route.lookup_ns.%s %.1f ns\n", label, measure(table, requests));
    printf("bench route.table_bytes.%s %zu bytes\n", label, tg_route_table_bytes(table));
    printf("bench route.build_ms.%s %.1f ms\n", label, (double)us / 1000);
    tg_route_table_free(&table);
    tg_mem_free(TG_MEM_OTHER, requests);
}

int main(void)
{
    run(1000, "1k");
    run(100000, "100k");
    return 0;
}
