/*
 * Errors: each has a text and a name of its own, and errno finds the right one.
 */
#include "base/err.h"

#include "support.h"

static void test_success_is_zero_and_failures_are_negative(void **state)
{
    (void)state;
    assert_int_equal(TG_OK, 0);
    assert_int_equal(TG_E_NOMEM, -1);
    assert_string_equal(tg_err_text(TG_OK), "ok");
    assert_string_equal(tg_err_name(TG_OK), "OK");
    for (int i = 1; i <= TG_ERR_COUNT; i++) {
        enum tg_err err = (enum tg_err)(-i);
        assert_string_not_equal(tg_err_text(err), "unknown error");
        for (int k = 1; k < i; k++) {
            assert_string_not_equal(tg_err_text(err), tg_err_text((enum tg_err)(-k)));
            assert_string_not_equal(tg_err_name(err), tg_err_name((enum tg_err)(-k)));
        }
    }
}

static void test_names_belong_to_their_numbers(void **state)
{
    (void)state;
    assert_string_equal(tg_err_name(TG_E_TIMEOUT), "TIMEOUT");
    assert_string_equal(tg_err_text(TG_E_TIMEOUT), "timed out");
}

static void test_numbers_out_of_range_are_unknown(void **state)
{
    (void)state;
    assert_string_equal(tg_err_text((enum tg_err)(-TG_ERR_COUNT - 1)), "unknown error");
    assert_string_equal(tg_err_name((enum tg_err)1), "UNKNOWN");
}

static void test_errno(void **state)
{
    (void)state;
    assert_int_equal(tg_err_from_errno(0), TG_OK);
    assert_int_equal(tg_err_from_errno(EWOULDBLOCK), TG_E_AGAIN);
    assert_int_equal(tg_err_from_errno(EINTR), TG_E_AGAIN);
    assert_int_equal(tg_err_from_errno(ENOMEM), TG_E_NOMEM);
    assert_int_equal(tg_err_from_errno(EMFILE), TG_E_FILES);
    assert_int_equal(tg_err_from_errno(ECONNREFUSED), TG_E_REFUSED);
    assert_int_equal(tg_err_from_errno(ECONNRESET), TG_E_RESET);
    assert_int_equal(tg_err_from_errno(EPIPE), TG_E_RESET);
    assert_int_equal(tg_err_from_errno(ETIMEDOUT), TG_E_TIMEOUT);
    assert_int_equal(tg_err_from_errno(EHOSTUNREACH), TG_E_UNREACHABLE);
    assert_int_equal(tg_err_from_errno(EBADF), TG_E_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success_is_zero_and_failures_are_negative),
        cmocka_unit_test(test_names_belong_to_their_numbers),
        cmocka_unit_test(test_numbers_out_of_range_are_unknown),
        cmocka_unit_test(test_errno),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
