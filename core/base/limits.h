/* limits.h: the bounds of limits.def as a struct, and what the program can say about them.
 *
 * A snapshot of the configuration holds one `struct tg_limits`; it never changes afterwards.
 * Hits are counted for the process, from any thread, by a relaxed atomic add.
 */
#ifndef TG_BASE_LIMITS_H
#define TG_BASE_LIMITS_H

#include "base/defs.h"

enum tg_limit_id {
#define TG_LIMIT(field, path, unit, use, def, min, max, text) TG_LIMIT_ID_##field,
#include "base/limits.def"
#undef TG_LIMIT
    TG_LIMIT_COUNT
};

enum tg_limit_unit { TG_LIMIT_UNIT_BYTES, TG_LIMIT_UNIT_TIME, TG_LIMIT_UNIT_COUNT };

struct tg_limits {
#define TG_LIMIT(field, path, unit, use, def, min, max, text) uint64_t field;
#include "base/limits.def"
#undef TG_LIMIT
};

struct tg_limit_info {
    const char *path;
    const char *text;
    enum tg_limit_unit unit;
    uint64_t value; /* default, in the unit of the field */
    uint64_t min;
    uint64_t max;
};

/* All fields at their defaults. */
void tg_limits_init(struct tg_limits *limits);

/* What limits.def says of one limit; static storage. */
const struct tg_limit_info *tg_limit_info(enum tg_limit_id id);

/* The field of `limits` that belongs to `id`. */
uint64_t *tg_limit_field(struct tg_limits *limits, enum tg_limit_id id);

/* Counts that the bound was hit, and how often it was. */
void tg_limit_hit_id(enum tg_limit_id id);
uint64_t tg_limit_hits(enum tg_limit_id id);

/* Where something is counted against the bound (USED in limits.def): what is in use now, and the
 * most there was. Where the bound holds for each of many (workers, VMs, addresses, queues), the use
 * is that of the one that changed last, and the most that of the fullest. */
void tg_limit_note_id(enum tg_limit_id id, uint64_t use);
uint64_t tg_limit_use(enum tg_limit_id id);
uint64_t tg_limit_peak(enum tg_limit_id id);

/* Does the limit have a use? The others bound single things: a header, a wait. */
bool tg_limit_is_used(enum tg_limit_id id);

#define tg_limit_note(field, use) tg_limit_note_id(TG_LIMIT_ID_##field, use)

/* tg_limit_hit(request_body) counts a hit by field name. */
#define tg_limit_hit(field) tg_limit_hit_id(TG_LIMIT_ID_##field)

#endif
