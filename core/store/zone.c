/* zone.c: the registry, the life of zones, and their values. See zone.h.
 *
 * Sizes. The map's caps are set so that the sum of all that a zone can hold stays below its size,
 * whatever comes in which order: segments of entries are given back only when a map is empty, so
 * their whole is subtracted beforehand.
 *
 *     size = entries * (stride + index)  +  cap on bytes
 *
 * A dict gives half to entries, because counters need nothing else; a cache a quarter.
 *
 * The map counts an entry's own memory against the cap too, so that the true use is lower still.
 */
#include "base/banned.h"
#include "store/zone.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/fmt.h"
#include "base/list.h"
#include "limit/table.h"
#include "observe/log.h"
#include "observe/map_watch.h"
#include "store/lock.h"

#include <pthread.h>
#include <stdatomic.h>

#define TAG           TG_MEM_CACHE
#define KEY_ROOM      TG_MAP_KEY_ROOM_MIN
#define ENTRY_BYTES   80                    /* map entry and its share of the index, rounded up */
#define TEXT_OVERHEAD 16                    /* of the system's allocator */
#define SHARD_BYTES   ((uint64_t)256 << 10) /* a zone has a shard for each, up to SHARDS_MAX */
#define SHARDS_MAX    16u
#define SWEEP_STEPS   256u /* entries looked at while a shard is locked: some microseconds */

struct tg_zones {
    pthread_mutex_t lock;
    struct tg_list list; /* of struct tg_zone */
    uint64_t pass;       /* number of the sweep that is under way */
};

struct tg_zone {
    struct tg_list link; /* in zones->list */
    struct tg_zones *zones;
    uint32_t refs; /* under zones->lock */
    enum tg_zone_kind kind;
    uint64_t size;
    struct tg_str name;            /* owned, terminated */
    uint64_t swept;                /* number of the last pass that is through with it */
    struct tg_shared_map *map;     /* owned; of kind limit its table's */
    struct tg_locks *locks;        /* owned; of kind limit NULL, as the table is of others */
    struct tg_limit_table *limits; /* owned */
    struct tg_map_watch watch;
};

/* ---- Values ---- */

struct tg_zone_text *tg_zone_text_new(const void *p, size_t n)
{
    tg_assert(n <= UINT32_MAX);
    struct tg_zone_text *text = tg_mem_alloc(TAG, sizeof(*text) + n);
    if (text == NULL)
        return NULL;
    atomic_init(&text->refs, 1);
    text->n = (uint32_t)n;
    if (n > 0)
        memcpy(text->bytes, p, n);
    return text;
}

static void unref_text(struct tg_zone_text *text)
{
    if (atomic_fetch_sub_explicit(&text->refs, 1, memory_order_acq_rel) == 1)
        tg_mem_free(TAG, text);
}

static bool has_text(enum tg_zone_type type)
{
    return type == TG_ZONE_STRING || type == TG_ZONE_DATA;
}

void tg_zone_value_release(struct tg_zone_value *value)
{
    if (has_text(value->type))
        unref_text(value->text);
    *value = (struct tg_zone_value){.type = TG_ZONE_ABSENT};
}

void tg_zone_slot_read(const struct tg_zone_slot *slot, struct tg_zone_value *value)
{
    *value = (struct tg_zone_value){.type = slot->type};
    if (has_text(slot->type)) {
        value->text = slot->text;
        atomic_fetch_add_explicit(&slot->text->refs, 1, memory_order_relaxed);
    } else {
        value->number = slot->number;
    }
}

enum tg_err tg_zone_slot_set(struct tg_map *map, struct tg_map_key key, struct tg_zone_value *value,
                             uint64_t until, uint64_t ttl, uint64_t now)
{
    struct tg_zone_slot slot = {.until = until, .type = value->type};
    struct tg_map_terms terms = {.ttl = ttl};
    if (has_text(value->type)) {
        uint64_t cost = (uint64_t)value->text->n + sizeof(*value->text) + TEXT_OVERHEAD;
        terms.cost = (uint32_t)TG_MIN(cost, (uint64_t)UINT32_MAX);
        slot.text = value->text;
    } else {
        slot.number = value->number;
    }
    enum tg_err err = tg_map_set(map, key, &slot, &terms, now);
    if (err != TG_OK)
        tg_zone_value_release(value);
    *value = (struct tg_zone_value){.type = TG_ZONE_ABSENT};
    return err;
}

static void on_leave(void *arg, const struct tg_map_leaver *leaver, enum tg_map_reason reason)
{
    const struct tg_zone_slot *slot = leaver->value;
    (void)arg;
    (void)reason;
    if (has_text(slot->type))
        unref_text(slot->text);
}

