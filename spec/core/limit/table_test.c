/*
 * The keyed counter table: exact among threads on one key and on a million, keys of any bytes, what
 * goes when, and the bound in bytes. Run under the thread sanitizer too (make tsan).
 */
#include "base/banned.h"
#include "limit/table.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#define SEC     TG_USEC_PER_SEC
#define THREADS 4
#define MILLION 1000000u

static struct tg_limit_table *open_table(uint64_t bytes)
{
    struct tg_limit_table *table = tg_limit_table_new(TG_MEM_COUNTER, bytes);
    assert_non_null(table);
    return table;
}

static struct tg_rate_verdict take(struct tg_limit_table *table, const struct tg_rate_rule *rule,
                                   struct tg_str key, uint64_t cost, uint64_t now)
{
    struct tg_rate_verdict verdict;
    assert_int_equal(tg_limit_table_take(table, rule, key, cost, now, &verdict), TG_OK);
    return verdict;
}

static struct tg_map_stats stats_of(struct tg_limit_table *table)
{
    struct tg_map_stats stats;
    tg_shared_map_stats(tg_limit_table_map(table), &stats);
    return stats;
}

static struct tg_rate_rule rule_of(int kind, uint32_t limit, uint64_t per)
{
    return (struct tg_rate_rule){(enum tg_rate_kind)kind, limit, limit, per};
}

/* ---- Threads --------------------------------------------------------------------------------- */

struct hammer {
    struct tg_limit_table *table;
    struct tg_rate_rule rule;
    uint32_t keys;
    uint32_t rounds;
    uint32_t offset; /* where in the keys this thread begins */
    uint64_t granted;
};

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    for (uint32_t i = 0; i < h->rounds; i++) {
        uint32_t number = (h->offset + i) % h->keys;
        struct tg_rate_verdict verdict;
        struct tg_str key = tg_str((const char *)&number, sizeof(number));
        /* Clocks of threads are not read at one moment: some readings are older. */
        uint64_t now = 10 * SEC + i % 7;
        if (tg_limit_table_take(h->table, &h->rule, key, 1, now, &verdict) == TG_OK)
            h->granted += verdict.allowed;
    }
    return NULL;
}

/* What all threads together are granted. */
static uint64_t hammer_all(struct tg_limit_table *table, struct tg_rate_rule rule, uint32_t keys,
                           uint32_t rounds)
{
    pthread_t threads[THREADS];
    struct hammer hammers[THREADS];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        hammers[i] = (struct hammer){table, rule, keys, rounds, i * (keys / THREADS), 0};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        sum += hammers[i].granted;
    }
    return sum;
}

static void test_threads_on_one_key_are_granted_exactly_the_limit(void **state)
{
    struct tg_limit_table *table = open_table(1 << 20);
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        uint32_t limit = kind == TG_RATE_LOG ? TG_RATE_LOG_MAX : 5000;
        assert_int_equal(hammer_all(table, rule_of(kind, limit, 3600 * SEC), 1, 5000), limit);
    }
    tg_limit_table_free(&table);
    assert_null(table);
}

/* Two of the threads ask for each key, at about the same time; one of them is granted it. */
static void hammer_keys(int kind, uint32_t keys)
{
    struct tg_limit_table *table = open_table((uint64_t)65 << 20); /* no shard is full by chance */
    uint64_t granted = hammer_all(table, rule_of(kind, 1, 3600 * SEC), keys, keys / 2);
    struct tg_map_stats stats = stats_of(table);
    assert_int_equal(stats.left[TG_MAP_CAPACITY], 0);
    assert_int_equal(granted, keys);
    if (kind != TG_RATE_LOG)
        assert_int_equal(stats.entries, keys);
    assert_true(tg_shared_map_memory(tg_limit_table_map(table)) <= (size_t)65 << 20);
    tg_limit_table_free(&table);
}

static void test_threads_on_a_million_keys_are_granted_exactly_the_limits(void **state)
{
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        if (kind != TG_RATE_LOG)
            hammer_keys(kind, MILLION);
    }
}

/* A log has two entries: half a million fit. */
static void test_threads_on_many_logs_are_granted_exactly_the_limits(void **state)
{
    (void)state;
    hammer_keys(TG_RATE_LOG, MILLION / 2);
}

struct crossing {
    struct tg_limit_table *table;
    struct tg_flight_rule rule;
    uint32_t keys, rounds, offset;
    _Atomic int *inside; /* by key; NULL: not counted */
    int most;
    uint64_t entered;
};

