/*
 * The bounded map: its rules against a model on an array (map_model.h), from a fixed seed; then
 * facts that the model takes for granted: memory, keys, failures, growth.
 */
#include "base/banned.h"
#include "map_model.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define RUNS  1500
#define STEPS 400

static const struct tg_map_terms plain = {0, 0, false};

static struct tg_map *open_map(enum tg_map_policy policy, uint32_t max_entries)
{
    struct tg_map_options options = {.tag = TG_MEM_OTHER,
                                     .policy = policy,
                                     .max_entries = max_entries,
                                     .value_size = sizeof(uint64_t),
                                     .key_room = 16};
    struct tg_map *map = tg_map_new(&options);
    assert_non_null(map);
    return map;
}

static struct tg_map_key number_key(const uint64_t *number)
{
    return tg_map_key(number, sizeof(*number));
}

static void set_number(struct tg_map *map, uint64_t number)
{
    assert_int_equal(tg_map_set(map, number_key(&number), &number, &plain, 0), TG_OK);
}

static bool has_number(struct tg_map *map, uint64_t number)
{
    return tg_map_get(map, number_key(&number), 0) != NULL;
}

static unsigned random_below(void *arg, unsigned bound)
{
    return (unsigned)tg_rand_below(arg, bound);
}

static void test_map_agrees_with_a_model(void **state)
{
    static struct model_run run;
    struct tg_rand rand;
    struct model_source source = {random_below, &rand};
    (void)state;
    tg_rand_init_seed(&rand, 20240608);
    for (int i = 0; i < RUNS; i++) {
        assert_true(model_run_open(&run, &source));
        for (int step = 0; step < STEPS; step++) {
            if (!model_step(&run, &source))
                fail_msg("run %d differs at step %d", i, step);
        }
        uint64_t entries = tg_map_stats(run.map)->entries;
        assert_int_equal(entries, run.model.n);
        tg_map_free(&run.map);
        assert_null(run.map);
    }
}

static void test_lru_keeps_what_is_used(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 3);
    (void)state;
    for (uint64_t i = 1; i <= 3; i++)
        set_number(map, i);
    assert_true(has_number(map, 1));
    set_number(map, 4);
    assert_true(has_number(map, 1));
    assert_false(has_number(map, 2));
    tg_map_free(&map);
}

static void test_lfu_keeps_what_is_used_often(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LFU, 8);
    (void)state;
    set_number(map, 1);
    for (int i = 0; i < 100; i++)
        assert_true(has_number(map, 1));
    for (uint64_t i = 2; i < 20; i++)
        set_number(map, i);
    assert_true(has_number(map, 1));
    tg_map_free(&map);
}

static void test_lfu_forgets_fame(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LFU, 8);
    (void)state;
    set_number(map, 1);
    for (int i = 0; i < 100; i++)
        assert_true(has_number(map, 1));
    for (uint64_t i = 2; i < 200; i++) {
        set_number(map, i);
        assert_true(has_number(map, i));
    }
    assert_false(has_number(map, 1));
    tg_map_free(&map);
}

static void test_ttl_pushes_out_what_expires_first(void **state)
{
    struct tg_map *map = open_map(TG_MAP_TTL, 3);
    const uint64_t ttl[] = {500, 100, 300, 400};
    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        struct tg_map_terms terms = {.ttl = ttl[i]};
        assert_int_equal(tg_map_set(map, number_key(&i), &i, &terms, 0), TG_OK);
    }
    assert_true(has_number(map, 0));
    assert_false(has_number(map, 1));
    assert_true(has_number(map, 2));
    tg_map_free(&map);
}

static void test_expired_entry_is_gone_at_its_time(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 3);
    const struct tg_map_terms terms = {.ttl = 10};
    uint64_t n = 1;
    (void)state;
    assert_int_equal(tg_map_set(map, number_key(&n), &n, &terms, 1000), TG_OK);
    assert_non_null(tg_map_get(map, number_key(&n), 1009));
    assert_null(tg_map_get(map, number_key(&n), 1010));
    assert_int_equal(tg_map_stats(map)->left[TG_MAP_EXPIRED], 1);
    assert_int_equal(tg_map_stats(map)->misses, 1);
    tg_map_free(&map);
}

static void test_pinned_entries_are_not_pushed_out(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 2);
    const struct tg_map_terms pinned = {.pinned = true};
    uint64_t a = 1, b = 2, c = 3;
    (void)state;
    assert_int_equal(tg_map_set(map, number_key(&a), &a, &pinned, 0), TG_OK);
    set_number(map, b);
    set_number(map, c);
    assert_true(has_number(map, a));
    assert_false(has_number(map, b));
    assert_true(tg_map_pin(map, number_key(&c), true, 0));
    assert_int_equal(tg_map_set(map, number_key(&b), &b, &plain, 0), TG_E_LIMIT);
    assert_int_equal(tg_map_stats(map)->refused, 1);
    tg_map_free(&map);
}

