/* map.h: the bounded map, the one table in which traffic may leave something behind.
 *
 * From bytes to a value of fixed size, kept inline. Two caps hold at every moment: entries, and
 * bytes (each entry's own memory plus the cost that its owner states, for what hangs on it). What
 * does not fit pushes out an old entry; pinned entries stay. Each entry may have a time to live.
 * The owner is told of everything that leaves, and why.
 *
 * Policies. All three look at no more than TG_MAP_LOOK entries at the old end of one queue, which
 * makes room in O(1); an expired entry among them always goes first.
 * To be set again is a use.
 *   LRU  A use marks the entry, nothing more, so that reading does not write to three neighbours.
 *        A marked entry at the old end loses its mark and becomes the youngest; the first unmarked
 *        one goes.
 *   LFU  Uses are counted (up to 127). Of the entries looked at the one of fewest uses goes (the
 *        oldest of these); the others become the youngest with half their count, so fame fades.
 *   TTL  Of the entries looked at the one that expires first goes (no time to live: last). With one
 *        time to live for all that is exactly the oldest. Being read changes nothing, being set
 *        again makes young.
 *
 * Keys are any bytes. Up to `key_room` bytes are stored as they are, longer ones as a keyed 128-bit
 * hash: no raw key over 64 bytes is ever kept.
 *
 * Memory: entry = 24 bytes + key_room + value, rounded up to 8; index, 5.3 bytes per entry of the
 * cap. Both stand in one piece of address space. The index is charged at creation, entries as they
 * come, each time as many again as there were (and no more when the map is empty); what is charged
 * becomes resident as it is touched, in huge pages where the whole is 4 MiB or more.
 *
 * Time is in microseconds of any clock that does not go back, always the caller's `now`.
 * Threads: one at a time; base/shared_map.h is for many. Cost: O(1), one hash, and in a large map
 * two misses, one known by the other: the bucket's line and the entry's (which may go over two
 * lines, fetched together). A use marks the entry that was just read: no third line.
 */
#ifndef TG_BASE_MAP_H
#define TG_BASE_MAP_H

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define TG_MAP_KEY_ROOM_MIN 16
#define TG_MAP_KEY_ROOM_MAX 64
#define TG_MAP_LOOK         16
#define TG_MAP_ENTRIES_MAX  (UINT32_C(1) << 30)
#define TG_MAP_NEVER        0 /* a time to live without end */

enum tg_map_policy { TG_MAP_LRU, TG_MAP_LFU, TG_MAP_TTL };

/* Why an entry left. */
enum tg_map_reason {
    TG_MAP_CAPACITY, /* pushed out by another */
    TG_MAP_EXPIRED,
    TG_MAP_REPLACED, /* its key was set again; the value shown is the old one */
    TG_MAP_REMOVED,
    TG_MAP_CLEARED, /* the map was cleared or freed */
    TG_MAP_REASONS
};

struct tg_map_leaver {
    struct tg_str key; /* as stored: raw, or 16 bytes of hash */
    bool key_is_hash;
    uint32_t cost;
    void *value; /* valid during the call */
};

struct tg_map_options {
    enum tg_mem_tag tag; /* charged */
    enum tg_map_policy policy;
    uint32_t max_entries; /* 1..TG_MAP_ENTRIES_MAX */
    uint64_t max_bytes;   /* 0: no cap */
    uint32_t value_size;  /* at most 64 KiB */
    uint32_t key_room;    /* longest key stored raw: 16..64 */
    /* Told of each entry that leaves (may be NULL). Must not touch the map. */
    void (*on_leave)(void *arg, const struct tg_map_leaver *leaver, enum tg_map_reason reason);
    void *arg;
};

struct tg_map_stats {
    uint64_t entries;
    uint64_t entries_peak;
    uint64_t entries_max; /* the cap */
    uint64_t bytes;
    uint64_t pinned;
    uint64_t hits;
    uint64_t misses;
    uint64_t left[TG_MAP_REASONS];
    uint64_t refused; /* sets that found only pinned entries to push out, or were too large */
    uint64_t sweeps;  /* passes completed */
    uint64_t sweep_us;
};

struct tg_map_key {
    const void *p; /* borrowed for the call */
    size_t n;
    uint64_t hash;
};

/* A key of `n` bytes at `p`, hashed once for all calls that take it. */
static inline struct tg_map_key tg_map_key(const void *p, size_t n)
{
    return (struct tg_map_key){p, n, tg_hash_bytes(p, n)};
}

/* What an entry is given when it is set. Zeroes: lives on, costs nothing, not pinned. */
struct tg_map_terms {
    uint64_t ttl;  /* us from now, or TG_MAP_NEVER */
    uint32_t cost; /* bytes besides the entry itself */
    bool pinned;
};

struct tg_map;

/* An empty map, owned by the caller; NULL when memory is out. */
struct tg_map *tg_map_new(const struct tg_map_options *options) TG_MUST_USE;