static void *cross(void *arg)
{
    struct crossing *c = arg;
    for (uint32_t i = 0; i < c->rounds; i++) {
        uint32_t number = (c->offset + i) % c->keys;
        struct tg_str key = tg_str((const char *)&number, sizeof(number));
        struct tg_limit_ticket ticket;
        if (tg_limit_table_enter(c->table, &c->rule, key, SEC, &ticket) != TG_OK)
            continue;
        c->entered++;
        if (c->inside != NULL) {
            int inside = atomic_fetch_add(c->inside, 1) + 1;
            c->most = TG_MAX(c->most, inside);
            atomic_fetch_sub(c->inside, 1);
        }
        tg_limit_table_leave(c->table, &ticket, false, SEC);
    }
    return NULL;
}

/* Threads go in and out under `like`; how often in all, and never more than its bound at once. */
static uint64_t cross_all(struct crossing like)
{
    pthread_t threads[THREADS];
    struct crossing crossings[THREADS];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        crossings[i] = like;
        crossings[i].offset = i * (like.keys / THREADS);
        assert_int_equal(pthread_create(&threads[i], NULL, cross, &crossings[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_in_range(crossings[i].most, 0, like.rule.max); /* 0: it never had a turn */
        sum += crossings[i].entered;
    }
    return sum;
}

/* Nothing is in flight: exactly as many as the rule says may enter. */
static void check_is_empty(struct tg_limit_table *table, const struct tg_flight_rule *rule,
                           uint32_t number)
{
    struct tg_str key = tg_str((const char *)&number, sizeof(number));
    struct tg_limit_ticket tickets[8];
    assert_true(rule->max < TG_COUNT_OF(tickets));
    for (uint32_t i = 0; i < rule->max; i++)
        assert_int_equal(tg_limit_table_enter(table, rule, key, SEC, &tickets[i]), TG_OK);
    assert_int_equal(tg_limit_table_enter(table, rule, key, SEC, &tickets[rule->max]), TG_E_AGAIN);
    for (uint32_t i = 0; i < rule->max; i++)
        tg_limit_table_leave(table, &tickets[i], false, SEC);
}

static void test_no_more_threads_are_in_flight_than_may_be(void **state)
{
    static const struct tg_flight_rule rules[] = {{.max = 2}, {.min = 1, .max = 2, .latency = SEC}};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rules); i++) {
        struct tg_limit_table *table = open_table(1 << 20);
        _Atomic int inside = 0;
        struct crossing like = {table, rules[i], 1, 20000, 0, &inside, 0, 0};
        assert_true(cross_all(like) > 0);
        check_is_empty(table, &rules[i], 0);
        /* What is adaptive is remembered, what is fixed has nothing to remember. */
        assert_int_equal(stats_of(table).entries, rules[i].latency != 0);
        assert_int_equal(stats_of(table).pinned, 0);
        tg_limit_table_free(&table);
    }
}

/* Two threads go into each key and out again, and only one may be in: none is left there. */
static void test_threads_leave_nothing_in_flight_behind_on_a_million_keys(void **state)
{
    static const struct tg_flight_rule rules[] = {{.max = 1}, {.min = 1, .max = 1, .latency = SEC}};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rules); i++) {
        struct tg_limit_table *table = open_table((uint64_t)65 << 20);
        struct crossing like = {table, rules[i], MILLION, MILLION / 2, 0, NULL, 0, 0};
        assert_in_range(cross_all(like), MILLION, 2 * MILLION);
        assert_int_equal(stats_of(table).pinned, 0);
        assert_int_equal(stats_of(table).entries, rules[i].latency != 0 ? MILLION : 0);
        for (uint32_t number = 0; number < MILLION; number += 9973)
            check_is_empty(table, &rules[i], number);
        tg_limit_table_free(&table);
    }
}

/* ---- Keys ------------------------------------------------------------------------------------ */

/* Keys of every length, zeroes and bytes of any value in them, differ in one bit or one length. */
static void test_keys_are_any_bytes_of_any_length(void **state)
{
    static char bytes[70000];
    static const size_t lengths[] = {0, 1, 7, 8, 9, 16, 17, 63, 64, 65, 1000, 69999};
    struct tg_limit_table *table = open_table(1 << 20);
    struct tg_rate_rule rule = rule_of(TG_RATE_FIXED, 1, SEC);
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(lengths); i++) {
        assert_true(take(table, &rule, tg_str(bytes, lengths[i]), 1, SEC).allowed);
        assert_false(take(table, &rule, tg_str(bytes, lengths[i]), 1, SEC).allowed);
        bytes[lengths[i] / 2] ^= 0x40;
        assert_int_equal(take(table, &rule, tg_str(bytes, lengths[i]), 1, SEC).allowed,
                         lengths[i] > 0);
        bytes[lengths[i] / 2] ^= 0x40;
    }
    tg_limit_table_free(&table);
}

