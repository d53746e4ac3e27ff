/* order.h: orders to change the configuration, and what becomes of them.
 *
 *     who asks                         who decides                    who changes
 *     SIGHUP, a file that changed ---> supervisor (or the keeper ---> keeper: config/follow,
 *     admin listener: POST ---------->   under --single): evaluates     cli/crew
 *
 * Plain values; nothing to release.
 */
#ifndef TG_CONFIG_ORDER_H
#define TG_CONFIG_ORDER_H

#include "base/str.h"

enum tg_order_kind {
    TG_ORDER_RELOAD,
    TG_ORDER_DRY_RUN,
    TG_ORDER_ROLLBACK,
    TG_ORDER_CERTIFICATES, /* what is in force, with its files of PEM read anew */
    TG_ORDER_KINDS
};

struct tg_order {
    enum tg_order_kind kind;
    uint32_t number;   /* by which who asked knows the answer; 0: nobody waits for one */
    uint32_t revision; /* ROLLBACK: to which; 0: the one before */
};

enum tg_outcome {
    TG_OUTCOME_REFUSED,   /* everything is as it was */
    TG_OUTCOME_TAKEN,     /* the new configuration is in force */
    TG_OUTCOME_UNCHANGED, /* it is the one that is in force */
    TG_OUTCOME_CHECKED,   /* a dry run: it would be taken */
    TG_OUTCOMES
};

#define TG_ORDER_REASON_MAX 1024 /* bytes of a reason, with the NUL */

/* What an order came to. */
struct tg_settlement {
    struct tg_order order;
    enum tg_outcome outcome;
    const char *reason;  /* one line: why it was refused, or what there is to say; never NULL */
    struct tg_str notes; /* what the evaluation printed: mistakes, warnings */
};

/* "taken", "refused", ...; static storage. */
static inline const char *tg_outcome_name(enum tg_outcome outcome)
{
    static const char *const names[TG_OUTCOMES] = {"refused", "taken", "unchanged", "checked"};
    return names[outcome];
}

#endif
