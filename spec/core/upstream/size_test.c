/*
 * The size of a pool that follows from use: when it grows and shrinks, by how much, between what.
 */
#include "upstream/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SEC  TG_USEC_PER_SEC
#define WAIT TG_SIZE_WAIT

static const struct tg_pool_conf conf = {.size_min = 10, .size_max = 500};
static struct tg_size size;
static uint64_t now;

static int begin(void **state)
{
    (void)state;
    now = 100 * SEC;
    size = (struct tg_size){0};
    tg_size_follow(&size, &conf, NULL, now);
    return 0;
}

/* A period with so many leases, of which each waited for `wait` us, and `most` in use at once. */
static enum tg_size_change period(uint32_t leases, uint64_t wait, uint32_t most)
{
    for (uint32_t i = 0; i < leases; i++) {
        tg_size_note_lease(&size, most);
        tg_size_note_wait(&size, wait);
    }
    now += TG_SIZE_PERIOD;
    return tg_size_step(&size, now);
}

static void test_it_begins_at_the_least(void **state)
{
    (void)state;
    assert_int_equal(size.limit, 10);
}

static void test_it_grows_by_a_fifth_over_100_ms_of_wait_up_to_the_most(void **state)
{
    static const uint32_t sizes[] = {12, 14, 16, 19, 22, 26};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(sizes); i++) {
        assert_int_equal(period(50, WAIT + 1, size.limit), TG_SIZE_GROWN);
        assert_int_equal(size.limit, sizes[i]);
    }
    for (int i = 0; i < 30; i++)
        (void)period(50, WAIT + 1, size.limit);
    assert_int_equal(size.limit, 500);
    assert_int_equal(period(50, WAIT + 1, size.limit), TG_SIZE_KEPT);
}

static void test_it_stays_up_to_100_ms_and_from_30_percent_on(void **state)
{
    (void)state;
    assert_int_equal(period(50, WAIT, 10), TG_SIZE_KEPT);
    (void)period(50, WAIT + 1, 10);
    (void)period(50, WAIT + 1, 10);
    assert_int_equal(size.limit, 14);
    assert_int_equal(period(50, 0, 5), TG_SIZE_KEPT); /* 36 % */
    assert_int_equal(period(50, 1, 1), TG_SIZE_KEPT); /* who waits has no use for less */
}

static void test_it_shrinks_by_a_fifth_under_30_percent_down_to_the_least(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        (void)period(1, 2 * WAIT, 1);
    assert_int_equal(size.limit, 500);
    assert_int_equal(period(50, 0, 150), TG_SIZE_KEPT);
    assert_int_equal(period(50, 0, 149), TG_SIZE_SHRUNK);
    assert_int_equal(size.limit, 400);
    assert_int_equal(period(0, 0, 0), TG_SIZE_SHRUNK);
    assert_int_equal(size.limit, 320);
    for (int i = 0; i < 30; i++)
        (void)period(0, 0, 0);
    assert_int_equal(size.limit, 10);
}

static void test_a_period_counts_for_itself_alone(void **state)
{
    (void)state;
    tg_size_note_wait(&size, 100 * SEC);
    assert_int_equal(tg_size_step(&size, now + TG_SIZE_PERIOD - 1), TG_SIZE_KEPT);
    assert_int_equal(tg_size_step(&size, now + TG_SIZE_PERIOD), TG_SIZE_GROWN);
    assert_int_equal(tg_size_step(&size, now + TG_SIZE_PERIOD), TG_SIZE_KEPT);
    now += TG_SIZE_PERIOD;
    assert_int_equal(period(50, 0, 10), TG_SIZE_KEPT);
}

static void test_bounds_that_change_hold_at_once(void **state)
{
    const struct tg_pool_conf larger = {.size_min = 20, .size_max = 30}, none = {0};
    const struct tg_pool_conf smaller = {.size_min = 1, .size_max = 4};
    (void)state;
    tg_size_follow(&size, &larger, NULL, now);
    assert_int_equal(size.limit, 20);
    tg_size_follow(&size, &smaller, NULL, now);
    assert_int_equal(size.limit, 4);
    tg_size_follow(&size, &none, NULL, now);
    assert_int_equal(size.limit, 0);
    assert_int_equal(period(50, 2 * WAIT, 1), TG_SIZE_KEPT);
    assert_int_equal(size.limit, 0);
}

static void test_the_origin_knows_the_sum_of_all_workers(void **state)
{
    struct tg_registry *registry = tg_registry_new();
    struct tg_addr addr = {.len = 0};
    struct tg_size other = {0};
    (void)state;
    assert_non_null(registry);
    struct tg_fleet *fleet = tg_fleet_ref(registry, TG_STR("orders"));
    assert_non_null(fleet);
    struct tg_origin *origin = tg_origin_ref(fleet, TG_STR("10.0.0.1:80"), &addr, now);
    assert_non_null(origin);
    size = (struct tg_size){0};
    tg_size_follow(&size, &conf, origin, now);
    tg_size_follow(&other, &conf, origin, now);
    assert_int_equal(origin->size, 20);
    (void)period(1, 2 * WAIT, 10);
    assert_int_equal(origin->size, 22);
    tg_size_end(&size, now);
    tg_size_end(&size, now);
    assert_int_equal(origin->size, 10);
    tg_size_end(&other, now);
    assert_int_equal(origin->size, 0);
    tg_origin_unref(&origin, now);
    tg_fleet_unref(&fleet);
    tg_registry_unref(&registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_it_begins_at_the_least, begin),
        cmocka_unit_test_setup(test_it_grows_by_a_fifth_over_100_ms_of_wait_up_to_the_most, begin),
        cmocka_unit_test_setup(test_it_stays_up_to_100_ms_and_from_30_percent_on, begin),
        cmocka_unit_test_setup(test_it_shrinks_by_a_fifth_under_30_percent_down_to_the_least,
                               begin),
        cmocka_unit_test_setup(test_a_period_counts_for_itself_alone, begin),
        cmocka_unit_test_setup(test_bounds_that_change_hold_at_once, begin),
        cmocka_unit_test_setup(test_the_origin_knows_the_sum_of_all_workers, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
