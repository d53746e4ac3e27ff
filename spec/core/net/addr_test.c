/*
 * Addresses and networks: what is taken, what is refused, and that text and bytes agree.
 */
#include "net/addr.h"

#include "support.h"

#include <arpa/inet.h>

static void test_addresses_and_their_text(void **state)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: refused */
    } rows[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"255.255.255.255:65535", "255.255.255.255:65535"},
        {"[::1]:80", "[::1]:80"},
        {"[::]:1", "[::]:1"},
        {"[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443"},
        {"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.254]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535"},
        {"", NULL},
        {":80", NULL},
        {"127.0.0.1", NULL},
        {"127.0.0.1:", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:000080", NULL},
        {"127.0.0.1:8o", NULL},
        {"127.0.0.1:-1", NULL},
        {"127.0.0.1:+1", NULL},
        {"127.0.0.1: 80", NULL},
        {"127.1:80", NULL},
        {"256.0.0.1:80", NULL},
        {"localhost:80", NULL},
        {"::1:80", NULL},
        {"[127.0.0.1]:80", NULL},
        {"[::1]", NULL},
        {"[::1:80", NULL},
        {"[::1%lo]:80", NULL},
        {"::1]:80", NULL},
        {"[]:80", NULL},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80", NULL},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        char room[TG_ADDR_TEXT_MAX];
        struct tg_addr addr;
        enum tg_err err = tg_addr_parse(tg_str_c(rows[i].text), &addr);
        if ((err == TG_OK) != (rows[i].want != NULL))
            fail_msg("\"%s\": %s", rows[i].text, tg_err_name(err));
        if (err == TG_OK)
            assert_string_equal(tg_addr_text(&addr, room).p, rows[i].want);
    }
}

static void test_a_nul_in_the_text_is_refused(void **state)
{
    struct tg_addr addr;
    (void)state;
    assert_int_equal(tg_addr_parse(tg_str("127.0.0.1\0:80", 13), &addr), TG_E_INVALID);
    assert_int_equal(tg_addr_parse_ip(tg_str("127.0.0.1\0", 10), &addr), TG_E_INVALID);
}

static void test_bare_ips(void **state)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_addr addr;
    (void)state;
    assert_int_equal(tg_addr_parse_ip(TG_STR("[::1]"), &addr), TG_OK);
    assert_string_equal(tg_addr_ip_text(&addr, room).p, "::1");
    assert_int_equal(tg_addr_parse_ip(TG_STR("::1"), &addr), TG_OK);
    assert_int_equal(tg_addr_port(&addr), 0);
    assert_int_equal(tg_addr_parse_ip(TG_STR("::ffff:10.0.0.1"), &addr), TG_OK);
    assert_string_equal(tg_addr_ip_text(&addr, room).p, "10.0.0.1");
    assert_int_equal(tg_addr_parse_ip(TG_STR("10.0.0.1:80"), &addr), TG_E_INVALID);
    assert_int_equal(tg_addr_parse_ip(TG_STR(""), &addr), TG_E_INVALID);
}

static void test_from_the_kernel(void **state)
{
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(7)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr other = {.sa_family = AF_UNIX};
    char room[TG_ADDR_TEXT_MAX];
    struct tg_addr addr;
    (void)state;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:1.2.3.4", &mapped.sin6_addr), 1);
    tg_addr_from_sockaddr((struct sockaddr *)&mapped, sizeof(mapped), &addr);
    assert_string_equal(tg_addr_text(&addr, room).p, "1.2.3.4:7");

    assert_int_equal(inet_pton(AF_INET6, "fe80::1", &mapped.sin6_addr), 1);
    mapped.sin6_scope_id = 3;
    tg_addr_from_sockaddr((struct sockaddr *)&mapped, sizeof(mapped), &addr);
    assert_int_equal(addr.u.v6.sin6_scope_id, 3);

    assert_int_equal(inet_pton(AF_INET, "5.6.7.8", &v4.sin_addr), 1);
    tg_addr_from_sockaddr((struct sockaddr *)&v4, sizeof(v4), &addr);
    assert_string_equal(tg_addr_text(&addr, room).p, "5.6.7.8:9");

    tg_addr_from_sockaddr((struct sockaddr *)&v4, sizeof(v4) - 1, &addr);
    assert_int_equal(addr.len, 0);
    tg_addr_from_sockaddr(&other, sizeof(other), &addr);
    assert_int_equal(addr.len, 0);
    assert_int_equal(tg_addr_port(&addr), 0);
    assert_int_equal(tg_addr_ip_text(&addr, room).n, 0);
}

