/* flight.h: how many at once: a fixed bound, or one that follows latency and errors.
 *
 * enter() when work begins, leave() when it has ended, over 16 bytes of state; zeroes are the state
 * of a key that was never seen. As in limit/rate.h nothing here reads a clock or allocates.
 *
 * Fixed (`latency` 0): at most `max` are in flight.
 *
 * Adaptive: additive increase, multiplicative decrease, as TCP finds its window. The bound begins
 * at `max` and moves between `min` and `max` as work ends:
 *
 *     ended in time and well      bound += 1 / bound, if at least half of it was in use:
 *                                 one more for each round of a full bound
 *     late (> latency) or failed  bound *= 0.9, at most once in `latency`, so that those who
 *                                 began together count once
 *
 * A bound that nobody presses against stays, since success below it shows nothing.
 */
#ifndef TG_LIMIT_FLIGHT_H
#define TG_LIMIT_FLIGHT_H

#include "base/defs.h"

#define TG_FLIGHT_MAX 65535

struct tg_flight_rule {
    uint32_t min;     /* adaptive: 1..max */
    uint32_t max;     /* 1..TG_FLIGHT_MAX */
    uint64_t latency; /* us within which work should end; 0: the bound is `max` */
};

struct tg_flight_state {
    uint32_t in_flight;
    uint32_t bound; /* times 65536; 0: `max` */
    uint64_t cut;   /* us: when it was lowered last */
};

/* How a piece of work ended. */
struct tg_flight_end {
    uint64_t took; /* us */
    bool failed;
};

/* What is wrong with `rule`, static storage, or NULL. */
const char *tg_flight_rule_check(const struct tg_flight_rule *rule);

/* The bound that holds now. */
uint32_t tg_flight_bound(const struct tg_flight_rule *rule, const struct tg_flight_state *state);

/* One more in flight; false when there are as many as may be. */
bool tg_flight_enter(const struct tg_flight_rule *rule, struct tg_flight_state *state) TG_MUST_USE;

/* One less, which ended like this. */
void tg_flight_leave(const struct tg_flight_rule *rule, struct tg_flight_state *state,
                     const struct tg_flight_end *end, uint64_t now);

#endif
