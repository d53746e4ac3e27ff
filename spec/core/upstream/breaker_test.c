/*
 * The circuit breaker: what opens it, what it lets through then, and how it comes back.
 */
#include "upstream/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SEC TG_USEC_PER_SEC

static const struct tg_breaker_conf conf = {
    .ratio = 0.5, .volume = 20, .window = 10 * SEC, .cooldown = 15 * SEC, .probes = 3};
static struct tg_breaker b;

static int begin(void **state)
{
    (void)state;
    b = (struct tg_breaker){0};
    return 0;
}

static bool allowed(uint64_t now)
{
    bool probe;
    return tg_breaker_allow(&b, &conf, now, &probe);
}

static void record(uint64_t now, int good, int bad)
{
    for (int i = 0; i < good; i++)
        assert_false(tg_breaker_record(&b, &conf, now, true, false));
    for (int i = 0; i < bad; i++)
        (void)tg_breaker_record(&b, &conf, now, false, false);
}

static void open_at(uint64_t now)
{
    record(now, 0, 20);
    assert_int_equal(b.state, TG_BREAKER_OPEN);
}

static void test_below_the_volume_nothing_opens_it(void **state)
{
    (void)state;
    record(100 * SEC, 0, 19);
    assert_int_equal(b.state, TG_BREAKER_CLOSED);
    assert_true(tg_breaker_record(&b, &conf, 100 * SEC, false, false));
    assert_int_equal(b.state, TG_BREAKER_OPEN);
}

static void test_the_ratio_decides(void **state)
{
    (void)state;
    record(100 * SEC, 21, 20);
    assert_int_equal(b.state, TG_BREAKER_CLOSED);
    record(100 * SEC, 0, 1);
    assert_int_equal(b.state, TG_BREAKER_OPEN);
}

static void test_what_is_older_than_the_window_is_forgotten(void **state)
{
    (void)state;
    record(100 * SEC, 0, 19);
    record(111 * SEC, 0, 19);
    assert_int_equal(b.state, TG_BREAKER_CLOSED);
    record(112 * SEC, 0, 1);
    assert_int_equal(b.state, TG_BREAKER_OPEN);
}

static void test_open_lets_nothing_through_until_the_cooldown_is_over(void **state)
{
    (void)state;
    open_at(100 * SEC);
    assert_false(allowed(100 * SEC));
    assert_false(allowed(115 * SEC - 1));
    assert_true(allowed(115 * SEC));
    assert_int_equal(b.state, TG_BREAKER_HALF_OPEN);
}

static void test_half_open_lets_so_many_probes_through(void **state)
{
    (void)state;
    open_at(100 * SEC);
    for (int i = 0; i < 3; i++)
        assert_true(allowed(115 * SEC));
    assert_false(allowed(115 * SEC));
}

static void test_probes_that_go_well_close_it(void **state)
{
    (void)state;
    open_at(100 * SEC);
    for (int i = 0; i < 3; i++) {
        bool probe;
        assert_int_not_equal(b.state, TG_BREAKER_CLOSED);
        assert_true(tg_breaker_allow(&b, &conf, 115 * SEC, &probe));
        assert_true(probe);
        assert_false(tg_breaker_record(&b, &conf, 116 * SEC, true, probe));
    }
    assert_int_equal(b.state, TG_BREAKER_CLOSED);
    record(116 * SEC, 0, 19); /* the old failures do not count any more */
    assert_int_equal(b.state, TG_BREAKER_CLOSED);
}

static void test_a_probe_that_fails_opens_it_again(void **state)
{
    (void)state;
    open_at(100 * SEC);
    assert_true(allowed(115 * SEC));
    assert_true(tg_breaker_record(&b, &conf, 116 * SEC, false, true));
    assert_int_equal(b.state, TG_BREAKER_OPEN);
    assert_int_equal(b.opened, 2);
    assert_false(allowed(130 * SEC));
    assert_true(allowed(131 * SEC));
}

static void test_probes_that_are_never_heard_of_are_given_up(void **state)
{
    (void)state;
    open_at(100 * SEC);
    for (int i = 0; i < 3; i++)
        assert_true(allowed(115 * SEC));
    assert_false(allowed(129 * SEC));
    assert_true(allowed(130 * SEC));
}

static void test_a_cancelled_probe_leaves_its_place(void **state)
{
    (void)state;
    open_at(100 * SEC);
    for (int i = 0; i < 3; i++)
        assert_true(allowed(115 * SEC));
    tg_breaker_cancel(&b, true);
    assert_true(allowed(115 * SEC));
}

static void test_late_outcomes_of_before_do_not_count_while_open(void **state)
{
    (void)state;
    open_at(100 * SEC);
    record(101 * SEC, 0, 50);
    assert_int_equal(b.opened, 1);
    assert_true(allowed(115 * SEC));
}

static void test_without_a_ratio_there_is_no_breaker(void **state)
{
    static const struct tg_breaker_conf none = {0};
    bool probe;
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_false(tg_breaker_record(&b, &none, 100 * SEC, false, false));
    assert_true(tg_breaker_allow(&b, &none, 100 * SEC, &probe));
}

#define TEST(name) cmocka_unit_test_setup(test_##name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(below_the_volume_nothing_opens_it),
        TEST(the_ratio_decides),
        TEST(what_is_older_than_the_window_is_forgotten),
        TEST(open_lets_nothing_through_until_the_cooldown_is_over),
        TEST(half_open_lets_so_many_probes_through),
        TEST(probes_that_go_well_close_it),
        TEST(a_probe_that_fails_opens_it_again),
        TEST(probes_that_are_never_heard_of_are_given_up),
        TEST(a_cancelled_probe_leaves_its_place),
        TEST(late_outcomes_of_before_do_not_count_while_open),
        TEST(without_a_ratio_there_is_no_breaker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