static struct tg_addr parsed(const char *text)
{
    struct tg_addr addr;
    assert_int_equal(tg_addr_parse(tg_str_c(text), &addr), TG_OK);
    return addr;
}

static void test_equality(void **state)
{
    struct tg_addr a = parsed("127.0.0.1:80");
    struct tg_addr same = parsed("[::ffff:127.0.0.1]:80");
    struct tg_addr port = parsed("127.0.0.1:81");
    struct tg_addr ip = parsed("127.0.0.2:80");
    struct tg_addr v6 = parsed("[7f00:1::]:80");
    struct tg_addr none = {0};
    (void)state;
    assert_true(tg_addr_eq(&a, &same));
    assert_false(tg_addr_eq(&a, &port));
    assert_false(tg_addr_eq(&a, &ip));
    assert_false(tg_addr_eq(&a, &v6));
    assert_false(tg_addr_eq(&a, &none));
    assert_true(tg_addr_eq(&none, &none));
}

static void test_networks(void **state)
{
    static const struct {
        const char *net;
        const char *in;  /* NULL: the network is refused */
        const char *out; /* NULL: there is none */
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/9", "10.127.0.1", "10.128.0.1"},
        {"192.0.2.128/25", "192.0.2.255", "192.0.2.127"},
        {"192.0.2.1", "192.0.2.1", "192.0.2.0"},
        {"192.0.2.1/32", "192.0.2.1", "192.0.2.3"},
        {"0.0.0.0/0", "255.1.2.3", "::1"},
        {"::/0", "ffff::1", "1.2.3.4"},
        {"fd00::/8", "fdff::1", "fe00::"},
        {"2001:db8:8000::/33", "2001:db8:ffff::", "2001:db8:7fff::"},
        {"::1", "::1", "::2"},
        {"::1/128", "::1", "::"},
        {"127.0.0.0/8", "::ffff:127.0.0.1", "::1"},
        {"::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.0"},
        {"::ffff:10.0.0.7/128", "::ffff:10.0.0.7", "10.0.0.8"},
        {"::ffff:0:0/96", "192.0.2.1", "::1"},
        {"::ffff:10.0.0.1/104", NULL, NULL},
        {"::ffff:0:0/80", NULL, NULL},
        {"::ffff:10.0.0.0/129", NULL, NULL},
        {"10.0.0.1/8", NULL, NULL},
        {"10.0.0.0/33", NULL, NULL},
        {"10.0.0.0/", NULL, NULL},
        {"10.0.0.0/-1", NULL, NULL},
        {"10.0.0.0/8x", NULL, NULL},
        {"10.0.0.0/0008", NULL, NULL},
        {"/8", NULL, NULL},
        {"", NULL, NULL},
        {"::/129", NULL, NULL},
        {"::1/127", NULL, NULL},
        {"example.com/8", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_cidr net;
        struct tg_addr addr;
        enum tg_err err = tg_cidr_parse(tg_str_c(rows[i].net), &net);
        if ((err == TG_OK) != (rows[i].in != NULL))
            fail_msg("\"%s\": %s", rows[i].net, tg_err_name(err));
        if (err != TG_OK)
            continue;
        assert_int_equal(tg_addr_parse_ip(tg_str_c(rows[i].in), &addr), TG_OK);
        assert_true(tg_cidr_contains(&net, &addr));
        assert_int_equal(tg_addr_parse_ip(tg_str_c(rows[i].out), &addr), TG_OK);
        assert_false(tg_cidr_contains(&net, &addr));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_and_their_text),
        cmocka_unit_test(test_a_nul_in_the_text_is_refused),
        cmocka_unit_test(test_bare_ips),
        cmocka_unit_test(test_from_the_kernel),
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
