/*
 * The steps of limit/rate against models that know every unit ever granted and count from the start
 * each time; and what a verdict promises against what then happens.
 */
#include "base/banned.h"
#include "limit/rate.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RULES 400
#define STEPS 300
#define SEC   TG_USEC_PER_SEC

struct grant {
    uint64_t time;
    uint64_t cost;
};

struct run {
    struct tg_rate_rule rule;
    struct tg_rate_state state;
    uint64_t times[TG_RATE_LOG_MAX];
    uint64_t now;
    struct grant grants[STEPS];
    unsigned count;
};

static uint64_t *time_at(void *arg, uint32_t i)
{
    struct run *run = arg;
    assert_true(i < run->rule.limit);
    return &run->times[i];
}

static void step(struct run *run, uint64_t cost, struct tg_rate_verdict *out)
{
    const struct tg_rate_times times = {time_at, run};
    if (run->rule.kind == TG_RATE_LOG)
        assert_true(tg_rate_step_log(&run->rule, &run->state, &times, cost, run->now, out));
    else
        tg_rate_step(&run->rule, &run->state, cost, run->now, out);
}

/* ---- Models ---------------------------------------------------------------------------------- */

/* Units granted in the window number `window`, counted from the clock's start. */
static uint64_t granted_in_window(const struct run *run, uint64_t window)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < run->count; i++)
        sum += run->grants[i].time / run->rule.per == window ? run->grants[i].cost : 0;
    return sum;
}

static bool fixed_allows(const struct run *run, uint64_t cost)
{
    return granted_in_window(run, run->now / run->rule.per) + cost <= run->rule.limit;
}

static bool sliding_allows(const struct run *run, uint64_t cost)
{
    uint64_t per = run->rule.per, window = run->now / per;
    __int128 before = window > 0 ? granted_in_window(run, window - 1) : 0;
    __int128 used = (__int128)(granted_in_window(run, window) + cost) * per;
    return used + before * (per - run->now % per) <= (__int128)run->rule.limit * per;
}

static bool log_allows(const struct run *run, uint64_t cost)
{
    uint64_t sum = cost;
    for (unsigned i = 0; i < run->count; i++)
        sum += run->grants[i].time + run->rule.per > run->now ? run->grants[i].cost : 0;
    return sum <= run->rule.limit;
}

/* Tokens, times `per`: gained, spilt and taken from the first request on. */
static bool bucket_allows(const struct run *run, uint64_t cost)
{
    const struct tg_rate_rule *rule = &run->rule;
    __int128 full = (__int128)rule->burst * rule->per, tokens = full;
    uint64_t last = 0;
    for (unsigned i = 0; i <= run->count; i++) {
        uint64_t time = i < run->count ? run->grants[i].time : run->now;
        uint64_t taken = i < run->count ? run->grants[i].cost : cost;
        tokens += (__int128)(time - last) * rule->limit;
        tokens = tokens > full ? full : tokens;
        tokens -= (__int128)taken * rule->per;
        last = time;
    }
    return tokens >= 0;
}

static bool model_allows(const struct run *run, uint64_t cost)
{
    switch (run->rule.kind) {
    case TG_RATE_FIXED:
        return fixed_allows(run, cost);
    case TG_RATE_SLIDING:
        return sliding_allows(run, cost);
    case TG_RATE_LOG:
        return log_allows(run, cost);
    default:
        return bucket_allows(run, cost);
    }
}

/* ---- Runs ------------------------------------------------------------------------------------ */

/* Whether `cost` is granted `later`, seen from a copy. */
static bool granted_later(const struct run *run, uint64_t later, uint64_t cost)
{
    struct run copy = *run;
    struct tg_rate_verdict verdict;
    copy.now += later;
    step(&copy, cost, &verdict);
    return verdict.allowed;
}

