/* rate.h: how much in how long: five algorithms as steps over 16 bytes of state.
 *
 * A step is given the rule, the state, what is asked for and the time; it changes the state if that
 * is granted, and says how things stand. No step reads a clock, allocates or keeps anything: tests
 * run them against models, and limit/table keeps the states. A state of zeroes is that of a key
 * that was never seen.
 *
 * FIXED    Windows of `per` follow each other, counted from the clock's start; each grants `limit`.
 *          Two windows that meet may grant twice the limit within less than `per`.
 *
 * SLIDING  Counts this window and the one before. What counts is
 *
 *              now + before * (part of the last `per` that lies in the window before)
 *
 *          which takes the requests of the window before as spread evenly over it.
 *
 * LOG      Remembers the time of every unit granted, at most TG_RATE_LOG_MAX: within any `per`
 *          there are never more than `limit`. Exact, for small limits.
 *
 * BUCKET   A bucket of `burst` tokens, full at first, gains `limit` tokens in `per`, drop by drop;
 *          a request takes its cost. The state holds what is missing, in tokens times `per`:
 *
 *              missing = max(0, missing - limit * (now - time));  granted if
 *              missing + cost * per <= burst * per
 *
 * GCRA     The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): the state is the
 *          theoretical arrival time, when a request would come if all kept the rate. With
 *          T = per / limit, the time that one unit stands for:
 *
 *              arrival' = max(arrival, now) + cost * T;  granted if  arrival' - now <= burst * T
 *
 *          It decides as BUCKET does; `burst` = 1 spaces requests evenly, as a leaky bucket does.
 *
 * All of it is whole numbers and exact: times in microseconds, fractions as numerators over `per`
 * or `limit`. The product of limit (or burst) and per is bounded so that nothing overflows.
 *
 * Time. `now` comes from any clock that does not go back. Where it does all the same, by what
 * threads differ in their reading, no more is granted for it.
 *
 * Threads: whoever owns the state. Cost: at most two divisions; LOG some steps through its times.
 */
#ifndef TG_LIMIT_RATE_H
#define TG_LIMIT_RATE_H

#include "base/defs.h"

enum tg_rate_kind {
    TG_RATE_FIXED,
    TG_RATE_SLIDING,
    TG_RATE_LOG,
    TG_RATE_BUCKET,
    TG_RATE_GCRA,
    TG_RATE_KINDS
};

#define TG_RATE_LIMIT_MAX   UINT32_MAX
#define TG_RATE_LOG_MAX     128
#define TG_RATE_PER_MIN     TG_USEC_PER_MSEC
#define TG_RATE_PER_MAX     (UINT64_C(366) * 86400 * TG_USEC_PER_SEC)
#define TG_RATE_PRODUCT_MAX (UINT64_C(1) << 62) /* of limit and per, of burst and per */
#define TG_RATE_NEVER       UINT64_MAX

struct tg_rate_rule {
    enum tg_rate_kind kind;
    uint32_t limit; /* units granted in `per`, 1 at least */
    uint32_t burst; /* BUCKET, GCRA: units granted at once, 1 at least */
    uint64_t per;   /* us, TG_RATE_PER_MIN..TG_RATE_PER_MAX */
};

struct tg_rate_state {
    uint64_t time; /* FIXED, SLIDING: start of the window; LOG: of the youngest unit; BUCKET: when
                      `missing` was true; GCRA: theoretical arrival, whole us */
    union {
        struct {
            uint32_t now, before; /* FIXED, SLIDING: units granted in these windows */
        };
        struct {
            uint32_t first, count; /* LOG: where the oldest time stands, and how many there are */
        };
        uint64_t missing;  /* BUCKET */
        uint64_t fraction; /* GCRA: of a us, over `limit` */
    };
};

struct tg_rate_verdict {
    bool allowed;
    uint64_t remaining; /* units that would be granted now */
    uint64_t reset; /* us until the key is as if it was never seen; FIXED: until the next window */
    uint64_t retry; /* us until what was refused would be granted, if nobody else asks; 0: it was
                       granted; TG_RATE_NEVER: it is more than the rule ever grants */
};

/* Where the times of a LOG are: number `i`, 0..limit-1, valid until the next call; NULL when it
 * cannot be had. */
struct tg_rate_times {
    uint64_t *(*at)(void *arg, uint32_t i);
    void *arg;
};

/* What is wrong with `rule`, static storage, or NULL. */
const char *tg_rate_rule_check(const struct tg_rate_rule *rule);

/* How long a state of `rule` says something, in us, after it was changed last. */
uint64_t tg_rate_memory(const struct tg_rate_rule *rule);

/* Asks for `cost` units; 0 only looks. `rule` is sound, and not LOG. */
void tg_rate_step(const struct tg_rate_rule *rule, struct tg_rate_state *state, uint64_t cost,
                  uint64_t now, struct tg_rate_verdict *out);

/* The same for LOG. False when a time could not be had; nothing is granted then. */
bool tg_rate_step_log(const struct tg_rate_rule *rule, struct tg_rate_state *state,
                      const struct tg_rate_times *times, uint64_t cost, uint64_t now,
                      struct tg_rate_verdict *out) TG_MUST_USE;

#endif
