/*
 * Conditions fact by fact: what each kind takes, whose value counts, what is refused, what
 * conflicts, and that running out of memory leaves nothing behind. Networks, schemes and names of
 * TLS are in condition_client_test.c; that many conditions together work as the rules say is the
 * oracle's business (build_test.c).
 */
#include "base/banned.h"
#include "route/condition.h"

#include "condition_fixture.h"

#include "base/mem.h"

static bool condition_takes(enum tg_route_source source, enum tg_route_test_kind kind,
                            const char *name, const char *const *values, struct request *request)
{
    struct tg_str list[8];
    struct tg_route_condition condition = {source, kind, tg_str_c(name), list, 0};
    for (; values[condition.value_count] != NULL; condition.value_count++)
        list[condition.value_count] = tg_str_c(values[condition.value_count]);
    return takes((struct tg_route_spec){.conditions = &condition, .condition_count = 1}, request);
}

#define TAKES(source, kind, name, request, ...)                                                    \
    condition_takes(source, kind, name, (const char *const[]){__VA_ARGS__, NULL}, request)

static void test_a_header_may_have_any_of_the_values_in_any_line(void **state)
{
    struct request r = {.of = {[TG_ROUTE_HEADER] = {"x-v", "1", "x-v", "2"}}};
    (void)state;
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "X-V", &r, "2"));
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "x-v", &r, "9", "8", "1", "7"));
    assert_false(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "x-v", &r, "9", "8", "3"));
    assert_false(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "x-v", &r, "1, 2"));
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_REGEX, "x-v", &r, "[2-9]"));
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_PRESENT, "x-v", &r, NULL));
    assert_false(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_PRESENT, "x-w", &r, NULL));
}

static void test_the_first_value_of_a_parameter_or_cookie_counts(void **state)
{
    struct request r = {
        .of = {[TG_ROUTE_QUERY] = {"a", "1", "a", "2"}, [TG_ROUTE_COOKIE] = {"A", "x", "A", "y"}}};
    (void)state;
    assert_true(TAKES(TG_ROUTE_QUERY, TG_ROUTE_TEST_VALUE, "a", &r, "1"));
    assert_false(TAKES(TG_ROUTE_QUERY, TG_ROUTE_TEST_VALUE, "a", &r, "2"));
    assert_false(TAKES(TG_ROUTE_QUERY, TG_ROUTE_TEST_VALUE, "A", &r, "1"));
    assert_true(TAKES(TG_ROUTE_COOKIE, TG_ROUTE_TEST_VALUE, "A", &r, "x"));
    assert_false(TAKES(TG_ROUTE_COOKIE, TG_ROUTE_TEST_VALUE, "A", &r, "y"));
    assert_false(TAKES(TG_ROUTE_COOKIE, TG_ROUTE_TEST_VALUE, "a", &r, "x"));
    assert_true(TAKES(TG_ROUTE_COOKIE, TG_ROUTE_TEST_REGEX, "A", &r, "^.$"));
}

static void test_values_compare_byte_by_byte_and_may_be_empty(void **state)
{
    struct request r = {.of = {[TG_ROUTE_HEADER] = {"a", "", "b", "Ab"}}};
    (void)state;
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "a", &r, ""));
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_REGEX, "a", &r, "^$"));
    assert_false(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "b", &r, "ab"));
    assert_false(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, "b", &r, "A"));
    assert_true(TAKES(TG_ROUTE_HEADER, TG_ROUTE_TEST_REGEX, "b", &r, "(?i)^aB$"));
}

static void test_all_conditions_have_to_hold(void **state)
{
    struct request r = {.of = {[TG_ROUTE_HEADER] = {"x-v", "1"}, [TG_ROUTE_QUERY] = {"a", "1"}}};
    struct tg_str one = TG_STR("1");
    struct tg_route_condition both[] = {
        {TG_ROUTE_QUERY, TG_ROUTE_TEST_VALUE, TG_STR("a"), &one, 1},
        {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, TG_STR("x-v"), &one, 1}};
    struct tg_route_spec spec = {.conditions = both, .condition_count = 2};
    (void)state;
    assert_true(takes(spec, &r));
    r.of[TG_ROUTE_HEADER][1] = "2";
    r.asked[TG_ROUTE_QUERY] = 0;
    assert_false(takes(spec, &r));
    assert_int_equal(r.asked[TG_ROUTE_QUERY], 0); /* headers come first */
}

