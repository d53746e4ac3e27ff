/* date.h: points in time from text: what HTTP allows (RFC 9110, 5.6.7) and RFC 3339.
 *
 * Parsing is strict about form and ranges (no 30th of February; a leap second :60 counts as the
 * second after), blind to whether the day of the week fits. Threads: any; nothing is allocated.
 */
#ifndef TG_BASE_DATE_H
#define TG_BASE_DATE_H

#include "base/str.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT", and the two forms that are obsolete: "Sunday, 06-Nov-94 08:49:37
 * GMT" and "Sun Nov  6 08:49:37 1994". A year of two digits is the one nearest to `now` that is not
 * more than 50 years ahead. *out in us since 1970, negative before. */
bool tg_date_parse_http(struct tg_str text, int64_t now, int64_t *out) TG_MUST_USE;

/* "1994-11-06T08:49:37Z", with a fraction of a second and an offset such as "+01:00" where given.
 * Years 0000 to 9999. Digits of a fraction beyond the sixth are dropped. */
bool tg_date_parse_rfc3339(struct tg_str text, int64_t *out) TG_MUST_USE;

#endif
