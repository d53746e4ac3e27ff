/* budget.h: the budget of the process, its shares, and the pressure that it is under.
 *
 * Two things keep a process inside settings.memory. Each share is a cap on an account of base/mem:
 * what would pass it is refused where it is asked for, at once, whatever traffic does. And the
 * fill of the budget is turned into a level of pressure, to which the parts of the program answer
 * in a fixed order, so that caps are hardly ever reached:
 *
 *     fill     up at    down at      answer (each level includes those before)
 *     SHRINK     80 %     75 %       caches evict
 *     CLOSE      85 %     80 %       idle connections close, the least recently used first
 *     WAIT       90 %     85 %       new connections wait in the listener's queue
 *     SHED       95 %     90 %       new requests get 503 with Retry-After
 *
 * The gap between up and down keeps a level from flapping; a level is left one step at a time, so
 * what was held back returns step by step.
 *
 * The fill is the larger of two: what the kernel counts as resident for the process, of the whole
 * (so stacks, libraries and the allocator's own memory count as well); and what connections hold,
 * of their share. Another share that is full is no pressure: caches and tables are meant to be.
 *
 * Without settings.memory there are no caps and the fill is 0.
 *
 * Threads: any. Who measures and who answers is gateway/pressure.h.
 */
#ifndef TG_BASE_BUDGET_H
#define TG_BASE_BUDGET_H

#include "base/mem.h"

enum tg_budget_part {
#define TG_BUDGET_PART(name, field, tag, share, text) TG_BUDGET_##name,
#include "base/budget.def"
#undef TG_BUDGET_PART
    TG_BUDGET_PARTS
};

#define TG_BUDGET_MIN (UINT64_C(32) << 20)
#define TG_BUDGET_MAX (UINT64_C(1) << 44)

struct tg_budget {
    uint64_t total;                  /* bytes; 0: no budget */
    uint8_t shares[TG_BUDGET_PARTS]; /* percent; together 100 at most */
};

struct tg_budget_info {
    const char *field;
    const char *text;
    enum tg_mem_tag tag; /* TG_MEM_TAGS: it caps none */
    uint8_t share;       /* default, percent */
};

/* What budget.def says of a part; static storage. */
const struct tg_budget_info *tg_budget_info(enum tg_budget_part part);

/* Bytes of a part of `budget`; 0 without a budget. */
uint64_t tg_budget_bytes(const struct tg_budget *budget, enum tg_budget_part part);

/* Bytes that the part's accounts hold now. */
uint64_t tg_budget_used(enum tg_budget_part part);

/* The most they held (of several accounts the sum of what each held at most), and how often they
 * were refused more. */
uint64_t tg_budget_peak(enum tg_budget_part part);
uint64_t tg_budget_refused(enum tg_budget_part part);

/* Puts `budget` in force: sets the caps. */
void tg_budget_set(const struct tg_budget *budget);

enum tg_pressure {
    TG_PRESSURE_NONE,
    TG_PRESSURE_SHRINK,
    TG_PRESSURE_CLOSE,
    TG_PRESSURE_WAIT,
    TG_PRESSURE_SHED,
    TG_PRESSURES
};

/* "none", "shrink", … for logs and reports; static storage. */
const char *tg_pressure_name(enum tg_pressure level);

/* The level that follows `now` at a fill of `permille`. */
enum tg_pressure tg_pressure_step(enum tg_pressure now, uint32_t permille);

/* The fill in thousandths (at most 10000) when `resident` bytes of `budget` are resident and
 * connections hold `connections`; 0 without a budget. */
uint32_t tg_budget_fill(const struct tg_budget *budget, uint64_t resident, uint64_t connections);

/* Bytes that the kernel counts as resident for this process, now and at most so far; zeroes when
 * it does not tell. */
struct tg_budget_memory {
    uint64_t now;
    uint64_t peak;
};
struct tg_budget_memory tg_budget_memory(void);

/* The first of them alone, in some two microseconds. */
uint64_t tg_budget_resident(void);

#endif
