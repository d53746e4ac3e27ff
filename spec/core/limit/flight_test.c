/*
 * Bounds on work in flight: the fixed one, and how the adaptive one moves.
 */
#include "base/banned.h"
#include "limit/flight.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MSEC TG_USEC_PER_MSEC

static const struct tg_flight_rule fixed = {.max = 3};
static const struct tg_flight_rule adaptive = {.min = 2, .max = 100, .latency = 100 * MSEC};
static const struct tg_flight_end good = {.took = 50 * MSEC};
static const struct tg_flight_end late = {.took = 101 * MSEC};
static const struct tg_flight_end failed = {.took = 1, .failed = true};

/* As many as may be enter. */
static uint32_t fill(const struct tg_flight_rule *rule, struct tg_flight_state *state)
{
    while (tg_flight_enter(rule, state))
        ;
    return state->in_flight;
}

static void drain(const struct tg_flight_rule *rule, struct tg_flight_state *state,
                  const struct tg_flight_end *end, uint64_t now)
{
    while (state->in_flight > 0)
        tg_flight_leave(rule, state, end, now);
}

static void test_a_fixed_bound_holds_whatever_happens(void **state)
{
    struct tg_flight_state s = {0};
    (void)state;
    assert_int_equal(fill(&fixed, &s), 3);
    tg_flight_leave(&fixed, &s, &failed, 10);
    assert_true(tg_flight_enter(&fixed, &s));
    assert_false(tg_flight_enter(&fixed, &s));
    drain(&fixed, &s, &late, 20);
    assert_int_equal(fill(&fixed, &s), 3);
}

static void test_lateness_lowers_the_bound_once_in_a_latency(void **state)
{
    struct tg_flight_state s = {0};
    (void)state;
    assert_int_equal(fill(&adaptive, &s), 100);
    drain(&adaptive, &s, &late, 1000 * MSEC);
    assert_int_equal(tg_flight_bound(&adaptive, &s), 90);
    assert_int_equal(fill(&adaptive, &s), 90);
    drain(&adaptive, &s, &failed, 1099 * MSEC);
    assert_int_equal(tg_flight_bound(&adaptive, &s), 90);
    assert_true(tg_flight_enter(&adaptive, &s));
    tg_flight_leave(&adaptive, &s, &failed, 1100 * MSEC);
    assert_int_equal(tg_flight_bound(&adaptive, &s), 81);
}

static void test_the_bound_stays_between_its_ends(void **state)
{
    struct tg_flight_state s = {0};
    (void)state;
    for (uint64_t i = 1; i < 200; i++) {
        assert_true(tg_flight_enter(&adaptive, &s));
        tg_flight_leave(&adaptive, &s, &failed, i * 100 * MSEC);
    }
    assert_int_equal(fill(&adaptive, &s), adaptive.min);
    for (uint64_t i = 200; i < 600; i++) {
        fill(&adaptive, &s);
        drain(&adaptive, &s, &good, i * 100 * MSEC);
    }
    assert_int_equal(fill(&adaptive, &s), adaptive.max);
}

static void test_a_full_bound_grows_by_one_a_round(void **state)
{
    struct tg_flight_state s = {.bound = 10 << 16};
    (void)state;
    for (int round = 0; round < 30; round++) {
        for (uint32_t i = 0, n = fill(&adaptive, &s); i < n; i++) {
            tg_flight_leave(&adaptive, &s, &good, 1);
            assert_true(tg_flight_enter(&adaptive, &s));
        }
    }
    assert_in_range(tg_flight_bound(&adaptive, &s), 37,
                    40); /* each step a little less than 1/bound */
}

static void test_success_below_half_of_the_bound_shows_nothing(void **state)
{
    struct tg_flight_state s = {.bound = 10 << 16};
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(tg_flight_enter(&adaptive, &s));
        tg_flight_leave(&adaptive, &s, &good, 1);
    }
    assert_int_equal(tg_flight_bound(&adaptive, &s), 10);
}

/* ---- A model --------------------------------------------------------------------------------- */

#define WORK 64