static void test_obtain_makes_zeroes_once(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 4);
    uint64_t key = 7, other = 8;
    (void)state;
    set_number(map, other); /* memory that is used again below is not zero */
    assert_true(tg_map_remove(map, number_key(&other), 0));
    for (uint64_t i = 0; i < 5; i++) {
        void *value;
        assert_int_equal(tg_map_obtain(map, number_key(&key), &plain, 0, &value), TG_OK);
        assert_int_equal(*(uint64_t *)value, i);
        ++*(uint64_t *)value;
    }
    tg_map_free(&map);
}

static void remember_leaver(void *arg, const struct tg_map_leaver *leaver,
                            enum tg_map_reason reason)
{
    (void)reason;
    *(struct tg_map_leaver *)arg = *leaver;
}

static void test_long_keys_are_stored_as_a_hash(void **state)
{
    struct tg_map_leaver leaver = {.key_is_hash = false};
    struct tg_map_options options = {.tag = TG_MEM_OTHER,
                                     .max_entries = 4,
                                     .key_room = 64,
                                     .on_leave = remember_leaver,
                                     .arg = &leaver};
    struct tg_map *map = tg_map_new(&options);
    char a[65], b[65];
    (void)state;
    assert_non_null(map);
    memset(a, 'a', sizeof(a));
    memset(b, 'a', sizeof(b));
    b[64] = 'b';
    assert_int_equal(tg_map_set(map, tg_map_key(a, 65), NULL, &plain, 0), TG_OK);
    assert_non_null(tg_map_get(map, tg_map_key(a, 65), 0));
    assert_null(tg_map_get(map, tg_map_key(b, 65), 0));
    assert_null(tg_map_get(map, tg_map_key(a, 64), 0));
    assert_true(tg_map_remove(map, tg_map_key(a, 65), 0));
    assert_true(leaver.key_is_hash);
    assert_int_equal(leaver.key.n, 16);
    tg_map_free(&map);
}

static void test_a_full_map_holds_exactly_its_cap(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 10000);
    (void)state;
    for (uint64_t i = 0; i < 30000; i++)
        set_number(map, i);
    assert_int_equal(tg_map_stats(map)->entries, 10000);
    for (uint64_t i = 0; i < 30000; i++)
        assert_int_equal(has_number(map, i), i >= 20000);
    tg_map_free(&map);
}

static void test_an_empty_map_gives_its_entries_back(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 100000);
    (void)state;
    for (uint64_t i = 0; i < 100000; i++)
        set_number(map, i);
    size_t full = tg_map_memory(map);
    tg_map_clear(map);
    assert_int_equal(tg_map_stats(map)->left[TG_MAP_CLEARED], 100000);
    assert_true(tg_map_memory(map) < full - 100000 * 48 / 2);
    set_number(map, 1);
    assert_true(has_number(map, 1));
    tg_map_free(&map);
}

static void test_shrinking_pushes_out_the_oldest_and_spares_the_pinned(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 16);
    const struct tg_map_terms pinned = {0, 0, true};
    uint64_t number = 0;
    (void)state;
    assert_int_equal(tg_map_set(map, number_key(&number), &number, &pinned, 0), TG_OK);
    for (number = 1; number < 10; number++)
        set_number(map, number);
    assert_int_equal(tg_map_shrink(map, 4, 0), 4);
    assert_false(has_number(map, 4));
    assert_true(has_number(map, 5));
    assert_int_equal(tg_map_stats(map)->left[TG_MAP_CAPACITY], 4);
    assert_int_equal(tg_map_shrink(map, 100, 0), 5);
    assert_true(has_number(map, 0));
    assert_int_equal(tg_map_shrink(map, 1, 0), 0);
    tg_map_free(&map);
}

static void test_sweep_stops_at_its_steps(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 1000);
    const struct tg_map_terms terms = {.ttl = 10};
    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(tg_map_set(map, number_key(&i), &i, &terms, 0), TG_OK);
    assert_false(tg_map_sweep(map, 10, 400, UINT64_MAX));
    assert_int_equal(tg_map_stats(map)->entries, 600);
    assert_false(tg_map_sweep(map, 10, 10000, 0)); /* out of time at the first look at the clock */
    assert_int_equal(tg_map_stats(map)->entries, 536);
    assert_true(tg_map_sweep(map, 10, 10000, UINT64_MAX));
    assert_int_equal(tg_map_stats(map)->entries, 0);
    assert_int_equal(tg_map_stats(map)->sweeps, 1);
    tg_map_free(&map);
}

static void test_memory_failures_leave_a_working_map(void **state)
{
    struct tg_map_options options = {
        .tag = TG_MEM_OTHER, .max_entries = 1000, .value_size = 8, .key_room = 16};
    size_t before = tg_mem_used(TG_MEM_OTHER);
    (void)state;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        tg_mem_fail_at(nth);
        struct tg_map *map = tg_map_new(&options);
        uint64_t stored = 0;
        for (uint64_t i = 0; map != NULL && i < 1000; i++)
            stored += tg_map_set(map, number_key(&i), &i, &plain, 0) == TG_OK;
        tg_mem_fail_at(0);
        assert_int_equal(map == NULL, nth <= 2);
        if (map != NULL)
            assert_int_equal(stored, tg_map_stats(map)->entries);
        if (map != NULL)
            assert_true(stored >= 999);
        tg_map_free(&map);
        assert_int_equal(tg_mem_used(TG_MEM_OTHER), before);
    }
}

