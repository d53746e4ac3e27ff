/* timer.h: deadlines, cheap to move and driven by a clock that a test can turn.
 *
 * Most deadlines of a gateway are moved forward all the time and hardly ever reached. A timer
 * therefore has two times: the deadline that its owner set, and the time at which it stands in the
 * heap. Moving the deadline later, or clearing it, is one store; when the heap's time comes, the
 * timer is put where the deadline says, or taken out. Only moving it earlier costs a heap step.
 *
 *        set(t, later)            tick: heap time reached
 *   idle ------------> in heap --------------------------> deadline later: in heap again
 *        <------------                                     deadline reached: idle, then on_fire
 *          cleared                                         cleared: idle
 *
 * All that is due at a tick is moved to a ready list before the first callback runs, so a callback
 * may set, clear or release any timer, its own included, and cannot starve the loop.
 *
 * Bound: one heap slot a timer, reserved at init, so setting never fails. One thread.
 */
#ifndef TG_EVENT_TIMER_H
#define TG_EVENT_TIMER_H

#include "base/err.h"
#include "base/list.h"

struct tg_timers {
    struct tg_timer **heap; /* 4-ary, earliest first */
    uint32_t n;             /* in the heap */
    uint32_t cap;
    uint32_t timers; /* initialised and not released: slots that must exist */
};

struct tg_timer {
    struct tg_timers *timers; /* borrowed */
    void (*on_fire)(struct tg_timer *timer);
    uint64_t deadline; /* us of the loop's clock; 0: cleared */
    uint64_t heap_at;
    uint32_t slot; /* in the heap, or TG_TIMER_NO_SLOT */
    bool ready;
    struct tg_list link; /* in the ready list of a tick */
};

#define TG_TIMER_NO_SLOT UINT32_MAX

void tg_timers_init(struct tg_timers *timers);

/* All timers must have been released. */
void tg_timers_release(struct tg_timers *timers);

/* Earliest time at which a tick has something to look at; UINT64_MAX when there is none. */
uint64_t tg_timers_next(const struct tg_timers *timers);

/* Fires all timers whose deadline is at or before `now`, in the order of their deadlines. */
void tg_timers_tick(struct tg_timers *timers, uint64_t now);

/* A cleared timer; fails only with TG_E_NOMEM. `on_fire` may release the timer. */
enum tg_err tg_timer_init(struct tg_timer *timer, struct tg_timers *timers,
                          void (*on_fire)(struct tg_timer *timer)) TG_MUST_USE;

/* Never fires again; allowed on a zeroed timer and twice. */
void tg_timer_release(struct tg_timer *timer);

/* Fires once at `deadline` (us, > 0), replacing an earlier setting. */
void tg_timer_set(struct tg_timer *timer, uint64_t deadline);

/* Will not fire until it is set again. */
static inline void tg_timer_clear(struct tg_timer *timer)
{
    timer->deadline = 0;
}

#endif