/* Every piece of work that is in flight, and the bound as the law in the header says it. */
struct model {
    struct tg_flight_rule rule;
    uint64_t began[WORK];
    uint32_t n;
    double bound;
    bool was_cut;
    uint64_t cut;
};

static void model_end(struct model *m, uint64_t took, bool bad, uint64_t now)
{
    bool full = 2 * m->n >= m->bound;
    if (m->rule.latency == 0)
        return;
    if (!bad && took <= m->rule.latency) {
        m->bound += full ? 1 / m->bound : 0;
    } else if (!m->was_cut || now - m->cut >= m->rule.latency) {
        m->bound *= 0.9;
        m->was_cut = true;
        m->cut = now;
    }
    m->bound = TG_MIN(TG_MAX(m->bound, (double)m->rule.min), (double)m->rule.max);
}

/* What enter() has to say; where 16 bits behind the point may decide, either. */
static void check_entry(const struct model *m, bool entered)
{
    if (m->n + 0.01 < m->bound - 1 || (m->rule.latency == 0 && m->n < m->rule.max))
        assert_true(entered);
    if (m->n + 0.99 > m->bound + 0.01)
        assert_false(entered);
}

static void play(struct tg_rand *rand, struct tg_flight_rule rule)
{
    struct model m = {.rule = rule, .bound = rule.max};
    struct tg_flight_state s = {0};
    uint64_t now = 1 + tg_rand_below(rand, 1000);
    for (int step = 0; step < 3000; step++) {
        now += tg_rand_below(rand, 20 * MSEC);
        if (tg_rand_below(rand, 5) > 1) {
            bool entered = tg_flight_enter(&rule, &s);
            check_entry(&m, entered);
            if (entered)
                m.began[m.n++] = now;
        } else if (m.n > 0) {
            uint32_t which = (uint32_t)tg_rand_below(rand, m.n);
            struct tg_flight_end end = {now - m.began[which], tg_rand_below(rand, 40) == 0};
            model_end(&m, end.took, end.failed, now);
            tg_flight_leave(&rule, &s, &end, now);
            m.began[which] = m.began[--m.n];
        }
        assert_int_equal(s.in_flight, m.n);
    }
}

static void test_bounds_move_as_the_model_does(void **state)
{
    struct tg_rand rand;
    (void)state;
    tg_rand_init_seed(&rand, 99);
    for (int i = 0; i < 300; i++) {
        struct tg_flight_rule rule = {.max = 1 + (uint32_t)tg_rand_below(&rand, WORK)};
        if (i % 4 > 0) {
            rule.min = 1 + (uint32_t)tg_rand_below(&rand, rule.max);
            rule.latency = (1 + tg_rand_below(&rand, 1000)) * MSEC;
        }
        play(&rand, rule);
    }
}

static void test_bad_rules_are_named(void **state)
{
    static const struct tg_flight_rule bad[] = {
        {0, 0, 0}, {0, TG_FLIGHT_MAX + 1, 0}, {0, 10, 5}, {11, 10, 5}};
    static const struct tg_flight_rule largest = {TG_FLIGHT_MAX, TG_FLIGHT_MAX, 1};
    struct tg_flight_state s = {0};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++)
        assert_non_null(tg_flight_rule_check(&bad[i]));
    assert_null(tg_flight_rule_check(&largest));
    assert_int_equal(fill(&largest, &s), TG_FLIGHT_MAX);
    drain(&largest, &s, &good, 1);
    assert_int_equal(fill(&largest, &s), TG_FLIGHT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fixed_bound_holds_whatever_happens),
        cmocka_unit_test(test_lateness_lowers_the_bound_once_in_a_latency),
        cmocka_unit_test(test_the_bound_stays_between_its_ends),
        cmocka_unit_test(test_a_full_bound_grows_by_one_a_round),
        cmocka_unit_test(test_success_below_half_of_the_bound_shows_nothing),
        cmocka_unit_test(test_bounds_move_as_the_model_does),
        cmocka_unit_test(test_bad_rules_are_named),
    };
    return cmocka_run_group_tests_name("flight", tests, NULL, NULL);
}
