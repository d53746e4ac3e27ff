/*
 * Explaining a match: for each route of a table, whether it wins, loses and by what, or which of
 * its conditions fails first; that the bound holds; and that the winner is always the one that a
 * lookup finds.
 */
#include "base/banned.h"
#include "route/explain.h"

#include "base/mem.h"
#include "route/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *name;
    const char *host;
    const char *path;
    const char *method;
    const char *header; /* "name=value" */
    int priority;
    bool https;
};

static const struct row rows[] = {
    {"exact", "a.test", "/u/me", "GET", NULL, 0, false},
    {"free", "a.test", "/u/{id}", "GET", NULL, 0, false},
    {"header", "a.test", "/u/me", "GET", "x-v=2", 0, false},
    {"other-header", "a.test", "/u/me", "GET", "x-v=3", 0, false},
    {"https", "a.test", "/u/me", "GET", NULL, 0, true},
    {"any-method", "a.test", "/u/me", NULL, NULL, 0, false},
    {"post", "a.test", "/u/me", "POST", NULL, 0, false},
    {"port", "a.test:8443", "/u/me", "GET", NULL, 0, false},
    {"wildcard", "*.test", "/{a:int}/{b:[x-z]+}/{c...}", "GET", NULL, 0, false},
    {"prefix", "*.test", "/u/*", "GET", NULL, 0, false},
    {"regex", NULL, "~^/u/(\\w+)$", NULL, NULL, 0, false},
    {"low", NULL, "/*", NULL, NULL, -5, false},
    {"elsewhere", "b.test", "/u/me", NULL, NULL, 9, false},
};

static bool fetch(void *arg, enum tg_route_source source, struct tg_str name, unsigned nth,
                  struct tg_str *value)
{
    (void)arg;
    if (source == TG_ROUTE_SCHEME) {
        *value = TG_STR("http");
        return nth == 0;
    }
    *value = TG_STR("2");
    return source == TG_ROUTE_HEADER && nth == 0 && tg_str_eq(name, TG_STR("x-v"));
}

static enum tg_err add(struct tg_route_builder *b, const struct row *row)
{
    struct tg_str host = tg_str_c(row->host), path = tg_str_c(row->path);
    struct tg_str method = tg_str_c(row->method), header = tg_str_c(row->header);
    size_t equals = tg_str_find(header, '=', 0);
    struct tg_str value = tg_str_sub(header, equals + 1, header.n);
    struct tg_route_condition condition = {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE,
                                           tg_str_sub(header, 0, equals), &value, 1};
    struct tg_route_refusal refusal;
    struct tg_route_spec spec = {.name = tg_str_c(row->name),
                                 .priority = row->priority,
                                 .handle = (void *)(uintptr_t)row->name,
                                 .hosts = &host,
                                 .host_count = row->host != NULL,
                                 .paths = &path,
                                 .path_count = 1,
                                 .methods = &method,
                                 .method_count = row->method != NULL,
                                 .conditions = &condition,
                                 .condition_count = row->header != NULL,
                                 .scheme = row->https ? TG_STR("https") : TG_STR("")};
    return tg_route_builder_add(b, &spec, &refusal);
}

static struct tg_route_table *table_of(const struct row *list, size_t count)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_table *table = NULL;
    assert_non_null(b);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(add(b, &list[i]), TG_OK);
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &table), TG_OK);
    tg_route_builder_free(&b);
    return table;
}

/* What was told, one line a route. */
struct told {
    char text[4096];
    size_t n;
};

static void note(void *arg, const struct tg_route_candidate *c)
{
    struct told *told = arg;
    const char *why = c->outcome == TG_ROUTE_LOSES   ? tg_route_criterion_text(c->criterion)
                      : c->outcome == TG_ROUTE_FAILS ? tg_route_check_text(c->check)
                                                     : "";
    static const char *const outcomes[] = {"wins", "loses", "fails"};
    told->n += (size_t)snprintf(told->text + told->n, sizeof(told->text) - told->n,
                                "%s %s %s%s%.*s%s\n", (const char *)c->handle, outcomes[c->outcome],
                                why, c->name.n > 0 ? " " : "", TG_STR_ARG(c->name),
                                c->gave_up ? " gave up" : "");
}

