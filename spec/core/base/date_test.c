/* date_test.c: dates of HTTP in three forms and of RFC 3339: examples of the RFCs, edges of the
 * calendar, forms that are refused, and every day of 800 years there and back.
 */
#include "base/banned.h"
#include "base/date.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW (INT64_C(1700000000) * 1000000) /* November 2023 */

static int64_t http(const char *text)
{
    int64_t us = -1;
    assert_true(tg_date_parse_http(tg_str_c(text), NOW, &us));
    return us / 1000000;
}

static int64_t rfc3339(const char *text)
{
    int64_t us = -1;
    assert_true(tg_date_parse_rfc3339(tg_str_c(text), &us));
    return us;
}

static bool refused(const char *text)
{
    int64_t us;
    return !tg_date_parse_http(tg_str_c(text), NOW, &us) &&
           !tg_date_parse_rfc3339(tg_str_c(text), &us);
}

static void http_dates_have_three_forms(void **state)
{
    (void)state;
    assert_int_equal(http("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    assert_int_equal(http("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
    assert_int_equal(http("Sun Nov  6 08:49:37 1994"), 784111777);
    assert_int_equal(http("Wed Nov 16 08:49:37 1994"), 784975777);
    assert_int_equal(http("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    assert_int_equal(http("Tuesday, 01-Jan-30 00:00:00 GMT"), 1893456000); /* not 1930 */
    assert_int_equal(http("Monday, 01-Jan-90 00:00:00 GMT"), 631152000);   /* not 2090 */
}

static void rfc3339_takes_fractions_and_offsets(void **state)
{
    (void)state;
    assert_int_equal(rfc3339("1985-04-12T23:20:50.52Z"), INT64_C(482196050520000));
    assert_int_equal(rfc3339("1996-12-19T16:39:57-08:00"), INT64_C(851042397000000));
    assert_int_equal(rfc3339("1990-12-31T23:59:60Z"), INT64_C(662688000000000));
    assert_int_equal(rfc3339("1937-01-01T12:00:27.87+00:20"), INT64_C(-1041337172130000));
    assert_int_equal(rfc3339("2024-02-29t00:00:00.123456789z"), INT64_C(1709164800123456));
    assert_int_equal(rfc3339("0000-01-01T00:00:00Z"), INT64_C(-62167219200000000));
    assert_int_equal(rfc3339("9999-12-31T23:59:59Z"), INT64_C(253402300799000000));
}

static void other_text_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "1994-11-06",
        "1994-11-06T08:49:37",
        "1994-11-06T08:49:37.Z",
        "1994-11-06T08:49:37+0100",
        "1994-11-06T08:49:37+24:00",
        "1994-11-06 08:49:37Z",
        "1994-13-06T08:49:37Z",
        "1900-02-29T00:00:00Z",
        "1994-11-06T08:49:61Z",
        "1994-11-06T08:49:37Zx",
    };
    for (size_t i = 0; i < TG_COUNT_OF(wrong); i++) {
        if (!refused(wrong[i]))
            fail_msg("accepted: %s", wrong[i]);
    }
}

static void every_day_comes_back(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < 292000; day++) {
        char text[TG_CLOCK_HTTP_DATE_LEN];
        char text2[TG_CLOCK_RFC3339_LEN];
        uint64_t real = (day * 86400 + day % 86400) * TG_USEC_PER_SEC;
        int64_t us;
        tg_clock_http_date(real, text);
        tg_clock_rfc3339(real, text2);
        assert_true(tg_date_parse_http(tg_str(text, sizeof(text)), NOW, &us));
        assert_int_equal(us, real);
        assert_true(tg_date_parse_rfc3339(tg_str(text2, sizeof(text2)), &us));
        assert_int_equal(us, real);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_dates_have_three_forms),
        cmocka_unit_test(rfc3339_takes_fractions_and_offsets),
        cmocka_unit_test(other_text_is_refused),
        cmocka_unit_test(every_day_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
