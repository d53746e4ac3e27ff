/* map_layout.h: how a bounded map stands in memory, and that memory: for the files of the map, and
 * nobody else. map.c has what callers ask, map_index.c where the entry of a key is, map_queue.c
 * who comes and who goes.
 *
 *   index    buckets of 64 bytes, each a cache line: 15 slots [tag | entry] and the number of
 *                       |   entries that belong here or before and stand further on, because there
 *                       v   was no room
 *   entries  [prev next | hash | cost | expires uses pinned key_n][key ........][value ...]
 *
 * Both stand in one piece of address space, made for the cap; what is used of it grows, and an
 * entry never moves. Entries have numbers from 1 on. Free ones form a list through `next`. All that
 * are not pinned stand in one queue, `young` to `old`.
 *
 * Expiry is kept in 48 bits as microseconds since the first `now` that the map saw: nine years.
 */
#ifndef TG_BASE_MAP_LAYOUT_H
#define TG_BASE_MAP_LAYOUT_H

#include "base/map.h"

#define TG_MAP_FIRST 1u  /* number of an entry: 0 is an empty slot */
#define TG_MAP_SLOTS 15u /* of a bucket */
#define TG_MAP_NONE  UINT32_MAX

#define TG_MAP_KEY_IS_HASH 0xff /* key_n of a key stored as a hash */
#define TG_MAP_HASH_BYTES  16

struct tg_map_entry {
    uint32_t prev; /* towards young */
    uint32_t next; /* towards old; in a free entry the next free one */
    uint32_t hash;
    uint32_t cost;
    uint64_t expires : 48; /* us since epoch; 0: never */
    uint64_t key_n : 8;
    uint64_t uses : 7;
    uint64_t pinned : 1;
    unsigned char key[]; /* key_room bytes, then the value */
};

struct tg_map_bucket {
    uint32_t slots[TG_MAP_SLOTS]; /* 0: empty; no entry has that number */
    uint32_t passed;
};

struct tg_map {
    struct tg_map_options options;
    struct tg_map_stats stats;
    struct tg_hash_key second_key; /* the other half of 128-bit hashes */
    struct tg_map_bucket *index;
    uint64_t buckets;
    size_t index_bytes;
    unsigned number_bits; /* of a slot; the tag has the others: */
    uint32_t tag_mask;
    uint32_t uses_most; /* that are counted */
    uint32_t stride;
    uint32_t value_at; /* offset of the value in an entry */
    char *entries;     /* number 0 is not used and stays zeroes */
    size_t reserved;
    size_t taken;   /* bytes of that, from its start, that are charged */
    uint32_t ready; /* entries from here on have no memory yet */
    uint32_t fresh; /* entries from here on were never used */
    uint32_t free;  /* list of free entries */
    uint32_t young;
    uint32_t old;
    uint32_t swept; /* next entry for the sweep */
    uint64_t pinned_bytes;
    uint64_t epoch;
    uint64_t latest; /* for tg_map_time() */
    bool has_epoch;
};

/* Lays out a map whose options are set, and takes the memory of its index. TG_E_NOMEM: nothing is
 * taken. */
enum tg_err tg_map_layout_init(struct tg_map *map) TG_MUST_USE;
void tg_map_layout_release(struct tg_map *map);

/* Memory for as many entries again as have it, where all of those are in use. */
enum tg_err tg_map_take_more(struct tg_map *map) TG_MUST_USE;

/* The map is empty: gives back the memory of all entries but the first. Those stay, so that a map
 * going to and fro costs nothing. */
void tg_map_give_entries_back(struct tg_map *map);

static inline struct tg_map_entry *tg_map_entry_at(const struct tg_map *map, uint32_t number)
{
    return (struct tg_map_entry *)(void *)(map->entries + (size_t)number * map->stride);
}

/* A division: for what is rare. */
static inline uint32_t tg_map_number_of(const struct tg_map *map, const struct tg_map_entry *e)
{
    return (uint32_t)((size_t)((const char *)e - map->entries) / map->stride);
}

static inline void *tg_map_value_of(const struct tg_map *map, struct tg_map_entry *e)
{
    return (char *)e + map->value_at;
}

static inline uint64_t tg_map_bytes_of(const struct tg_map *map, uint32_t cost)
{
    return (uint64_t)map->stride + cost;
}

/* A free entry, whose contents are anything. */
TG_MUST_USE static inline enum tg_err tg_map_take_entry(struct tg_map *map, uint32_t *number)
{
    *number = map->free;
    if (*number != TG_MAP_NONE) {
        map->free = tg_map_entry_at(map, *number)->next;
        return TG_OK;
    }
    if (map->fresh == map->ready && tg_map_take_more(map) != TG_OK)
        return TG_E_NOMEM;
    *number = map->fresh++;
    return TG_OK;
}

/* us since the epoch of expiry. */
static inline uint64_t tg_map_since_epoch(struct tg_map *map, uint64_t now)
{
    if (!map->has_epoch) {
        map->epoch = now;
        map->has_epoch = true;
    }
    return now > map->epoch ? now - map->epoch : 0;
}

/* At `now`; the epoch is known where an entry expires. */
static inline bool tg_map_is_live(const struct tg_map *map, const struct tg_map_entry *e,
                                  uint64_t now)
{
    return e->expires == 0 || map->epoch + e->expires > now;
}

/* At `time` since the epoch. */
static inline bool tg_map_is_expired(const struct tg_map_entry *e, uint64_t time)
{
    return e->expires != 0 && e->expires <= time;
}

#endif
