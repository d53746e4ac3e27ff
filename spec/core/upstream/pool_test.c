/*
 * The pool on a clock that the test turns: bounds over workers, and order among pools. What
 * requests see of it is shown by spec/testkit/pool_spec.lua.
 */
#include "upstream/pool.h"

#include "pool_fixture.h"

#include <sys/resource.h>

/* ---- Bounds ---- */

static void test_the_most_connections_hold_for_all_workers_together(void **state)
{
    struct tg_call *more = NULL;
    (void)state;
    conf.max_open = 2;
    struct tg_call *one = lease(0, &addr), *two = lease(1, &addr);
    assert_int_equal(origin->open, 2);
    assert_int_equal(lease_at(1, &addr, NULL, &more), TG_E_UNAVAILABLE);
    assert_int_equal(lease_at(1, &addr, &waiter, &more), TG_E_AGAIN);
    assert_int_equal(origin->waiting, 1);
    give_back(0, &one); /* closed, since another worker has somebody waiting */
    assert_int_equal(origin->open, 1);
    move(SEC / 50);
    assert_int_equal(turns, 1);
    assert_int_equal(lease_at(1, &addr, &waiter, &more), TG_OK);
    assert_int_equal(origin->open, 2);
    give_back(1, &two);
    give_back(1, &more);
    assert_int_equal(origin->idle, 2);
    assert_int_equal(lease_at(0, &addr, &waiter, &more), TG_E_AGAIN);
    pass(SEC / 5, SEC / 50); /* a worker that rests gives up what it keeps */
    assert_int_equal(turns, 2);
    assert_int_equal(lease_at(0, &addr, &waiter, &more), TG_OK);
    assert_int_equal(origin->idle, 1);
    give_back(0, &more);
}

static void test_a_size_that_shrinks_closes_what_is_idle_beyond_it(void **state)
{
    struct tg_call *all[10];
    (void)state;
    conf.size_min = 2;
    conf.size_max = 10;
    for (int round = 0; round < 8; round++) { /* somebody waits for a second each time: it grows */
        struct tg_call *more = NULL;
        uint32_t n = 0;
        while (lease_at(0, &addr, &waiter, &more) == TG_OK)
            all[n++] = more;
        assert_int_equal(n, 2 + round);
        move(2 * SEC);
        tg_pool_leave(pools[0], &waiter);
        while (n > 0)
            give_back(0, &all[--n]);
        pass(8 * SEC, SEC);
    }
    assert_int_equal(origin->size, 10);
    assert_int_equal(origin->open, 9);
    struct tg_call *one = lease(0, &addr);
    pass(20 * SEC, SEC);
    assert_int_equal(origin->size, 7);
    assert_int_equal(origin->open, 7);
    give_back(0, &one);
    pass(3 * MIN, SEC);
    assert_int_equal(origin->size, 2);
    assert_int_equal(origin->open, 2);
    assert_int_equal(origin->idle, 2);
}

/* ---- Order ---- */

static void test_the_pool_of_a_target_that_went_is_closed_after_half_an_hour(void **state)
{
    struct tg_addr other;
    (void)state;
    assert_int_equal(tg_addr_parse(TG_STR("10.0.0.2:80"), &other), TG_OK);
    struct tg_call *gone = lease(0, &addr), *kept = lease(0, &other);
    give_back(0, &gone);
    give_back(0, &kept);
    tg_pool_forget_warm(pools[0]); /* as every change of the configuration begins */
    pass(29 * MIN, MIN);
    kept = lease(0, &other);
    give_back(0, &kept);
    assert_int_equal(tg_pool_idle(pools[0]), 2);
    pass(2 * MIN, MIN);
    assert_int_equal(tg_pool_idle(pools[0]), 1);
    assert_int_equal(origin->open, 0);
}

static struct tg_addr address(unsigned i)
{
    char text[32];
    struct tg_addr out;
    snprintf(text, sizeof(text), "10.1.%u.%u:80", i / 250, i % 250 + 1);
    assert_int_equal(tg_addr_parse(tg_str_c(text), &out), TG_OK);
    return out;
}

static void test_beyond_a_thousand_pools_the_one_idle_longest_goes(void **state)
{
    static struct tg_addr many[TG_POOL_SITES_MAX + 2];
    struct rlimit files;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct tg_call *held = lease(0, &addr); /* used least recently, but in use */
    many[TG_POOL_SITES_MAX] = address(TG_POOL_SITES_MAX);
    for (unsigned i = 0; i < TG_POOL_SITES_MAX - 1; i++) {
        many[i] = address(i);
        struct tg_call *client = lease(0, &many[i]);
        move(1000);
        give_back(0, &client);
    }
    assert_int_equal(tg_pool_open(pools[0]), TG_POOL_SITES_MAX);
    struct tg_call *client = lease(0, &many[TG_POOL_SITES_MAX]);
    give_back(0, &client);
    assert_int_equal(tg_pool_open(pools[0]), TG_POOL_SITES_MAX);
    uint64_t reuses = tg_metrics_read(metrics, TG_METRIC_UPSTREAM_REUSES);
    client = lease(0, &many[1]);
    give_back(0, &client);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_REUSES), reuses + 1);
    client = lease(0, &many[0]); /* it went, and another goes for it */
    give_back(0, &client);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_REUSES), reuses + 1);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_EVICTED), 2);
    give_back(0, &held);
}

static void test_a_pool_that_is_in_use_makes_no_room(void **state)
{
    static struct tg_addr many[TG_POOL_SITES_MAX + 1];
    static struct tg_call *held[TG_POOL_SITES_MAX];
    struct tg_call *none = NULL;
    (void)state;
    for (unsigned i = 0; i < TG_POOL_SITES_MAX; i++) {
        many[i] = address(i);
        held[i] = lease(0, &many[i]);
    }
    many[TG_POOL_SITES_MAX] = address(TG_POOL_SITES_MAX);
    assert_int_equal(lease_at(0, &many[TG_POOL_SITES_MAX], NULL, &none), TG_E_LIMIT);
    for (unsigned i = 0; i < TG_POOL_SITES_MAX; i++)
        give_back(0, &held[i]);
}

int main(void)
{
#define SPEC(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        SPEC(test_the_most_connections_hold_for_all_workers_together),
        SPEC(test_a_size_that_shrinks_closes_what_is_idle_beyond_it),
        SPEC(test_the_pool_of_a_target_that_went_is_closed_after_half_an_hour),
        SPEC(test_beyond_a_thousand_pools_the_one_idle_longest_goes),
        SPEC(test_a_pool_that_is_in_use_makes_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
