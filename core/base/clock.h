/* clock.h: time as the gateway sees it.
 *
 * A clock holds two readings, both in microseconds: `mono` never goes back (deadlines, latencies),
 * `real` is time since 1970 (Date headers, logs, tg.time). A loop refreshes its clock once per
 * round, so all that happens in one round happens at the same time and costs no system call.
 *
 * Tests use a clock that only tg_clock_advance() moves; whatever takes its time from a clock then
 * needs no wait. One thread owns a clock.
 */
#ifndef TG_BASE_CLOCK_H
#define TG_BASE_CLOCK_H

#include "base/defs.h"

struct tg_clock {
    uint64_t mono; /* us since some start */
    uint64_t real; /* us since 1970-01-01T00:00:00Z */
    bool fake;
};

/* A clock that follows the system, read once now. */
void tg_clock_init(struct tg_clock *clock);

/* A clock that stands at `real` us since 1970 until it is moved. */
void tg_clock_init_fake(struct tg_clock *clock, uint64_t real);

/* Reads the system's time; leaves a fake clock alone. */
void tg_clock_refresh(struct tg_clock *clock);

/* Moves a fake clock by `us`; programmer error on another. */
void tg_clock_advance(struct tg_clock *clock, uint64_t us);

/* The system's monotonic time now in us, for measuring; costs a vDSO call. */
uint64_t tg_clock_mono_now(void);

/* CPU time that the calling thread has used, in us. */
uint64_t tg_clock_thread_cpu(void);

/* Length of an IMF-fixdate (RFC 9110, 5.6.7) such as "Sun, 06 Nov 1994 08:49:37 GMT". */
#define TG_CLOCK_HTTP_DATE_LEN 29

/* Writes `real` us as an IMF-fixdate into `out`: TG_CLOCK_HTTP_DATE_LEN bytes, no NUL. */
void tg_clock_http_date(uint64_t real, char *out);

/* Length of an RFC 3339 time with milliseconds: "2024-01-01T00:00:00.000Z". */
#define TG_CLOCK_RFC3339_LEN 24

/* Writes `real` us in that form: TG_CLOCK_RFC3339_LEN bytes, no NUL. */
void tg_clock_rfc3339(uint64_t real, char *out);

#endif
