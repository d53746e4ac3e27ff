/*
 * The sharded map: totals stay exact while threads hammer one key and many keys, and the caps hold
 * for the whole. Run under the thread sanitizer too (make tsan).
 */
#include "base/banned.h"
#include "base/shared_map.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS  20000
#define KEYS    1000

static const struct tg_map_terms plain = {0, 0, false};

static struct tg_shared_map *open_shared(uint32_t max_entries)
{
    struct tg_map_options options = {.tag = TG_MEM_COUNTER,
                                     .policy = TG_MAP_LRU,
                                     .max_entries = max_entries,
                                     .value_size = sizeof(uint64_t),
                                     .key_room = 16};
    struct tg_shared_map *shared = tg_shared_map_new(&options, 16);
    assert_non_null(shared);
    return shared;
}

static void count(struct tg_shared_map *shared, uint64_t number)
{
    struct tg_map_key key = tg_map_key(&number, sizeof(number));
    struct tg_map *map = tg_shared_map_lease(shared, key);
    void *value;
    if (tg_map_obtain(map, key, &plain, 0, &value) == TG_OK)
        ++*(uint64_t *)value;
    tg_shared_map_return(shared, key, &map);
}

static uint64_t counted(struct tg_shared_map *shared, uint64_t number)
{
    struct tg_map_key key = tg_map_key(&number, sizeof(number));
    struct tg_map *map = tg_shared_map_lease(shared, key);
    uint64_t *value = tg_map_get(map, key, 0);
    uint64_t result = value != NULL ? *value : 0;
    tg_shared_map_return(shared, key, &map);
    return result;
}

/* One key in every other round, all keys in turn between. */
static void *hammer(void *arg)
{
    struct tg_shared_map *shared = arg;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        count(shared, 0);
        count(shared, 1 + i % KEYS);
    }
    return NULL;
}

static void test_threads_count_exactly(void **state)
{
    struct tg_shared_map *shared = open_shared(100000);
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, shared), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(counted(shared, 0), THREADS * ROUNDS);
    for (uint64_t i = 1; i <= KEYS; i++)
        assert_int_equal(counted(shared, i), THREADS * ROUNDS / KEYS);
    tg_shared_map_free(&shared);
    assert_null(shared);
}

static void test_caps_hold_for_the_whole(void **state)
{
    struct tg_shared_map *shared = open_shared(1003); /* not a multiple of the shards */
    struct tg_map_stats stats;
    (void)state;
    for (uint64_t i = 0; i < 50000; i++)
        count(shared, i);
    tg_shared_map_stats(shared, &stats);
    assert_int_equal(stats.entries, 1003);
    assert_int_equal(stats.left[TG_MAP_CAPACITY], 50000 - 1003);
    tg_shared_map_free(&shared);
}

static void test_sweep_reaches_every_shard(void **state)
{
    struct tg_shared_map *shared = open_shared(10000);
    const struct tg_map_terms terms = {.ttl = 5};
    struct tg_map_stats stats;
    (void)state;
    for (uint64_t i = 0; i < 500; i++) {
        struct tg_map_key key = tg_map_key(&i, sizeof(i));
        struct tg_map *map = tg_shared_map_lease(shared, key);
        assert_int_equal(tg_map_set(map, key, &i, &terms, 100), TG_OK);
        tg_shared_map_return(shared, key, &map);
    }
    assert_false(tg_shared_map_sweep(shared, 105, 10000, 0));      /* no time */
    assert_false(tg_shared_map_sweep(shared, 105, 3, UINT64_MAX)); /* not all of any shard */
    assert_true(tg_shared_map_sweep(shared, 105, 10000, UINT64_MAX));
    tg_shared_map_stats(shared, &stats);
    assert_int_equal(stats.left[TG_MAP_EXPIRED], 500);
    assert_int_equal(stats.sweeps, 16);
    assert_int_equal(stats.entries, 0);
    tg_shared_map_free(&shared);
}

static void test_failed_allocations_leave_nothing(void **state)
{
    struct tg_map_options options = {
        .tag = TG_MEM_COUNTER, .max_entries = 100, .value_size = 8, .key_room = 16};
    size_t before = tg_mem_used(TG_MEM_COUNTER);
    struct tg_shared_map *shared = NULL;
    (void)state;
    for (uint64_t nth = 1; shared == NULL; nth++) {
        tg_mem_fail_at(nth);
        shared = tg_shared_map_new(&options, 4);
        tg_mem_fail_at(0);
        if (shared == NULL)
            assert_int_equal(tg_mem_used(TG_MEM_COUNTER), before);
        assert_true(nth < 20);
    }
    tg_shared_map_free(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_count_exactly),
        cmocka_unit_test(test_caps_hold_for_the_whole),
        cmocka_unit_test(test_sweep_reaches_every_shard),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests_name("shared map", tests, NULL, NULL);
}
