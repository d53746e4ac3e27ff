/* hedge.h: a second request to another target while the first one is not answered.
 *
 *                 after a time        connected          a head
 *     ARMED ------------------> DIALLING ------> SENT -------------> the request goes on with this
 *       |                          |  |            |                 one, the other is let go of
 *       | answered sooner          |  '------------+---------------> the same, when the other one
 *       v                          v               v                 fails before a head
 *     OVER <-----------------------+---------------+ it fails, or the other one is answered first
 *
 * The request itself has one exchange at a time (struct tg_request: origin, try, upstream.last);
 * the hedge is beside it and changes places with it, so all that comes after a head knows of one.
 * Who loses is let go of without a word to its target's breaker and passive health: it was not
 * given the time to fail. Its latency is noted as far as it was seen.
 *
 * A second request goes when the method is one of those listed, the body is whole and kept (or
 * there is none), another target may be used where nobody waits for a connection, and the budget of
 * retries has a place. It never waits for a connection. There is one for a request. Plugins and
 * mirrors see the request once: the copy leaves with the first of the two that goes out.
 *
 * Ownership: in the request's arena. Cost where it is not configured: a look. One thread.
 */
#ifndef TG_GATEWAY_HEDGE_H
#define TG_GATEWAY_HEDGE_H

#include "gateway/internal.h"

/* What a request's route, or its service, says. */
static inline const struct tg_hedge_conf *tg_hedge_conf_of(const struct tg_request *r)
{
    return r->route->hedge != NULL ? r->route->hedge : &r->service->policy.hedge;
}

/* The request is about to be sent: from here the time counts. Without memory, or with too little
 * known of the service's latency, there is no hedge. */
void tg_hedge_arm(struct tg_request *r);

/* The exchange at hand has a head that will be the answer: the hedge is over. */
void tg_hedge_settle(struct tg_request *r);

/* The exchange at hand has failed, or its answer is not wanted: it is let go of, and the request
 * goes on with its hedge, where one is under way; else false, and nothing has changed. */
bool tg_hedge_take_over(struct tg_request *r);

/* The request ends. A second call does nothing. */
void tg_hedge_drop(struct tg_request *r);

#endif
