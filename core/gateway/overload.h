/* overload.h: what a worker does when there is too much to do, and how it notices.
 *
 *     measured, every TICK by each worker (every PRESSED_TICK under pressure)
 *       memory   the fill of settings.memory -> a level of pressure: base/budget.h. One worker
 *                measures for all, whoever comes first
 *       lag      by how much this worker's own timer came late
 *
 *     answered
 *       SHRINK   the worker that measured has the caches evict and the allocator give back
 *       CLOSE    each worker closes idle connections to origins, and of its clients those that
 *                were idle longest, for TG_OVERLOAD_PATIENCE (four times that where a request went
 *                well before); who has sent half a head or a trickle of a body counts as idle
 *       WAIT     acceptors take a few connections a tick, the others wait in the queues of the
 *                kernel: a newcomer's turn comes while those who are in fill what others leave.
 *                Requests whose bodies have been coming for longest, for TG_OVERLOAD_UPLOAD at
 *                least, get 503, or those who never finish one could hold all there is, at any
 *                pace; so they do whenever an upload was turned away
 *       SHED     acceptors stop; new requests get 503 with Retry-After, on connections that stay
 *
 * A request is asked for twice or three times. When its head is there, which costs a look at the
 * level: is there memory for it. The last parts of the share of connections are not for newcomers,
 * or those who come in numbers and never read or finish anything would lock out the others: the
 * first request of a connection is served up to six sevenths of it, later ones nearly to its end.
 * Who sends a body decides how long it holds what it holds, so uploads have three quarters of the
 * share, later ones six sevenths. When its route is known: how important it is (one of low
 * importance is turned away from WAIT on), and are there too many in flight. Where plugins of the
 * access phase may still find that it is somebody's, it is let in as if it were of the most
 * important consumer, and asked for again when they have run, as what it is then. So a route that
 * is full to others serves those whose requests matter, and what the others have cost until then
 * is the look at who they are. Of limits.request.in_flight a request of low importance may use
 * three fifths, a normal one nine tenths, a high one all; the same parts hold for the adaptive
 * bound. A worker that lags turns low ones away at half of limits.loop.lag, normal ones at all of
 * it, high ones at twice that.
 *
 * The adaptive bound (settings.overload.adaptive) is the additive increase and multiplicative
 * decrease of limit/flight.h, one state a worker: answers that come in time raise it by one a
 * round, late ones and those of failed origins lower it to nine tenths.
 *
 * Threads: struct tg_overload belongs to its worker; struct tg_overload_shared holds atomics.
 */
#ifndef TG_GATEWAY_OVERLOAD_H
#define TG_GATEWAY_OVERLOAD_H

#include "config/snapshot.h"
#include "event/timer.h"
#include "limit/flight.h"

struct tg_gate;
struct tg_request;

#define TG_OVERLOAD_PATIENCE TG_USEC_PER_SEC
#define TG_OVERLOAD_UPLOAD   (5 * TG_USEC_PER_SEC)

/* One for the process. */
struct tg_overload_shared {
    _Atomic int level;          /* enum tg_pressure */
    _Atomic uint32_t fill;      /* thousandths, when it was measured last */
    _Atomic uint64_t next;      /* us: when it is measured next */
    _Atomic uint64_t in_flight; /* requests that were let in and have not ended */
    uint64_t trim_at;           /* us; of who measures */
};

/* One for each worker. */
struct tg_overload {
    struct tg_timer tick;
    uint64_t due;         /* us: when the tick should come */
    uint64_t lag;         /* us by which the worker lags: the lesser of the last two measures */
    uint64_t lagged;      /* us, the last measure */
    uint64_t young_since; /* us */
    uint32_t young;       /* uploads let in since then, which do not hold yet what they will */
    bool upload_refused;  /* one was turned away since the last tick */
    struct tg_flight_state flight;
};

/* Starts to measure; the gate has a worker, a gateway and a snapshot from its first tick on, or
 * the tick does nothing. TG_E_NOMEM. */
enum tg_err tg_overload_init(struct tg_gate *gate) TG_MUST_USE;
void tg_overload_release(struct tg_gate *gate);

/* The level that is in force now. */
enum tg_pressure tg_overload_level(const struct tg_gate *gate);

/* How many of `most` connections an acceptor may take. Where these are fewer it waits for
 * tg_acceptors_resume(), which comes with a tick. */
int tg_overload_accepts(const struct tg_gate *gate, int most);

/* Why a request is not served: the code of its answer, static storage; NULL: it is. The first when
 * its head is there; the second when its route is known, which lets it in until leave(); the third
 * when it is known whose it is: a request that was let in as more than that may have to go. */
const char *tg_overload_refuses(const struct tg_request *r);
const char *tg_overload_enter(struct tg_request *r) TG_MUST_USE;
const char *tg_overload_settle(struct tg_request *r) TG_MUST_USE;
void tg_overload_leave(struct tg_request *r);

/* Part of `bound` that requests of `importance` may use; 1 at least. */
uint64_t tg_overload_part(uint64_t bound, enum tg_importance importance);

/* Is a worker that lags by `lag` too slow for `importance`, where `bound` is limits.loop.lag? */
bool tg_overload_is_late(uint64_t lag, uint64_t bound, enum tg_importance importance);

#endif
