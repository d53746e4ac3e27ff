/* outlier.h: when a target that answers badly is left out for a while: passive health.
 *
 *           `failures` within `window`             its pause is over
 *     IN ----------------------------> EJECTED ------------------------> IN
 *
 * The pause is `eject` times the ejections so far, at most `eject_max`; each `eject_max` without
 * one takes an ejection off the count. How many of a service's targets may be out together is
 * asked with tg_outlier_has_room() before.
 *
 * A value: no memory, no clock of its own; whoever shares one locks it.
 */
#ifndef TG_UPSTREAM_OUTLIER_H
#define TG_UPSTREAM_OUTLIER_H

#include "upstream/window.h"

struct tg_outlier_conf {
    uint32_t failures;  /* that eject; 0: never */
    uint64_t window;    /* us in which they count */
    uint64_t eject;     /* us of the first pause */
    uint64_t eject_max; /* us */
    uint64_t latency;   /* us: an answer that takes longer is a failure; 0: no matter */
    double max_out;     /* share of the targets that may be out, 0..1 */
};

struct tg_outlier {
    uint64_t until;     /* us: out until then; 0: in */
    uint32_t ejections; /* that count for the next pause */
    uint64_t last;      /* us: end of the last pause, or when one was taken off */
    struct tg_window window;
};

/* Notes an outcome at `now` (us); true: it is time for a pause, see tg_outlier_eject(). */
bool tg_outlier_record(struct tg_outlier *outlier, const struct tg_outlier_conf *conf, uint64_t now,
                       bool good);

/* Begins a pause; returns its end. */
uint64_t tg_outlier_eject(struct tg_outlier *outlier, const struct tg_outlier_conf *conf,
                          uint64_t now);

/* The pause is over, or cut short. */
void tg_outlier_admit(struct tg_outlier *outlier, uint64_t now);

/* May one more of `targets` be out when `out` are? Of two or more one always may. */
bool tg_outlier_has_room(const struct tg_outlier_conf *conf, uint32_t targets, uint32_t out);

#endif
