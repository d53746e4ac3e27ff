/*
 * The JSON writer: structure, escapes, and that any bytes become valid JSON.
 */
#include "base/json.h"

#include "base/rand.h"
#include "base/utf8.h"
#include "support.h"

#include <math.h>

static char room[4096];
static struct tg_fmt f;
static struct tg_json j;

static int setup(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    tg_json_init(&j, &f);
    return 0;
}

static void assert_json(const char *expected)
{
    assert_false(f.failed);
    room[f.n] = '\0';
    assert_string_equal(room, expected);
}

static void test_structure(void **state)
{
    (void)state;
    tg_json_begin_object(&j);
    tg_json_field_str(&j, "a", TG_STR("x"));
    tg_json_field_u64(&j, "b", 7);
    tg_json_key(&j, TG_STR("c"));
    tg_json_begin_array(&j);
    tg_json_bool(&j, true);
    tg_json_bool(&j, false);
    tg_json_null(&j);
    tg_json_begin_object(&j);
    tg_json_end_object(&j);
    tg_json_begin_array(&j);
    tg_json_end_array(&j);
    tg_json_end_array(&j);
    tg_json_key(&j, TG_STR("d"));
    tg_json_str(&j, TG_STR(""));
    tg_json_end_object(&j);
    assert_json("{\"a\":\"x\",\"b\":7,\"c\":[true,false,null,{},[]],\"d\":\"\"}");
}

static void test_integers(void **state)
{
    (void)state;
    tg_json_begin_array(&j);
    tg_json_u64(&j, UINT64_MAX);
    tg_json_i64(&j, INT64_MIN);
    tg_json_i64(&j, INT64_MAX);
    tg_json_i64(&j, 0);
    tg_json_i64(&j, -1);
    tg_json_end_array(&j);
    assert_json("[18446744073709551615,-9223372036854775808,9223372036854775807,0,-1]");
}

static void test_doubles_come_back_as_they_were(void **state)
{
    static const double values[] = {0, -1, 0.1, 1e300, -2.5e-300, 1.0 / 3, 123456789.123};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(values); i++) {
        setup(NULL);
        tg_json_double(&j, values[i]);
        room[f.n] = '\0';
        assert_true(strtod(room, NULL) == values[i]);
    }
    setup(NULL);
    tg_json_begin_array(&j);
    tg_json_double(&j, NAN);
    tg_json_double(&j, INFINITY);
    tg_json_double(&j, -INFINITY);
    tg_json_end_array(&j);
    assert_json("[null,null,null]");
}

static void test_escapes(void **state)
{
    (void)state;
    tg_json_str(&j, TG_STR("\"\\/\b\t\n\v\f\r\x1f\x7f\0z"));
    assert_json("\"\\\"\\\\/\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\\u0000z\"");
}

static void test_text_is_a_string_without_its_quotes(void **state)
{
    (void)state;
    tg_json_text(&f, TG_STR("a\"\n\xff"));
    tg_json_text(&f, tg_str(NULL, 0));
    assert_json("a\\\"\\n\xef\xbf\xbd");
}

static void test_keys_are_escaped_too(void **state)
{
    (void)state;
    tg_json_begin_object(&j);
    tg_json_key(&j, TG_STR("a\"\xff"));
    tg_json_null(&j);
    tg_json_end_object(&j);
    assert_json("{\"a\\\"\xef\xbf\xbd\":null}");
}

static void test_utf8_passes_and_other_bytes_are_replaced(void **state)
{
    (void)state;
    tg_json_begin_array(&j);
    tg_json_str(&j, TG_STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"));
    tg_json_str(&j, TG_STR("a\xff"
                           "b\xc3"));
    tg_json_str(&j, TG_STR("\xed\xa0\x80"));
    tg_json_str(&j, TG_STR("\xc0\xaf"));
    tg_json_str(&j, tg_str(NULL, 0));
    tg_json_end_array(&j);
#define R "\xef\xbf\xbd"
    assert_json("[\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\",\"a" R "b" R "\",\"" R R R "\",\"" R R
                "\",\"\"]");
#undef R
}

/* A string of JSON, checked by hand: quotes around, no control character, each backslash begins an
 * escape, all of it UTF-8. */
static void assert_valid_string(const char *p, size_t n)
{
    assert_true(n >= 2 && p[0] == '"' && p[n - 1] == '"');
    for (size_t i = 1; i < n - 1;) {
        size_t len = tg_utf8_len(p + i, n - 1 - i);
        assert_true(len > 0 && (unsigned char)p[i] >= 0x20 && p[i] != '"');
        if (p[i] == '\\') {
            assert_non_null(strchr("\"\\/bfnrtu", p[i + 1]));
            len = 2;
        }
        i += len;
    }
}

static void test_any_bytes_become_valid(void **state)
{
    char bytes[64];
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 9);
    for (int round = 0; round < 20000; round++) {
        size_t n = tg_rand_below(&r, sizeof(bytes));
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(tg_rand_below(&r, 2) ? 0x80 + tg_rand_below(&r, 128)
                                                   : tg_rand_below(&r, 256));
        setup(NULL);
        tg_json_str(&j, tg_str(bytes, n));
        assert_valid_string(room, f.n);
    }
}

static void test_failure_latches_in_the_builder(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, 4);
    tg_json_begin_array(&j);
    tg_json_str(&j, TG_STR("long"));
    tg_json_end_array(&j);
    assert_null(tg_fmt_str(&f).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_structure, setup),
        cmocka_unit_test_setup(test_integers, setup),
        cmocka_unit_test_setup(test_doubles_come_back_as_they_were, setup),
        cmocka_unit_test_setup(test_escapes, setup),
        cmocka_unit_test_setup(test_text_is_a_string_without_its_quotes, setup),
        cmocka_unit_test_setup(test_keys_are_escaped_too, setup),
        cmocka_unit_test_setup(test_utf8_passes_and_other_bytes_are_replaced, setup),
        cmocka_unit_test_setup(test_any_bytes_become_valid, setup),
        cmocka_unit_test_setup(test_failure_latches_in_the_builder, setup),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
