/*
 * Any bytes as a pattern and as a request: the first line is a host pattern, the second a path
 * pattern, the third a request's host, the rest its path. What the parsers take must build, and the
 * look-up must stay within the path. A regular expression must be found by the table wherever it
 * matches by itself: the literal text by which it is filed must not hide it.
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

/* The expression alone and as the only route of a table. */
static void check_regex(struct tg_str pattern, struct tg_str path)
{
    struct tg_route_query query = {.path = path, .method = TG_STR("GET")};
    struct tg_route_spec spec = {.name = TG_STR("a"), .paths = &pattern, .path_count = 1};
    struct tg_route_builder *builder = tg_route_builder_new();
    struct tg_route_table *table = NULL;
    struct tg_route_regex *regex = NULL;
    struct tg_route_refusal refusal;
    struct tg_route_problem problem;
    struct tg_route_match match;
    tg_assert(builder != NULL);
    if (tg_route_builder_add(builder, &spec, &refusal) == TG_OK && path.n > 0) {
        tg_assert(tg_route_regex_new(tg_str_sub(pattern, 1, pattern.n), true, &regex, &problem) ==
                  TG_OK);
        tg_assert(tg_route_table_build(builder, NULL, NULL, &table) == TG_OK);
        enum tg_route_verdict verdict = tg_route_match(table, &query, &match);
        switch (tg_route_regex_match(regex, path, NULL)) {
        case TG_ROUTE_REGEX_YES:
            tg_assert(verdict == TG_ROUTE_FOUND);
            break;
        case TG_ROUTE_REGEX_NO:
            tg_assert(verdict == TG_ROUTE_NOT_FOUND);
            break;
        case TG_ROUTE_REGEX_NOMEM:
        case TG_ROUTE_REGEX_LIMIT: /* where the literal text differs it was not tried */
            tg_assert(verdict == TG_ROUTE_UNDECIDED || verdict == TG_ROUTE_NOT_FOUND);
        }
    }
    tg_route_regex_unref(&regex);
    tg_route_builder_free(&builder);
    tg_route_table_free(&table);
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
    if (tg_str_starts(path, TG_STR("~")))
        check_regex(path, rest);
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
