/* date.c: see date.h. A cursor walks over the text; each helper takes what it expects or fails. */
#include "base/banned.h"
#include "base/date.h"

struct cursor {
    struct tg_str rest;
    bool failed;
};

struct fields {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
    int us;
};

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "SunMonTueWedThuFriSat";

/* ---- The cursor ------------------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Exactly `count` digits. */
static int digits(struct cursor *c, size_t count)
{
    int value = 0;
    c->failed = c->failed || c->rest.n < count;
    for (size_t i = 0; !c->failed && i < count; i++) {
        c->failed = !is_digit(c->rest.p[i]);
        value = value * 10 + (c->rest.p[i] - '0');
    }
    c->rest = tg_str_sub(c->rest, count, c->rest.n);
    return c->failed ? 0 : value;
}

static void literal(struct cursor *c, struct tg_str text)
{
    c->failed = c->failed || !tg_str_starts(c->rest, text);
    c->rest = tg_str_sub(c->rest, text.n, c->rest.n);
}

/* One of two characters; whether it is the first. */
static bool either(struct cursor *c, char one, char two)
{
    char got = c->rest.n > 0 ? c->rest.p[0] : '\0';
    c->failed = c->failed || (got != one && got != two);
    c->rest = tg_str_sub(c->rest, 1, c->rest.n);
    return got == one;
}

/* Which of the names of three letters stands here, from 1. */
static int name(struct cursor *c, const char *names)
{
    for (int i = 0; !c->failed && names[3 * i] != '\0'; i++) {
        if (tg_str_starts(c->rest, tg_str(names + 3 * i, 3))) {
            c->rest = tg_str_sub(c->rest, 3, c->rest.n);
            return i + 1;
        }
    }
    c->failed = true;
    return 0;
}

static void time_of_day(struct cursor *c, struct fields *f)
{
    f->hour = digits(c, 2);
    literal(c, TG_STR(":"));
    f->minute = digits(c, 2);
    literal(c, TG_STR(":"));
    f->second = digits(c, 2);
}

/* ---- The calendar ---------------------------------------------------------------------------- */

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool is_sound(const struct fields *f)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (f->month < 1 || f->month > 12 || f->day < 1)
        return false;
    int length = lengths[f->month - 1] + (f->month == 2 && is_leap(f->year));
    return f->day <= length && f->hour < 24 && f->minute < 60 && f->second <= 60;
}

/* Days since 1970. Years begin in March here, so that the leap day is a year's last; whole cycles
 * of 400 years have 146097 days. Years count from 0, so nothing is negative before the subtraction.
 */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = year + 400 - (month <= 2);
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468 - 146097;
}

static bool finish(const struct cursor *c, const struct fields *f, int64_t offset, int64_t *out)
{
    if (c->failed || c->rest.n > 0 || !is_sound(f))
        return false;
    int64_t seconds = days_since_1970(f->year, f->month, f->day) * 86400 + f->hour * 3600 +
                      f->minute * 60 + f->second - offset;
    *out = seconds * (int64_t)TG_USEC_PER_SEC + f->us;
    return true;
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static bool parse_fixdate(struct tg_str text, int64_t *out)
{
    struct cursor c = {text, false};
    struct fields f = {0};
    name(&c, days);
    literal(&c, TG_STR(", "));
    f.day = digits(&c, 2);
    literal(&c, TG_STR(" "));
    f.month = name(&c, months);
    literal(&c, TG_STR(" "));
    f.year = digits(&c, 4);
    literal(&c, TG_STR(" "));
    time_of_day(&c, &f);
    literal(&c, TG_STR(" GMT"));
    return finish(&c, &f, 0, out);
}

static bool parse_asctime(struct tg_str text, int64_t *out)
{
    struct cursor c = {text, false};
    struct fields f = {0};
    name(&c, days);
    literal(&c, TG_STR(" "));
    f.month = name(&c, months);
    literal(&c, TG_STR(" "));
    if (tg_str_starts(c.rest, TG_STR(" "))) {
        literal(&c, TG_STR(" "));
        f.day = digits(&c, 1);
    } else {
        f.day = digits(&c, 2);
    }
    literal(&c, TG_STR(" "));
    time_of_day(&c, &f);
    literal(&c, TG_STR(" "));
    f.year = digits(&c, 4);
    return finish(&c, &f, 0, out);
}

static void long_day(struct cursor *c)
{
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    for (size_t i = 0; i < TG_COUNT_OF(names); i++) {
        if (tg_str_starts(c->rest, tg_str_c(names[i]))) {
            c->rest = tg_str_sub(c->rest, strlen(names[i]), c->rest.n);
            return;
        }
    }
    c->failed = true;
}

static bool parse_rfc850(struct tg_str text, int64_t now, int64_t *out)
{
    struct cursor c = {text, false};
    struct fields f = {0};
    long_day(&c);
    literal(&c, TG_STR(", "));
    f.day = digits(&c, 2);
    literal(&c, TG_STR("-"));
    f.month = name(&c, months);
    literal(&c, TG_STR("-"));
    int short_year = digits(&c, 2);
    literal(&c, TG_STR(" "));
    time_of_day(&c, &f);
    literal(&c, TG_STR(" GMT"));
    const int64_t year_us = INT64_C(31556952) * (int64_t)TG_USEC_PER_SEC;
    int this_year = 1970 + (int)(now / year_us);
    f.year = this_year - this_year % 100 + short_year;
    if (f.year > this_year + 50)
        f.year -= 100;
    return finish(&c, &f, 0, out);
}

bool tg_date_parse_http(struct tg_str text, int64_t now, int64_t *out)
{
    return parse_fixdate(text, out) || parse_rfc850(text, now, out) || parse_asctime(text, out);
}

/* ---- RFC 3339 -------------------------------------------------------------------------------- */

/* Digits behind the point, as us. */
static int fraction(struct cursor *c)
{
    int us = 0;
    int place = 100000;
    c->failed = c->failed || c->rest.n == 0 || !is_digit(c->rest.p[0]);
    while (!c->failed && c->rest.n > 0 && is_digit(c->rest.p[0])) {
        us += place * (c->rest.p[0] - '0');
        place /= 10;
        c->rest = tg_str_sub(c->rest, 1, c->rest.n);
    }
    return us;
}

bool tg_date_parse_rfc3339(struct tg_str text, int64_t *out)
{
    struct cursor c = {text, false};
    struct fields f = {0};
    int64_t offset = 0;
    f.year = digits(&c, 4);
    literal(&c, TG_STR("-"));
    f.month = digits(&c, 2);
    literal(&c, TG_STR("-"));
    f.day = digits(&c, 2);
    (void)either(&c, 'T', 't');
    time_of_day(&c, &f);
    if (tg_str_starts(c.rest, TG_STR("."))) {
        literal(&c, TG_STR("."));
        f.us = fraction(&c);
    }
    if (tg_str_eq(c.rest, TG_STR("Z")) || tg_str_eq(c.rest, TG_STR("z"))) {
        c.rest.n = 0;
        return finish(&c, &f, 0, out);
    }
    bool ahead = either(&c, '+', '-');
    int hours = digits(&c, 2);
    literal(&c, TG_STR(":"));
    int minutes = digits(&c, 2);
    offset = (ahead ? 1 : -1) * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60 && finish(&c, &f, offset, out);
}