/* Clears and frees `*map` (NULL is fine) and nulls it. */
void tg_map_free(struct tg_map **map);

/* Has the memory fetched in which a look-up of `key` begins: for who has something else to do
 * first. Any thread, whatever others do with the map meanwhile. */
static inline void tg_map_prefetch(const struct tg_map *map, struct tg_map_key key);

/* The value of `key`, aligned to 8, or NULL. Counts as a use. Valid until the next call that may
 * add or drop entries; an expired entry is dropped on the way. */
static inline void *tg_map_get(struct tg_map *map, struct tg_map_key key, uint64_t now);

/* Sets `key` to a copy of `value` (value_size bytes) under `terms`. TG_E_LIMIT: it does not fit
 * beside what is pinned; TG_E_NOMEM. On failure an older value of the key is still there. */
static inline enum tg_err tg_map_set(struct tg_map *map, struct tg_map_key key, const void *value,
                                     const struct tg_map_terms *terms, uint64_t now);

/* The value of `key` in `*value`; when there is none, a new one of zeroes under `terms`. For
 * counters: one look-up. Errors as above. */
static inline enum tg_err tg_map_obtain(struct tg_map *map, struct tg_map_key key,
                                        const struct tg_map_terms *terms, uint64_t now,
                                        void **value);

/* `now`, or the latest that this was told before: for who is asked by threads that read their
 * clocks one after the other, and must not be told apart by it. */
uint64_t tg_map_time(struct tg_map *map, uint64_t now);

/* The entry of `value`, which tg_map_get() or tg_map_obtain() has just given, lives for `ttl` from
 * now, whatever it was given before. */
void tg_map_renew(struct tg_map *map, void *value, uint64_t ttl, uint64_t now);

/* Drops `key`; false when there was none. */
bool tg_map_remove(struct tg_map *map, struct tg_map_key key, uint64_t now);

/* Protects the entry from being pushed out, or ends that; false when there is none. A pinned entry
 * can still expire, be set again and be removed. */
bool tg_map_pin(struct tg_map *map, struct tg_map_key key, bool pinned, uint64_t now);

/* Looks at up to `max_steps` entries for expired ones, for no longer than `budget` us (checked
 * every 64 steps); the next call goes on where this one ended. True when a pass over all was
 * completed. */
bool tg_map_sweep(struct tg_map *map, uint64_t now, uint64_t max_steps, uint64_t budget);

/* Pushes out up to `count` entries, those that would go next, as if others came; pinned ones stay.
 * Returns how many went. */
uint32_t tg_map_shrink(struct tg_map *map, uint32_t count, uint64_t now);

/* Drops everything. */
void tg_map_clear(struct tg_map *map);

/* What the map holds and has seen; borrowed, changes with it. */
const struct tg_map_stats *tg_map_stats(const struct tg_map *map);

/* Bytes that the map holds now: index and entries. */
size_t tg_map_memory(const struct tg_map *map);

/* The most entries, at most TG_MAP_ENTRIES_MAX, with which a map of these options (max_entries
 * aside) never holds more than `bytes` by itself, index and full pages included; 0: not even one.
 */
uint32_t tg_map_entries_within(const struct tg_map_options *options, uint64_t bytes);

/* Name of a reason for metrics, static storage. */
const char *tg_map_reason_name(enum tg_map_reason reason);

/* ---- Private ------------------------------------------------------------------------------- */

/* A key goes to map.c in registers. A struct of three words would go over the stack, where the
 * compiler copies two of them at once that were written one by one; such a read waits until the
 * writes are in the cache, and they wait for every miss before them: no look-up would begin before
 * the last one has ended. */
void tg_map_prefetch_hashed(const struct tg_map *map, uint64_t hash);
void *tg_map_get_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash, uint64_t now);
enum tg_err tg_map_set_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash,
                              const void *value, const struct tg_map_terms *terms,
                              uint64_t now) TG_MUST_USE;
enum tg_err tg_map_obtain_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash,
                                 const struct tg_map_terms *terms, uint64_t now,
                                 void **value) TG_MUST_USE;

static inline void tg_map_prefetch(const struct tg_map *map, struct tg_map_key key)
{
    tg_map_prefetch_hashed(map, key.hash);
}

static inline void *tg_map_get(struct tg_map *map, struct tg_map_key key, uint64_t now)
{
    return tg_map_get_hashed(map, key.p, key.n, key.hash, now);
}

TG_MUST_USE static inline enum tg_err tg_map_set(struct tg_map *map, struct tg_map_key key,
                                                 const void *value,
                                                 const struct tg_map_terms *terms, uint64_t now)
{
    return tg_map_set_hashed(map, key.p, key.n, key.hash, value, terms, now);
}

TG_MUST_USE static inline enum tg_err tg_map_obtain(struct tg_map *map, struct tg_map_key key,
                                                    const struct tg_map_terms *terms, uint64_t now,
                                                    void **value)
{
    return tg_map_obtain_hashed(map, key.p, key.n, key.hash, terms, now, value);
}

#endif