static void test_limits_of_one_key_count_by_themselves(void **state)
{
    struct tg_limit_table *table = open_table(1 << 20);
    struct tg_limit_ticket ticket;
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        struct tg_rate_rule second = rule_of(kind, 1, SEC), minute = rule_of(kind, 1, 60 * SEC);
        assert_true(take(table, &second, TG_STR("k"), 1, 100 * SEC).allowed);
        assert_true(take(table, &minute, TG_STR("k"), 1, 100 * SEC).allowed);
        assert_false(take(table, &second, TG_STR("k"), 1, 100 * SEC).allowed);
        minute.burst = 2;
        minute.limit = kind < TG_RATE_BUCKET ? 2 : 1;
        assert_true(take(table, &minute, TG_STR("k"), 1, 100 * SEC).allowed);
    }
    assert_int_equal(
        tg_limit_table_enter(table, &(struct tg_flight_rule){.max = 1}, TG_STR("k"), SEC, &ticket),
        TG_OK);
    tg_limit_table_leave(table, &ticket, false, SEC);
    tg_limit_table_free(&table);
}

static void test_to_look_makes_no_entry(void **state)
{
    struct tg_limit_table *table = open_table(1 << 20);
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        uint64_t now = (uint64_t)(kind + 1) * 10 * SEC;
        struct tg_rate_rule rule = rule_of(kind, 10, SEC);
        assert_int_equal(take(table, &rule, TG_STR("k"), 0, now).remaining, 10);
        assert_int_equal(stats_of(table).entries, 0);
        assert_int_equal(take(table, &rule, TG_STR("k"), 4, now).remaining, 6);
        assert_int_equal(take(table, &rule, TG_STR("k"), 0, now).remaining, 6);
        assert_true(
            tg_shared_map_sweep(tg_limit_table_map(table), now + 3 * SEC, 1000, UINT64_MAX));
    }
    tg_limit_table_free(&table);
}

/* ---- What goes, and when --------------------------------------------------------------------- */

static void test_keys_go_when_they_say_nothing_any_more(void **state)
{
    struct tg_limit_table *table = open_table(1 << 20);
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        uint64_t now = (uint64_t)(kind + 1) * 7200 * SEC;
        struct tg_rate_rule rule = rule_of(kind, 10, 1800 * SEC);
        take(table, &rule, TG_STR("k"), 5, now);
        take(table, &rule, TG_STR("k"), 5, now + 900 * SEC); /* its time begins anew */
        tg_shared_map_sweep(tg_limit_table_map(table), now + 1800 * SEC, 10000, UINT64_MAX);
        assert_true(stats_of(table).entries > 0);
        tg_shared_map_sweep(tg_limit_table_map(table), now + 900 * SEC + 3601 * SEC, 10000,
                            UINT64_MAX);
        assert_int_equal(stats_of(table).entries, 0);
    }
    tg_limit_table_free(&table);
}

static void test_under_pressure_the_least_recently_used_goes_and_is_counted(void **state)
{
    struct tg_limit_table *table = open_table(TG_LIMIT_TABLE_BYTES_MIN);
    struct tg_rate_rule rule = rule_of(TG_RATE_FIXED, 1000000, 3600 * SEC);
    (void)state;
    for (uint64_t i = 0; i < 5000; i++) {
        take(table, &rule, TG_STR("often"), 1, SEC);
        take(table, &rule, tg_str((const char *)&i, sizeof(i)), 1, SEC);
    }
    struct tg_map_stats stats = stats_of(table);
    assert_int_equal(take(table, &rule, TG_STR("often"), 0, SEC).remaining, 1000000 - 5000);
    assert_int_equal(stats.left[TG_MAP_CAPACITY], 5001 - stats.entries);
    assert_in_range(stats.entries, 950, 1100);
    tg_limit_table_free(&table);
}

static void test_a_table_never_holds_more_than_its_bytes(void **state)
{
    static const uint64_t sizes[] = {64 << 10, 1 << 20, 5 << 20, 64 << 20};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(sizes); i++) {
        size_t before = tg_mem_used(TG_MEM_COUNTER);
        struct tg_limit_table *table = open_table(sizes[i]);
        struct tg_rate_rule rule = rule_of(TG_RATE_FIXED, 1, SEC);
        for (uint64_t k = 0; k < sizes[i] / 60; k++)
            take(table, &rule, tg_str((const char *)&k, sizeof(k)), 1, SEC);
        assert_true(stats_of(table).left[TG_MAP_CAPACITY] > 0);
        assert_in_range(tg_mem_used(TG_MEM_COUNTER) - before, sizes[i] / 10 * 9, sizes[i]);
        tg_limit_table_free(&table);
        assert_int_equal(tg_mem_used(TG_MEM_COUNTER), before);
    }
}