static void check_promises(const struct run *run, uint64_t cost, const struct tg_rate_verdict *v)
{
    bool has_burst = run->rule.kind == TG_RATE_BUCKET || run->rule.kind == TG_RATE_GCRA;
    uint64_t most = has_burst ? run->rule.burst : run->rule.limit;
    assert_true(granted_later(run, 0, v->remaining));
    assert_false(granted_later(run, 0, v->remaining + 1));
    assert_true(granted_later(run, v->reset, most));
    if (v->allowed) {
        assert_int_equal(v->retry, 0);
    } else if (cost > most) {
        assert_true(v->retry == TG_RATE_NEVER);
    } else {
        assert_true(granted_later(run, v->retry, cost));
        assert_false(granted_later(run, v->retry - 1, cost));
    }
}

static struct tg_rate_rule random_rule(struct tg_rand *rand, enum tg_rate_kind kind)
{
    static const uint64_t periods[] = {1000, 1009, SEC, 60 * SEC, 86400 * SEC};
    struct tg_rate_rule rule = {.kind = kind};
    rule.per = periods[tg_rand_below(rand, TG_COUNT_OF(periods))];
    rule.limit = 1 + (uint32_t)tg_rand_below(rand, tg_rand_below(rand, 2) ? 5 : TG_RATE_LOG_MAX);
    rule.burst = 1 + (uint32_t)tg_rand_below(rand, 40);
    assert_null(tg_rate_rule_check(&rule));
    return rule;
}

static void play(struct run *run, struct tg_rand *rand)
{
    struct tg_rate_verdict verdict;
    uint64_t pace = TG_MAX(run->rule.per / run->rule.limit, UINT64_C(1));
    for (int i = 0; i < STEPS; i++) {
        uint64_t cost = tg_rand_below(rand, 8) ? 1 : tg_rand_below(rand, run->rule.limit + 3);
        run->now += tg_rand_below(rand, 20) ? tg_rand_below(rand, pace)
                                            : tg_rand_below(rand, 3 * run->rule.per);
        bool expected = model_allows(run, cost);
        step(run, cost, &verdict);
        assert_int_equal(verdict.allowed, expected);
        if (verdict.allowed)
            run->grants[run->count++] = (struct grant){run->now, cost};
        check_promises(run, cost, &verdict);
    }
}

static void test_kind(enum tg_rate_kind kind)
{
    struct tg_rand rand;
    tg_rand_init_seed(&rand, 7 + kind);
    for (int i = 0; i < RULES; i++) {
        static struct run run;
        memset(&run, 0, sizeof(run));
        run.rule = random_rule(&rand, kind);
        run.now = tg_rand_below(&rand, 1000 * SEC);
        play(&run, &rand);
        assert_true(run.count > 0);
    }
}

static void test_fixed_windows_grant_what_the_model_does(void **state)
{
    (void)state;
    test_kind(TG_RATE_FIXED);
}

static void test_sliding_windows_grant_what_the_model_does(void **state)
{
    (void)state;
    test_kind(TG_RATE_SLIDING);
}

static void test_logs_grant_what_the_model_does(void **state)
{
    (void)state;
    test_kind(TG_RATE_LOG);
}

static void test_buckets_grant_what_the_model_does(void **state)
{
    (void)state;
    test_kind(TG_RATE_BUCKET);
}

static void test_cells_are_granted_as_tokens_are(void **state)
{
    (void)state;
    test_kind(TG_RATE_GCRA);
}

/* ---- Edges ----------------------------------------------------------------------------------- */

static void test_the_largest_rules_do_not_overflow(void **state)
{
    struct tg_rate_verdict verdict;
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        struct run run = {.rule = {.kind = (enum tg_rate_kind)kind, .per = TG_RATE_PER_MAX}};
        uint64_t most =
            kind == TG_RATE_LOG ? TG_RATE_LOG_MAX : TG_RATE_PRODUCT_MAX / TG_RATE_PER_MAX;
        run.now = UINT64_C(1) << 47;
        run.rule.limit = run.rule.burst = (uint32_t)most;
        assert_null(tg_rate_rule_check(&run.rule));
        step(&run, most, &verdict);
        assert_true(verdict.allowed);
        assert_int_equal(verdict.remaining, 0);
        step(&run, 1, &verdict);
        assert_false(verdict.allowed);
        assert_true(verdict.retry > 0 && verdict.retry <= 2 * TG_RATE_PER_MAX);
        step(&run, UINT64_MAX, &verdict);
        assert_false(verdict.allowed);
        assert_true(verdict.retry == TG_RATE_NEVER);
    }
}