static void test_a_value_that_costs_too_much_is_neither_yes_nor_no(void **state)
{
    static char long_value[60000];
    struct request r = {.of = {[TG_ROUTE_HEADER] = {"a", long_value}}};
    struct tg_str regex = TG_STR("^(.+)[^x]\\1$"); /* cheap in the trial: an x is the last byte */
    struct tg_route_condition condition = {TG_ROUTE_HEADER, TG_ROUTE_TEST_REGEX, TG_STR("a"),
                                           &regex, 1};
    struct tg_route_spec spec = {
        .name = TG_STR("r"), .conditions = &condition, .condition_count = 1};
    struct tg_route_query query = {.host = TG_STR("h"),
                                   .path = TG_STR("/"),
                                   .method = TG_STR("GET"),
                                   .fetch = fetch,
                                   .arg = &r};
    struct tg_route_table *table = NULL;
    struct tg_route_match match;
    (void)state;
    memset(long_value, 'a', sizeof(long_value) - 2);
    long_value[sizeof(long_value) - 2] = 'b';
    assert_int_equal(try_build(&spec, &table), TG_OK);
    assert_int_equal(tg_route_match(table, &query, &match), TG_ROUTE_UNDECIDED);
    tg_route_table_free(&table);
    struct tg_str post =
        TG_STR("POST"); /* it could not win: whatever its value is, nothing is passed */
    spec.methods = &post;
    spec.method_count = 1;
    assert_int_equal(try_build(&spec, &table), TG_OK);
    assert_int_equal(tg_route_match(table, &query, &match), TG_ROUTE_NOT_FOUND);
    query.method = post;
    assert_int_equal(tg_route_match(table, &query, &match), TG_ROUTE_UNDECIDED);
    tg_route_table_free(&table);
}

/* ---- Refusals and conflicts ------------------------------------------------------------------ */

static void assert_refused(struct tg_route_spec spec, enum tg_route_field field, size_t index,
                           const char *says)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_refusal r;
    size_t before;
    assert_non_null(b);
    before = tg_mem_used(TG_MEM_CONFIG);
    spec.name = TG_STR("r");
    assert_int_not_equal(tg_route_builder_add(b, &spec, &r), TG_OK);
    if (r.field != field || r.index != index || strstr(r.what.text, says) == NULL)
        fail_msg("field %d, element %zu: %s", r.field, r.index, r.what.text);
    tg_route_builder_free(&b);
    assert_true(tg_mem_used(TG_MEM_CONFIG) < before);
}

static void test_refusals(void **state)
{
    static struct tg_route_condition many[TG_ROUTE_CONDITIONS_MAX + 1];
    struct tg_str bad = TG_STR("("), star = TG_STR("*"), port = TG_STR("a.test:1");
    struct tg_str values[] = {TG_STR("a")};
    struct tg_route_condition twice[] = {
        {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, TG_STR("X-A"), values, 1},
        {TG_ROUTE_HEADER, TG_ROUTE_TEST_PRESENT, TG_STR("x-a"), NULL, 0}};
    struct tg_route_condition regex = {TG_ROUTE_QUERY, TG_ROUTE_TEST_REGEX, TG_STR("a"), &bad, 1};
    struct tg_str worse = TG_STR("[z-a]");
    struct tg_route_condition both[] = {
        {TG_ROUTE_QUERY, TG_ROUTE_TEST_REGEX, TG_STR("b"), &worse, 1},
        {TG_ROUTE_QUERY, TG_ROUTE_TEST_REGEX, TG_STR("a"), &bad, 1}};
    struct tg_route_condition empty = {TG_ROUTE_QUERY, TG_ROUTE_TEST_VALUE, TG_STR("a"), NULL, 0};
    struct tg_route_condition nameless = {TG_ROUTE_QUERY, TG_ROUTE_TEST_PRESENT, {"", 0}, NULL, 0};
    (void)state;
    assert_refused((struct tg_route_spec){.conditions = twice, .condition_count = 2},
                   TG_ROUTE_FIELD_CONDITIONS, 1, "twice");
    assert_refused((struct tg_route_spec){.conditions = &regex, .condition_count = 1},
                   TG_ROUTE_FIELD_CONDITIONS, 0, "parenthesis");
    assert_refused((struct tg_route_spec){.conditions = both, .condition_count = 2},
                   TG_ROUTE_FIELD_CONDITIONS, 1, "parenthesis"); /* the first by name */
    assert_refused((struct tg_route_spec){.conditions = &empty, .condition_count = 1},
                   TG_ROUTE_FIELD_CONDITIONS, 0, "without values");
    assert_refused((struct tg_route_spec){.conditions = &nameless, .condition_count = 1},
                   TG_ROUTE_FIELD_CONDITIONS, 0, "a name has");
    assert_refused((struct tg_route_spec){.conditions = many, .condition_count = 65},
                   TG_ROUTE_FIELD_CONDITIONS, 0, "more than 64");
    assert_refused((struct tg_route_spec){.snis = &star, .sni_count = 1}, TG_ROUTE_FIELD_SNIS, 0,
                   "TLS handshake");
    assert_refused((struct tg_route_spec){.snis = &port, .sni_count = 1}, TG_ROUTE_FIELD_SNIS, 0,
                   "TLS handshake");
}

