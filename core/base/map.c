/* map.c: index, entries and the queue of the bounded map. See map.h for what it promises.
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
 * The bucket of a hash is (hash * buckets) >> 32: no power of two is needed. There are twelve
 * entries to a bucket when the map is full; some 3 % of them stand in the next one. A look-up ends
 * at a bucket over which nothing has passed, so a slot is emptied without moving others, and there
 * are no tombstones. A tag has the bits of 32 that the numbers of entries leave, 14 with 200,000
 * entries.
 *
 * In a large map a look-up is two lines that no near cache has, one known by the other, and what is
 * beside them matters as far as the processor can go on meanwhile: some 300 instructions, the next
 * look-up among them. So the slots of a bucket are compared at once and without a branch; the usual
 * way of a look-up, find_usual(), calls nothing, so that it saves no registers, and is left for
 * functions that are not inlined; keys and values of usual sizes are compared and copied without a
 * call.
 *
 * Expiry is kept in 48 bits as microseconds since the first `now` that the map saw: nine years.
 */
#include "base/banned.h"
#include "base/map.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/rand.h"

#include <sys/mman.h>

#define FIRST       1u   /* number of an entry: 0 is an empty slot */
#define STEP        256u /* entries that memory is taken for at least, and that keep theirs */
#define SLOTS       15u  /* of a bucket */
#define FILL        12u  /* entries to a bucket when the map is full */
#define CACHE_LINE  ((size_t)64)
#define NONE        UINT32_MAX
#define NOT_INLINED __attribute__((noinline))
#define KEY_IS_HASH 0xff /* key_n of a key stored as a hash */
#define HASH_BYTES  16
#define USES_MAX    127u
#define EXPIRES_MAX ((UINT64_C(1) << 48) - 1)
#define PAGE        ((size_t)4096)
#define HUGE_PAGE   ((size_t)2 << 20)
#define HUGE_FROM   ((size_t)4 << 20) /* smaller maps are content with pages */

