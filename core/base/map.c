/* map.c: what callers ask of the bounded map. See map.h for what it promises, map_layout.h for how
 * it stands in memory, map_index.h for what a look-up costs and why.
 *
 * What is usual is done at once, what is rare by functions that are not inlined, called last; keys
 * and values of usual sizes are compared and copied without a call.
 */
#include "base/banned.h"
#include "base/map.h"

#include "base/assert.h"
#include "base/map_index.h"
#include "base/map_queue.h"
#include "base/rand.h"

#define USES_MAX    127u
#define EXPIRES_MAX ((UINT64_C(1) << 48) - 1)

/* ---- Life ---------------------------------------------------------------------------------- */

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
    map->uses_most = options->policy == TG_MAP_LFU ? USES_MAX : 1;
    tg_rand_secret(&map->second_key, sizeof(map->second_key));
    if (tg_map_layout_init(map) == TG_OK)
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
    tg_map_layout_release(map);
    tg_mem_free(map->options.tag, map);
    *mapp = NULL;
}

/* ---- Finding ------------------------------------------------------------------------------- */

static void use(const struct tg_map *map, struct tg_map_entry *e)
{
    if (e->uses < map->uses_most)
        e->uses++;
}

/* The live entry of `key`, or NULL; one that has expired is dropped. */
static struct tg_map_entry *find_live(struct tg_map *map, const struct tg_map_key *key,
                                      uint64_t now)
{
    struct tg_map_entry *e = tg_map_find(map, key);
    if (e == NULL || tg_map_is_live(map, e, now))
        return e;
    tg_map_drop(map, tg_map_number_of(map, e), TG_MAP_EXPIRED);
    return NULL;
}

/* The same for a usual key; NULL means nothing. */
static inline struct tg_map_entry *find_live_usual(const struct tg_map *map, const void *p,
                                                   size_t n, uint64_t hash, uint64_t now)
{
    struct tg_map_entry *e = tg_map_find_usual(map, p, n, hash);
    return TG_LIKELY(e != NULL && tg_map_is_live(map, e, now)) ? e : NULL;
}

void tg_map_prefetch_hashed(const struct tg_map *map, uint64_t hash)
{
    __builtin_prefetch(&map->index[tg_map_bucket_of(map, tg_map_short_hash(hash))]);
}

static inline void *hit(struct tg_map *map, struct tg_map_entry *e)
{
    map->stats.hits++;
    use(map, e);
    return tg_map_value_of(map, e);
}

static TG_NOT_INLINED void *get_any(struct tg_map *map, struct tg_map_key key, uint64_t now)
{
    struct tg_map_entry *e = find_live(map, &key, now);
    if (e != NULL)
        return hit(map, e);
    map->stats.misses++;
    return NULL;
}

void *tg_map_get_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash, uint64_t now)
{
    struct tg_map_entry *e = find_live_usual(map, p, n, hash, now);
    return e != NULL ? hit(map, e) : get_any(map, (struct tg_map_key){p, n, hash}, now);
}

/* ---- Setting ------------------------------------------------------------------------------- */

static uint64_t expiry(struct tg_map *map, uint64_t ttl, uint64_t now)
{
    uint64_t from = TG_MIN(tg_map_since_epoch(map, now), EXPIRES_MAX);
    if (ttl == TG_MAP_NEVER)
        return 0;
    return ttl < EXPIRES_MAX - from ? from + ttl : EXPIRES_MAX;
}

/* A new entry for a key that has none; its value is uninitialised. */
static enum tg_err insert(struct tg_map *map, const struct tg_map_key *key,
                          const struct tg_map_terms *terms, uint64_t now, struct tg_map_entry **out)
{
    uint64_t bytes = tg_map_bytes_of(map, terms->cost);
    uint32_t number;
    if (!tg_map_fits(map, NULL, bytes)) {
        map->stats.refused++;
        return TG_E_LIMIT;
    }
    tg_map_make_room(map, bytes, 1, tg_map_since_epoch(map, now));
    if (tg_map_take_entry(map, &number) != TG_OK)
        return TG_E_NOMEM;
    struct tg_map_entry *e = tg_map_entry_at(map, number);
    tg_map_store_key(map, e, key);
    e->cost = terms->cost;
    e->expires = expiry(map, terms->ttl, now) & EXPIRES_MAX;
    e->uses = 0;
    tg_map_enter(map, number, terms->pinned);
    *out = e;
    return TG_OK;
}

/* New terms for an entry that stays where they ask for more or less than it has. Where others must
 * go for it, it is pinned meanwhile, so that it does not push out itself. */