/* ---- Zones ---- */

static struct tg_shared_map *new_map(enum tg_zone_kind kind, uint64_t size)
{
    uint64_t for_entries = size / (kind == TG_ZONE_DICT ? 2 : 4);
    uint64_t entries = TG_MIN(for_entries / ENTRY_BYTES, (uint64_t)TG_MAP_ENTRIES_MAX);
    struct tg_map_options options = {
        .tag = TAG,
        .policy = TG_MAP_LRU,
        .max_entries = (uint32_t)entries,
        .max_bytes = size - entries * ENTRY_BYTES,
        .value_size = sizeof(struct tg_zone_slot),
        .key_room = KEY_ROOM,
        .on_leave = on_leave,
    };
    uint64_t shards = TG_MAX(size / SHARD_BYTES, UINT64_C(1));
    return tg_shared_map_new(&options, (unsigned)TG_MIN(shards, (uint64_t)SHARDS_MAX));
}

/* What the zone holds its entries in; false when memory is out. */
static bool open_content(struct tg_zone *zone)
{
    if (zone->kind == TG_ZONE_LIMIT) {
        zone->limits = tg_limit_table_new(TG_MEM_COUNTER, zone->size);
        zone->map = zone->limits != NULL ? tg_limit_table_map(zone->limits) : NULL;
        return zone->map != NULL;
    }
    zone->map = new_map(zone->kind, zone->size);
    zone->locks = tg_locks_new();
    return zone->map != NULL && zone->locks != NULL;
}

static void watch(struct tg_zone *zone)
{
    char room[TG_MAP_WATCH_NAME_MAX];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_fmt_printf(&f, "zone.%s.%.*s", tg_zone_kind_name(zone->kind), TG_STR_ARG(zone->name));
    tg_map_watch_add(&zone->watch, tg_fmt_str(&f), zone->map);
}

static void free_zone(struct tg_zone *zone)
{
    tg_map_watch_remove(&zone->watch);
    if (zone->limits == NULL)
        tg_shared_map_free(&zone->map);
    tg_limit_table_free(&zone->limits);
    tg_locks_free(&zone->locks);
    tg_mem_free(TAG, (char *)(uintptr_t)zone->name.p);
    tg_mem_free(TAG, zone);
}

static struct tg_zone *new_zone(struct tg_zones *zones, enum tg_zone_kind kind, struct tg_str name,
                                uint64_t size)
{
    struct tg_zone *zone = tg_mem_zalloc(TAG, 1, sizeof(*zone));
    if (zone == NULL)
        return NULL;
    zone->zones = zones;
    zone->refs = 1;
    zone->kind = kind;
    zone->size = size;
    zone->name = tg_str(tg_mem_strndup(TAG, name.p, name.n), name.n);
    zone->swept = zones->pass;
    if (zone->name.p != NULL && open_content(zone)) {
        watch(zone);
        return zone;
    }
    free_zone(zone);
    return NULL;
}

struct tg_zones *tg_zones_new(void)
{
    struct tg_zones *zones = tg_mem_zalloc(TAG, 1, sizeof(*zones));
    if (zones == NULL)
        return NULL;
    tg_list_init(&zones->list);
    tg_assert(pthread_mutex_init(&zones->lock, NULL) == 0);
    return zones;
}

void tg_zones_free(struct tg_zones **zonesp)
{
    struct tg_zones *zones = *zonesp;
    if (zones == NULL)
        return;
    tg_assert(tg_list_is_empty(&zones->list));
    pthread_mutex_destroy(&zones->lock);
    tg_mem_free(TAG, zones);
    *zonesp = NULL;
}

/* The zone of this identity, or NULL; *other: one that differs in its size alone, or NULL. */
static struct tg_zone *find(struct tg_zones *zones, enum tg_zone_kind kind, struct tg_str name,
                            uint64_t size, const struct tg_zone **other)
{
    *other = NULL;
    TG_LIST_FOREACH(&zones->list, it)
    {
        struct tg_zone *zone = TG_LIST_ENTRY(it, struct tg_zone, link);
        if (zone->kind != kind || !tg_str_eq(zone->name, name))
            continue;
        if (zone->size == size)
            return zone;
        *other = zone;
    }
    return NULL;
}