static enum tg_route_verdict explain(const struct tg_route_table *table, const char *method,
                                     const char *path, size_t max, struct told *told,
                                     size_t *left_out)
{
    struct tg_route_query query = {.host = TG_STR("a.test"),
                                   .port = 80,
                                   .path = tg_str_c(path),
                                   .method = tg_str_c(method),
                                   .fetch = fetch};
    enum tg_route_verdict verdict;
    struct tg_route_match match;
    told->n = 0;
    told->text[0] = '\0';
    assert_int_equal(tg_route_explain(table, &query, max, note, told, &verdict, left_out), TG_OK);
    assert_int_equal(tg_route_match(table, &query, &match), verdict);
    return verdict;
}

static void test_every_route_is_told_with_its_reason(void **state)
{
    struct tg_route_table *table = table_of(rows, TG_COUNT_OF(rows));
    struct told told;
    size_t left_out;
    (void)state;
    assert_int_equal(explain(table, "GET", "/u/me", 99, &told, &left_out), TG_ROUTE_FOUND);
    assert_int_equal(left_out, 0);
    assert_string_equal(told.text, "header wins \n"
                                   "exact loses more header conditions\n"
                                   "any-method loses names the method\n"
                                   "free loses more specific path\n"
                                   "prefix loses more specific host\n"
                                   "regex loses more specific host\n"
                                   "low loses higher priority\n"
                                   "post fails method\n"
                                   "https fails scheme\n"
                                   "other-header fails header x-v\n"
                                   "wildcard fails path\n"
                                   "port fails port\n"
                                   "elsewhere fails host\n");
    tg_route_table_free(&table);
}

static void test_a_wrong_method_is_told_first(void **state)
{
    const struct row few[] = {{"get", NULL, "/x", "GET", NULL, 0, false},
                              {"there", NULL, "/y", NULL, NULL, 0, false}};
    struct tg_route_table *table = table_of(few, 2);
    struct told told;
    size_t left_out;
    (void)state;
    assert_int_equal(explain(table, "PUT", "/x", 99, &told, &left_out), TG_ROUTE_WRONG_METHOD);
    assert_string_equal(told.text, "get fails method\nthere fails path\n");
    assert_int_equal(explain(table, "PUT", "/z", 1, &told, &left_out), TG_ROUTE_NOT_FOUND);
    assert_string_equal(told.text, "get fails path\n");
    assert_int_equal(left_out, 1);
    tg_route_table_free(&table);
}

static void test_no_routes_at_all(void **state)
{
    struct tg_route_table *table = table_of(rows, 0);
    struct told told;
    size_t left_out;
    (void)state;
    assert_int_equal(explain(table, "GET", "/", 99, &told, &left_out), TG_ROUTE_NOT_FOUND);
    assert_int_equal(told.n, 0);
    tg_route_table_free(&table);
}

struct patterns {
    const char *of;
    char host[64];
    char path[128];
};

static void note_patterns(void *arg, const struct tg_route_candidate *c)
{
    struct patterns *p = arg;
    if (strcmp(c->handle, p->of) != 0)
        return;
    snprintf(p->host, sizeof(p->host), "%.*s", TG_STR_ARG(c->host));
    snprintf(p->path, sizeof(p->path), "%.*s", TG_STR_ARG(c->path));
}

static void test_patterns_are_told_in_normal_form(void **state)
{
    static const char *const want[][3] = {
        {"exact", "a.test", "/u/me"},
        {"free", "a.test", "/u/{id}"},
        {"port", "a.test:8443", "/u/me"},
        {"wildcard", "*.test", "/{a:[0-9]+}/{b:[x-z]+}/{c...}"},
        {"prefix", "*.test", "/u/*"},
        {"regex", "*", "~^/u/(\\w+)$"},
        {"low", "*", "/*"},
    };
    struct tg_route_table *table = table_of(rows, TG_COUNT_OF(rows));
    struct tg_route_query query = {
        .host = TG_STR("z"), .path = TG_STR("/z"), .method = TG_STR("GET")};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(want); i++) {
        struct patterns p = {.of = want[i][0]};
        enum tg_route_verdict verdict;
        size_t left_out;
        assert_int_equal(
            tg_route_explain(table, &query, 99, note_patterns, &p, &verdict, &left_out), TG_OK);
        assert_string_equal(p.host, want[i][1]);
        assert_string_equal(p.path, want[i][2]);
    }
    tg_route_table_free(&table);
}