static TG_NOT_INLINED enum tg_err change(struct tg_map *map, struct tg_map_entry *e,
                                         const struct tg_map_terms *terms, uint64_t now)
{
    uint32_t number = tg_map_number_of(map, e);
    uint64_t bytes = tg_map_bytes_of(map, terms->cost);
    uint64_t more = bytes - tg_map_bytes_of(map, e->cost);
    bool renews = map->options.policy == TG_MAP_TTL;
    if (!tg_map_fits(map, e, bytes)) {
        map->stats.refused++;
        return TG_E_LIMIT;
    }
    tg_map_tell(map, e, TG_MAP_REPLACED);
    if (renews || !tg_map_within_bytes(map, more))
        tg_map_set_pinned(map, number, e, true);
    map->stats.bytes += more;
    map->pinned_bytes += e->pinned ? more : 0;
    e->cost = terms->cost;
    tg_map_make_room(map, 0, 0, tg_map_since_epoch(map, now));
    e->expires = expiry(map, terms->ttl, now) & EXPIRES_MAX;
    use(map, e);
    tg_map_set_pinned(map, number, e, terms->pinned);
    return TG_OK;
}

/* New terms for an entry that stays. */
static inline enum tg_err replace(struct tg_map *map, struct tg_map_entry *e,
                                  const struct tg_map_terms *terms, uint64_t now)
{
    bool stays_as_it_is = e->cost == terms->cost && e->pinned == terms->pinned;
    if (!stays_as_it_is || map->options.policy == TG_MAP_TTL)
        return change(map, e, terms, now);
    tg_map_tell(map, e, TG_MAP_REPLACED);
    e->expires = expiry(map, terms->ttl, now) & EXPIRES_MAX;
    use(map, e);
    return TG_OK;
}

static inline void copy_value(const struct tg_map *map, struct tg_map_entry *e, const void *value)
{
    if (map->options.value_size == 16)
        memcpy(tg_map_value_of(map, e), value, 16); /* without a call: counters are so large */
    else if (map->options.value_size > 0)
        memcpy(tg_map_value_of(map, e), value, map->options.value_size);
}

static TG_NOT_INLINED enum tg_err set_any(struct tg_map *map, struct tg_map_key key,
                                          const void *value, const struct tg_map_terms *terms,
                                          uint64_t now)
{
    struct tg_map_entry *e = find_live(map, &key, now);
    enum tg_err err = e == NULL ? insert(map, &key, terms, now, &e) : replace(map, e, terms, now);
    if (err == TG_OK)
        copy_value(map, e, value);
    return err;
}

enum tg_err tg_map_set_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash,
                              const void *value, const struct tg_map_terms *terms, uint64_t now)
{
    struct tg_map_entry *e = find_live_usual(map, p, n, hash, now);
    if (e == NULL)
        return set_any(map, (struct tg_map_key){p, n, hash}, value, terms, now);
    enum tg_err err = replace(map, e, terms, now);
    if (err == TG_OK)
        copy_value(map, e, value);
    return err;
}

static TG_NOT_INLINED enum tg_err obtain_any(struct tg_map *map, struct tg_map_key key,
                                             const struct tg_map_terms *terms, uint64_t now,
                                             void **value)
{
    struct tg_map_entry *e;
    *value = get_any(map, key, now);
    if (*value != NULL)
        return TG_OK;
    enum tg_err err = insert(map, &key, terms, now, &e);
    if (err != TG_OK)
        return err;
    *value = tg_map_value_of(map, e);
    memset(*value, 0, map->options.value_size);
    return TG_OK;
}

enum tg_err tg_map_obtain_hashed(struct tg_map *map, const void *p, size_t n, uint64_t hash,
                                 const struct tg_map_terms *terms, uint64_t now, void **value)
{
    struct tg_map_entry *e = find_live_usual(map, p, n, hash, now);
    if (e == NULL)
        return obtain_any(map, (struct tg_map_key){p, n, hash}, terms, now, value);
    *value = hit(map, e);
    return TG_OK;
}

void tg_map_renew(struct tg_map *map, void *value, uint64_t ttl, uint64_t now)
{
    struct tg_map_entry *e = (struct tg_map_entry *)(void *)((char *)value - map->value_at);
    e->expires = expiry(map, ttl, now) & EXPIRES_MAX;
}

bool tg_map_remove(struct tg_map *map, struct tg_map_key key, uint64_t now)
{
    struct tg_map_entry *e = find_live(map, &key, now);
    if (e == NULL)
        return false;
    tg_map_drop(map, tg_map_number_of(map, e), TG_MAP_REMOVED);
    return true;
}

bool tg_map_pin(struct tg_map *map, struct tg_map_key key, bool pinned, uint64_t now)
{
    struct tg_map_entry *e = find_live(map, &key, now);
    if (e == NULL)
        return false;
    tg_map_set_pinned(map, tg_map_number_of(map, e), e, pinned);
    return true;
}

/* ---- What is known of it ------------------------------------------------------------------- */

uint64_t tg_map_time(struct tg_map *map, uint64_t now)
{
    map->latest = TG_MAX(map->latest, now);
    return map->latest;
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
