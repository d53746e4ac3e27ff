/*
 * Character classes, checked byte by byte against the grammar written out as text, and names of
 * methods and statuses.
 */
#include "http/token.h"

#include "support.h"

#define ALPHA "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

/* True when exactly the bytes of `members` are in the class. */
static void assert_class(enum tg_char_class cls, const char *members)
{
    for (int c = 0; c < 256; c++) {
        bool want = c != 0 && strchr(members, c) != NULL;
        if (tg_char_is((char)c, cls) != want)
            fail_msg("class %d, byte 0x%02x", cls, (unsigned)c);
    }
}

static void test_tokens_are_tchars(void **state)
{
    (void)state;
    assert_class(TG_CHAR_TOKEN, ALPHA DIGIT "!#$%&'*+-.^_`|~");
}

static void test_unreserved_and_hex(void **state)
{
    (void)state;
    assert_class(TG_CHAR_UNRESERVED, ALPHA DIGIT "-._~");
    assert_class(TG_CHAR_HEX, DIGIT "abcdefABCDEF");
}

static void test_hosts_are_reg_names(void **state)
{
    (void)state;
    assert_class(TG_CHAR_HOST, ALPHA DIGIT "-._~!$&'()*+,;=%");
}

static void test_values_are_what_a_field_may_hold(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool want = c == '\t' || (c >= 0x20 && c != 0x7f);
        assert_int_equal(tg_char_is((char)c, TG_CHAR_VALUE), want);
    }
}

static void test_targets_are_visible_without_a_fragment(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++)
        assert_int_equal(tg_char_is((char)c, TG_CHAR_TARGET), c > 0x20 && c < 0x7f && c != '#');
}

static void test_cookie_octets(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool want = c == 0x21 || (c >= 0x23 && c <= 0x2b) || (c >= 0x2d && c <= 0x3a) ||
                    (c >= 0x3c && c <= 0x5b) || (c >= 0x5d && c <= 0x7e);
        assert_int_equal(tg_char_is((char)c, TG_CHAR_COOKIE), want);
    }
}

static void test_token_strings(void **state)
{
    (void)state;
    assert_true(tg_str_is_token(TG_STR("X-Request-Id")));
    assert_false(tg_str_is_token(TG_STR("")));
    assert_false(tg_str_is_token(TG_STR("a b")));
    assert_false(tg_str_is_token(TG_STR("a:")));
    assert_false(tg_str_is_token(tg_str("a\0b", 3)));
    assert_true(tg_str_all(TG_STR(""), TG_CHAR_HEX));
}

static void test_method_names(void **state)
{
    static const struct {
        const char *name;
        enum tg_method method;
        bool idempotent;
    } rows[] = {
        {"GET", TG_METHOD_GET, true},         {"HEAD", TG_METHOD_HEAD, true},
        {"POST", TG_METHOD_POST, false},      {"PUT", TG_METHOD_PUT, true},
        {"DELETE", TG_METHOD_DELETE, true},   {"PATCH", TG_METHOD_PATCH, false},
        {"OPTIONS", TG_METHOD_OPTIONS, true}, {"CONNECT", TG_METHOD_CONNECT, false},
        {"TRACE", TG_METHOD_TRACE, true},     {"PROPFIND", TG_METHOD_OTHER, false},
        {"get", TG_METHOD_OTHER, false},      {"", TG_METHOD_OTHER, false},
        {"GETS", TG_METHOD_OTHER, false},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        enum tg_method method = tg_method_from_name(tg_str_c(rows[i].name));
        assert_int_equal(method, rows[i].method);
        assert_int_equal(tg_method_is_idempotent(method), rows[i].idempotent);
    }
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(tg_status_reason(200), "OK");
    assert_string_equal(tg_status_reason(404), "Not Found");
    assert_string_equal(tg_status_reason(431), "Request Header Fields Too Large");
    assert_string_equal(tg_status_reason(299), "Unknown");
    assert_string_equal(tg_status_reason(0), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_tchars),
        cmocka_unit_test(test_unreserved_and_hex),
        cmocka_unit_test(test_hosts_are_reg_names),
        cmocka_unit_test(test_values_are_what_a_field_may_hold),
        cmocka_unit_test(test_targets_are_visible_without_a_fragment),
        cmocka_unit_test(test_cookie_octets),
        cmocka_unit_test(test_token_strings),
        cmocka_unit_test(test_method_names),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
