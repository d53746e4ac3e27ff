/*
 * The keyed counter table among threads: exact on one key and on a million, for every law, and
 * nothing is left in flight. Run under the thread sanitizer too (make tsan).
 */
#include "base/banned.h"
#include "limit/table.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

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

/* ---- Rates ----------------------------------------------------------------------------------- */

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

/* ---- Work in flight -------------------------------------------------------------------------- */

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
    int most = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        crossings[i] = like;
        crossings[i].offset = i * (like.keys / THREADS);
        assert_int_equal(pthread_create(&threads[i], NULL, cross, &crossings[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        most = TG_MAX(most, crossings[i].most);
        sum += crossings[i].entered;
    }
    assert_in_range(most, 0, like.rule.max); /* 0: none had a turn */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_on_one_key_are_granted_exactly_the_limit),
        cmocka_unit_test(test_threads_on_a_million_keys_are_granted_exactly_the_limits),
        cmocka_unit_test(test_threads_on_many_logs_are_granted_exactly_the_limits),
        cmocka_unit_test(test_no_more_threads_are_in_flight_than_may_be),
        cmocka_unit_test(test_threads_leave_nothing_in_flight_behind_on_a_million_keys),
    };
    return cmocka_run_group_tests_name("table_threads", tests, NULL, NULL);
}
