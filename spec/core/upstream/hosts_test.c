/*
 * The hosts file: lines as people write them.
 */
#include "upstream/hosts.h"

#include "support.h"

static const char *const text = "# a comment\n"
                                "127.0.0.1\tlocalhost local  # the machine itself\n"
                                "::1 localhost\r\n"
                                "\n"
                                "no-address some.test\n"
                                "10.0.0.1\n"
                                "  10.0.0.2   Back.Test alias\n"
                                "10.0.0.3 back.test"; /* the last line does not end */

static struct tg_addr found[4];

static uint32_t find(const char *name, uint32_t max)
{
    return tg_hosts_find(tg_str_c(text), tg_str_c(name), found, max);
}

static const char *found_text(uint32_t i)
{
    static char room[TG_ADDR_TEXT_MAX];
    return tg_addr_ip_text(&found[i], room).p;
}

static void test_a_name_may_have_several_addresses(void **state)
{
    (void)state;
    assert_int_equal(find("localhost", 4), 2);
    assert_string_equal(found_text(0), "127.0.0.1");
    assert_string_equal(found_text(1), "::1");
    assert_int_equal(find("localhost", 1), 1);
    assert_int_equal(find("localhost", 0), 0);
}

static void test_localhost_needs_no_file(void **state)
{
    static const char *const names[] = {"localhost", "LocalHost", "a.localhost", "a.b.LOCALHOST"};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(names); i++) {
        assert_int_equal(tg_hosts_find(TG_STR(""), tg_str_c(names[i]), found, 4), 2);
        assert_string_equal(found_text(0), "127.0.0.1");
        assert_string_equal(found_text(1), "::1");
    }
    assert_int_equal(tg_hosts_find(TG_STR(""), TG_STR("localhost"), found, 1), 1);
    assert_int_equal(tg_hosts_find(TG_STR(""), TG_STR("localhost"), found, 0), 0);
    assert_int_equal(tg_hosts_find(TG_STR(""), TG_STR(".localhost"), found, 4), 0);
    assert_int_equal(tg_hosts_find(TG_STR(""), TG_STR("notlocalhost"), found, 4), 0);
    assert_int_equal(tg_hosts_find(TG_STR("10.0.0.9 localhost"), TG_STR("localhost"), found, 4), 1);
    assert_string_equal(found_text(0), "10.0.0.9");
}

static void test_names_are_compared_without_case_and_whole(void **state)
{
    (void)state;
    assert_int_equal(find("BACK.test", 4), 2);
    assert_string_equal(found_text(0), "10.0.0.2");
    assert_string_equal(found_text(1), "10.0.0.3");
    assert_int_equal(find("alias", 4), 1);
    assert_int_equal(find("ack.test", 4), 0);
    assert_int_equal(find("back", 4), 0);
}

static void test_what_is_no_entry_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(find("some.test", 4), 0);
    assert_int_equal(find("comment", 4), 0);
    assert_int_equal(find("machine", 4), 0);
    assert_int_equal(find("10.0.0.1", 4), 0);
    assert_int_equal(tg_hosts_find(TG_STR(""), TG_STR("a"), found, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_may_have_several_addresses),
        cmocka_unit_test(test_localhost_needs_no_file),
        cmocka_unit_test(test_names_are_compared_without_case_and_whole),
        cmocka_unit_test(test_what_is_no_entry_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
