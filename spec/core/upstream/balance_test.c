/*
 * Balancers: how each spreads requests over targets that may all be used.
 */
#include "upstream/balance_fixture.h"

static struct balance_fixture f;

static int end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static void begin(enum tg_balance_kind kind, uint32_t targets, uint32_t weight)
{
    fixture_begin(&f, kind);
    for (uint32_t i = 0; i < targets; i++)
        fixture_add(&f, weight);
}

static void test_round_robin_takes_turns(void **state)
{
    (void)state;
    begin(TG_BALANCE_ROUND_ROBIN, 3, 1);
    fixture_build(&f, TARGETS_MAX);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(pick_keyed(&f, 0), i % 3);
}

static void test_round_robin_is_smooth_by_weight(void **state)
{
    static const uint32_t expected[] = {0, 0, 1, 0, 2, 0, 0};
    (void)state;
    begin(TG_BALANCE_ROUND_ROBIN, 3, 1);
    f.targets[0].weight = 5;
    fixture_build(&f, TARGETS_MAX);
    for (unsigned i = 0; i < TG_COUNT_OF(expected); i++)
        assert_int_equal(pick_keyed(&f, 0), expected[i]);
}

static void test_least_requests_prefers_the_idle(void **state)
{
    (void)state;
    begin(TG_BALANCE_LEAST_REQUESTS, 3, 1);
    fixture_build(&f, TARGETS_MAX);
    tg_balance_origin(f.balance, 0)->in_flight = 2;
    tg_balance_origin(f.balance, 2)->in_flight = 1;
    assert_int_equal(pick_keyed(&f, 0), 1);
    tg_balance_origin(f.balance, 1)->in_flight = 3;
    assert_int_equal(pick_keyed(&f, 0), 2);
}

static void test_least_requests_counts_in_weights(void **state)
{
    (void)state;
    begin(TG_BALANCE_LEAST_REQUESTS, 2, 1);
    f.targets[1].weight = 4;
    fixture_build(&f, TARGETS_MAX);
    tg_balance_origin(f.balance, 0)->in_flight = 1;
    tg_balance_origin(f.balance, 1)->in_flight = 6;
    assert_int_equal(pick_keyed(&f, 0), 1);
    tg_balance_origin(f.balance, 1)->in_flight = 8;
    assert_int_equal(pick_keyed(&f, 0), 0);
}

static void test_least_requests_spreads_ties(void **state)
{
    (void)state;
    begin(TG_BALANCE_LEAST_REQUESTS, 4, 1);
    fixture_build(&f, TARGETS_MAX);
    pick_many(&f, 400);
    for (int i = 0; i < 4; i++)
        assert_int_equal(f.hits[i], 100);
}

static void test_latency_avoids_the_slow(void **state)
{
    (void)state;
    begin(TG_BALANCE_LATENCY, 4, 1);
    fixture_build(&f, TARGETS_MAX);
    for (uint32_t i = 0; i < 4; i++)
        tg_origin_note_latency(tg_balance_origin(f.balance, i), i == 3 ? 50000 : 1000, f.now);
    pick_many(&f, 4000);
    assert_int_equal(f.hits[3], 0); /* the better of two is never the worst of all */
    for (int i = 0; i < 3; i++)
        assert_in_range(f.hits[i], 1000, 1700);
}

static void test_latency_looks_at_load_too(void **state)
{
    (void)state;
    begin(TG_BALANCE_LATENCY, 2, 1);
    fixture_build(&f, TARGETS_MAX);
    for (uint32_t i = 0; i < 2; i++)
        tg_origin_note_latency(tg_balance_origin(f.balance, i), 1000 + i * 1000, f.now);
    assert_int_equal(pick_keyed(&f, 0), 0);
    tg_balance_origin(f.balance, 0)->in_flight = 3;
    assert_int_equal(pick_keyed(&f, 0), 1);
}

static void test_an_old_latency_is_given_another_chance(void **state)
{
    (void)state;
    begin(TG_BALANCE_LATENCY, 2, 1);
    fixture_build(&f, TARGETS_MAX);
    tg_origin_note_latency(tg_balance_origin(f.balance, 0), 1000, f.now + 100 * SEC);
    tg_origin_note_latency(tg_balance_origin(f.balance, 1), 50000, f.now);
    assert_int_equal(pick_keyed(&f, 0), 0);
    f.now += 100 * SEC;
    assert_int_equal(pick_keyed(&f, 0), 1);
}

static void test_random_goes_by_weight(void **state)
{
    (void)state;
    begin(TG_BALANCE_RANDOM, 3, 1);
    f.targets[2].weight = 2;
    fixture_build(&f, TARGETS_MAX);
    pick_many(&f, 8000);
    assert_in_range(f.hits[0], 1800, 2200);
    assert_in_range(f.hits[1], 1800, 2200);
    assert_in_range(f.hits[2], 3800, 4200);
}

