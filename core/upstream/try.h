/* try.h: one request to one target of a service, and what the target is told of how that went.
 *
 *     tg_try_begin()      chooses a target, asks the breakers, counts the request in
 *     tg_try_answered()   a head is there     } one of them at most: what the origin is judged by
 *     tg_try_failed()     none will come      }
 *     tg_try_end()        the exchange is over; without one of the above nothing is said about it
 *
 * A value of its owner; one that is zero is over. While it is open it has a reference to its
 * balancer, whose targets may change meanwhile (roster.h). Threads: the balancer's worker.
 */
#ifndef TG_UPSTREAM_TRY_H
#define TG_UPSTREAM_TRY_H

#include "upstream/balance.h"

#define TG_TRIES_MAX 16u /* of one request */

struct tg_try {
    const struct tg_policy *policy;
    struct tg_balance *balance; /* one reference while `open`; else NULL */
    struct tg_origin *origin;   /* borrowed from the balancer; NULL: nobody to count for */
    uint32_t targets;           /* that the service has */
    uint32_t index;             /* of the target */
    bool open;                  /* counted as in flight */
    bool told;
    bool fleet_probe, origin_probe;
};

/* Chooses a target and begins; the service's breaker has its say first. A NULL balancer has one
 * target, of which nothing is known. TG_E_UNAVAILABLE: a breaker is open (*breaker), or no target
 * may be used. Nothing is open on failure. */
enum tg_err tg_try_begin(struct tg_try *try, struct tg_balance *balance,
                         const struct tg_balance_ask *ask, bool *breaker) TG_MUST_USE;

/* The same for a service with one target and no breaker; false: nothing has begun. */
bool tg_try_begin_single(struct tg_try *try, struct tg_balance *balance, uint64_t now) TG_MUST_USE;

/* A head with `status` is there, `latency` us after the request went. */
void tg_try_answered(struct tg_try *try, unsigned status, uint64_t latency, uint64_t now);

/* There will be none, because of `err`. Failures of our own (tg_retry_is_own(), TG_RETRY_NEVER) are
 * not the origin's: they are counted as "other", and nobody is judged by them. */
void tg_try_failed(struct tg_try *try, enum tg_err err, enum tg_retry_class class, uint64_t now);

/* A second call does nothing. */
void tg_try_end(struct tg_try *try, uint64_t now);

#endif
