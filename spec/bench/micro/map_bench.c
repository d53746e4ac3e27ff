/*
 * What the bounded map costs with a million entries: finding a random one, and setting it again,
 * and setting a new key, which pushes another entry out. Keys of 8 bytes and values of 16,
 * as a counter has. Prints `bench <name> <value> <unit>` lines: CPU time of this thread, the least
 * of three rounds, the hashing of the key included.
 *
 * What it costs and why: a look-up is two misses, one known by the other, and some 95 instructions,
 * so a processor that looks 320 instructions ahead has not much more than three look-ups under way
 * at once. limit_bench.c measures the two misses by themselves.
 */
#include "base/banned.h"
#include "base/map.h"

#include "base/assert.h"
#include "base/clock.h"

#define ENTRIES UINT32_C(1000000)
#define ROUNDS  3
#define CALLS   UINT64_C(2000000)

static const struct tg_map_terms plain = {0, 0, false};

/* A random number below a power of two would need as much time as the map; this walk is cheap. */
static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Keys of the map, chosen at random, or from `*fresh` on new ones. */
static uint64_t set_many(struct tg_map *map, uint64_t *seed, uint64_t *fresh)
{
    uint64_t start = tg_clock_thread_cpu();
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t value[2] = {i, i};
        uint64_t number = fresh != NULL ? (*fresh)++ : next_random(seed) % ENTRIES;
        struct tg_map_key key = tg_map_key(&number, sizeof(number));
        tg_assert(tg_map_set(map, key, value, &plain, i) == TG_OK);
    }
    return tg_clock_thread_cpu() - start;
}

static uint64_t get_many(struct tg_map *map, uint64_t *seed, uint64_t *found)
{
    uint64_t start = tg_clock_thread_cpu();
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t number = next_random(seed) % ENTRIES;
        *found += tg_map_get(map, tg_map_key(&number, sizeof(number)), i) != NULL;
    }
    return tg_clock_thread_cpu() - start;
}

static struct tg_map *fill(void)
{
    struct tg_map_options options = {.tag = TG_MEM_COUNTER,
                                     .policy = TG_MAP_LRU,
                                     .max_entries = ENTRIES,
                                     .value_size = 16,
                                     .key_room = 16};
    struct tg_map *map = tg_map_new(&options);
    tg_assert(map != NULL);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        uint64_t value[2] = {i, i};
        tg_assert(tg_map_set(map, tg_map_key(&i, sizeof(i)), value, &plain, 0) == TG_OK);
    }
    return map;
}

int main(void)
{
    struct tg_map *map = fill();
    uint64_t seed = 1, found = 0, fresh = ENTRIES, us;
    uint64_t get = UINT64_MAX, set = UINT64_MAX, add = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        us = get_many(map, &seed, &found);
        get = TG_MIN(get, us);
        us = set_many(map, &seed, NULL);
        set = TG_MIN(set, us);
    }
    tg_assert(found == ROUNDS * CALLS);
    for (int i = 0; i < ROUNDS; i++) {
        us = set_many(map, &seed, &fresh);
        add = TG_MIN(add, us);
    }
    printf("bench map.get_ns %.1f ns\n", (double)get * 1000 / (double)CALLS);
    printf("bench map.set_ns %.1f ns\n", (double)set * 1000 / (double)CALLS);
    printf("bench map.set_evict_ns %.1f ns\n", (double)add * 1000 / (double)CALLS);
    printf("bench map.bytes.1m %zu bytes\n", tg_map_memory(map));
    tg_map_free(&map);
    return 0;
}
