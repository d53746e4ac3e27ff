/* limits.c: tables made from limits.def. The struct is an array of uint64_t with names. */
#include "base/banned.h"
#include "base/limits.h"

#include "base/assert.h"

#include <stdatomic.h>

static const struct tg_limit_info infos[] = {
#define TG_LIMIT(field, path, unit, use, def, min, max, text)                                      \
    {path, text, TG_LIMIT_UNIT_##unit, def, min, max},
#include "base/limits.def"
#undef TG_LIMIT
};

static const size_t offsets[] = {
#define TG_LIMIT(field, path, unit, use, def, min, max, text) offsetof(struct tg_limits, field),
#include "base/limits.def"
#undef TG_LIMIT
};

static _Atomic uint64_t hits[TG_LIMIT_COUNT];
static _Atomic uint64_t uses[TG_LIMIT_COUNT];
static _Atomic uint64_t peaks[TG_LIMIT_COUNT];

enum { SINGLE, USED };

static const bool is_used[] = {
#define TG_LIMIT(field, path, unit, use, def, min, max, text) use,
#include "base/limits.def"
#undef TG_LIMIT
};

void tg_limits_init(struct tg_limits *limits)
{
    for (int id = 0; id < TG_LIMIT_COUNT; id++)
        *tg_limit_field(limits, (enum tg_limit_id)id) = infos[id].value;
}

const struct tg_limit_info *tg_limit_info(enum tg_limit_id id)
{
    tg_assert(id < TG_LIMIT_COUNT);
    return &infos[id];
}

uint64_t *tg_limit_field(struct tg_limits *limits, enum tg_limit_id id)
{
    tg_assert(id < TG_LIMIT_COUNT);
    return (uint64_t *)(void *)((char *)limits + offsets[id]);
}

void tg_limit_hit_id(enum tg_limit_id id)
{
    atomic_fetch_add_explicit(&hits[id], 1, memory_order_relaxed);
}

uint64_t tg_limit_hits(enum tg_limit_id id)
{
    return atomic_load_explicit(&hits[id], memory_order_relaxed);
}

void tg_limit_note_id(enum tg_limit_id id, uint64_t use)
{
    uint64_t peak = atomic_load_explicit(&peaks[id], memory_order_relaxed);
    atomic_store_explicit(&uses[id], use, memory_order_relaxed);
    while (TG_UNLIKELY(use > peak) &&
           !atomic_compare_exchange_weak_explicit(&peaks[id], &peak, use, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

uint64_t tg_limit_use(enum tg_limit_id id)
{
    return atomic_load_explicit(&uses[id], memory_order_relaxed);
}

uint64_t tg_limit_peak(enum tg_limit_id id)
{
    return atomic_load_explicit(&peaks[id], memory_order_relaxed);
}

bool tg_limit_is_used(enum tg_limit_id id)
{
    return is_used[id];
}
