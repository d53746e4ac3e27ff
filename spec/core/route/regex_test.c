/*
 * Regular expressions of routes: where they stand among other paths, what they capture, by which
 * literal text they are filed, what is refused and where, and that no subject makes one expensive.
 */
#include "base/banned.h"
#include "route/regex.h"

#include "base/mem.h"
#include "route/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* The table of these paths, whose routes are called by them. */
static struct tg_route_table *table_of(const char *const *paths)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_table *table = NULL;
    assert_non_null(b);
    for (; *paths != NULL; paths++) {
        struct tg_str path = tg_str_c(*paths);
        struct tg_route_spec spec = {
            .name = path, .handle = (void *)(uintptr_t)*paths, .paths = &path, .path_count = 1};
        struct tg_route_refusal refusal;
        if (tg_route_builder_add(b, &spec, &refusal) != TG_OK)
            fail_msg("%s: %s", *paths, refusal.what.text);
    }
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &table), TG_OK);
    tg_route_builder_free(&b);
    return table;
}

static enum tg_route_verdict ask(const struct tg_route_table *table, const char *path,
                                 struct tg_route_match *match)
{
    struct tg_route_query query = {.path = tg_str_c(path), .method = TG_STR("GET")};
    return tg_route_match(table, &query, match);
}

static void test_an_expression_stands_where_its_literal_text_ends(void **state)
{
    const char *const paths[] = {
        "/u/me", "/u/{id:int}", "~^/u/[a-z]+$",       "~^/u/[a-y]+x?$", "/u/{name}",
        "/u/*",  "~^/u/x1$",    "~^/(u|v)/\\w+/deep", "/v/{rest...}",   NULL};
    static const char *const rows[][2] = {
        {"/u/me", "/u/me"},       {"/u/12", "/u/{id:int}"},      {"/u/you", "~^/u/[a-y]+x?$"},
        {"/u/z", "~^/u/[a-z]+$"}, {"/u/Zoe", "/u/{name}"},       {"/u/x1", "~^/u/x1$"},
        {"/u/Zoe/deep", "/u/*"},  {"/v/a/deep", "/v/{rest...}"}, {"/u/a/b", "/u/*"},
    };
    struct tg_route_table *table = table_of(paths);
    struct tg_route_match match;
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        assert_int_equal(ask(table, rows[i][0], &match), TG_ROUTE_FOUND);
        assert_string_equal(match.handle, rows[i][1]);
    }
    assert_int_equal(ask(table, "/w", &match), TG_ROUTE_NOT_FOUND);
    tg_route_table_free(&table);
}

static void test_groups_are_captured_by_name_or_number(void **state)
{
    const char *const paths[] = {"~^/v(\\d+)/(?<kind>[a-z]+)(?:/(x))?(?:/(\\w+))?", NULL};
    static const char *const want[][2] = {{"1", "12"}, {"kind", "order"}, {"3", ""}, {"4", "y"}};
    struct tg_route_table *table = table_of(paths);
    struct tg_route_match match;
    (void)state;
    assert_int_equal(ask(table, "/v12/order/y?", &match), TG_ROUTE_FOUND);
    assert_int_equal(match.capture_count, 4);
    for (size_t i = 0; i < TG_COUNT_OF(want); i++) {
        assert_true(tg_str_eq(match.captures[i].name, tg_str_c(want[i][0])));
        assert_true(tg_str_eq(match.captures[i].value, tg_str_c(want[i][1])));
    }
    tg_route_table_free(&table);
}

/* The key of the pattern up to the mark of an expression. */
static struct tg_str literal_of(const char *pattern, struct tg_route_path *path)
{
    struct tg_route_problem problem;
    if (tg_route_path_parse(tg_str_c(pattern), path, &problem) != TG_OK)
        fail_msg("%s: %s", pattern, problem.text);
    const unsigned char *mark = memchr(path->key.p, TG_ROUTE_KEY_REGEX, path->key.n);
    assert_non_null(mark);
    return tg_str((const char *)path->key.p, (size_t)(mark - path->key.p));
}

static void test_the_literal_text_is_what_every_match_begins_with(void **state)
{
    static const char *const rows[][2] = {
        {"~^/v(\\d+)/", "/v"},
        {"~^/a\\.b/c$", "/a.b/c"},
        {"~^/ab?c", "/a"},
        {"~^/ab*", "/a"},
        {"~^/ab+c", "/ab"},
        {"~^/ab{2}", "/a"},
        {"~^/a(b|c)", "/a"},
        {"~^/a|/b", ""},
        {"~^/a(b)|c", ""},
        {"~^/a[|](b)", "/a"},
        {"~^/a[]|](b)", "/a"},
        {"~^/a[^]|](b)", "/a"},
        {"~^/a[[:alpha:]|]", "/a"},
        {"~^/a[[:]|b", ""},
        {"~^/a\\|b", "/a|b"},
        {"~^/a\\Q|\\E", ""},
        {"~^/a\\E?", ""},
        {"~^/a(?i)b|c", ""},
        {"~^(?i)/a", ""},
        {"~^/a(?#|)b", ""},
        {"~^/a(?=b)", "/a"},
        {"~^/a(?<n>b)", "/a"},
        {"~^/\\d", "/"},
        {"~^/a.b", "/a"},
        {"~^/%C3%A9/", "/%C3%A9/"},
        {"~^", ""},
    };
    struct tg_route_path path;
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_str literal = literal_of(rows[i][0], &path);
        if (!tg_str_eq(literal, tg_str_c(rows[i][1])))
            fail_msg("%s is filed under \"%.*s\"", rows[i][0], TG_STR_ARG(literal));
    }
}

