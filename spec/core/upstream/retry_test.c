/*
 * Retries: classes of failures, the budget, and the pauses between attempts.
 */
#include "upstream/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_each_failure_has_one_class(void **state)
{
    (void)state;
    assert_int_equal(tg_retry_class_of(TG_E_REFUSED, false), TG_RETRY_CONNECT);
    assert_int_equal(tg_retry_class_of(TG_E_TIMEOUT, false), TG_RETRY_CONNECT);
    assert_int_equal(tg_retry_class_of(TG_E_LIMIT, false), TG_RETRY_CONNECT);
    assert_int_equal(tg_retry_class_of(TG_E_FILES, false), TG_RETRY_CONNECT);
    assert_int_equal(tg_retry_class_of(TG_E_RESET, true), TG_RETRY_RESET);
    assert_int_equal(tg_retry_class_of(TG_E_CLOSED, true), TG_RETRY_RESET);
    assert_int_equal(tg_retry_class_of(TG_E_PROTOCOL, true), TG_RETRY_RESET);
    assert_int_equal(tg_retry_class_of(TG_E_TIMEOUT, true), TG_RETRY_TIMEOUT);
    assert_int_equal(tg_retry_class_of(TG_E_NOMEM, false), TG_RETRY_NEVER);
    assert_int_equal(tg_retry_class_of(TG_E_NOMEM, true), TG_RETRY_NEVER);
    assert_int_equal(tg_retry_class_of(TG_E_LIMIT, true), TG_RETRY_NEVER);
}

static void test_the_budget_is_a_share_of_live_requests(void **state)
{
    const struct tg_retry_conf conf = {.budget = 0.2};
    _Atomic uint32_t retries = 0;
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_true(tg_retry_begin(&conf, &retries, 100));
    assert_false(tg_retry_begin(&conf, &retries, 100));
    assert_int_equal(retries, 20);
    tg_retry_end(&retries);
    assert_true(tg_retry_begin(&conf, &retries, 100));
}

static void test_a_few_retries_are_always_allowed(void **state)
{
    const struct tg_retry_conf conf = {.budget = 0.2};
    _Atomic uint32_t retries = 0;
    (void)state;
    for (unsigned i = 0; i < TG_RETRY_FLOOR; i++)
        assert_true(tg_retry_begin(&conf, &retries, 1));
    assert_false(tg_retry_begin(&conf, &retries, 1));
}

static void test_pauses_are_spread_over_a_growing_range(void **state)
{
    const struct tg_retry_conf conf = {.backoff = 25000, .backoff_most = 150000};
    struct tg_rand rand;
    (void)state;
    tg_rand_init_seed(&rand, 7);
    for (uint32_t n = 0; n < 6; n++) {
        uint64_t most = TG_MIN(UINT64_C(25000) << n, UINT64_C(150000));
        uint64_t least_seen = UINT64_MAX, most_seen = 0;
        for (int i = 0; i < 1000; i++) {
            uint64_t pause = tg_retry_backoff(&conf, n, &rand);
            assert_true(pause < most);
            least_seen = TG_MIN(least_seen, pause);
            most_seen = TG_MAX(most_seen, pause);
        }
        assert_true(least_seen < most / 20 && most_seen > most - most / 20);
    }
}

static void test_without_a_base_there_is_no_pause(void **state)
{
    const struct tg_retry_conf conf = {.backoff_most = 1000};
    struct tg_rand rand;
    (void)state;
    tg_rand_init_seed(&rand, 7);
    assert_int_equal(tg_retry_backoff(&conf, 3, &rand), 0);
}

static void test_listed_statuses(void **state)
{
    const struct tg_retry_conf conf = {.statuses = {502, 503}, .status_count = 2};
    (void)state;
    assert_true(tg_retry_wants_status(&conf, 503));
    assert_false(tg_retry_wants_status(&conf, 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_failure_has_one_class),
        cmocka_unit_test(test_the_budget_is_a_share_of_live_requests),
        cmocka_unit_test(test_a_few_retries_are_always_allowed),
        cmocka_unit_test(test_pauses_are_spread_over_a_growing_range),
        cmocka_unit_test(test_without_a_base_there_is_no_pause),
        cmocka_unit_test(test_listed_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