/* Threads read their clocks one after the other: a request may come with an earlier time. */
static void test_an_earlier_reading_grants_nothing_more(void **state)
{
    struct tg_rate_verdict verdict;
    (void)state;
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        struct run run = {.rule = {(enum tg_rate_kind)kind, 4, 4, SEC}, .now = 10 * SEC};
        step(&run, 4, &verdict);
        assert_true(verdict.allowed);
        run.now -= 5000; /* in the window before */
        step(&run, 1, &verdict);
        assert_false(verdict.allowed);
        run.now += 5000;
        step(&run, 1, &verdict);
        assert_false(verdict.allowed);
    }
}

/* A log's limit is part of its identity: see limit/table.h. */
static void test_a_limit_may_change_while_it_counts(void **state)
{
    static const enum tg_rate_kind kinds[] = {TG_RATE_FIXED, TG_RATE_SLIDING, TG_RATE_BUCKET,
                                              TG_RATE_GCRA};
    struct tg_rate_verdict verdict;
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(kinds); i++) {
        struct run run = {.rule = {kinds[i], 100, 100, SEC}, .now = 10 * SEC};
        bool has_burst = kinds[i] == TG_RATE_BUCKET || kinds[i] == TG_RATE_GCRA;
        uint32_t *most = has_burst ? &run.rule.burst : &run.rule.limit;
        step(&run, 60, &verdict);
        *most = 50;
        step(&run, 1, &verdict);
        assert_false(verdict.allowed);
        *most = 200;
        step(&run, 100, &verdict);
        assert_true(verdict.allowed);
    }
}

static void test_bad_rules_are_named(void **state)
{
    static const struct tg_rate_rule bad[] = {
        {TG_RATE_FIXED, 0, 0, SEC},
        {TG_RATE_FIXED, 1, 0, 0},
        {TG_RATE_SLIDING, 1, 0, 999},
        {TG_RATE_SLIDING, 1, 0, TG_RATE_PER_MAX + 1},
        {TG_RATE_LOG, TG_RATE_LOG_MAX + 1, 0, SEC},
        {TG_RATE_BUCKET, 1, 0, SEC},
        {TG_RATE_GCRA, 1, UINT32_MAX, 86400 * SEC},
        {TG_RATE_FIXED, UINT32_MAX, 0, 86400 * SEC},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++)
        assert_non_null(tg_rate_rule_check(&bad[i]));
}

/* limit/table loses times under pressure, and reads 0 for them. */
static void test_a_log_without_some_of_its_times_promises_what_it_keeps(void **state)
{
    struct run run = {.rule = {.kind = TG_RATE_LOG, .limit = 4, .per = 10 * SEC}};
    struct tg_rate_verdict verdict;
    (void)state;
    for (uint64_t second = 100; second < 104; second++) {
        run.now = second * SEC;
        step(&run, 1, &verdict);
        assert_true(verdict.allowed);
    }
    run.times[1] = run.times[2] = 0;
    run.now = 104 * SEC;
    step(&run, 3, &verdict);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.retry, 6 * SEC); /* when that of the hundredth second goes */
    run.now += verdict.retry;
    step(&run, 3, &verdict);
    assert_true(verdict.allowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_windows_grant_what_the_model_does),
        cmocka_unit_test(test_sliding_windows_grant_what_the_model_does),
        cmocka_unit_test(test_logs_grant_what_the_model_does),
        cmocka_unit_test(test_a_log_without_some_of_its_times_promises_what_it_keeps),
        cmocka_unit_test(test_buckets_grant_what_the_model_does),
        cmocka_unit_test(test_cells_are_granted_as_tokens_are),
        cmocka_unit_test(test_the_largest_rules_do_not_overflow),
        cmocka_unit_test(test_an_earlier_reading_grants_nothing_more),
        cmocka_unit_test(test_a_limit_may_change_while_it_counts),
        cmocka_unit_test(test_bad_rules_are_named),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
