/* shared_map.c: an array of locked maps, each lock on a cache line of its own. The shard is taken
 * from the low bits of the hash; the map inside places entries by the high bits. */
#include "base/banned.h"
#include "base/shared_map.h"

#include "base/assert.h"
#include "base/clock.h"

#include <pthread.h>

#define CACHE_LINE 64

#define SHRINK_MOST 1024u /* entries of a shard at a time */

struct shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct tg_map *map;
    bool swept; /* wholly, in the pass that is under way */
};

_Static_assert(sizeof(struct shard) + CACHE_LINE <= TG_SHARED_MAP_SHARD_BYTES,
               "what a shard takes");

struct tg_shared_map {
    enum tg_mem_tag tag;
    unsigned count;
    unsigned next;  /* shard for the sweep */
    unsigned swept; /* shards that are, in the pass under way */
    struct shard *shards;
};

/* Share number `i` of `total` divided by `count`; the shares add up to the total. */
static uint64_t share(uint64_t total, unsigned count, unsigned i)
{
    return total / count + (i < total % count);
}

static bool add_shards(struct tg_shared_map *shared, const struct tg_map_options *options,
                       unsigned count)
{
    struct tg_map_options own = *options;
    for (unsigned i = 0; i < count; i++) {
        struct shard *shard = &shared->shards[i];
        shard->swept = false;
        own.max_entries = (uint32_t)share(options->max_entries, count, i);
        own.max_bytes = share(options->max_bytes, count, i);
        if (options->max_bytes != 0)
            own.max_bytes = TG_MAX(own.max_bytes, UINT64_C(1)); /* 0 would mean no cap */
        shard->map = tg_map_new(&own);
        if (shard->map == NULL)
            return false;
        tg_assert(pthread_mutex_init(&shard->lock, NULL) == 0);
        shared->count++;
    }
    return true;
}

struct tg_shared_map *tg_shared_map_new(const struct tg_map_options *options, unsigned shards)
{
    tg_assert(shards >= 1 && shards <= TG_SHARED_MAP_SHARDS_MAX && shards <= options->max_entries);
    struct tg_shared_map *shared = tg_mem_zalloc(options->tag, 1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    shared->tag = options->tag;
    shared->shards =
        tg_mem_alloc_aligned(options->tag, CACHE_LINE, shards * sizeof(*shared->shards));
    if (shared->shards == NULL) {
        tg_mem_free(options->tag, shared);
        return NULL;
    }
    if (!add_shards(shared, options, shards))
        tg_shared_map_free(&shared);
    return shared;
}

void tg_shared_map_free(struct tg_shared_map **sharedp)
{
    struct tg_shared_map *shared = *sharedp;
    if (shared == NULL)
        return;
    for (unsigned i = 0; i < shared->count; i++) {
        tg_map_free(&shared->shards[i].map);
        tg_assert(pthread_mutex_destroy(&shared->shards[i].lock) == 0);
    }
    tg_mem_free(shared->tag, shared->shards);
    tg_mem_free(shared->tag, shared);
    *sharedp = NULL;
}

static inline struct shard *shard_of(struct tg_shared_map *shared, uint64_t hash)
{
    return &shared->shards[(hash & UINT32_MAX) * shared->count >> 32]; /* without a division */
}

struct tg_map *tg_shared_map_lease_hashed(struct tg_shared_map *shared, uint64_t hash)
{
    struct shard *shard = shard_of(shared, hash);
    tg_map_prefetch_hashed(shard->map, hash);
    tg_assert(pthread_mutex_lock(&shard->lock) == 0);
    return shard->map;
}

void tg_shared_map_return_hashed(struct tg_shared_map *shared, uint64_t hash, struct tg_map *map)
{
    struct shard *shard = shard_of(shared, hash);
    tg_assert(map == shard->map);
    tg_assert(pthread_mutex_unlock(&shard->lock) == 0);
}

static void end_pass(struct tg_shared_map *shared)
{
    for (unsigned i = 0; i < shared->count; i++)
        shared->shards[i].swept = false;
    shared->swept = 0;
    shared->next = 0;
}

bool tg_shared_map_sweep(struct tg_shared_map *shared, uint64_t now, uint64_t max_steps,
                         uint64_t budget)
{
    uint64_t start = tg_clock_mono_now();
    for (unsigned i = 0; i < shared->count; i++) {
        uint64_t spent = tg_clock_mono_now() - start;
        struct shard *shard = &shared->shards[shared->next];
        if (spent >= budget)
            return false;
        shared->next = (shared->next + 1) % shared->count;
        if (shard->swept)
            continue;
        tg_assert(pthread_mutex_lock(&shard->lock) == 0);
        shard->swept = tg_map_sweep(shard->map, now, max_steps, budget - spent);
        tg_assert(pthread_mutex_unlock(&shard->lock) == 0);
        shared->swept += shard->swept;
    }
    if (shared->swept < shared->count)
        return false;
    end_pass(shared);
    return true;
}

size_t tg_shared_map_memory(struct tg_shared_map *shared)
{
    size_t sum = sizeof(*shared) + shared->count * sizeof(struct shard);
    for (unsigned i = 0; i < shared->count; i++) {
        struct shard *shard = &shared->shards[i];
        tg_assert(pthread_mutex_lock(&shard->lock) == 0);
        sum += tg_map_memory(shard->map);
        tg_assert(pthread_mutex_unlock(&shard->lock) == 0);
    }
    return sum;
}

void tg_shared_map_shrink(struct tg_shared_map *shared, uint32_t parts, uint64_t now)
{
    for (unsigned i = 0; i < shared->count; i++) {
        struct shard *shard = &shared->shards[i];
        tg_assert(pthread_mutex_lock(&shard->lock) == 0);
        uint64_t some = tg_map_stats(shard->map)->entries / parts + 1;
        tg_map_shrink(shard->map, (uint32_t)TG_MIN(some, (uint64_t)SHRINK_MOST), now);
        tg_assert(pthread_mutex_unlock(&shard->lock) == 0);
    }
}

static void add_stats(struct tg_map_stats *sum, const struct tg_map_stats *stats)
{
    sum->entries += stats->entries;
    sum->entries_peak += stats->entries_peak;
    sum->entries_max += stats->entries_max;
    sum->bytes += stats->bytes;
    sum->pinned += stats->pinned;
    sum->hits += stats->hits;
    sum->misses += stats->misses;
    for (int i = 0; i < TG_MAP_REASONS; i++)
        sum->left[i] += stats->left[i];
    sum->refused += stats->refused;
    sum->sweeps += stats->sweeps;
    sum->sweep_us += stats->sweep_us;
}

void tg_shared_map_stats(struct tg_shared_map *shared, struct tg_map_stats *out)
{
    *out = (struct tg_map_stats){0};
    for (unsigned i = 0; i < shared->count; i++) {
        struct shard *shard = &shared->shards[i];
        tg_assert(pthread_mutex_lock(&shard->lock) == 0);
        add_stats(out, tg_map_stats(shard->map));
        tg_assert(pthread_mutex_unlock(&shard->lock) == 0);
    }
}
