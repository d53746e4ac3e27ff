/*
 * Predicates: what they mean, row by row, against one request; and what is refused, with the column
 * and a word of the message.
 */
#include "base/banned.h"
#include "route/expr.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t key_of(struct tg_str header)
{
    return header.n << 8 | (unsigned char)header.p[0];
}

/* POST https://api.test/v1/orders?page=12&empty=&neg=-3.5 with three headers, from 10.0.0.1 */
static bool fetch(void *arg, enum tg_expr_field field, struct tg_str name, uint64_t key,
                  struct tg_str *value)
{
    static const struct {
        enum tg_expr_field field;
        const char *name;
        const char *value;
    } all[] = {
        {TG_EXPR_METHOD, "", "POST"},        {TG_EXPR_PATH, "", "/v1/orders"},
        {TG_EXPR_HOST, "", "api.test"},      {TG_EXPR_SCHEME, "", "https"},
        {TG_EXPR_CLIENT_IP, "", "10.0.0.1"}, {TG_EXPR_HEADER, "accept", "text/html"},
        {TG_EXPR_HEADER, "x-tier", "gold"},  {TG_EXPR_HEADER, "x-it's", "y\"z"},
        {TG_EXPR_QUERY, "page", "12"},       {TG_EXPR_QUERY, "empty", ""},
        {TG_EXPR_QUERY, "neg", "-3.5"},
    };
    assert_int_equal(key, field == TG_EXPR_HEADER ? key_of(name) : 0);
    if (arg != NULL)
        ++*(int *)arg;
    for (size_t i = 0; i < TG_COUNT_OF(all); i++) {
        if (all[i].field != field || !tg_str_eq(name, tg_str_c(all[i].name)))
            continue;
        *value = tg_str_c(all[i].value);
        return true;
    }
    return false;
}

static void test_meaning(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"method == \"POST\"", true},
        {"method == 'GET'", false},
        {"method != \"GET\"", true},
        {"method ~= \"GET\"", true},
        {"\"POST\" == method", true},
        {"path < '/v2'", true},
        {"path <= '/v1/orders'", true},
        {"path > '/v1/orders'", false},
        {"path >= '/v1'", true},
        {"host == 'api.test' and scheme == 'https'", true},
        {"client.ip == '10.0.0.1'", true},
        {"header.accept == 'text/html'", true},
        {"header[\"X-Tier\"] == 'gold'", true},
        {"header.x-tier == 'gold'", true},
        {"header['x-it\\'s'] == \"y\\\"z\"", true},
        {"header.cookie", false},
        {"not header.cookie", true},
        {"header.cookie == ''", false},
        {"header.cookie != 'a'", true},
        {"header.cookie < 'a'", false},
        {"query.empty", true},
        {"query.empty == ''", true},
        {"query.page == 12", true},
        {"query.page == 12.0", true},
        {"query.page > 9", true},
        {"query.page > '9'", false},
        {"9 < query.page", true},
        {"query.neg < -3.25", true},
        {"query.neg == -3.5", true},
        {"method == 1", false},
        {"method != 1", true},
        {"query.none >= 0", false},
        {"2 < 10", true},
        {"'2' < '10'", false},
        {"starts_with(path, '/v1/')", true},
        {"starts_with(path, '/v1/orders/')", false},
        {"ends_with(path, 'orders')", true},
        {"contains(header.accept, '/')", true},
        {"contains(header.accept, '')", true},
        {"contains('a POST b', method)", true},
        {"contains(header.cookie, '')", false},
        {"true", true},
        {"false or true", true},
        {"true and false", false},
        {"true or true and false", true},
        {"(true or true) and false", false},
        {"not true or true", true},
        {"not (true or true)", false},
        {"not not true", true},
        {"false and false or true and true", true},
        {" \t\n( ( method=='POST' ) ) ", true},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_expr_error error;
        struct tg_expr *expr = NULL;
        if (tg_expr_new(tg_str_c(rows[i].text), key_of, &expr, &error) != TG_OK)
            fail_msg("%s: column %zu: %s", rows[i].text, error.column, error.text);
        if (tg_expr_test(expr, fetch, NULL) != rows[i].want)
            fail_msg("%s: not %d", rows[i].text, rows[i].want);
        tg_expr_free(&expr);
        assert_null(expr);
    }
}