static bool conflict(const struct tg_route_condition *x, const struct tg_route_condition *y,
                     size_t count)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_spec first = {.name = TG_STR("x"), .conditions = x, .condition_count = count};
    struct tg_route_spec second = {.name = TG_STR("y"), .conditions = y, .condition_count = count};
    struct tg_route_table *table = NULL;
    struct tg_route_refusal refusal;
    assert_non_null(b);
    assert_int_equal(tg_route_builder_add(b, &first, &refusal), TG_OK);
    assert_int_equal(tg_route_builder_add(b, &second, &refusal), TG_OK);
    enum tg_err err = tg_route_table_build(b, NULL, NULL, &table);
    tg_route_table_free(&table);
    tg_route_builder_free(&b);
    return err == TG_E_EXISTS;
}

static void test_the_same_conditions_however_written_are_a_conflict(void **state)
{
    struct tg_str ab[] = {TG_STR("a"), TG_STR("b")}, ba[] = {TG_STR("b"), TG_STR("a"), TG_STR("a")};
    const struct tg_route_condition x[] = {
        {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, TG_STR("X-A"), ab, 2},
        {TG_ROUTE_COOKIE, TG_ROUTE_TEST_PRESENT, TG_STR("c"), NULL, 0}};
    struct tg_route_condition y[] = {{TG_ROUTE_COOKIE, TG_ROUTE_TEST_PRESENT, TG_STR("c"), NULL, 0},
                                     {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, TG_STR("x-a"), ba, 3}};
    (void)state;
    assert_true(conflict(x, y, 2));
    y[0].name = TG_STR("C"); /* cookies have a case */
    assert_false(conflict(x, y, 2));
    y[0].name = TG_STR("c");
    y[1].kind = TG_ROUTE_TEST_REGEX;
    assert_false(conflict(x, y, 2));
}

static size_t bytes_with(unsigned routes)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_str values[] = {TG_STR("a"), TG_STR("b")}, hosts;
    const struct tg_route_condition condition = {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE,
                                                 TG_STR("x-a"), values, 2};
    struct tg_route_table *table = NULL;
    struct tg_route_refusal refusal;
    assert_non_null(b);
    for (unsigned i = 0; i < routes; i++) {
        char host[16];
        snprintf(host, sizeof(host), "h%u", i);
        hosts = tg_str_c(host);
        struct tg_route_spec spec = {.name = hosts,
                                     .hosts = &hosts,
                                     .host_count = 1,
                                     .conditions = &condition,
                                     .condition_count = 1};
        assert_int_equal(tg_route_builder_add(b, &spec, &refusal), TG_OK);
    }
    assert_int_equal(tg_route_table_build(b, NULL, NULL, &table), TG_OK);
    size_t bytes = tg_route_table_bytes(table);
    tg_route_table_free(&table);
    tg_route_builder_free(&b);
    return bytes;
}

static void test_equal_conditions_are_kept_once(void **state)
{
    (void)state; /* a node of 32 bytes, an entry of 32, the name of the host; the slots are there */
    assert_int_equal(bytes_with(2) - bytes_with(1), 32 + 32 + 2);
}

static void test_every_failed_allocation_leaves_nothing(void **state)
{
    struct tg_str values[] = {TG_STR("a"), TG_STR("b")}, regex = TG_STR("^a"), sni = TG_STR("a.b");
    struct tg_str path = TG_STR("~^/v(\\d+)/");
    const struct tg_route_network network = {MAPPED "\x0a\0\0\0", 104};
    const struct tg_route_condition conditions[] = {
        {TG_ROUTE_HEADER, TG_ROUTE_TEST_VALUE, TG_STR("x-a"), values, 2},
        {TG_ROUTE_QUERY, TG_ROUTE_TEST_REGEX, TG_STR("q"), &regex, 1}};
    struct tg_route_spec spec = {.name = TG_STR("r"),
                                 .paths = &path,
                                 .path_count = 1,
                                 .conditions = conditions,
                                 .condition_count = 2,
                                 .networks = &network,
                                 .network_count = 1,
                                 .scheme = TG_STR("http"),
                                 .snis = &sni,
                                 .sni_count = 1};
    size_t before = tg_mem_used(TG_MEM_CONFIG);
    enum tg_err err = TG_E_NOMEM;
    (void)state;
    for (uint64_t nth = 1; err != TG_OK; nth++) {
        struct tg_route_table *table = NULL;
        assert_true(nth < 300);
        tg_mem_fail_at(nth);
        err = try_build(&spec, &table);
        tg_mem_fail_at(0);
        tg_route_table_free(&table);
        assert_int_equal(tg_mem_used(TG_MEM_CONFIG), before);
        assert_true(err == TG_OK || err == TG_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_header_may_have_any_of_the_values_in_any_line),
        cmocka_unit_test(test_the_first_value_of_a_parameter_or_cookie_counts),
        cmocka_unit_test(test_values_compare_byte_by_byte_and_may_be_empty),
        cmocka_unit_test(test_all_conditions_have_to_hold),
        cmocka_unit_test(test_a_value_that_costs_too_much_is_neither_yes_nor_no),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_same_conditions_however_written_are_a_conflict),
        cmocka_unit_test(test_equal_conditions_are_kept_once),
        cmocka_unit_test(test_every_failed_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests_name("route conditions", tests, NULL, NULL);
}