static void test_an_expression_is_anchored_in_all_its_branches(void **state)
{
    const char *const paths[] = {"~^/a$|/b$", NULL};
    struct tg_route_table *table = table_of(paths);
    struct tg_route_match match;
    (void)state;
    assert_int_equal(ask(table, "/a", &match), TG_ROUTE_FOUND);
    assert_int_equal(ask(table, "/b", &match), TG_ROUTE_FOUND);
    assert_int_equal(ask(table, "/x/b", &match), TG_ROUTE_NOT_FOUND);
    tg_route_table_free(&table);
}

static void test_refusals_say_what_and_where(void **state)
{
    static const struct {
        const char *pattern;
        size_t at;
        const char *says;
    } rows[] = {
        {"~/a", 1, "begins with ~^"},
        {"~^/a\x01", 4, "no request path"},
        {"~^/\xc3\xa9", 3, "no request path"},
        {"~^/v(\\d+", 8, "missing closing parenthesis"},
        {"~^/[z-a]", 6, "range out of order"},
        {"~^/(a+)+$", 1, "steps"},
        {"~^/(\\w+\\s?)*$", 1, "steps"},
        {"~^/(a|a)*$", 1, "steps"},
        {"~^/.*.*.*.*=$", 1, "steps"},
        {"~^/(abc){900}", 1, "32 KiB"},
        {"~^/((((((((((((((((((a))))))))))))))))))", 20, "nested"},
        {"~^()()()()()()()()()()()()()()()()()", 1, "16 capturing groups"},
        {"~^/a\\C", 6, "\\C"},
    };
    struct tg_route_builder *b = tg_route_builder_new();
    (void)state;
    assert_non_null(b);
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_str path = tg_str_c(rows[i].pattern);
        struct tg_route_spec spec = {.name = path, .paths = &path, .path_count = 1};
        struct tg_route_refusal r;
        enum tg_err err = tg_route_builder_add(b, &spec, &r);
        if (err != TG_E_INVALID || r.what.at != rows[i].at ||
            strstr(r.what.text, rows[i].says) == NULL)
            fail_msg("%s: at %zu: %s", rows[i].pattern, r.what.at, r.what.text);
        assert_non_null(r.what.hint);
    }
    tg_route_builder_free(&b);
}

static void test_a_path_that_costs_too_much_decides_nothing(void **state)
{
    static char path[8192];
    const char *const both[] = {"~^/(.+)[^x]\\1$", "/aaa/{rest...}", "/*", NULL};
    struct tg_route_table *table = table_of(both);
    struct tg_route_match match;
    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 2] = 'b';
    assert_int_equal(ask(table, path, &match), TG_ROUTE_UNDECIDED);
    path[4] = '/'; /* now a better route takes it, whatever the expression says */
    assert_int_equal(ask(table, path, &match), TG_ROUTE_FOUND);
    tg_route_table_free(&table);
}

static void test_equal_expressions_are_one_in_the_table(void **state)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_table *one = NULL, *many = NULL;
    struct tg_str path = TG_STR("~^/v(\\d+)/"), hosts[] = {TG_STR("a.test"), TG_STR("b.test")};
    struct tg_route_spec spec = {
        .name = TG_STR("a"), .paths = &path, .path_count = 1, .hosts = hosts, .host_count = 1};
    struct tg_route_refusal r;
    (void)state;
    assert_non_null(b);
    assert_int_equal(tg_route_builder_add(b, &spec, &r), TG_OK);
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &one), TG_OK);
    spec.name = TG_STR("b");
    spec.hosts = hosts + 1;
    assert_int_equal(tg_route_builder_add(b, &spec, &r), TG_OK);
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &many), TG_OK);
    assert_true(tg_route_table_bytes(one) > 500); /* an expression's code counts */
    assert_true(tg_route_table_bytes(many) < tg_route_table_bytes(one) + 300);
    tg_route_builder_free(&b); /* the tables have references of their own */
    struct tg_route_match match;
    struct tg_route_query query = {
        .host = TG_STR("b.test"), .path = TG_STR("/v1/"), .method = TG_STR("GET")};
    assert_int_equal(tg_route_match(many, &query, &match), TG_ROUTE_FOUND);
    tg_route_table_free(&one);
    tg_route_table_free(&many);
}

static void test_a_table_has_a_bound_of_expressions(void **state)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_refusal r;
    unsigned count = 0;
    (void)state;
    assert_non_null(b);
    for (enum tg_err err = TG_OK; err == TG_OK; count++) {
        char text[32];
        snprintf(text, sizeof(text), "~^/%u[a-z]", count);
        struct tg_str path = tg_str_c(text);
        struct tg_route_spec spec = {.name = path, .paths = &path, .path_count = 1};
        err = tg_route_builder_add(b, &spec, &r);
        assert_true(err == TG_OK || err == TG_E_LIMIT);
    }
    assert_int_equal(count - 1, 4096);
    assert_non_null(strstr(r.what.text, "4096"));
    tg_route_builder_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_expression_stands_where_its_literal_text_ends),
        cmocka_unit_test(test_groups_are_captured_by_name_or_number),
        cmocka_unit_test(test_the_literal_text_is_what_every_match_begins_with),
        cmocka_unit_test(test_an_expression_is_anchored_in_all_its_branches),
        cmocka_unit_test(test_refusals_say_what_and_where),
        cmocka_unit_test(test_a_path_that_costs_too_much_decides_nothing),
        cmocka_unit_test(test_equal_expressions_are_one_in_the_table),
        cmocka_unit_test(test_a_table_has_a_bound_of_expressions),
    };
    return cmocka_run_group_tests_name("route regex", tests, NULL, NULL);
}
