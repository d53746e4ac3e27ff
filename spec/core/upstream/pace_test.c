/*
 * The pace of a service: how much has to be known, how precise a quantile is, what is forgotten.
 */
#include "upstream/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define MS  TG_USEC_PER_MSEC
#define SEC TG_USEC_PER_SEC

static struct tg_pace *pace;

static int begin(void **state)
{
    (void)state;
    pace = tg_pace_new();
    return pace != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    tg_pace_free(&pace);
    return 0;
}

static void record(uint64_t us, uint32_t times, uint64_t now)
{
    for (uint32_t i = 0; i < times; i++)
        tg_pace_record(pace, us, now);
}

static void test_nothing_is_said_of_too_few(void **state)
{
    (void)state;
    assert_int_equal(tg_pace_quantile(pace, 0.95, 100 * SEC), 0);
    record(10 * MS, TG_PACE_ENOUGH - 1, 100 * SEC);
    assert_int_equal(tg_pace_quantile(pace, 0.95, 101 * SEC), 0);
    record(10 * MS, 1, 101 * SEC);
    assert_in_range(tg_pace_quantile(pace, 0.95, 102 * SEC), 9 * MS, 11 * MS);
}

static void test_a_quantile_is_what_so_many_did_not_exceed(void **state)
{
    (void)state;
    record(10 * MS, 900, 100 * SEC);
    record(500 * MS, 100, 100 * SEC);
    assert_in_range(tg_pace_quantile(pace, 0.5, 101 * SEC), 9600, 10400);
    assert_in_range(tg_pace_quantile(pace, 0.89, 102 * SEC), 9600, 10400);
    assert_in_range(tg_pace_quantile(pace, 0.95, 103 * SEC), 480 * MS, 520 * MS);
}

static void test_a_quantile_holds_for_a_moment_and_each_has_its_own(void **state)
{
    (void)state;
    record(10 * MS, 100, 100 * SEC);
    uint64_t before = tg_pace_quantile(pace, 0.9, 100 * SEC);
    record(900 * MS, 900, 100 * SEC);
    assert_int_equal(tg_pace_quantile(pace, 0.9, 100 * SEC + 100 * MS), before);
    assert_true(tg_pace_quantile(pace, 0.8, 100 * SEC + 100 * MS) > 800 * MS);
    assert_true(tg_pace_quantile(pace, 0.9, 101 * SEC) > 800 * MS);
}

static void test_answers_are_forgotten_after_two_windows_at_most(void **state)
{
    uint64_t now = 100 * SEC;
    (void)state;
    record(10 * MS, 200, now);
    now += TG_PACE_WINDOW;
    record(100 * MS, 200, now);
    assert_in_range(tg_pace_quantile(pace, 0.4, now), 9 * MS, 11 * MS);
    now += TG_PACE_WINDOW;
    assert_in_range(tg_pace_quantile(pace, 0.1, now), 90 * MS, 110 * MS);
    now += 2 * TG_PACE_WINDOW;
    assert_int_equal(tg_pace_quantile(pace, 0.5, now), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_said_of_too_few, begin, end),
        cmocka_unit_test_setup_teardown(test_a_quantile_is_what_so_many_did_not_exceed, begin, end),
        cmocka_unit_test_setup_teardown(test_a_quantile_holds_for_a_moment_and_each_has_its_own,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_answers_are_forgotten_after_two_windows_at_most, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