/* A key that belongs into one of three buckets, in a map of 24 entries. */
static struct tg_map_key key_in(unsigned bucket, const uint64_t *number)
{
    uint64_t third = UINT32_MAX / 3 + 1;
    return (struct tg_map_key){number, sizeof(*number), (bucket * third + *number) << 32};
}

/* In each bucket in turn more entries than it holds, of which only the one that had to pass it
 * over stays: then no bucket says that the search has come to its end. */
static void test_a_search_ends_where_all_buckets_were_passed(void **state)
{
    struct tg_map *map = open_map(TG_MAP_LRU, 24);
    (void)state;
    for (unsigned bucket = 0; bucket < 3; bucket++) {
        uint64_t here = bucket == 0 ? 15 : 14; /* one place has who passed the last one */
        for (uint64_t i = 0; i <= here; i++)
            assert_int_equal(tg_map_set(map, key_in(bucket, &i), &i, &plain, 0), TG_OK);
        for (uint64_t i = 0; i < here; i++)
            assert_true(tg_map_remove(map, key_in(bucket, &i), 0));
        assert_non_null(tg_map_get(map, key_in(bucket, &here), 0));
    }
    for (unsigned bucket = 0; bucket < 3; bucket++) {
        uint64_t none = 99;
        assert_null(tg_map_get(map, key_in(bucket, &none), 0));
        assert_false(tg_map_remove(map, key_in(bucket, &none), 0));
    }
    tg_map_free(&map);
}

static void test_a_renewed_entry_lives_on(void **state)
{
    struct tg_map_options options = {
        .tag = TG_MEM_COUNTER, .max_entries = 10, .value_size = 8, .key_room = 16};
    const struct tg_map_terms terms = {.ttl = 10};
    struct tg_map_key key = tg_map_key("k", 1);
    struct tg_map *map = tg_map_new(&options);
    void *value;
    (void)state;
    assert_int_equal(tg_map_obtain(map, key, &terms, 100, &value), TG_OK);
    tg_map_renew(map, value, 50, 105);
    assert_ptr_equal(tg_map_get(map, key, 154), value);
    assert_null(tg_map_get(map, key, 155));
    assert_int_equal(tg_map_obtain(map, key, &terms, 200, &value), TG_OK);
    tg_map_renew(map, value, TG_MAP_NEVER, 200);
    assert_non_null(tg_map_get(map, key, 1000000));
    tg_map_free(&map);
}

/* Filled to the last entry, the map takes no more than was said, and one more would not have fitted
 * by much. */
static void test_entries_within_bytes_are_within_them(void **state)
{
    static const uint64_t sizes[] = {5000, 64 << 10, 300000, 1 << 20, 3000000, 20 << 20};
    const struct tg_map_terms terms = {0};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(sizes); i++) {
        struct tg_map_options options = {
            .tag = TG_MEM_COUNTER, .value_size = 16, .key_room = 16, .max_entries = 1};
        size_t before = tg_mem_used(TG_MEM_COUNTER);
        options.max_entries = tg_map_entries_within(&options, sizes[i]);
        assert_true(options.max_entries > 0);
        struct tg_map *map = tg_map_new(&options);
        for (uint64_t k = 0; k < options.max_entries; k++)
            assert_int_equal(
                tg_map_set(map, tg_map_key(&k, sizeof(k)), "0123456789abcdef", &terms, 0), TG_OK);
        assert_int_equal(tg_map_stats(map)->entries, options.max_entries);
        assert_in_range(tg_mem_used(TG_MEM_COUNTER) - before, sizes[i] / 100 * 80, sizes[i]);
        tg_map_free(&map);
    }
    assert_int_equal(tg_map_entries_within(&(struct tg_map_options){.key_room = 16}, 100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_agrees_with_a_model),
        cmocka_unit_test(test_lru_keeps_what_is_used),
        cmocka_unit_test(test_lfu_keeps_what_is_used_often),
        cmocka_unit_test(test_lfu_forgets_fame),
        cmocka_unit_test(test_ttl_pushes_out_what_expires_first),
        cmocka_unit_test(test_expired_entry_is_gone_at_its_time),
        cmocka_unit_test(test_pinned_entries_are_not_pushed_out),
        cmocka_unit_test(test_obtain_makes_zeroes_once),
        cmocka_unit_test(test_long_keys_are_stored_as_a_hash),
        cmocka_unit_test(test_a_full_map_holds_exactly_its_cap),
        cmocka_unit_test(test_an_empty_map_gives_its_entries_back),
        cmocka_unit_test(test_sweep_stops_at_its_steps),
        cmocka_unit_test(test_shrinking_pushes_out_the_oldest_and_spares_the_pinned),
        cmocka_unit_test(test_memory_failures_leave_a_working_map),
        cmocka_unit_test(test_a_search_ends_where_all_buckets_were_passed),
        cmocka_unit_test(test_a_renewed_entry_lives_on),
        cmocka_unit_test(test_entries_within_bytes_are_within_them),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
