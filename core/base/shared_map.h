/* shared_map.h: the bounded map for many threads: shards, each a map behind a lock.
 *
 * A key belongs to one shard, by its hash. A thread leases the shard's map, works on it through
 * base/map.h as if it were alone, and returns it; a sequence of calls between the two is one step
 * for all others, so totals are exact. A lease is held for some hundred nanoseconds: no I/O, no
 * other lease inside it.
 *
 * The caps are divided among the shards, so they hold for the whole; a shard may push out an entry
 * while another has room. Locks spin a little and then sleep in the kernel.
 *
 * Threads: all functions but new, free and sweep, from any. on_leave runs under the shard's lock.
 */
#ifndef TG_BASE_SHARED_MAP_H
#define TG_BASE_SHARED_MAP_H

#include "base/map.h"

#define TG_SHARED_MAP_SHARDS_MAX  256
#define TG_SHARED_MAP_SHARD_BYTES 256 /* held for a shard besides its map, or less */

struct tg_shared_map;

/* An empty map of `shards` shards (1..256, and at most max_entries), owned by the caller; NULL when
 * memory is out. */
struct tg_shared_map *tg_shared_map_new(const struct tg_map_options *options,
                                        unsigned shards) TG_MUST_USE;

/* Frees `*shared` (NULL is fine) with all that it holds; no lease may be out. */
void tg_shared_map_free(struct tg_shared_map **shared);

/* The map that has or would have `key`, locked for the caller until it is returned. */
static inline struct tg_map *tg_shared_map_lease(struct tg_shared_map *shared,
                                                 struct tg_map_key key);

/* Ends the lease and nulls `*map`. */
static inline void tg_shared_map_return(struct tg_shared_map *shared, struct tg_map_key key,
                                        struct tg_map **map);

/* Sweeps shard after shard, each for up to `max_steps` under its lock, until `budget` us are over
 * or each had its turn; the next call goes on where this one ended. True when that completed a pass
 * over all shards. One thread at a time. */
bool tg_shared_map_sweep(struct tg_shared_map *shared, uint64_t now, uint64_t max_steps,
                         uint64_t budget);

/* Bytes that the shards hold now: tg_map_memory() of all. */
size_t tg_shared_map_memory(struct tg_shared_map *shared);

/* Has each shard push out one part in `parts` of its entries, 1024 at most; some 100 us a shard. */
void tg_shared_map_shrink(struct tg_shared_map *shared, uint32_t parts, uint64_t now);

/* Sums over the shards; entries_peak is the sum of the shards' peaks. */
void tg_shared_map_stats(struct tg_shared_map *shared, struct tg_map_stats *out);

/* ---- Private ------------------------------------------------------------------------------- */

/* By the hash alone, which goes in a register (see map.h). */
struct tg_map *tg_shared_map_lease_hashed(struct tg_shared_map *shared, uint64_t hash);
void tg_shared_map_return_hashed(struct tg_shared_map *shared, uint64_t hash, struct tg_map *map);

static inline struct tg_map *tg_shared_map_lease(struct tg_shared_map *shared,
                                                 struct tg_map_key key)
{
    return tg_shared_map_lease_hashed(shared, key.hash);
}

static inline void tg_shared_map_return(struct tg_shared_map *shared, struct tg_map_key key,
                                        struct tg_map **map)
{
    tg_shared_map_return_hashed(shared, key.hash, *map);
    *map = NULL;
}

#endif
