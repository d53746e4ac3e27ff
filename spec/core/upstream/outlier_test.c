/*
 * Passive ejection: what it takes, how long it lasts, and how many may be out.
 */
#include "upstream/outlier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SEC TG_USEC_PER_SEC

static const struct tg_outlier_conf conf = {
    .failures = 5, .window = 10 * SEC, .eject = 30 * SEC, .eject_max = 300 * SEC, .max_out = 0.5};
static struct tg_outlier o;

static int begin(void **state)
{
    (void)state;
    o = (struct tg_outlier){0};
    return 0;
}

static bool fail_times(uint64_t now, int times)
{
    bool due = false;
    for (int i = 0; i < times; i++)
        due = tg_outlier_record(&o, &conf, now, false);
    return due;
}

static void test_so_many_failures_in_the_window_eject(void **state)
{
    (void)state;
    assert_false(fail_times(100 * SEC, 4));
    assert_true(fail_times(105 * SEC, 1));
    assert_int_equal(tg_outlier_eject(&o, &conf, 105 * SEC), 135 * SEC);
}

static void test_failures_far_apart_do_not(void **state)
{
    (void)state;
    for (uint64_t now = 100 * SEC; now < 200 * SEC; now += 3 * SEC)
        assert_false(fail_times(now, 1));
}

static void test_pauses_grow_up_to_the_longest(void **state)
{
    uint64_t now = 100 * SEC;
    (void)state;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        uint64_t until = tg_outlier_eject(&o, &conf, now);
        assert_int_equal(until - now, TG_MIN(nth * 30 * SEC, 300 * SEC));
        tg_outlier_admit(&o, until);
        now = until;
    }
}

static void test_time_without_a_failure_makes_pauses_short_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        tg_outlier_admit(&o, tg_outlier_eject(&o, &conf, 100 * SEC));
    uint64_t later = o.last + 600 * SEC;
    assert_int_equal(tg_outlier_eject(&o, &conf, later), later + 60 * SEC);
}

static void test_while_out_nothing_counts(void **state)
{
    (void)state;
    tg_outlier_eject(&o, &conf, 100 * SEC);
    assert_false(fail_times(101 * SEC, 20));
    tg_outlier_admit(&o, 130 * SEC);
    assert_false(fail_times(130 * SEC, 4));
    assert_true(fail_times(130 * SEC, 1));
}

static void test_the_ceiling(void **state)
{
    (void)state;
    assert_false(tg_outlier_has_room(&conf, 1, 0));
    assert_true(tg_outlier_has_room(&conf, 2, 0));
    assert_false(tg_outlier_has_room(&conf, 2, 1));
    assert_true(tg_outlier_has_room(&conf, 3, 0));
    assert_false(tg_outlier_has_room(&conf, 3, 1));
    assert_true(tg_outlier_has_room(&conf, 10, 4));
    assert_false(tg_outlier_has_room(&conf, 10, 5));
}

#define TEST(name) cmocka_unit_test_setup(test_##name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(so_many_failures_in_the_window_eject),
        TEST(failures_far_apart_do_not),
        TEST(pauses_grow_up_to_the_longest),
        TEST(time_without_a_failure_makes_pauses_short_again),
        TEST(while_out_nothing_counts),
        TEST(the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
