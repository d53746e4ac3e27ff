/*
 * Any bytes as a pattern and as a request: the first line is a host pattern, the second a path
 * pattern, the third a request's host, the rest its path. What the parsers take must build, and the
 * look-up must stay within the path.
 */
#include "base/banned.h"
#include "route/build.h"

#include "base/assert.h"

static struct tg_str take_line(struct tg_str *rest)
{
    size_t end = tg_str_find(*rest, '\n', 0);
    struct tg_str line = tg_str_sub(*rest, 0, end);
    *rest = tg_str_sub(*rest, end + 1, rest->n);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = tg_str((const char *)data, size);
    struct tg_str host = take_line(&rest), path = take_line(&rest);
    struct tg_route_query query = {.host = take_line(&rest), .port = 80, .method = TG_STR("GET")};
    struct tg_route_spec spec = {.name = TG_STR("a"), .hosts = &host, .paths = &path};
    struct tg_route_builder *builder = tg_route_builder_new();
    struct tg_route_table *table = NULL;
    struct tg_route_refusal refusal;
    struct tg_route_match match;
    spec.host_count = spec.path_count = 1;
    tg_assert(builder != NULL);
    enum tg_err err = tg_route_builder_add(builder, &spec, &refusal);
    if (err == TG_OK) {
        query.path = rest;
        tg_assert(tg_route_table_build(builder, NULL, NULL, &table) == TG_OK);
        enum tg_route_verdict verdict = tg_route_match(table, &query, &match);
        tg_assert(verdict != TG_ROUTE_WRONG_METHOD);
        for (unsigned i = 0; i < match.capture_count; i++) {
            struct tg_str value = match.captures[i].value;
            tg_assert(value.p >= rest.p && value.p + value.n <= rest.p + rest.n);
        }
    } else {
        struct tg_str pattern = refusal.field == TG_ROUTE_FIELD_HOSTS ? host : path;
        tg_assert(err == TG_E_INVALID && refusal.what.at <= pattern.n);
    }
    tg_route_builder_free(&builder);
    tg_route_table_free(&table);
    return 0;
}
