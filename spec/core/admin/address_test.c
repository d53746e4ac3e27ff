/*
 * Addresses of the admin listener: what is one and what is none.
 */
#include "admin/address.h"

#include <netinet/in.h>

#include "support.h"

static struct tg_admin_address address;

static enum tg_err parse(const char *text)
{
    return tg_admin_address_parse(tg_str_c(text), &address);
}

static void test_a_path_is_a_unix_socket(void **state)
{
    (void)state;
    assert_int_equal(parse("unix:/run/t.sock"), TG_OK);
    assert_true(tg_admin_address_is_local(&address));
    assert_string_equal(address.u.local.sun_path, "/run/t.sock");
    assert_int_equal(parse("unix:relative"), TG_OK);
}

static void test_a_path_has_a_length(void **state)
{
    char text[256] = "unix:";
    (void)state;
    assert_int_equal(parse("unix:"), TG_E_INVALID);
    memset(text + 5, 'a', TG_ADMIN_PATH_MAX);
    assert_int_equal(parse(text), TG_OK);
    assert_int_equal(strlen(address.u.local.sun_path), TG_ADMIN_PATH_MAX);
    text[5 + TG_ADMIN_PATH_MAX] = 'a';
    assert_int_equal(parse(text), TG_E_INVALID);
    assert_int_equal(tg_admin_address_parse(TG_STR("unix:a\0b"), &address), TG_E_INVALID);
}

static void test_an_ip_address_has_a_port(void **state)
{
    (void)state;
    assert_int_equal(parse("127.0.0.1:9901"), TG_OK);
    assert_false(tg_admin_address_is_local(&address));
    assert_int_equal(address.len, sizeof(struct sockaddr_in));
    assert_int_equal(parse("[::1]:9901"), TG_OK);
    assert_int_equal(address.len, sizeof(struct sockaddr_in6));
    assert_int_equal(parse("127.0.0.1:0"), TG_E_INVALID);
    assert_int_equal(parse("127.0.0.1"), TG_E_INVALID);
    assert_int_equal(parse("localhost:80"), TG_E_INVALID);
    assert_int_equal(parse(""), TG_E_INVALID);
}

static bool is_loopback(const char *text)
{
    assert_int_equal(parse(text), TG_OK);
    return tg_admin_address_is_loopback(&address);
}

static void test_loopback_is_this_machine_alone(void **state)
{
    (void)state;
    assert_true(is_loopback("127.0.0.1:9901"));
    assert_true(is_loopback("127.8.9.1:9901"));
    assert_true(is_loopback("[::1]:9901"));
    assert_true(is_loopback("[::ffff:127.0.0.1]:9901"));
    assert_false(is_loopback("10.0.0.1:9901"));
    assert_false(is_loopback("0.0.0.0:9901"));
    assert_false(is_loopback("[::]:9901"));
    assert_false(is_loopback("unix:/run/t.sock"));
}

static void test_names_of_others_are_no_plain_hosts(void **state)
{
    (void)state;
    assert_true(tg_admin_host_is_plain(TG_STR("127.0.0.1")));
    assert_true(tg_admin_host_is_plain(TG_STR("[::1]")));
    assert_true(tg_admin_host_is_plain(TG_STR("LocalHost")));
    assert_false(tg_admin_host_is_plain(TG_STR("localhost.evil.test")));
    assert_false(tg_admin_host_is_plain(TG_STR("127.0.0.1.evil.test")));
    assert_false(tg_admin_host_is_plain(TG_STR("evil.test")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_is_a_unix_socket),
        cmocka_unit_test(test_a_path_has_a_length),
        cmocka_unit_test(test_an_ip_address_has_a_port),
        cmocka_unit_test(test_loopback_is_this_machine_alone),
        cmocka_unit_test(test_names_of_others_are_no_plain_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
