/* zone.h: memory of a fixed size that plugins share, across requests, workers and reloads.
 *
 * A zone has a kind (dict, cache, limit), a name and a size, and these three make its identity. The
 * process's registry hands the same zone to all who open the same three, so what a configuration
 * declares unchanged is the same zone after a reload; a changed size makes a new, empty one, with a
 * warning. A zone lives as long as somebody has it open.
 *
 *     struct tg_zones    registry, one for the process
 *     struct tg_zone     +-- base/shared_map: key -> struct tg_zone_slot
 *                        +-- store/lock: locks on keys
 *                        or, of kind limit, limit/table: who has used how much
 *
 * What to do with the entries is said by store/dict and store/cache.
 *
 * Size. A zone never holds more memory than its size: entries, keys, texts with their allocator's
 * overhead, the index. A part of the size is set aside for entries (each some 75 bytes), the rest
 * is for texts; when either is used up, what was not used for long goes (see base/map.h, LRU).
 * Keys are kept as they are up to 16 bytes, longer ones as a keyed hash of 128 bits.
 *
 * Values. Numbers and booleans stand in the slot. Texts (strings, and plain data as
 * script/marshal wrote it) are immutable and counted: a reader takes a reference under the lock
 * and copies without it, so the time under a lock does not depend on a value's size.
 *
 * Threads: everything here, from any.
 */
#ifndef TG_STORE_ZONE_H
#define TG_STORE_ZONE_H

#include "base/err.h"
#include "base/shared_map.h"
#include "base/str.h"

struct tg_limit_table;
struct tg_locks;
struct tg_zone;
struct tg_zones;

enum tg_zone_kind { TG_ZONE_DICT, TG_ZONE_CACHE, TG_ZONE_LIMIT };

#define TG_ZONE_SIZE_MIN ((uint64_t)64 << 10)
#define TG_ZONE_SIZE_MAX ((uint64_t)64 << 30)

enum tg_zone_type {
    TG_ZONE_ABSENT, /* no value; in a cache: known not to exist */
    TG_ZONE_NUMBER,
    TG_ZONE_BOOLEAN, /* number is 0 or 1 */
    TG_ZONE_STRING,
    TG_ZONE_DATA /* bytes of script/marshal */
};

/* Immutable bytes with a count of those who hold them. */
struct tg_zone_text {
    _Atomic uint32_t refs;
    uint32_t n;
    char bytes[];
};

struct tg_zone_value {
    enum tg_zone_type type;
    double number;
    struct tg_zone_text *text; /* STRING, DATA: one reference, the holder's; else NULL */
};

/* What the map holds for a key; for store/dict and store/cache. */
struct tg_zone_slot {
    union {
        double number;
        struct tg_zone_text *text; /* one reference */
    };
    uint64_t until; /* us: a dict's entry ends, a cache's is no longer fresh; 0: never */
    enum tg_zone_type type;
};

/* An empty registry, owned by the caller; NULL when memory is out. */
struct tg_zones *tg_zones_new(void) TG_MUST_USE;

/* No zone may be open. */
void tg_zones_free(struct tg_zones **zones);

/* Opens the zone of these three into *out: one reference, the caller's. `size` is in bytes, from
 * TG_ZONE_SIZE_MIN to TG_ZONE_SIZE_MAX; `name` is copied. TG_E_NOMEM. */
enum tg_err tg_zones_open(struct tg_zones *zones, enum tg_zone_kind kind, struct tg_str name,
                          uint64_t size, struct tg_zone **out) TG_MUST_USE;

/* Memory is short: every cache gives up an eighth of its entries, those not used for longest.
 * Dictionaries keep theirs, since nobody can make them anew. */
void tg_zones_shrink(struct tg_zones *zones, uint64_t now);

/* Takes a reference; returns `zone`. */
struct tg_zone *tg_zone_ref(struct tg_zone *zone);

/* Drops the caller's reference and nulls it; the last one frees the zone. NULL is fine. */
void tg_zone_unref(struct tg_zone **zone);

enum tg_zone_kind tg_zone_kind(const struct tg_zone *zone);

/* What `kind` is called in configurations; static storage. */
const char *tg_zone_kind_name(enum tg_zone_kind kind);

/* The counter table of a zone of kind limit. Borrowed. */
struct tg_limit_table *tg_zone_limits(struct tg_zone *zone);

/* A slice of the search for expired entries in all zones: no longer than some `budget` us. The next
 * call goes on where this one ended; true when that completed a pass. `now` as the zones' users
 * have it. One thread at a time. */
bool tg_zones_sweep(struct tg_zones *zones, uint64_t now, uint64_t budget);

/* Entries of the zone (of kind dict or cache); values are struct tg_zone_slot. Borrowed. */
struct tg_shared_map *tg_zone_map(struct tg_zone *zone);

/* Locks on the keys of a zone of kind dict or cache. Borrowed. */
struct tg_locks *tg_zone_locks(struct tg_zone *zone);

/* Bytes that the zone holds at most now: what its entries are charged. */
uint64_t tg_zone_used(struct tg_zone *zone);

/* ---- Values ---- */

/* A text of `n` bytes at `p` with one reference, the caller's; NULL when memory is out. `n` is at
 * most UINT32_MAX. */
struct tg_zone_text *tg_zone_text_new(const void *p, size_t n) TG_MUST_USE;

/* Drops the reference of `value`, if it has one, and makes it absent. */
void tg_zone_value_release(struct tg_zone_value *value);

/* The slot's value; *value gets a reference of its own. Under the lease of the slot's shard. */
void tg_zone_slot_read(const struct tg_zone_slot *slot, struct tg_zone_value *value);

/* Sets `key` of the leased `map` to `value`, whose reference is taken over in any case; *value is
 * absent afterwards. `ttl` as in base/map.h. TG_E_LIMIT: too large for the zone; TG_E_NOMEM. */
enum tg_err tg_zone_slot_set(struct tg_map *map, struct tg_map_key key, struct tg_zone_value *value,
                             uint64_t until, uint64_t ttl, uint64_t now) TG_MUST_USE;

#endif
