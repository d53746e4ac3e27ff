/*
 * The keyed counter table: keys of any bytes, what goes when, and the bound in bytes. Threads are
 * in table_threads_test.c.
 */
#include "base/banned.h"
#include "limit/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SEC TG_USEC_PER_SEC

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
