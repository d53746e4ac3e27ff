/* map_index.h: from the hash of a key to its entry, for the files of the map. map_layout.h draws
 * it.
 *
 * The bucket of a hash is (hash * buckets) >> 32: no power of two is needed. There are twelve
 * entries to a bucket when the map is full; some 3 % of them stand in the next one. A look-up ends
 * at a bucket over which nothing has passed, so a slot is emptied without moving others, and there
 * are no tombstones. A tag has the bits of 32 that the numbers of entries leave, 14 with 200,000
 * entries.
 *
 * In a large map a look-up is two lines that no near cache has, one known by the other, and what is
 * beside them matters as far as the processor can go on meanwhile: some 300 instructions, the next
 * look-up among them. So the slots of a bucket are compared at once and without a branch; the usual
 * way of a look-up, tg_map_find_usual(), calls nothing, so that it saves no registers, and is left
 * for functions that are not inlined.
 */
#ifndef TG_BASE_MAP_INDEX_H
#define TG_BASE_MAP_INDEX_H

#include "base/map_layout.h"

/* The entry of `key`, or NULL. */
struct tg_map_entry *tg_map_find(const struct tg_map *map, const struct tg_map_key *key);

/* Writes `key` into an entry that is free. */
void tg_map_store_key(const struct tg_map *map, struct tg_map_entry *e,
                      const struct tg_map_key *key);

static inline uint32_t tg_map_short_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline uint64_t tg_map_bucket_of(const struct tg_map *map, uint32_t hash)
{
    return hash * map->buckets >> 32;
}

static inline uint64_t tg_map_next_bucket(const struct tg_map *map, uint64_t bucket)
{
    return bucket + 1 == map->buckets ? 0 : bucket + 1;
}

/* What stands in a slot for the entry `number` with `hash`. */
static inline uint32_t tg_map_slot_for(const struct tg_map *map, uint32_t hash, uint32_t number)
{
    return hash << map->number_bits | number;
}

/* A bit for each slot whose bits under `mask` are `wanted`. */
#ifdef __SSE2__
typedef int tg_map_lanes __attribute__((vector_size(16)));
typedef short tg_map_halves __attribute__((vector_size(16)));
typedef char tg_map_quarters __attribute__((vector_size(16)));

static inline unsigned tg_map_matching(const struct tg_map_bucket *bucket, uint32_t mask,
                                       uint32_t wanted)
{
    const tg_map_lanes *line =
        (const tg_map_lanes *)(const void *)bucket; /* the sixteenth lane is `passed` */
    tg_map_lanes m = (tg_map_lanes){} + (int)mask, w = (tg_map_lanes){} + (int)wanted;
    tg_map_halves low = __builtin_ia32_packssdw128((line[0] & m) == w, (line[1] & m) == w);
    tg_map_halves high = __builtin_ia32_packssdw128((line[2] & m) == w, (line[3] & m) == w);
    tg_map_quarters all = (tg_map_quarters)__builtin_ia32_packsswb128(low, high);
    return (unsigned)__builtin_ia32_pmovmskb128(all) & ((1u << TG_MAP_SLOTS) - 1);
}
#else
static inline unsigned tg_map_matching(const struct tg_map_bucket *bucket, uint32_t mask,
                                       uint32_t wanted)
{
    unsigned found = 0;
    for (unsigned i = 0; i < TG_MAP_SLOTS; i++)
        found |= (unsigned)((bucket->slots[i] & mask) == wanted) << i;
    return found;
}
#endif

/* Does `e` have a key of `n` bytes, 8 to 16, that are those at `p`? */
static inline bool tg_map_key_is_usual(const struct tg_map_entry *e, const void *p, size_t n)
{
    uint64_t mine[2], theirs[2];
    if (e->key_n != n)
        return false;
    memcpy(&mine[0], e->key, 8);
    memcpy(&mine[1], e->key + n - 8, 8);
    memcpy(&theirs[0], p, 8);
    memcpy(&theirs[1], (const char *)p + n - 8, 8);
    return ((mine[0] ^ theirs[0]) | (mine[1] ^ theirs[1])) == 0;
}

/* The entry of a key that has a usual size and is that of the first slot with its tag, as nearly
 * all have and are; NULL may mean another. Whatever number is found: that its key is the one asked
 * for decides, and number 0 has none. */
static inline struct tg_map_entry *tg_map_find_usual(const struct tg_map *map, const void *p,
                                                     size_t n, uint64_t full_hash)
{
    uint32_t hash = tg_map_short_hash(full_hash);
    const struct tg_map_bucket *bucket = &map->index[tg_map_bucket_of(map, hash)];
    unsigned found = tg_map_matching(bucket, map->tag_mask, hash << map->number_bits);
    if (found == 0 || n < 8 || n > 16)
        return NULL;
    uint32_t number = bucket->slots[__builtin_ctz(found)] & ~map->tag_mask;
    struct tg_map_entry *e = tg_map_entry_at(map, number);
    __builtin_prefetch((char *)e + map->stride - 1); /* a value is often in the next line */
    return tg_map_key_is_usual(e, p, n) ? e : NULL;
}

/* The entry `number`, whose key has that hash, can be found. */
static inline void tg_map_index_add(struct tg_map *map, uint32_t hash, uint32_t number)
{
    uint64_t at = tg_map_bucket_of(map, hash);
    unsigned empty;
    while ((empty = tg_map_matching(&map->index[at], UINT32_MAX, 0)) == 0) {
        map->index[at].passed++;
        at = tg_map_next_bucket(map, at);
    }
    map->index[at].slots[__builtin_ctz(empty)] = tg_map_slot_for(map, hash, number);
}

/* It cannot be found any more. */
static inline void tg_map_index_remove(struct tg_map *map, uint32_t hash, uint32_t number)
{
    uint32_t slot = tg_map_slot_for(map, hash, number);
    uint64_t at = tg_map_bucket_of(map, hash);
    unsigned found;
    while ((found = tg_map_matching(&map->index[at], UINT32_MAX, slot)) == 0) {
        map->index[at].passed--;
        at = tg_map_next_bucket(map, at);
    }
    map->index[at].slots[__builtin_ctz(found)] = 0;
}

#endif
