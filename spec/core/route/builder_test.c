/*
 * What the builder refuses: the field, the offset in the pattern and a word of the message, row by
 * row; and that a refused route leaves no trace, whichever of its patterns was at fault.
 */
#include "base/banned.h"
#include "route/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct refused {
    enum tg_route_field field;
    const char *pattern;
    size_t at;
    const char *says;
};

/* A route whose only pattern is `pattern`, in `field`. */
static enum tg_err add_pattern(struct tg_route_builder *b, enum tg_route_field field,
                               const char *pattern, struct tg_route_refusal *refusal)
{
    struct tg_str one = tg_str_c(pattern);
    struct tg_route_spec spec = {.name = TG_STR("r"),
                                 .hosts = &one,
                                 .host_count = field == TG_ROUTE_FIELD_HOSTS,
                                 .paths = &one,
                                 .path_count = field == TG_ROUTE_FIELD_PATHS,
                                 .methods = &one,
                                 .method_count = field == TG_ROUTE_FIELD_METHODS};
    return tg_route_builder_add(b, &spec, refusal);
}

static void test_refusals_say_what_and_where(void **state)
{
    static const struct refused rows[] = {
        {TG_ROUTE_FIELD_HOSTS, "a..b", 2, "empty label"},
        {TG_ROUTE_FIELD_HOSTS, "", 0, "empty label"},
        {TG_ROUTE_FIELD_HOSTS, "a.*.b", 2, "whole labels"},
        {TG_ROUTE_FIELD_HOSTS, "*.a b", 3, "cannot be in a host"},
        {TG_ROUTE_FIELD_HOSTS, "a:0", 2, "port"},
        {TG_ROUTE_FIELD_HOSTS, "a:65536", 2, "port"},
        {TG_ROUTE_FIELD_HOSTS, "[::1", 0, "IPv6"},
        {TG_ROUTE_FIELD_PATHS, "a", 0, "begins with /"},
        {TG_ROUTE_FIELD_PATHS, "/a*", 2, "meaning"},
        {TG_ROUTE_FIELD_PATHS, "/*/a", 1, "meaning"},
        {TG_ROUTE_FIELD_PATHS, "/a/../b", 3, "no request path"},
        {TG_ROUTE_FIELD_PATHS, "/a?b", 2, "no query"},
        {TG_ROUTE_FIELD_PATHS, "/a b", 2, "cannot be in a path"},
        {TG_ROUTE_FIELD_PATHS, "/\xff", 1, "cannot be in a path"},
        {TG_ROUTE_FIELD_PATHS, "/a%4g", 2, "two hex digits"},
        {TG_ROUTE_FIELD_PATHS, "/a%4", 2, "two hex digits"},
        {TG_ROUTE_FIELD_PATHS, "/a%00", 2, "NUL"},
        {TG_ROUTE_FIELD_PATHS, "/%2e%2E/x", 1, "no request path"},
        {TG_ROUTE_FIELD_PATHS, "/{}", 2, "parameter's name"},
        {TG_ROUTE_FIELD_PATHS, "/{a}/{a}", 6, "used twice"},
        {TG_ROUTE_FIELD_PATHS, "/{a}.js", 4, "whole segment"},
        {TG_ROUTE_FIELD_PATHS, "/{a", 3, "expected }"},
        {TG_ROUTE_FIELD_PATHS, "/{a...}/b", 7, "all the rest"},
        {TG_ROUTE_FIELD_PATHS, "/{a:uuid}", 4, "not a constraint"},
        {TG_ROUTE_FIELD_PATHS, "/{a:[a-z]}", 9, "expected +"},
        {TG_ROUTE_FIELD_PATHS, "/{a:[z-a]+}", 5, "empty"},
        {TG_ROUTE_FIELD_PATHS, "/{a:[/]+}", 4, "no segment"},
        {TG_ROUTE_FIELD_PATHS, "/{a:[a-", 7, "does not end"},
        {TG_ROUTE_FIELD_METHODS, "GE T", 0, "not a method"},
        {TG_ROUTE_FIELD_METHODS, "", 0, "not a method"},
    };
    struct tg_route_builder *b = tg_route_builder_new();
    (void)state;
    assert_non_null(b);
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_route_refusal r;
        enum tg_err err = add_pattern(b, rows[i].field, rows[i].pattern, &r);
        if (err != TG_E_INVALID || r.field != rows[i].field || r.what.at != rows[i].at ||
            strstr(r.what.text, rows[i].says) == NULL)
            fail_msg("%s: field %d at %zu: %s", rows[i].pattern, r.field, r.what.at, r.what.text);
        assert_non_null(r.what.hint);
    }
    tg_route_builder_free(&b);
    assert_null(b);
}

static void test_a_refused_route_leaves_no_trace(void **state)
{
    struct tg_str hosts[] = {TG_STR("a.test"), TG_STR("b..test")};
    struct tg_str paths[] = {TG_STR("/a/{id:[a-f]+}"), TG_STR("/b")};
    struct tg_str methods[] = {TG_STR("PURGE")};
    struct tg_route_spec spec = {.name = TG_STR("r"),
                                 .hosts = hosts,
                                 .host_count = 2,
                                 .paths = paths,
                                 .path_count = 2,
                                 .methods = methods,
                                 .method_count = 1};
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_table *with = NULL, *without = NULL;
    struct tg_route_refusal r;
    (void)state;
    assert_non_null(b);
    assert_int_equal(add_pattern(b, TG_ROUTE_FIELD_PATHS, "/x", &r), TG_OK);
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &without), TG_OK);
    assert_int_equal(tg_route_builder_add(b, &spec, &r), TG_E_INVALID);
    assert_int_equal(r.field, TG_ROUTE_FIELD_HOSTS);
    assert_int_equal(r.index, 1);
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &with), TG_OK);
    assert_int_equal(tg_route_table_bytes(with), tg_route_table_bytes(without));
    tg_route_table_free(&with);
    tg_route_table_free(&without);
    tg_route_builder_free(&b);
}

static void test_too_many_methods_and_constraints_are_refused(void **state)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_refusal r;
    int methods = 0, sets = 0;
    (void)state;
    assert_non_null(b);
    for (enum tg_err err = TG_OK; err == TG_OK; methods++) {
        char name[16];
        snprintf(name, sizeof(name), "X%d", methods);
        err = add_pattern(b, TG_ROUTE_FIELD_METHODS, name, &r);
        assert_true(err == TG_OK || err == TG_E_LIMIT);
    }
    assert_int_equal(methods - 1, 63 - 9); /* nine methods are standard */
    for (enum tg_err err = TG_OK; err == TG_OK; sets++) {
        char path[32]; /* bytes 'A' to 'P' and one of 'a' to 'p', with or without the former */
        snprintf(path, sizeof(path), "/{x:[%c-Pa-%c]+}", 'A' + sets % 16, 'a' + sets / 16);
        err = add_pattern(b, TG_ROUTE_FIELD_PATHS, path, &r);
        assert_true(err == TG_OK || err == TG_E_LIMIT);
    }
    assert_int_equal(sets - 1, 256);
    assert_non_null(strstr(r.what.text, "256"));
    tg_route_builder_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_say_what_and_where),
        cmocka_unit_test(test_a_refused_route_leaves_no_trace),
        cmocka_unit_test(test_too_many_methods_and_constraints_are_refused),
    };
    return cmocka_run_group_tests_name("route builder", tests, NULL, NULL);
}