static void test_refusals_name_the_column(void **state)
{
    static const struct {
        const char *text;
        size_t column;
        const char *says;
    } rows[] = {
        {"", 1, "expected a value"},
        {"method = 'GET'", 8, "does not belong"},
        {"method == 'GET' && true", 17, "does not belong"},
        {"metod == 'GET'", 1, "unknown name"},
        {"method == ", 11, "expected a value"},
        {"method == 'GET", 11, "does not end"},
        {"method == 'a\\n'", 13, "unknown escape"},
        {"method == 'a' path", 15, "should end here"},
        {"method == 'a' == 'b'", 15, "only strings"},
        {"(path == '/') == true", 15, "only strings"},
        {"'GET'", 1, "neither true nor false"},
        {"5 and true", 1, "neither true nor false"},
        {"1 == '1'", 3, "cannot be compared"},
        {"(true", 6, "expected )"},
        {"header", 7, "name of a field"},
        {"header. x", 8, "name is missing"},
        {"header[5]", 8, "name in quotes"},
        {"header['']", 8, "name in quotes"},
        {"client.port", 8, "expected client.ip"},
        {"starts_with(path)", 17, "expected a comma"},
        {"starts_with(path, 1)", 19, "expected a string"},
        {"starts_with path", 13, "expected ("},
        {"true and", 9, "expected a value"},
        {"not", 4, "expected a value"},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_expr_error error = {NULL, NULL, 0};
        struct tg_expr *expr = NULL;
        assert_int_equal(tg_expr_new(tg_str_c(rows[i].text), key_of, &expr, &error), TG_E_INVALID);
        if (error.column != rows[i].column || strstr(error.text, rows[i].says) == NULL)
            fail_msg("%s: column %zu: %s", rows[i].text, error.column, error.text);
        assert_non_null(error.hint);
        assert_null(expr);
    }
}

static void test_fields_that_do_not_matter_are_not_asked_for(void **state)
{
    struct tg_expr_error error;
    struct tg_expr *expr;
    int asked = 0;
    (void)state;
    assert_int_equal(tg_expr_new(TG_STR("method == 'GET' and path == '/' and host == 'a' or "
                                        "scheme == 'https' or query.page == 1"),
                                 key_of, &expr, &error),
                     TG_OK);
    assert_true(tg_expr_test(expr, fetch, &asked));
    assert_int_equal(asked, 2);
    tg_expr_free(&expr);
}

/* `count` times `part` between `head` and `tail`. */
static enum tg_err compile_repeated(const char *part, size_t count, const char *tail)
{
    static char text[4096];
    struct tg_expr_error error;
    struct tg_expr *expr = NULL;
    size_t n = strlen(part), at = 0;
    for (; count > 0; count--, at += n)
        memcpy(text + at, part, n);
    memcpy(text + at, tail, strlen(tail));
    enum tg_err err = tg_expr_new(tg_str(text, at + strlen(tail)), NULL, &expr, &error);
    tg_expr_free(&expr);
    return err;
}

static void test_bounds(void **state)
{
    (void)state;
    assert_int_equal(compile_repeated("not ", 31, "true"), TG_OK);
    assert_int_equal(compile_repeated("not ", 32, "true"), TG_E_INVALID);
    assert_int_equal(compile_repeated("(", 40, "true"), TG_E_INVALID);
    assert_int_equal(compile_repeated("true or ", 63, "true"), TG_OK); /* 127 steps */
    assert_int_equal(compile_repeated("true or ", 64, "true"), TG_E_INVALID);
    assert_int_equal(compile_repeated(" ", TG_EXPR_TEXT_MAX - 4, "true"), TG_OK);
    assert_int_equal(compile_repeated(" ", TG_EXPR_TEXT_MAX - 3, "true"), TG_E_INVALID);
}

static void test_no_memory(void **state)
{
    struct tg_expr_error error;
    struct tg_expr *expr = NULL;
    (void)state;
    tg_mem_fail_at(1);
    enum tg_err err = tg_expr_new(TG_STR("true"), NULL, &expr, &error);
    tg_mem_fail_at(0);
    assert_int_equal(err, TG_E_NOMEM);
    assert_null(expr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_refusals_name_the_column),
        cmocka_unit_test(test_fields_that_do_not_matter_are_not_asked_for),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("expr", tests, NULL, NULL);
}
