/*
 * Quarantine: the rate that leads into it, the pauses that double, the trial, and the way back.
 */
#include "script/quarantine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SEC TG_USEC_PER_SEC

static struct tg_limits limits;
static struct tg_quarantine q;

static int begin(void **state)
{
    (void)state;
    tg_limits_init(&limits);
    limits.plugin_kills = 3;
    limits.plugin_pause_min = 2 * SEC;
    limits.plugin_pause_max = 7 * SEC;
    tg_quarantine_init(&q, &limits);
    return 0;
}

/* Into quarantine at `now`. */
static void shut(uint64_t now)
{
    for (int i = 0; i < 3; i++)
        assert_false(tg_quarantine_note_kill(&q, &limits, now));
    assert_true(tg_quarantine_note_kill(&q, &limits, now));
    assert_int_equal(q.state, TG_QUARANTINE_SHUT);
}

static void test_kills_below_the_rate_are_borne(void **state)
{
    (void)state;
    for (uint64_t now = 100 * SEC; now < 1000 * SEC; now += 4 * SEC)
        assert_false(tg_quarantine_note_kill(&q, &limits, now));
    assert_true(tg_quarantine_allows(&q, &limits, 1000 * SEC));
    assert_int_equal(q.times, 0);
}

static void test_kills_above_the_rate_shut_it_out(void **state)
{
    (void)state;
    shut(100 * SEC);
    assert_false(tg_quarantine_allows(&q, &limits, 100 * SEC));
    assert_false(tg_quarantine_note_kill(&q, &limits, 101 * SEC));
    assert_false(tg_quarantine_allows(&q, &limits, 102 * SEC - 1));
    assert_true(tg_quarantine_allows(&q, &limits, 102 * SEC));
    assert_int_equal(q.state, TG_QUARANTINE_TRIAL);
    assert_int_equal(q.times, 1);
}

static void test_a_failed_trial_doubles_the_pause(void **state)
{
    static const uint64_t pauses[] = {2 * SEC, 4 * SEC, 7 * SEC, 7 * SEC};
    uint64_t now = 100 * SEC;
    (void)state;
    shut(now);
    for (unsigned i = 0; i < TG_COUNT_OF(pauses); i++) {
        assert_int_equal(q.pause_us, pauses[i]);
        assert_false(tg_quarantine_allows(&q, &limits, now + pauses[i] - 1));
        now += pauses[i];
        assert_true(tg_quarantine_allows(&q, &limits, now));
        assert_true(tg_quarantine_note_kill(&q, &limits, now));
    }
    assert_int_equal(q.times, 5);
}

static void test_a_good_trial_sets_it_free(void **state)
{
    (void)state;
    shut(100 * SEC);
    assert_true(tg_quarantine_allows(&q, &limits, 102 * SEC));
    assert_true(tg_quarantine_note_kill(&q, &limits, 103 * SEC));
    assert_true(tg_quarantine_allows(&q, &limits, 107 * SEC));
    assert_true(tg_quarantine_allows(&q, &limits, 117 * SEC - 1));
    assert_int_equal(q.state, TG_QUARANTINE_TRIAL);
    assert_true(tg_quarantine_allows(&q, &limits, 117 * SEC));
    assert_int_equal(q.state, TG_QUARANTINE_FREE);
    assert_int_equal(q.pause_us, 2 * SEC);
    assert_false(tg_quarantine_note_kill(&q, &limits, 118 * SEC));
}

static void test_states_have_names(void **state)
{
    (void)state;
    assert_string_equal(tg_quarantine_label(TG_QUARANTINE_FREE), "free");
    assert_string_equal(tg_quarantine_label(TG_QUARANTINE_SHUT), "shut");
    assert_string_equal(tg_quarantine_label(TG_QUARANTINE_TRIAL), "trial");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_kills_below_the_rate_are_borne, begin),
        cmocka_unit_test_setup(test_kills_above_the_rate_shut_it_out, begin),
        cmocka_unit_test_setup(test_a_failed_trial_doubles_the_pause, begin),
        cmocka_unit_test_setup(test_a_good_trial_sets_it_free, begin),
        cmocka_unit_test_setup(test_states_have_names, begin),
    };

    return cmocka_run_group_tests_name("script quarantine", tests, NULL, NULL);
}