static void test_a_key_stays_with_its_target(void **state)
{
    (void)state;
    begin(TG_BALANCE_HASH, 10, 1);
    fixture_build(&f, TARGETS_MAX);
    for (uint64_t key = 0; key < 100; key++)
        assert_int_equal(pick_keyed(&f, key), pick_keyed(&f, key));
    pick_many(&f, 20000);
    for (int i = 0; i < 10; i++)
        assert_in_range(f.hits[i], 1800, 2200);
}

static void test_keys_go_by_weight(void **state)
{
    (void)state;
    begin(TG_BALANCE_HASH, 4, 1);
    f.targets[3].weight = 3;
    fixture_build(&f, TARGETS_MAX);
    pick_many(&f, 30000);
    for (int i = 0; i < 3; i++)
        assert_in_range(f.hits[i], 4500, 5500);
    assert_in_range(f.hits[3], 14200, 15800);
}

/* Of the keys that stay with one of n targets none but those of the one that goes may move. */
static void count_moves(bool weighted)
{
    enum { N = 20, KEYS = 20000 };
    static uint32_t before[KEYS];
    uint32_t moved = 0;
    begin(TG_BALANCE_HASH, N, 1);
    for (uint32_t i = 0; i < N && weighted; i++)
        f.targets[i].weight = 1 + i % 3;
    f.targets[7].weight = weighted ? 2 : 1; /* the mean */
    fixture_build(&f, TARGETS_MAX);
    for (uint64_t key = 0; key < KEYS; key++)
        before[key] = pick_keyed(&f, key * UINT64_C(0x9e3779b97f4a7c15));
    fixture_build(&f, 7);
    for (uint64_t key = 0; key < KEYS; key++) {
        uint32_t now = pick_keyed(&f, key * UINT64_C(0x9e3779b97f4a7c15));
        now += now >= 7;
        moved += now != before[key];
        assert_true(now == before[key] || before[key] == 7);
    }
    assert_in_range(moved, 1, KEYS * 12 / 10 / N);
}

static void test_a_target_that_goes_moves_its_own_keys_only(void **state)
{
    (void)state;
    count_moves(false);
}

static void test_so_it_is_by_weight(void **state)
{
    (void)state;
    count_moves(true);
}

static void test_a_bounded_hash_passes_the_loaded_over(void **state)
{
    (void)state;
    begin(TG_BALANCE_HASH, 4, 1);
    f.policy.balance.bound = 1.25;
    fixture_build(&f, TARGETS_MAX);
    uint32_t own = pick_keyed(&f, 77);
    struct tg_fleet *fleet = tg_balance_fleet(f.balance);
    for (uint32_t i = 0; i < 4; i++)
        tg_balance_origin(f.balance, i)->in_flight = 10;
    fleet->in_flight = 40;
    assert_int_equal(pick_keyed(&f, 77), own);
    tg_balance_origin(f.balance, own)->in_flight = 14;
    fleet->in_flight = 44;
    uint32_t other = pick_keyed(&f, 77);
    assert_int_not_equal(other, own);
    assert_int_equal(pick_keyed(&f, 77), other);
}

static void test_what_was_tried_is_avoided_while_there_is_another(void **state)
{
    uint32_t tried[2] = {0, 1}, index;
    (void)state;
    for (int kind = TG_BALANCE_ROUND_ROBIN; kind <= TG_BALANCE_RANDOM; kind++) {
        begin((enum tg_balance_kind)kind, 3, 1);
        fixture_build(&f, TARGETS_MAX);
        struct tg_balance_ask ask = {
            .now = f.now, .keyed = true, .rand = &f.rand, .tried = tried, .tried_count = 2};
        for (uint64_t i = 0; i < 50; i++) {
            ask.key = i;
            assert_int_equal(tg_balance_pick(f.balance, &ask, &index), TG_OK);
            assert_int_equal(index, 2);
        }
        assert_true(tg_balance_has_other(f.balance, &ask));
        uint32_t all[3] = {0, 1, 2};
        ask.tried = all;
        ask.tried_count = 3;
        assert_false(tg_balance_has_other(f.balance, &ask));
        assert_int_equal(tg_balance_pick(f.balance, &ask, &index), TG_OK);
        if (kind != TG_BALANCE_RANDOM)
            fixture_end(&f);
    }
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_robin_takes_turns),
        TEST(round_robin_is_smooth_by_weight),
        TEST(least_requests_prefers_the_idle),
        TEST(least_requests_counts_in_weights),
        TEST(least_requests_spreads_ties),
        TEST(latency_avoids_the_slow),
        TEST(latency_looks_at_load_too),
        TEST(an_old_latency_is_given_another_chance),
        TEST(random_goes_by_weight),
        TEST(a_key_stays_with_its_target),
        TEST(keys_go_by_weight),
        TEST(a_target_that_goes_moves_its_own_keys_only),
        TEST(so_it_is_by_weight),
        TEST(a_bounded_hash_passes_the_loaded_over),
        TEST(what_was_tried_is_avoided_while_there_is_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