enum tg_err tg_zones_open(struct tg_zones *zones, enum tg_zone_kind kind, struct tg_str name,
                          uint64_t size, struct tg_zone **out)
{
    const struct tg_zone *other;
    tg_assert(size >= TG_ZONE_SIZE_MIN && size <= TG_ZONE_SIZE_MAX);
    tg_assert(pthread_mutex_lock(&zones->lock) == 0);
    struct tg_zone *zone = find(zones, kind, name, size, &other);
    bool resized = zone == NULL && other != NULL;
    if (zone != NULL) {
        zone->refs++;
    } else {
        zone = new_zone(zones, kind, name, size);
        if (zone != NULL)
            tg_list_push_back(&zones->list, &zone->link);
    }
    tg_assert(pthread_mutex_unlock(&zones->lock) == 0);
    if (zone == NULL)
        return TG_E_NOMEM;
    if (resized)
        tg_log_kv(TG_LOG_WARN, "zone", "the size of a zone has changed: it starts empty",
                  tg_log_str("zone", zone->name), tg_log_u64("bytes", size));
    *out = zone;
    return TG_OK;
}

void tg_zones_shrink(struct tg_zones *zones, uint64_t now)
{
    tg_assert(pthread_mutex_lock(&zones->lock) == 0);
    TG_LIST_FOREACH(&zones->list, it)
    {
        struct tg_zone *zone = TG_LIST_ENTRY(it, struct tg_zone, link);
        if (zone->kind == TG_ZONE_CACHE)
            tg_shared_map_shrink(zone->map, 8, now);
    }
    tg_assert(pthread_mutex_unlock(&zones->lock) == 0);
}

struct tg_zone *tg_zone_ref(struct tg_zone *zone)
{
    tg_assert(pthread_mutex_lock(&zone->zones->lock) == 0);
    tg_assert(zone->refs > 0);
    zone->refs++;
    tg_assert(pthread_mutex_unlock(&zone->zones->lock) == 0);
    return zone;
}

void tg_zone_unref(struct tg_zone **zonep)
{
    struct tg_zone *zone = *zonep;
    *zonep = NULL;
    if (zone == NULL)
        return;
    pthread_mutex_t *lock = &zone->zones->lock;
    tg_assert(pthread_mutex_lock(lock) == 0);
    tg_assert(zone->refs > 0);
    bool last = --zone->refs == 0;
    if (last)
        tg_list_remove(&zone->link);
    tg_assert(pthread_mutex_unlock(lock) == 0);
    if (last)
        free_zone(zone);
}

const char *tg_zone_kind_name(enum tg_zone_kind kind)
{
    static const char *const names[] = {
        [TG_ZONE_DICT] = "dict", [TG_ZONE_CACHE] = "cache", [TG_ZONE_LIMIT] = "limit"};
    return names[kind];
}

enum tg_zone_kind tg_zone_kind(const struct tg_zone *zone)
{
    return zone->kind;
}

struct tg_shared_map *tg_zone_map(struct tg_zone *zone)
{
    return zone->map;
}

struct tg_limit_table *tg_zone_limits(struct tg_zone *zone)
{
    tg_assert(zone->kind == TG_ZONE_LIMIT);
    return zone->limits;
}

struct tg_locks *tg_zone_locks(struct tg_zone *zone)
{
    return zone->locks;
}

uint64_t tg_zone_used(struct tg_zone *zone)
{
    struct tg_map_stats stats;
    tg_shared_map_stats(zone->map, &stats);
    return stats.bytes;
}

/* ---- Sweeping ---- */

/* A zone that this pass, or the one that begins, is not through with: one reference, the caller's;
 * NULL: there is none. */
static struct tg_zone *next_to_sweep(struct tg_zones *zones, bool begins)
{
    struct tg_zone *found = NULL;
    tg_assert(pthread_mutex_lock(&zones->lock) == 0);
    zones->pass += begins;
    TG_LIST_FOREACH(&zones->list, it)
    {
        struct tg_zone *zone = TG_LIST_ENTRY(it, struct tg_zone, link);
        if (found == NULL && zone->swept != zones->pass)
            found = zone;
    }
    if (found != NULL)
        found->refs++;
    tg_assert(pthread_mutex_unlock(&zones->lock) == 0);
    return found;
}

bool tg_zones_sweep(struct tg_zones *zones, uint64_t now, uint64_t budget)
{
    uint64_t start = tg_clock_mono_now();
    struct tg_zone *zone = next_to_sweep(zones, false);
    if (zone == NULL)
        zone = next_to_sweep(zones, true);
    for (uint64_t spent = 0; zone != NULL && spent < budget;) {
        if (tg_shared_map_sweep(zone->map, now, SWEEP_STEPS, budget - spent))
            zone->swept = zones->pass;
        tg_zone_unref(&zone);
        zone = next_to_sweep(zones, false);
        spent = tg_clock_mono_now() - start;
    }
    bool done = zone == NULL;
    tg_zone_unref(&zone);
    return done;
}
