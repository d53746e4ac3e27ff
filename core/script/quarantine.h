/* quarantine.h: when a plugin that keeps being killed is left out for a while, and when it is tried
 * again.
 *
 *            kills > bound in WINDOW            pause is over
 *     FREE ---------------------------> SHUT ------------------> TRIAL
 *       ^                                ^                        | |
 *       |        WINDOW without a kill   +------- a kill ---------+ |
 *       +-----------------------------------------------------------+
 *
 * The first pause is `pause_min`; each time a trial fails it doubles, up to `pause_max`; being free
 * again resets it. While SHUT, the plugin's on_error policy answers for it.
 *
 * A struct of numbers: no memory, no clock of its own, one thread. One per plugin and worker; the
 * gateway asks before it runs the plugin and tells each kill.
 */
#ifndef TG_SCRIPT_QUARANTINE_H
#define TG_SCRIPT_QUARANTINE_H

#include "base/limits.h"

#define TG_QUARANTINE_WINDOW_US (10 * TG_USEC_PER_SEC)

enum tg_quarantine_state { TG_QUARANTINE_FREE, TG_QUARANTINE_SHUT, TG_QUARANTINE_TRIAL };

struct tg_quarantine {
    enum tg_quarantine_state state;
    uint64_t since;    /* mono us: start of the window, the pause or the trial */
    uint64_t pause_us; /* of the current or the next quarantine */
    uint64_t kills;    /* in this window */
    uint64_t times;    /* quarantines so far */
};

/* Free, with the pauses of `limits`. */
void tg_quarantine_init(struct tg_quarantine *q, const struct tg_limits *limits);

/* May the plugin run at `now` (mono us)? Moves from SHUT to TRIAL when the pause is over, and from
 * TRIAL to FREE when the trial went well. Free of cost while FREE. */
bool tg_quarantine_allows(struct tg_quarantine *q, const struct tg_limits *limits,
                          uint64_t now) TG_MUST_USE;

/* The plugin was killed at `now`; true when this begins a quarantine, whose length is q->pause_us:
 * the caller logs it. */
bool tg_quarantine_note_kill(struct tg_quarantine *q, const struct tg_limits *limits, uint64_t now);

/* "free", "shut", "trial". Static storage. */
const char *tg_quarantine_label(enum tg_quarantine_state state);

#endif
