/*
 * Conditions on who asks and how: networks of both families and where they meet, schemes, names of
 * TLS handshakes.
 */
#include "base/banned.h"
#include "route/condition.h"

#include "condition_fixture.h"

static void test_networks_are_of_both_families_and_merge(void **state)
{
    const struct tg_route_network networks[] = {{MAPPED "\x0a\x80\0\0", 96 + 9},
                                                {MAPPED "\x0a\0\0\0", 96 + 9},
                                                {MAPPED "\xc0\0\x02\x01", 128},
                                                {"\xfd", 8}};
    struct tg_route_spec spec = {.networks = networks, .network_count = 4};
    static const struct {
        const char *address;
        bool within;
    } rows[] = {{MAPPED "\x0a\xff\xff\xff", true},
                {MAPPED "\x0a\0\0\0", true},
                {MAPPED "\x09\xff\xff\xff", false},
                {MAPPED "\x0b\0\0\0", false},
                {MAPPED "\xc0\0\x02\x01", true},
                {MAPPED "\xc0\0\x02\x02", false},
                {"\xfd\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", true},
                {"\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", false}};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct request r = {.of = {[TG_ROUTE_NETWORK] = {"", rows[i].address}}};
        if (takes(spec, &r) != rows[i].within)
            fail_msg("row %zu", i);
    }
    struct request nobody = {.of = {{NULL}}};
    assert_false(takes(spec, &nobody));
}

/* Asks for a client in `network` where the client is `address`. */
static bool network_takes(struct tg_route_network network, const char *address)
{
    struct request r = {.of = {[TG_ROUTE_NETWORK] = {"", address}}};
    return takes((struct tg_route_spec){.networks = &network, .network_count = 1}, &r);
}

static void test_a_network_of_one_family_has_none_of_the_other(void **state)
{
    static const char lowest[17] = "", highest[17] = "\xff\xff\xff\xff\xff\xff\xff\xff"
                                                     "\xff\xff\xff\xff\xff\xff\xff\xff";
    static const char below[17] = "\0\0\0\0\0\0\0\0\0\0\xff\xfe\xff\xff\xff\xff";
    static const char above[17] = "\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0";
    static const struct tg_route_network six = {"", 0}, four = {MAPPED, 96};
    static const struct tg_route_network narrow = {"\0\0\0\0\0\0\0\0\0\0\xff\xfe", 95};
    (void)state;
    assert_false(network_takes(six, MAPPED "\0\0\0\0"));
    assert_false(network_takes(six, MAPPED "\xff\xff\xff\xff"));
    assert_true(network_takes(six, lowest));
    assert_true(network_takes(six, below));
    assert_true(network_takes(six, above));
    assert_true(network_takes(six, highest));
    assert_true(network_takes(narrow, below)); /* and ends with IPv4 */
    assert_false(network_takes(narrow, MAPPED "\x0a\0\0\1"));
    assert_false(network_takes(narrow, above));
    assert_true(network_takes(four, MAPPED "\0\0\0\0"));
    assert_true(network_takes(four, MAPPED "\xff\xff\xff\xff"));
    assert_false(network_takes(four, below));
    assert_false(network_takes(four, above));
    struct tg_route_network both[] = {six, four};
    struct request r = {.of = {[TG_ROUTE_NETWORK] = {"", MAPPED "\x0a\0\0\1"}}};
    assert_true(takes((struct tg_route_spec){.networks = both, .network_count = 2}, &r));
}

static void test_scheme_and_names_of_tls(void **state)
{
    struct request r = {
        .of = {[TG_ROUTE_SCHEME] = {"", "https"}, [TG_ROUTE_SNI] = {"", "X.a.Test"}}};
    struct tg_str names[] = {TG_STR("b.test"), TG_STR("*.A.test")};
    (void)state;
    assert_true(takes((struct tg_route_spec){.scheme = TG_STR("https")}, &r));
    assert_false(takes((struct tg_route_spec){.scheme = TG_STR("http")}, &r));
    assert_true(takes((struct tg_route_spec){.snis = names, .sni_count = 2}, &r));
    r.of[TG_ROUTE_SNI][1] = "a.test";
    assert_false(takes((struct tg_route_spec){.snis = names, .sni_count = 2}, &r));
    r.of[TG_ROUTE_SNI][1] = "B.test";
    assert_true(takes((struct tg_route_spec){.snis = names, .sni_count = 2}, &r));
    r.of[TG_ROUTE_SNI][0] = NULL;
    assert_false(takes((struct tg_route_spec){.snis = names, .sni_count = 2}, &r));
}

static void test_a_dot_at_the_end_of_a_name_of_tls_is_ignored(void **state)
{
    struct request r = {.of = {[TG_ROUTE_SNI] = {"", "x.a.test"}}};
    struct tg_str with[] = {TG_STR("b.test."), TG_STR("*.a.test.")};
    struct tg_str without[] = {TG_STR("b.test"), TG_STR("*.a.test")};
    (void)state;
    assert_true(takes((struct tg_route_spec){.snis = with, .sni_count = 2}, &r));
    r.of[TG_ROUTE_SNI][1] = "b.test.";
    assert_true(takes((struct tg_route_spec){.snis = with, .sni_count = 2}, &r));
    assert_true(takes((struct tg_route_spec){.snis = without, .sni_count = 2}, &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_are_of_both_families_and_merge),
        cmocka_unit_test(test_a_network_of_one_family_has_none_of_the_other),
        cmocka_unit_test(test_scheme_and_names_of_tls),
        cmocka_unit_test(test_a_dot_at_the_end_of_a_name_of_tls_is_ignored),
    };
    return cmocka_run_group_tests_name("route conditions on clients", tests, NULL, NULL);
}