static void test_every_failed_allocation_is_told(void **state)
{
    struct tg_route_table *table = table_of(rows, TG_COUNT_OF(rows));
    struct tg_route_query query = {
        .host = TG_STR("b.test"), .path = TG_STR("/z"), .method = TG_STR("GET")};
    size_t before = tg_mem_used(TG_MEM_CONFIG);
    enum tg_err err = TG_E_NOMEM;
    (void)state;
    for (uint64_t nth = 1; err != TG_OK; nth++) {
        struct told told = {.n = 0};
        enum tg_route_verdict verdict;
        size_t left_out;
        assert_true(nth < 100);
        tg_mem_fail_at(nth);
        err = tg_route_explain(table, &query, 99, note, &told, &verdict, &left_out);
        tg_mem_fail_at(0);
        assert_true(err == TG_OK || (err == TG_E_NOMEM && told.n == 0));
        assert_int_equal(tg_mem_used(TG_MEM_CONFIG), before);
    }
    tg_route_table_free(&table);
}

/* An expression that gives up on a path of many letters. */
#define SLOW "~^/(.+)[^x]\\1$"

static void test_what_gave_up_decides_only_where_it_could_win(void **state)
{
    static char path[8192];
    static const struct row get[] = {{"get", "a.test", SLOW, "GET", NULL, 0, false}};
    static const struct row one[] = {{"slow", "a.test", SLOW, NULL, "x-v=3", 0, false},
                                     {"fast", "a.test", "/*", NULL, NULL, -1, false}};
    static const struct row before[] = {{"slow", "a.test", SLOW, NULL, NULL, 0, false},
                                        {"fast", "a.test", "/*", NULL, NULL, 1, false}};
    struct told told;
    size_t left_out;
    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 2] = 'b';
    struct tg_route_table *table = table_of(get, 1);
    assert_int_equal(explain(table, "GET", path, 9, &told, &left_out), TG_ROUTE_UNDECIDED);
    assert_string_equal(told.text, "get fails path gave up\n");
    assert_int_equal(explain(table, "HEAD", path, 9, &told, &left_out), TG_ROUTE_UNDECIDED);
    assert_string_equal(told.text, "get fails path gave up\n");
    assert_int_equal(explain(table, "POST", path, 9, &told, &left_out), TG_ROUTE_NOT_FOUND);
    tg_route_table_free(&table);
    table = table_of(one, 2);
    assert_int_equal(explain(table, "GET", path, 9, &told, &left_out), TG_ROUTE_UNDECIDED);
    tg_route_table_free(&table);
    table = table_of(before, 2);
    assert_int_equal(explain(table, "GET", path, 9, &told, &left_out), TG_ROUTE_FOUND);
    assert_string_equal(told.text, "fast wins \nslow fails path gave up\n");
    tg_route_table_free(&table);
}

static void test_a_route_that_gave_up_on_one_path_is_told_by_that(void **state)
{
    static char path[8192];
    struct tg_str paths[] = {TG_STR(SLOW), TG_STR("/{rest...}")}, three = TG_STR("3");
    struct tg_route_condition condition = {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, TG_STR("x-v"),
                                           &three, 1};
    struct tg_route_spec spec = {.name = TG_STR("slow"),
                                 .handle = (void *)(uintptr_t) "slow",
                                 .paths = paths,
                                 .path_count = 2,
                                 .conditions = &condition,
                                 .condition_count = 1};
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_refusal refusal;
    struct tg_route_table *table = NULL;
    struct told told;
    size_t left_out;
    (void)state;
    assert_non_null(b);
    assert_int_equal(tg_route_builder_add(b, &spec, &refusal), TG_OK);
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &table), TG_OK);
    tg_route_builder_free(&b);
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 2] = 'b';
    assert_int_equal(explain(table, "GET", path, 9, &told, &left_out), TG_ROUTE_UNDECIDED);
    assert_string_equal(told.text, "slow fails path gave up\n"); /* though the other came further */
    tg_route_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_told_with_its_reason),
        cmocka_unit_test(test_a_wrong_method_is_told_first),
        cmocka_unit_test(test_no_routes_at_all),
        cmocka_unit_test(test_patterns_are_told_in_normal_form),
        cmocka_unit_test(test_every_failed_allocation_is_told),
        cmocka_unit_test(test_what_gave_up_decides_only_where_it_could_win),
        cmocka_unit_test(test_a_route_that_gave_up_on_one_path_is_told_by_that),
    };
    return cmocka_run_group_tests_name("route explain", tests, NULL, NULL);
}
