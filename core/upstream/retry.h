/* retry.h: what may be tried again, how often, how soon, and at whose expense.
 *
 * A failure has a class; a service says which classes it wants repeated, for which methods. A
 * budget keeps retries from becoming the load that they answer to: those under way are at most
 * `budget` of the live requests of the service, and RETRY_FLOOR in any case.
 *
 * Backoff with full jitter: the nth pause is uniform in [0, min(most, base * 2^n)).
 */
#ifndef TG_UPSTREAM_RETRY_H
#define TG_UPSTREAM_RETRY_H

#include "base/err.h"
#include "base/rand.h"

#include <stdatomic.h>

#define TG_RETRY_FLOOR        3u
#define TG_RETRY_STATUSES_MAX 16u
#define TG_RETRY_ATTEMPTS_MAX 10u

enum tg_retry_class {
    TG_RETRY_CONNECT, /* no connection came about, or none was free in time */
    TG_RETRY_RESET,   /* it ended, or broke the rules of HTTP, before an answer's head */
    TG_RETRY_TIMEOUT, /* no head in time */
    TG_RETRY_STATUS,  /* a head whose status is listed */
    TG_RETRY_NEVER,   /* failures of our own, and what comes after the head */
    TG_RETRY_CLASSES
};

struct tg_retry_conf {
    bool given;        /* else: a failed connection is tried on each target once, no more */
    uint32_t attempts; /* beyond the first */
    unsigned on;       /* bit (1 << class) for each that is repeated */
    uint16_t statuses[TG_RETRY_STATUSES_MAX];
    uint32_t status_count;
    unsigned methods;      /* bit (1 << tg_method) */
    double budget;         /* share of the live requests, above 0 and at most 1 */
    uint64_t backoff;      /* us: base of the pauses; 0: none */
    uint64_t backoff_most; /* us */
    uint64_t per_try;      /* us from an attempt's start to its head; 0: no bound of its own */
    uint64_t buffer;       /* bytes of a body that are kept for a repetition */
};

/* Of a failure before the head of an answer; `connected`: there was a connection. */
enum tg_retry_class tg_retry_class_of(enum tg_err err, bool connected);

/* It failed for want of something of this process's, memory or a descriptor: that says nothing of
 * the target. */
bool tg_retry_is_own(enum tg_err err);

/* "connect", "reset", "timeout", "status", "other". */
const char *tg_retry_label(enum tg_retry_class class);

bool tg_retry_wants_status(const struct tg_retry_conf *conf, unsigned status);

/* Takes a place in the budget of `retries` under way while `live` requests are; false: it is
 * spent. Given back with tg_retry_end(). Any thread. */
bool tg_retry_begin(const struct tg_retry_conf *conf, _Atomic uint32_t *retries,
                    uint32_t live) TG_MUST_USE;
void tg_retry_end(_Atomic uint32_t *retries);

/* The pause before attempt `n` beyond the first (from 0), in us. */
uint64_t tg_retry_backoff(const struct tg_retry_conf *conf, uint32_t n, struct tg_rand *rand);

#endif
