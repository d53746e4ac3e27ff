/* clock.c: reading and writing time. */
#include "base/banned.h"
#include "base/clock.h"

#include "base/assert.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec ts;
    tg_assert(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * TG_USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

void tg_clock_init(struct tg_clock *clock)
{
    clock->fake = false;
    tg_clock_refresh(clock);
}

void tg_clock_init_fake(struct tg_clock *clock, uint64_t real)
{
    clock->fake = true;
    clock->real = real;
    clock->mono = TG_USEC_PER_SEC;
}

void tg_clock_refresh(struct tg_clock *clock)
{
    if (clock->fake)
        return;
    clock->mono = read_us(CLOCK_MONOTONIC);
    clock->real = read_us(CLOCK_REALTIME);
}

void tg_clock_advance(struct tg_clock *clock, uint64_t us)
{
    tg_assert(clock->fake);
    clock->mono += us;
    clock->real += us;
}

uint64_t tg_clock_mono_now(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t tg_clock_thread_cpu(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

static void two_digits(char *out, int value)
{
    out[0] = (char)('0' + value / 10 % 10);
    out[1] = (char)('0' + value % 10);
}

static void four_digits(char *out, int value)
{
    two_digits(out, value / 100);
    two_digits(out + 2, value % 100);
}

static void split(uint64_t real, struct tm *tm)
{
    time_t seconds = (time_t)(real / TG_USEC_PER_SEC);
    tg_assert(gmtime_r(&seconds, tm) != NULL);
}

void tg_clock_http_date(uint64_t real, char *out)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    split(real, &tm);
    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", TG_CLOCK_HTTP_DATE_LEN);
    memcpy(out, days + 3 * tm.tm_wday, 3);
    two_digits(out + 5, tm.tm_mday);
    memcpy(out + 8, months + 3 * tm.tm_mon, 3);
    four_digits(out + 12, tm.tm_year + 1900);
    two_digits(out + 17, tm.tm_hour);
    two_digits(out + 20, tm.tm_min);
    two_digits(out + 23, tm.tm_sec);
}

void tg_clock_rfc3339(uint64_t real, char *out)
{
    struct tm tm;
    int ms = (int)(real / 1000 % 1000);
    split(real, &tm);
    memcpy(out, "0000-00-00T00:00:00.000Z", TG_CLOCK_RFC3339_LEN);
    four_digits(out, tm.tm_year + 1900);
    two_digits(out + 5, tm.tm_mon + 1);
    two_digits(out + 8, tm.tm_mday);
    two_digits(out + 11, tm.tm_hour);
    two_digits(out + 14, tm.tm_min);
    two_digits(out + 17, tm.tm_sec);
    out[20] = (char)('0' + ms / 100);
    two_digits(out + 21, ms % 100);
}
