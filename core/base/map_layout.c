/* map_layout.c: see map_layout.h. */
#include "base/banned.h"
#include "base/map_layout.h"

#include "base/assert.h"

#include <sys/mman.h>

#define STEP      256u /* entries that memory is taken for at least, and that keep theirs */
#define FILL      12u  /* entries to a bucket when the map is full */
#define PAGE      ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_FROM ((size_t)4 << 20) /* smaller maps are content with pages */

/* ---- Sizes --------------------------------------------------------------------------------- */

static size_t whole_pages(size_t size)
{
    return (size + PAGE - 1) & ~(PAGE - 1);
}

static uint32_t value_offset(const struct tg_map_options *options)
{
    return (uint32_t)((offsetof(struct tg_map_entry, key) + options->key_room + 7) & ~(size_t)7);
}

static uint32_t stride_of(const struct tg_map_options *options)
{
    return (value_offset(options) + options->value_size + 7) & ~7u;
}

static uint64_t index_size(uint64_t max_entries)
{
    return (max_entries / FILL + 1) * sizeof(struct tg_map_bucket);
}

/* What a map of so many entries takes at most. */
static uint64_t memory_of(const struct tg_map_options *options, uint64_t entries)
{
    uint64_t own = sizeof(struct tg_map) + 16; /* and the allocator's header */
    return own + whole_pages(index_size(entries) + (entries + TG_MAP_FIRST) * stride_of(options));
}

uint32_t tg_map_entries_within(const struct tg_map_options *options, uint64_t bytes)
{
    uint64_t stride = stride_of(options);
    uint64_t entries = TG_MIN(bytes / stride, (uint64_t)TG_MAP_ENTRIES_MAX);
    /* With their share of the index; what is too much after that is dropped step by step. */
    entries = entries * stride * FILL / (FILL * stride + sizeof(struct tg_map_bucket));
    for (uint64_t sum; entries > 0 && (sum = memory_of(options, entries)) > bytes;)
        entries -= TG_MIN(entries, (sum - bytes) / stride + 1);
    return (uint32_t)entries;
}

/* ---- Memory -------------------------------------------------------------------------------- */

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
    map->reserved = size_until(map, map->options.max_entries + TG_MAP_FIRST);
    bool huge = map->reserved >= HUGE_FROM;
    if (!tg_mem_take(map->options.tag, size_until(map, TG_MAP_FIRST)))
        return TG_E_NOMEM;
    map->taken = size_until(map, TG_MAP_FIRST);
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

enum tg_err tg_map_layout_init(struct tg_map *map)
{
    const struct tg_map_options *options = &map->options;
    map->value_at = value_offset(options);
    map->stride = stride_of(options);
    map->index_bytes = (size_t)index_size(options->max_entries);
    map->buckets = map->index_bytes / sizeof(*map->index);
    map->number_bits = 32u - (unsigned)__builtin_clz(options->max_entries);
    map->tag_mask = UINT32_MAX << map->number_bits;
    map->ready = map->fresh = map->swept = TG_MAP_FIRST;
    map->free = map->young = map->old = TG_MAP_NONE;
    return make_room_for_all(map);
}

void tg_map_layout_release(struct tg_map *map)
{
    tg_mem_unreserve(map->index, map->reserved);
    tg_mem_give(map->options.tag, map->taken);
}

TG_NOT_INLINED enum tg_err tg_map_take_more(struct tg_map *map)
{
    uint32_t left = map->options.max_entries + TG_MAP_FIRST - map->ready;
    uint32_t ready = map->ready + TG_MIN(TG_MAX(map->ready - TG_MAP_FIRST, STEP), left);
    size_t more = size_until(map, ready) - map->taken;
    tg_assert(left > 0);
    if (more > 0 && !tg_mem_take(map->options.tag, more))
        return TG_E_NOMEM;
    map->taken += more;
    map->ready = ready;
    return TG_OK;
}

void tg_map_give_entries_back(struct tg_map *map)
{
    map->ready = TG_MIN(map->ready, TG_MAP_FIRST + STEP);
    size_t keeps = size_until(map, map->ready);
    if (map->taken > keeps) {
        madvise((char *)map->index + keeps, map->taken - keeps, MADV_DONTNEED);
        tg_mem_give(map->options.tag, map->taken - keeps);
        map->taken = keeps;
    }
    map->fresh = map->swept = TG_MAP_FIRST;
    map->free = TG_MAP_NONE;
}