static void test_work_in_flight_is_never_forgotten(void **state)
{
    struct tg_limit_table *table = open_table(TG_LIMIT_TABLE_BYTES_MIN);
    static struct tg_limit_ticket tickets[2000];
    struct tg_flight_rule rule = {.max = 1};
    struct tg_rate_verdict verdict;
    uint64_t entered = 0;
    (void)state;
    while (tg_limit_table_enter(table, &rule, tg_str((const char *)&entered, sizeof(entered)), SEC,
                                &tickets[entered]) == TG_OK)
        entered++;
    assert_in_range(entered, 950, 1100);
    struct tg_rate_rule other = rule_of(TG_RATE_LOG, 10, SEC);
    assert_int_equal(tg_limit_table_take(table, &other, TG_STR("k"), 1, SEC, &verdict), TG_E_LIMIT);
    assert_true(stats_of(table).refused >= 2);
    for (uint64_t i = 0; i < entered; i++) {
        struct tg_limit_ticket again;
        struct tg_str key = tg_str((const char *)&i, sizeof(i));
        assert_int_equal(tg_limit_table_enter(table, &rule, key, SEC, &again), TG_E_AGAIN);
        tg_limit_table_leave(table, &tickets[i], false, 100000 * SEC);
    }
    assert_int_equal(stats_of(table).entries, 0);
    assert_true(take(table, &other, TG_STR("k"), 1, SEC).allowed);
    tg_limit_table_free(&table);
}

static void test_an_adaptive_bound_stays_for_an_hour(void **state)
{
    struct tg_limit_table *table = open_table(1 << 20);
    struct tg_flight_rule rule = {.min = 1, .max = 10, .latency = SEC};
    struct tg_limit_ticket ticket;
    (void)state;
    assert_int_equal(tg_limit_table_enter(table, &rule, TG_STR("k"), SEC, &ticket), TG_OK);
    tg_limit_table_leave(table, &ticket, false, 5 * SEC);
    tg_shared_map_sweep(tg_limit_table_map(table), 3604 * SEC, 10000, UINT64_MAX);
    assert_int_equal(stats_of(table).entries, 1);
    assert_int_equal(stats_of(table).pinned, 0);
    tg_shared_map_sweep(tg_limit_table_map(table), 3606 * SEC, 10000, UINT64_MAX);
    assert_int_equal(stats_of(table).entries, 0);
    tg_limit_table_free(&table);
}

/* Every allocation fails in turn: what was refused for that was not granted, and nothing is lost.
 */
static void test_failed_allocations_grant_nothing(void **state)
{
    size_t before = tg_mem_used(TG_MEM_COUNTER);
    (void)state;
    for (uint64_t nth = 1, done = 0; !done; nth++) {
        struct tg_rate_rule rule = rule_of(TG_RATE_LOG, 4, SEC);
        struct tg_rate_verdict verdict;
        assert_true(nth < 100);
        tg_mem_fail_at(nth);
        struct tg_limit_table *table = tg_limit_table_new(TG_MEM_COUNTER, 1 << 20);
        enum tg_err err = TG_E_NOMEM;
        if (table != NULL)
            err = tg_limit_table_take(table, &rule, TG_STR("k"), 3, SEC, &verdict);
        done = tg_mem_fail_count() < nth;
        tg_mem_fail_at(0);
        if (table != NULL)
            assert_int_equal(take(table, &rule, TG_STR("k"), 0, SEC).remaining,
                             err == TG_OK ? 1 : 4);
        tg_limit_table_free(&table);
        assert_int_equal(tg_mem_used(TG_MEM_COUNTER), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_on_one_key_are_granted_exactly_the_limit),
        cmocka_unit_test(test_threads_on_a_million_keys_are_granted_exactly_the_limits),
        cmocka_unit_test(test_threads_on_many_logs_are_granted_exactly_the_limits),
        cmocka_unit_test(test_no_more_threads_are_in_flight_than_may_be),
        cmocka_unit_test(test_threads_leave_nothing_in_flight_behind_on_a_million_keys),
        cmocka_unit_test(test_keys_are_any_bytes_of_any_length),
        cmocka_unit_test(test_limits_of_one_key_count_by_themselves),
        cmocka_unit_test(test_to_look_makes_no_entry),
        cmocka_unit_test(test_keys_go_when_they_say_nothing_any_more),
        cmocka_unit_test(test_under_pressure_the_least_recently_used_goes_and_is_counted),
        cmocka_unit_test(test_a_table_never_holds_more_than_its_bytes),
        cmocka_unit_test(test_work_in_flight_is_never_forgotten),
        cmocka_unit_test(test_an_adaptive_bound_stays_for_an_hour),
        cmocka_unit_test(test_failed_allocations_grant_nothing),
    };
    return cmocka_run_group_tests_name("limit table", tests, NULL, NULL);
}
