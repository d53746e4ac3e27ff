/* size.c: see size.h. */
#include "base/banned.h"
#include "upstream/size.h"

#define RELAXED memory_order_relaxed

static void set_limit(struct tg_size *s, uint32_t limit)
{
    if (s->origin != NULL) /* wraps around where it falls: the sum comes out right */
        atomic_fetch_add_explicit(&s->origin->size, limit - s->limit, RELAXED);
    s->limit = limit;
}

static void begin_period(struct tg_size *s, uint64_t now)
{
    s->began = now;
    s->most = 0;
    s->leases = s->waited = 0;
}

void tg_size_end(struct tg_size *size, uint64_t now)
{
    set_limit(size, 0);
    tg_origin_unref(&size->origin, now);
}

void tg_size_follow(struct tg_size *size, const struct tg_pool_conf *conf, struct tg_origin *origin,
                    uint64_t now)
{
    if (conf->size_max == 0) {
        tg_size_end(size, now);
        return;
    }
    size->min = conf->size_min;
    size->max = conf->size_max;
    if (size->limit == 0) {
        size->origin = origin != NULL ? tg_origin_hold(origin) : NULL;
        begin_period(size, now);
    }
    uint32_t limit = TG_MAX(size->limit, size->min);
    if (limit > size->max)
        limit = size->max;
    if (limit != size->limit)
        set_limit(size, limit);
}

enum tg_size_change tg_size_step(struct tg_size *size, uint64_t now)
{
    if (size->limit == 0 || now < size->began + TG_SIZE_PERIOD)
        return TG_SIZE_KEPT;
    uint32_t before = size->limit;
    uint32_t part = TG_MAX(before / 5, 1u);
    bool waits = size->waited > size->leases * TG_SIZE_WAIT;
    bool rests = size->waited == 0 && (uint64_t)size->most * 10 < (uint64_t)before * 3;
    begin_period(size, now);
    if (waits)
        set_limit(size, TG_MIN(before + part, size->max));
    else if (rests)
        set_limit(size, TG_MAX(before - part, size->min));
    if (size->limit == before)
        return TG_SIZE_KEPT;
    return size->limit > before ? TG_SIZE_GROWN : TG_SIZE_SHRUNK;
}
