/* map_queue.c: see map_queue.h. */
#include "base/banned.h"
#include "base/map_queue.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/map_index.h"

/* ---- Queue --------------------------------------------------------------------------------- */

static void link_young(struct tg_map *map, uint32_t number, struct tg_map_entry *e)
{
    e->prev = TG_MAP_NONE;
    e->next = map->young;
    if (map->young != TG_MAP_NONE)
        tg_map_entry_at(map, map->young)->prev = number;
    else
        map->old = number;
    map->young = number;
}

static void unlink_entry(struct tg_map *map, struct tg_map_entry *e)
{
    if (e->prev != TG_MAP_NONE)
        tg_map_entry_at(map, e->prev)->next = e->next;
    else
        map->young = e->next;
    if (e->next != TG_MAP_NONE)
        tg_map_entry_at(map, e->next)->prev = e->prev;
    else
        map->old = e->prev;
}

static void make_young(struct tg_map *map, uint32_t number, struct tg_map_entry *e)
{
    unlink_entry(map, e);
    link_young(map, number, e);
}

/* ---- Coming and going ---------------------------------------------------------------------- */

TG_NOT_INLINED void tg_map_tell_owner(struct tg_map *map, struct tg_map_entry *e,
                                      enum tg_map_reason reason)
{
    bool is_hash = e->key_n == TG_MAP_KEY_IS_HASH;
    struct tg_map_leaver leaver = {
        .key = tg_str((const char *)e->key, is_hash ? TG_MAP_HASH_BYTES : e->key_n),
        .key_is_hash = is_hash,
        .cost = e->cost,
        .value = tg_map_value_of(map, e),
    };
    map->options.on_leave(map->options.arg, &leaver, reason);
}

void tg_map_set_pinned(struct tg_map *map, uint32_t number, struct tg_map_entry *e, bool pinned)
{
    uint64_t bytes = tg_map_bytes_of(map, e->cost);
    if (e->pinned == pinned)
        return;
    e->pinned = pinned;
    if (pinned) {
        unlink_entry(map, e);
        map->stats.pinned++;
        map->pinned_bytes += bytes;
    } else {
        link_young(map, number, e);
        map->stats.pinned--;
        map->pinned_bytes -= bytes;
    }
}

void tg_map_enter(struct tg_map *map, uint32_t number, bool pinned)
{
    struct tg_map_entry *e = tg_map_entry_at(map, number);
    e->pinned = 0;
    link_young(map, number, e);
    tg_map_set_pinned(map, number, e, pinned);
    tg_map_index_add(map, e->hash, number);
    map->stats.bytes += tg_map_bytes_of(map, e->cost);
    map->stats.entries++;
    map->stats.entries_peak = TG_MAX(map->stats.entries_peak, map->stats.entries);
}

void tg_map_drop(struct tg_map *map, uint32_t number, enum tg_map_reason reason)
{
    struct tg_map_entry *e = tg_map_entry_at(map, number);
    tg_map_tell(map, e, reason);
    tg_map_set_pinned(map, number, e, false);
    unlink_entry(map, e);
    tg_map_index_remove(map, e->hash, number);
    map->stats.entries--;
    map->stats.bytes -= tg_map_bytes_of(map, e->cost);
    e->key_n = 0;
    e->hash = 0;
    e->prev = number; /* no live entry precedes itself: the mark of a free one */
    e->next = map->free;
    map->free = number;
    if (map->stats.entries == 0)
        tg_map_give_entries_back(map);
}

static bool is_free(const struct tg_map_entry *e, uint32_t number)
{
    return e->prev == number;
}

/* ---- Making room --------------------------------------------------------------------------- */

/* How willingly an entry goes: the less the sooner. */
static uint64_t worth(const struct tg_map *map, const struct tg_map_entry *e)
{
    if (map->options.policy == TG_MAP_TTL)
        return e->expires != 0 ? e->expires : UINT64_MAX;
    return e->uses;
}

/* An entry that was looked at and may stay: its next turn comes after all others. */
static void spare(struct tg_map *map, uint32_t number, struct tg_map_entry *e)
{
    if (map->options.policy == TG_MAP_TTL) {
        if (worth(map, e) <= worth(map, tg_map_entry_at(map, map->young)))
            return;
    } else {
        e->uses = map->options.policy == TG_MAP_LFU ? e->uses / 2 : 0;
    }
    make_young(map, number, e);
}

/* Pushes out one entry; some entry is not pinned. */
static void evict(struct tg_map *map, uint64_t time)
{
    uint32_t seen[TG_MAP_LOOK];
    unsigned count = 0, victim = 0;
    uint64_t least = UINT64_MAX;
    tg_assert(map->old != TG_MAP_NONE);
    for (uint32_t at = map->old; at != TG_MAP_NONE && count < TG_MAP_LOOK;) {
        struct tg_map_entry *e = tg_map_entry_at(map, at);
        uint64_t value = tg_map_is_expired(e, time) ? 0 : worth(map, e);
        if (value < least) {
            least = value;
            victim = count;
        }
        seen[count++] = at;
        if (least == 0)
            break;
        at = e->prev;
    }
    for (unsigned i = 0; i < count; i++) {
        if (i != victim)
            spare(map, seen[i], tg_map_entry_at(map, seen[i]));
    }
    struct tg_map_entry *e = tg_map_entry_at(map, seen[victim]);
    if (e->prev != TG_MAP_NONE)
        __builtin_prefetch(tg_map_entry_at(map, e->prev)); /* the next to be looked at */
    tg_map_drop(map, seen[victim], tg_map_is_expired(e, time) ? TG_MAP_EXPIRED : TG_MAP_CAPACITY);
}

void tg_map_make_room(struct tg_map *map, uint64_t bytes, uint64_t entries, uint64_t time)
{
    while (map->stats.entries + entries > map->options.max_entries ||
           !tg_map_within_bytes(map, bytes))
        evict(map, time);
}

uint32_t tg_map_shrink(struct tg_map *map, uint32_t count, uint64_t now)
{
    uint64_t time = tg_map_since_epoch(map, now);
    uint32_t gone = 0;
    while (gone < count && map->stats.entries > map->stats.pinned) {
        evict(map, time);
        gone++;
    }
    return gone;
}

/* ---- Passing over all ---------------------------------------------------------------------- */

bool tg_map_sweep(struct tg_map *map, uint64_t now, uint64_t max_steps, uint64_t budget)
{
    uint64_t start = tg_clock_mono_now();
    uint64_t time = tg_map_since_epoch(map, now);
    bool in_time = true;
    for (uint64_t step = 1; step <= max_steps && map->swept < map->fresh && in_time; step++) {
        uint32_t number = map->swept++;
        struct tg_map_entry *e = tg_map_entry_at(map, number);
        if (!is_free(e, number) && tg_map_is_expired(e, time))
            tg_map_drop(map, number, TG_MAP_EXPIRED);
        if (step % 64 == 0)
            in_time = tg_clock_mono_now() - start < budget;
    }
    map->stats.sweep_us += tg_clock_mono_now() - start;
    if (map->swept < map->fresh)
        return false;
    map->swept = TG_MAP_FIRST;
    map->stats.sweeps++;
    return true;
}

void tg_map_clear(struct tg_map *map)
{
    for (uint32_t i = TG_MAP_FIRST, fresh = map->fresh; i < fresh && map->stats.entries > 0; i++) {
        if (!is_free(tg_map_entry_at(map, i), i))
            tg_map_drop(map, i, TG_MAP_CLEARED);
    }
}
