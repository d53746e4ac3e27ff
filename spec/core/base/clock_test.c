/*
 * Clocks that stand and clocks that go, and dates against the C library's own.
 */
#include "base/clock.h"

#include "base/rand.h"
#include "support.h"

#include <time.h>

#define SECOND TG_USEC_PER_SEC

static void assert_http_date(uint64_t seconds, const char *expected)
{
    char out[TG_CLOCK_HTTP_DATE_LEN + 1];
    out[TG_CLOCK_HTTP_DATE_LEN] = '#';
    tg_clock_http_date(seconds * SECOND + 999999, out);
    assert_int_equal(out[TG_CLOCK_HTTP_DATE_LEN], '#');
    out[TG_CLOCK_HTTP_DATE_LEN] = '\0';
    assert_string_equal(out, expected);
}

static void assert_rfc3339(uint64_t real, const char *expected)
{
    char out[TG_CLOCK_RFC3339_LEN + 1];
    out[TG_CLOCK_RFC3339_LEN] = '#';
    tg_clock_rfc3339(real, out);
    assert_int_equal(out[TG_CLOCK_RFC3339_LEN], '#');
    out[TG_CLOCK_RFC3339_LEN] = '\0';
    assert_string_equal(out, expected);
}

static void test_http_dates(void **state)
{
    (void)state;
    assert_http_date(784111777, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110, 5.6.7 */
    assert_http_date(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_http_date(951782400, "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_http_date(4107542399, "Sun, 28 Feb 2100 23:59:59 GMT");
    assert_http_date(4107542400, "Mon, 01 Mar 2100 00:00:00 GMT");
}

static void test_rfc3339(void **state)
{
    (void)state;
    assert_rfc3339(0, "1970-01-01T00:00:00.000Z");
    assert_rfc3339(784111777 * SECOND + 1999, "1994-11-06T08:49:37.001Z");
    assert_rfc3339(1767225599 * SECOND + 999999, "2025-12-31T23:59:59.999Z");
}

static void test_dates_against_strftime(void **state)
{
    char expected[64];
    char with_ms[64];
    struct tg_rand r;
    struct tm tm;
    (void)state;
    tg_rand_init_seed(&r, 4);
    for (int i = 0; i < 5000; i++) {
        time_t seconds = (time_t)tg_rand_below(&r, UINT64_C(8000000000));
        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_http_date((uint64_t)seconds, expected);
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(with_ms, sizeof(with_ms), "%.40s.%03dZ", expected, i % 1000);
        assert_rfc3339((uint64_t)seconds * SECOND + (uint64_t)(i % 1000) * 1000, with_ms);
    }
}

static void test_fake_clock_moves_only_when_moved(void **state)
{
    struct tg_clock clock;
    (void)state;
    tg_clock_init_fake(&clock, 1000 * SECOND);
    uint64_t mono = clock.mono;
    tg_clock_refresh(&clock);
    assert_int_equal(clock.real, 1000 * SECOND);
    assert_int_equal(clock.mono, mono);
    tg_clock_advance(&clock, 5);
    assert_int_equal(clock.real, 1000 * SECOND + 5);
    assert_int_equal(clock.mono, mono + 5);
}

static void test_real_clock_follows_the_system(void **state)
{
    struct tg_clock clock;
    (void)state;
    uint64_t before = tg_clock_mono_now();
    time_t seconds = time(NULL);
    tg_clock_init(&clock);
    assert_true(clock.mono >= before);
    assert_true(clock.real / SECOND + 1 >= (uint64_t)seconds);
    uint64_t last = clock.mono;
    tg_clock_refresh(&clock);
    assert_true(clock.mono >= last);
    assert_true(tg_clock_mono_now() >= clock.mono);
}

static void test_thread_cpu_grows_with_work(void **state)
{
    uint64_t start = tg_clock_thread_cpu();
    uint64_t give_up = tg_clock_mono_now() + 20 * SECOND;
    (void)state;
    while (tg_clock_thread_cpu() == start)
        assert_true(tg_clock_mono_now() < give_up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_dates),
        cmocka_unit_test(test_rfc3339),
        cmocka_unit_test(test_dates_against_strftime),
        cmocka_unit_test(test_fake_clock_moves_only_when_moved),
        cmocka_unit_test(test_real_clock_follows_the_system),
        cmocka_unit_test(test_thread_cpu_grows_with_work),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