struct entry {
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

struct bucket {
    uint32_t slots[SLOTS]; /* 0: empty; no entry has that number */
    uint32_t passed;
};

struct tg_map {
    struct tg_map_options options;
    struct tg_map_stats stats;
    struct tg_hash_key second_key; /* the other half of 128-bit hashes */
    struct bucket *index;
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

/* ---- Entries ------------------------------------------------------------------------------- */

static inline struct entry *entry_at(const struct tg_map *map, uint32_t number)
{
    return (struct entry *)(void *)(map->entries + (size_t)number * map->stride);
}

/* A division: for what is rare. */
static uint32_t number_of(const struct tg_map *map, const struct entry *e)
{
    return (uint32_t)((size_t)((const char *)e - map->entries) / map->stride);
}

static inline void *value_of(const struct tg_map *map, struct entry *e)
{
    return (char *)e + map->value_at;
}

static uint64_t bytes_of(const struct tg_map *map, uint32_t cost)
{
    return (uint64_t)map->stride + cost;
}

static size_t whole_pages(size_t size)
{
    return (size + PAGE - 1) & ~(PAGE - 1);
}

/* What index and the entries below `ready` take. */
static size_t size_until(const struct tg_map *map, uint32_t ready)
{
    return whole_pages(map->index_bytes + (size_t)ready * map->stride);
}

/* Reserves what the map may need, and takes the index. A large map asks for huge pages: random
 * access to a million entries is bound by misses of the address cache otherwise. One piece, so that
 * few pages at its end are small. */
static enum tg_err make_room_for_all(struct tg_map *map)
{
    map->reserved = size_until(map, map->options.max_entries + FIRST);
    bool huge = map->reserved >= HUGE_FROM;
    if (!tg_mem_take(map->options.tag, size_until(map, FIRST)))
        return TG_E_NOMEM;
    map->taken = size_until(map, FIRST);
    map->index = tg_mem_reserve(huge ? HUGE_PAGE : PAGE, map->reserved);
    if (map->index == NULL) {
        tg_mem_give(map->options.tag, map->taken);
        return TG_E_NOMEM;
    }
    if (huge)
        madvise(map->index, map->reserved, MADV_HUGEPAGE); /* advice only: may fail */
    map->entries = (char *)map->index + map->index_bytes;
    return TG_OK;
}

/* Memory for as many entries again as have it. */
static NOT_INLINED enum tg_err take_more(struct tg_map *map)
{
    uint32_t left = map->options.max_entries + FIRST - map->ready;
    uint32_t ready = map->ready + TG_MIN(TG_MAX(map->ready - FIRST, STEP), left);
    size_t more = size_until(map, ready) - map->taken;
    tg_assert(left > 0);
    if (more > 0 && !tg_mem_take(map->options.tag, more))
        return TG_E_NOMEM;
    map->taken += more;
    map->ready = ready;
    return TG_OK;
}

static enum tg_err take_entry(struct tg_map *map, uint32_t *number)
{
    *number = map->free;
    if (*number != NONE) {
        map->free = entry_at(map, *number)->next;
        return TG_OK;
    }
    if (map->fresh == map->ready && take_more(map) != TG_OK)
        return TG_E_NOMEM;
    *number = map->fresh++;
    return TG_OK;
}

/* Gives back the memory of all entries but the first; the map is empty. Those stay, so that a map
 * going to and fro costs nothing. */
static void give_entries_back(struct tg_map *map)
{
    map->ready = TG_MIN(map->ready, FIRST + STEP);
    size_t keeps = size_until(map, map->ready);
    if (map->taken > keeps) {
        madvise((char *)map->index + keeps, map->taken - keeps, MADV_DONTNEED);
        tg_mem_give(map->options.tag, map->taken - keeps);
        map->taken = keeps;
    }
    map->fresh = map->swept = FIRST;
    map->free = NONE;
}

/* ---- Queue --------------------------------------------------------------------------------- */

static void link_young(struct tg_map *map, uint32_t number, struct entry *e)
{
    e->prev = NONE;
    e->next = map->young;
    if (map->young != NONE)
        entry_at(map, map->young)->prev = number;
    else
        map->old = number;
    map->young = number;
}

static void unlink_entry(struct tg_map *map, struct entry *e)
{
    if (e->prev != NONE)
        entry_at(map, e->prev)->next = e->next;
    else
        map->young = e->next;
    if (e->next != NONE)
        entry_at(map, e->next)->prev = e->prev;
    else
        map->old = e->prev;
}

static void make_young(struct tg_map *map, uint32_t number, struct entry *e)
{
    unlink_entry(map, e);
    link_young(map, number, e);
}

/* ---- Index --------------------------------------------------------------------------------- */

static inline uint32_t short_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline uint64_t bucket_of(const struct tg_map *map, uint32_t hash)
{
    return hash * map->buckets >> 32;
}

static inline uint64_t next_bucket(const struct tg_map *map, uint64_t bucket)
{
    return bucket + 1 == map->buckets ? 0 : bucket + 1;
}

/* What stands in a slot for the entry `number` with `hash`. */
static inline uint32_t slot_for(const struct tg_map *map, uint32_t hash, uint32_t number)
{
    return hash << map->number_bits | number;
}

/* A bit for each slot whose bits under `mask` are `wanted`. */
#ifdef __SSE2__
typedef int lanes __attribute__((vector_size(16)));
typedef short halves __attribute__((vector_size(16)));
typedef char quarters __attribute__((vector_size(16)));

static inline unsigned matching(const struct bucket *bucket, uint32_t mask, uint32_t wanted)
{
    const lanes *line = (const lanes *)(const void *)bucket; /* the sixteenth lane is `passed` */
    lanes m = (lanes){} + (int)mask, w = (lanes){} + (int)wanted;
    halves low = __builtin_ia32_packssdw128((line[0] & m) == w, (line[1] & m) == w);
    halves high = __builtin_ia32_packssdw128((line[2] & m) == w, (line[3] & m) == w);
    quarters all = (quarters)__builtin_ia32_packsswb128(low, high);
    return (unsigned)__builtin_ia32_pmovmskb128(all) & ((1u << SLOTS) - 1);
}
#else
static inline unsigned matching(const struct bucket *bucket, uint32_t mask, uint32_t wanted)
{
    unsigned found = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        found |= (unsigned)((bucket->slots[i] & mask) == wanted) << i;
    return found;
}
#endif

static bool is_long(const struct tg_map *map, const struct tg_map_key *key)
{
    return key->n > map->options.key_room;
}

/* The 128 bits that stand for a long key. */
static void hash_long(const struct tg_map *map, const struct tg_map_key *key, unsigned char *out)
{
    uint64_t second = tg_hash_keyed(map->second_key, key->p, key->n);
    memcpy(out, &key->hash, sizeof(key->hash));
    memcpy(out + sizeof(key->hash), &second, sizeof(second));
}

static bool key_is(const struct tg_map *map, const struct entry *e, const struct tg_map_key *key)
{
    unsigned char hash[HASH_BYTES];
    if (!is_long(map, key))
        return e->key_n == key->n && (key->n == 0 || memcmp(e->key, key->p, key->n) == 0);
    if (e->key_n != KEY_IS_HASH)
        return false;
    hash_long(map, key, hash);
    return memcmp(e->key, hash, sizeof(hash)) == 0;
}

/* The entry of `key`, or NULL. */
static struct entry *find(const struct tg_map *map, const struct tg_map_key *key)
{
    uint32_t hash = short_hash(key->hash);
    uint64_t first = bucket_of(map, hash);
    uint64_t at = first;
    do {
        const struct bucket *bucket = &map->index[at];
        unsigned found = matching(bucket, map->tag_mask, hash << map->number_bits);
        for (; found != 0; found &= found - 1) {
            uint32_t number = bucket->slots[__builtin_ctz(found)] & ~map->tag_mask;
            if (number != 0 && key_is(map, entry_at(map, number), key))
                return entry_at(map, number);
        }
        if (bucket->passed == 0)
            return NULL;
        at = next_bucket(map, at);
    } while (at != first); /* where there are few, entries may have passed over all of them */
    return NULL;
}

/* Does `e` have a key of `n` bytes, 8 to 16, that are those at `p`? */
static inline bool key_is_usual(const struct entry *e, const void *p, size_t n)
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

/* The same for a key that has a usual size and is that of the first slot with its tag, as nearly
 * all have and are; NULL may mean another. Whatever number is found: that its key is the one asked
 * for decides, and number 0 has none. */
static inline struct entry *find_usual(const struct tg_map *map, const void *p, size_t n,
                                       uint64_t full_hash)
{
    uint32_t hash = short_hash(full_hash);
    const struct bucket *bucket = &map->index[bucket_of(map, hash)];
    unsigned found = matching(bucket, map->tag_mask, hash << map->number_bits);
    if (found == 0 || n < 8 || n > 16)
        return NULL;
    uint32_t number = bucket->slots[__builtin_ctz(found)] & ~map->tag_mask;
    struct entry *e = entry_at(map, number);
    __builtin_prefetch((char *)e + map->stride - 1); /* a value is often in the next line */
    return key_is_usual(e, p, n) ? e : NULL;
}

static void index_add(struct tg_map *map, uint32_t hash, uint32_t number)
{
    uint64_t at = bucket_of(map, hash);
    unsigned empty;
    while ((empty = matching(&map->index[at], UINT32_MAX, 0)) == 0) {
        map->index[at].passed++;
        at = next_bucket(map, at);
    }
    map->index[at].slots[__builtin_ctz(empty)] = slot_for(map, hash, number);
}

static void index_remove(struct tg_map *map, uint32_t hash, uint32_t number)
{
    uint32_t slot = slot_for(map, hash, number);
    uint64_t at = bucket_of(map, hash);
    unsigned found;
    while ((found = matching(&map->index[at], UINT32_MAX, slot)) == 0) {
        map->index[at].passed--;
        at = next_bucket(map, at);
    }
    map->index[at].slots[__builtin_ctz(found)] = 0;
}

/* ---- Leaving ------------------------------------------------------------------------------- */

static NOT_INLINED void tell_owner(struct tg_map *map, struct entry *e, enum tg_map_reason reason)
{
    bool is_hash = e->key_n == KEY_IS_HASH;
    struct tg_map_leaver leaver = {
        .key = tg_str((const char *)e->key, is_hash ? HASH_BYTES : e->key_n),
        .key_is_hash = is_hash,
        .cost = e->cost,
        .value = value_of(map, e),
    };
    map->options.on_leave(map->options.arg, &leaver, reason);
}

static inline void tell(struct tg_map *map, struct entry *e, enum tg_map_reason reason)
{
    map->stats.left[reason]++;
    if (map->options.on_leave != NULL)
        tell_owner(map, e, reason);
}

static void set_pinned(struct tg_map *map, uint32_t number, struct entry *e, bool pinned)
{
    uint64_t bytes = bytes_of(map, e->cost);
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

static void drop(struct tg_map *map, uint32_t number, enum tg_map_reason reason)
{
    struct entry *e = entry_at(map, number);
    tell(map, e, reason);
    set_pinned(map, number, e, false);
    unlink_entry(map, e);
    index_remove(map, e->hash, number);
    map->stats.entries--;
    map->stats.bytes -= bytes_of(map, e->cost);
    e->key_n = 0;
    e->hash = 0;
    e->prev = number; /* no live entry precedes itself: the mark of a free one */
    e->next = map->free;
    map->free = number;
    if (map->stats.entries == 0)
        give_entries_back(map);
}

/* ---- Time ---------------------------------------------------------------------------------- */

static uint64_t since_epoch(struct tg_map *map, uint64_t now)
{
    if (!map->has_epoch) {
        map->epoch = now;
        map->has_epoch = true;
    }
    return now > map->epoch ? now - map->epoch : 0;
}

static uint64_t expiry(struct tg_map *map, uint64_t ttl, uint64_t now)
{
    uint64_t from = TG_MIN(since_epoch(map, now), EXPIRES_MAX);
    if (ttl == TG_MAP_NEVER)
        return 0;
    return ttl < EXPIRES_MAX - from ? from + ttl : EXPIRES_MAX;
}

/* At `now`; the epoch is known where an entry expires. */
static inline bool is_live(const struct tg_map *map, const struct entry *e, uint64_t now)
{
    return e->expires == 0 || map->epoch + e->expires > now;
}

static inline bool is_expired(const struct entry *e, uint64_t time)
{
    return e->expires != 0 && e->expires <= time;
}

/* ---- Making room --------------------------------------------------------------------------- */

/* How willingly an entry goes: the less the sooner. */
static uint64_t worth(const struct tg_map *map, const struct entry *e)
{
    if (map->options.policy == TG_MAP_TTL)
        return e->expires != 0 ? e->expires : UINT64_MAX;
    return e->uses;
}

/* An entry that was looked at and may stay: its next turn comes after all others. */
static void spare(struct tg_map *map, uint32_t number, struct entry *e)
{
    if (map->options.policy == TG_MAP_TTL) {
        if (worth(map, e) <= worth(map, entry_at(map, map->young)))
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
    tg_assert(map->old != NONE);
    for (uint32_t at = map->old; at != NONE && count < TG_MAP_LOOK;) {
        struct entry *e = entry_at(map, at);
        uint64_t value = is_expired(e, time) ? 0 : worth(map, e);
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
            spare(map, seen[i], entry_at(map, seen[i]));
    }
    struct entry *e = entry_at(map, seen[victim]);
    if (e->prev != NONE)
        __builtin_prefetch(entry_at(map, e->prev)); /* the next to be looked at */
    drop(map, seen[victim], is_expired(e, time) ? TG_MAP_EXPIRED : TG_MAP_CAPACITY);
}

/* Could `bytes` more be held, with everything pushed out that may be? `own` is the entry that they
 * replace, or NULL. */
static bool fits(const struct tg_map *map, const struct entry *own, uint64_t bytes)
{
    uint64_t fixed = map->pinned_bytes;
    if (own == NULL && map->stats.pinned >= map->options.max_entries)
        return false;
    if (own != NULL && own->pinned)
        fixed -= bytes_of(map, own->cost);
    return map->options.max_bytes == 0 ||
           (bytes <= map->options.max_bytes && fixed <= map->options.max_bytes - bytes);
}

/* Would `more` bytes (may be "negative") keep within the cap? */
static bool within_bytes(const struct tg_map *map, uint64_t more)
{
    return map->options.max_bytes == 0 || map->stats.bytes + more <= map->options.max_bytes;
}

/* Pushes entries out until `bytes` and `entries` more are within the caps. */
static void make_room(struct tg_map *map, uint64_t bytes, uint64_t entries, uint64_t time)
{
    while (map->stats.entries + entries > map->options.max_entries || !within_bytes(map, bytes))
        evict(map, time);
}

/* ---- Interface ----------------------------------------------------------------------------- */

static void use(const struct tg_map *map, struct entry *e)
{
    if (e->uses < map->uses_most)
        e->uses++;
}

/* The live entry of `key`, or NULL; one that has expired is dropped. */
static struct entry *find_live(struct tg_map *map, const struct tg_map_key *key, uint64_t now)
{
    struct entry *e = find(map, key);
    if (e == NULL || is_live(map, e, now))
        return e;
    drop(map, number_of(map, e), TG_MAP_EXPIRED);
    return NULL;
}

/* The same for a usual key; NULL means nothing. */
static inline struct entry *find_live_usual(const struct tg_map *map, const void *p, size_t n,
                                            uint64_t hash, uint64_t now)
{
    struct entry *e = find_usual(map, p, n, hash);
    return TG_LIKELY(e != NULL && is_live(map, e, now)) ? e : NULL;
}

void tg_map_prefetch_hashed(const struct tg_map *map, uint64_t hash)
{
    __builtin_prefetch(&map->index[bucket_of(map, short_hash(hash))]);
}

uint64_t tg_map_time(struct tg_map *map, uint64_t now)
{
    map->latest = TG_MAX(map->latest, now);
    return map->latest;
}

static inline void *hit(struct tg_map *map, struct entry *e)
{
    map->stats.hits++;
    use(map, e);
    return value_of(map, e);
}

static NOT_INLINED void *get_any(struct tg_map *map, struct tg_map_key key, uint64_t now)
{
    struct entry *e = find_live(map, &key, now);
    if (e != NULL)
        return hit(map, e);
    map->stats.misses++;
    return NULL;
}

void *tg_map_get_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash, uint64_t now)
{
    struct entry *e = find_live_usual(map, p, n, hash, now);
    return e != NULL ? hit(map, e) : get_any(map, (struct tg_map_key){p, n, hash}, now);
}

static void store_key(const struct tg_map *map, struct entry *e, const struct tg_map_key *key)
{
    e->hash = short_hash(key->hash);
    e->key_n = is_long(map, key) ? KEY_IS_HASH : (uint8_t)key->n;
    if (is_long(map, key))
        hash_long(map, key, e->key);
    else if (key->n > 0)
        memcpy(e->key, key->p, key->n);
}

/* A new entry for a key that has none; its value is uninitialised. */
static enum tg_err insert(struct tg_map *map, const struct tg_map_key *key,
                          const struct tg_map_terms *terms, uint64_t now, struct entry **out)
{
    uint64_t bytes = bytes_of(map, terms->cost);
    uint32_t number;
    if (!fits(map, NULL, bytes)) {
        map->stats.refused++;
        return TG_E_LIMIT;
    }
    make_room(map, bytes, 1, since_epoch(map, now));
    if (take_entry(map, &number) != TG_OK)
        return TG_E_NOMEM;
    struct entry *e = entry_at(map, number);
    store_key(map, e, key);
    e->cost = terms->cost;
    e->expires = expiry(map, terms->ttl, now) & EXPIRES_MAX;
    e->uses = 0;
    e->pinned = 0;
    link_young(map, number, e);
    set_pinned(map, number, e, terms->pinned);
    index_add(map, e->hash, number);
    map->stats.bytes += bytes;
    map->stats.entries++;
    map->stats.entries_peak = TG_MAX(map->stats.entries_peak, map->stats.entries);
    *out = e;
    return TG_OK;
}

/* New terms for an entry that stays where they ask for more or less than it has. Where others must
 * go for it, it is pinned meanwhile, so that it does not push out itself. */
static NOT_INLINED enum tg_err change(struct tg_map *map, struct entry *e,
                                      const struct tg_map_terms *terms, uint64_t now)
{
    uint32_t number = number_of(map, e);
    uint64_t bytes = bytes_of(map, terms->cost);
    uint64_t more = bytes - bytes_of(map, e->cost);
    bool renews = map->options.policy == TG_MAP_TTL;
    if (!fits(map, e, bytes)) {
        map->stats.refused++;
        return TG_E_LIMIT;
    }
    tell(map, e, TG_MAP_REPLACED);
    if (renews || !within_bytes(map, more))
        set_pinned(map, number, e, true);
    map->stats.bytes += more;
    map->pinned_bytes += e->pinned ? more : 0;
    e->cost = terms->cost;
    make_room(map, 0, 0, since_epoch(map, now));
    e->expires = expiry(map, terms->ttl, now) & EXPIRES_MAX;
    use(map, e);
    set_pinned(map, number, e, terms->pinned);
    return TG_OK;
}

/* New terms for an entry that stays. */
static inline enum tg_err replace(struct tg_map *map, struct entry *e,
                                  const struct tg_map_terms *terms, uint64_t now)
{
    bool stays_as_it_is = e->cost == terms->cost && e->pinned == terms->pinned;
    if (!stays_as_it_is || map->options.policy == TG_MAP_TTL)
        return change(map, e, terms, now);
    tell(map, e, TG_MAP_REPLACED);
    e->expires = expiry(map, terms->ttl, now) & EXPIRES_MAX;
    use(map, e);
    return TG_OK;
}

static inline void copy_value(const struct tg_map *map, struct entry *e, const void *value)
{
    if (map->options.value_size == 16)
        memcpy(value_of(map, e), value, 16); /* without a call: counters are so large */
    else if (map->options.value_size > 0)
        memcpy(value_of(map, e), value, map->options.value_size);
}

static NOT_INLINED enum tg_err set_any(struct tg_map *map, struct tg_map_key key, const void *value,
                                       const struct tg_map_terms *terms, uint64_t now)
{
    struct entry *e = find_live(map, &key, now);
    enum tg_err err = e == NULL ? insert(map, &key, terms, now, &e) : replace(map, e, terms, now);
    if (err == TG_OK)
        copy_value(map, e, value);
    return err;
}

enum tg_err tg_map_set_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash,
                              const void *value, const struct tg_map_terms *terms, uint64_t now)
{
    struct entry *e = find_live_usual(map, p, n, hash, now);
    if (e == NULL)
        return set_any(map, (struct tg_map_key){p, n, hash}, value, terms, now);
    enum tg_err err = replace(map, e, terms, now);
    if (err == TG_OK)
        copy_value(map, e, value);
    return err;
}

static NOT_INLINED enum tg_err obtain_any(struct tg_map *map, struct tg_map_key key,
                                          const struct tg_map_terms *terms, uint64_t now,
                                          void **value)
{
    struct entry *e;
    *value = get_any(map, key, now);
    if (*value != NULL)
        return TG_OK;
    enum tg_err err = insert(map, &key, terms, now, &e);
    if (err != TG_OK)
        return err;
    *value = value_of(map, e);
    memset(*value, 0, map->options.value_size);
    return TG_OK;
}

enum tg_err tg_map_obtain_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash,
                                 const struct tg_map_terms *terms, uint64_t now, void **value)
{
    struct entry *e = find_live_usual(map, p, n, hash, now);
    if (e == NULL)
        return obtain_any(map, (struct tg_map_key){p, n, hash}, terms, now, value);
    *value = hit(map, e);
    return TG_OK;
}

void tg_map_renew(struct tg_map *map, void *value, uint64_t ttl, uint64_t now)
{
    struct entry *e = (struct entry *)(void *)((char *)value - map->value_at);
    e->expires = expiry(map, ttl, now) & EXPIRES_MAX;
}

bool tg_map_remove(struct tg_map *map, struct tg_map_key key, uint64_t now)
{
    struct entry *e = find_live(map, &key, now);
    if (e == NULL)
        return false;
    drop(map, number_of(map, e), TG_MAP_REMOVED);
    return true;
}

bool tg_map_pin(struct tg_map *map, struct tg_map_key key, bool pinned, uint64_t now)
{
    struct entry *e = find_live(map, &key, now);
    if (e == NULL)
        return false;
    set_pinned(map, number_of(map, e), e, pinned);
    return true;
}

static bool is_free(const struct entry *e, uint32_t number)
{
    return e->prev == number;
}

bool tg_map_sweep(struct tg_map *map, uint64_t now, uint64_t max_steps, uint64_t budget)
{
    uint64_t start = tg_clock_mono_now();
    uint64_t time = since_epoch(map, now);
    bool in_time = true;
    for (uint64_t step = 1; step <= max_steps && map->swept < map->fresh && in_time; step++) {
        uint32_t number = map->swept++;
        struct entry *e = entry_at(map, number);
        if (!is_free(e, number) && is_expired(e, time))
            drop(map, number, TG_MAP_EXPIRED);
        if (step % 64 == 0)
            in_time = tg_clock_mono_now() - start < budget;
    }
    map->stats.sweep_us += tg_clock_mono_now() - start;
    if (map->swept < map->fresh)
        return false;
    map->swept = FIRST;
    map->stats.sweeps++;
    return true;
}

uint32_t tg_map_shrink(struct tg_map *map, uint32_t count, uint64_t now)
{
    uint64_t time = since_epoch(map, now);
    uint32_t gone = 0;
    while (gone < count && map->stats.entries > map->stats.pinned) {
        evict(map, time);
        gone++;
    }
    return gone;
}

void tg_map_clear(struct tg_map *map)
{
    for (uint32_t i = FIRST, fresh = map->fresh; i < fresh && map->stats.entries > 0; i++) {
        if (!is_free(entry_at(map, i), i))
            drop(map, i, TG_MAP_CLEARED);
    }
}

static uint32_t value_offset(const struct tg_map_options *options)
{
    return (uint32_t)((offsetof(struct entry, key) + options->key_room + 7) & ~(size_t)7);
}

static uint32_t stride_of(const struct tg_map_options *options)
{
    return (value_offset(options) + options->value_size + 7) & ~7u;
}

static uint64_t index_size(uint64_t max_entries)
{
    return (max_entries / FILL + 1) * sizeof(struct bucket);
}

/* What a map of so many entries takes at most. */
static uint64_t memory_of(const struct tg_map_options *options, uint64_t entries)
{
    uint64_t own = sizeof(struct tg_map) + 16; /* and the allocator's header */
    return own + whole_pages(index_size(entries) + (entries + FIRST) * stride_of(options));
}

uint32_t tg_map_entries_within(const struct tg_map_options *options, uint64_t bytes)
{
    uint64_t stride = stride_of(options);
    uint64_t entries = TG_MIN(bytes / stride, (uint64_t)TG_MAP_ENTRIES_MAX);
    /* With their share of the index; what is too much after that is dropped step by step. */
    entries = entries * stride * FILL / (FILL * stride + sizeof(struct bucket));
    for (uint64_t sum; entries > 0 && (sum = memory_of(options, entries)) > bytes;)
        entries -= TG_MIN(entries, (sum - bytes) / stride + 1);
    return (uint32_t)entries;
}

struct tg_map *tg_map_new(const struct tg_map_options *options)
{
    tg_assert(options->max_entries >= 1 && options->max_entries <= TG_MAP_ENTRIES_MAX);
    tg_assert(options->value_size <= 65536);
    tg_assert(options->key_room >= TG_MAP_KEY_ROOM_MIN && options->key_room <= TG_MAP_KEY_ROOM_MAX);
    struct tg_map *map = tg_mem_zalloc(options->tag, 1, sizeof(*map));
    if (map == NULL)
        return NULL;
    map->options = *options;
    map->stats.entries_max = options->max_entries;
    map->value_at = value_offset(options);
    map->stride = stride_of(options);
    map->index_bytes = (size_t)index_size(options->max_entries);
    map->buckets = map->index_bytes / sizeof(*map->index);
    map->number_bits = 32u - (unsigned)__builtin_clz(options->max_entries);
    map->tag_mask = UINT32_MAX << map->number_bits;
    map->uses_most = options->policy == TG_MAP_LFU ? USES_MAX : 1;
    map->ready = map->fresh = map->swept = FIRST;
    map->free = map->young = map->old = NONE;
    tg_rand_secret(&map->second_key, sizeof(map->second_key));
    if (make_room_for_all(map) == TG_OK)
        return map;
    tg_mem_free(options->tag, map);
    return NULL;
}

void tg_map_free(struct tg_map **mapp)
{
    struct tg_map *map = *mapp;
    if (map == NULL)
        return;
    tg_map_clear(map);
    tg_mem_unreserve(map->index, map->reserved);
    tg_mem_give(map->options.tag, map->taken);
    tg_mem_free(map->options.tag, map);
    *mapp = NULL;
}

const struct tg_map_stats *tg_map_stats(const struct tg_map *map)
{
    return &map->stats;
}

size_t tg_map_memory(const struct tg_map *map)
{
    return sizeof(*map) + map->taken;
}

const char *tg_map_reason_name(enum tg_map_reason reason)
{
    static const char *const names[TG_MAP_REASONS] = {
        [TG_MAP_CAPACITY] = "capacity", [TG_MAP_EXPIRED] = "expired",
        [TG_MAP_REPLACED] = "replaced", [TG_MAP_REMOVED] = "removed",
        [TG_MAP_CLEARED] = "cleared",
    };
    tg_assert(reason < TG_MAP_REASONS);
    return names[reason];
}
