/*
 * Sweeping zones: every five minutes, in slices, all of them, those of kind limit too.
 */
#include "base/banned.h"
#include "store/sweeper.h"

#include "limit/table.h"
#include "store/dict.h"

#include "store/fixture.h"

#define KEYS 20000u

struct bench {
    struct fixture f;
    struct tg_zone *limits;
    struct tg_loop loop;
    struct tg_sweeper sweeper;
};

static void open_bench(struct bench *b)
{
    fixture_open(&b->f, TG_ZONE_DICT, 8 << 20);
    assert_int_equal(tg_zones_open(b->f.zones, TG_ZONE_LIMIT, TG_STR("l"), 4 << 20, &b->limits),
                     TG_OK);
    assert_int_equal(tg_loop_init(&b->loop), TG_OK);
    tg_clock_init_fake(&b->loop.clock, 0);
    assert_int_equal(tg_sweeper_init(&b->sweeper, &b->loop, b->f.zones), TG_OK);
}

static void close_bench(struct bench *b)
{
    tg_sweeper_release(&b->sweeper);
    tg_sweeper_release(&b->sweeper);
    tg_loop_release(&b->loop);
    tg_zone_unref(&b->limits);
    fixture_close(&b->f);
}

static uint64_t entries(struct tg_zone *zone)
{
    struct tg_map_stats stats;
    tg_shared_map_stats(tg_zone_map(zone), &stats);
    return stats.entries;
}

static void advance(struct bench *b, uint64_t us)
{
    tg_clock_advance(&b->loop.clock, us);
    tg_timers_tick(&b->loop.timers, tg_loop_now(&b->loop));
}

/* Keys that live for 100 s, in both zones. */
static void fill(struct bench *b)
{
    const struct tg_rate_rule rule = {TG_RATE_FIXED, 10, 10, 100 * SEC};
    uint64_t now = tg_loop_now(&b->loop);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct tg_str key = tg_str((const char *)&i, sizeof(i));
        struct tg_zone_value value = number(i);
        struct tg_rate_verdict verdict;
        assert_int_equal(tg_dict_set(b->f.zone, key, &value, 100 * SEC, now), TG_OK);
        assert_int_equal(
            tg_limit_table_take(tg_zone_limits(b->limits), &rule, key, 1, now, &verdict), TG_OK);
    }
    assert_int_equal(entries(b->f.zone), KEYS);
    assert_int_equal(entries(b->limits), KEYS);
}

static void test_every_five_minutes_what_has_expired_goes(void **state)
{
    struct bench b;
    int slices = 0;
    (void)state;
    open_bench(&b);
    fill(&b);
    advance(&b, TG_SWEEPER_PERIOD - 1);
    assert_int_equal(entries(b.limits), KEYS);
    advance(&b, 1);
    while (entries(b.f.zone) + entries(b.limits) > 0) {
        assert_true(slices++ < 1000);
        advance(&b, TG_SWEEPER_REST);
    }
    fill(&b);
    advance(&b, 101 * SEC);
    assert_int_equal(entries(b.limits), KEYS);
    for (int i = 0; i < 1000; i++)
        advance(&b, TG_SWEEPER_PERIOD);
    assert_int_equal(entries(b.f.zone) + entries(b.limits), 0);
    close_bench(&b);
}

static void test_a_slice_ends_in_time_and_the_next_goes_on(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b);
    fill(&b);
    uint64_t now = tg_loop_now(&b.loop) + 200 * SEC;
    assert_false(tg_zones_sweep(b.f.zones, now, 0));
    assert_int_equal(entries(b.f.zone) + entries(b.limits), 2 * KEYS);
    assert_true(tg_zones_sweep(b.f.zones, now, UINT64_MAX));
    assert_int_equal(entries(b.f.zone) + entries(b.limits), 0);
    close_bench(&b);
}

static void test_no_zone_is_nothing_to_do(void **state)
{
    struct tg_zones *zones = tg_zones_new();
    (void)state;
    assert_non_null(zones);
    assert_true(tg_zones_sweep(zones, 1, 1000));
    tg_zones_free(&zones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_five_minutes_what_has_expired_goes),
        cmocka_unit_test(test_a_slice_ends_in_time_and_the_next_goes_on),
        cmocka_unit_test(test_no_zone_is_nothing_to_do),
    };
    return cmocka_run_group_tests_name("sweeper", tests, NULL, NULL);
}
