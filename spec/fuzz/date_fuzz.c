/*
 * Any bytes as a date: refused, or a time between the years 0 and 9999 which, from 1970 on, comes
 * back from its text in the forms of RFC 3339 and HTTP.
 */
#include "base/banned.h"
#include "base/date.h"

#include "base/assert.h"
#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int64_t us)
{
    char text[TG_CLOCK_RFC3339_LEN];
    char date[TG_CLOCK_HTTP_DATE_LEN];
    int64_t again;
    tg_assert(us >= INT64_C(-62167305600000000) && us <= INT64_C(253402387200000000));
    if (us < 0 || us >= INT64_C(253402300800000000))
        return;
    tg_clock_rfc3339((uint64_t)us, text);
    tg_assert(tg_date_parse_rfc3339(tg_str(text, sizeof(text)), &again));
    tg_assert(again == us - us % 1000);
    tg_clock_http_date((uint64_t)us, date);
    tg_assert(tg_date_parse_http(tg_str(date, sizeof(date)), 0, &again));
    tg_assert(again == us - us % (int64_t)TG_USEC_PER_SEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str text = tg_str((const char *)data, size);
    int64_t us;
    if (tg_date_parse_rfc3339(text, &us))
        check(us);
    if (tg_date_parse_http(text, INT64_C(1700000000000000), &us))
        check(us);
    return 0;
}
