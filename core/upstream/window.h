/* window.h: good and bad outcomes of the last while, in slots that are forgotten one by one.
 *
 * The window is cut into SLOTS; the newest fills, the oldest is emptied as time passes it. A sum is
 * exact to a tenth of the window. A value: no memory, no clock of its own; its owner locks.
 *
 * Cost: adding is some 5 ns, a sum is kept while adding.
 */
#ifndef TG_UPSTREAM_WINDOW_H
#define TG_UPSTREAM_WINDOW_H

#include "base/defs.h"

#define TG_WINDOW_SLOTS 10u

struct tg_window {
    uint64_t slot; /* number of the newest, counted in slot lengths from the clock's zero */
    uint32_t good[TG_WINDOW_SLOTS];
    uint32_t bad[TG_WINDOW_SLOTS];
    uint32_t all_good, all_bad; /* sums over the slots */
};

/* Forgets everything. */
static inline void tg_window_reset(struct tg_window *window)
{
    *window = (struct tg_window){0};
}

/* Forgets what is older than `length` (us, at least TG_WINDOW_SLOTS) at `now` (us). */
static inline void tg_window_move(struct tg_window *window, uint64_t length, uint64_t now)
{
    uint64_t slot = now / (length / TG_WINDOW_SLOTS);
    uint64_t steps = slot > window->slot ? slot - window->slot : 0;
    for (uint64_t i = 0; i < TG_MIN(steps, TG_WINDOW_SLOTS); i++) {
        unsigned at = (unsigned)((window->slot + 1 + i) % TG_WINDOW_SLOTS);
        window->all_good -= window->good[at];
        window->all_bad -= window->bad[at];
        window->good[at] = window->bad[at] = 0;
    }
    window->slot = TG_MAX(slot, window->slot);
}

/* Notes an outcome at `now`. */
static inline void tg_window_add(struct tg_window *window, uint64_t length, uint64_t now, bool good)
{
    tg_window_move(window, length, now);
    unsigned at = (unsigned)(window->slot % TG_WINDOW_SLOTS);
    if (good) {
        window->good[at]++;
        window->all_good++;
    } else {
        window->bad[at]++;
        window->all_bad++;
    }
}

#endif
