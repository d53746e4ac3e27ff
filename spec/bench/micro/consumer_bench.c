/*
 * What the declared consumers cost: memory for each of 10,000 and of a million with one key and two
 * groups, adding them, and finding a random one by its key and by its name. Prints
 * `bench <name> <value> <unit>` lines: CPU time of this thread, the least of three rounds.
 */
#include "base/banned.h"
#include "consumer/declared.h"

#include "base/assert.h"
#include "base/clock.h"

#define ROUNDS   3
#define CALLS    UINT64_C(500000)
#define KEY_SIZE 32

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static struct tg_str name_of(uint32_t i, char *room, size_t size)
{
    return tg_str(room, (size_t)snprintf(room, size, "customer-%07u", i));
}

static struct tg_str key_of(uint32_t i, char *room)
{
    (void)snprintf(room, KEY_SIZE + 1, "%08x%08x%08x%08x", i, i * 3, i * 5, i * 7);
    return tg_str(room, KEY_SIZE);
}

static struct tg_declared *fill(uint32_t count)
{
    static const struct tg_str groups[][2] = {{{"gold", 4}, {"eu", 2}}, {{"free", 4}, {"us", 2}}};
    struct tg_declared_counts counts = {.consumers = count};
    counts.credentials[TG_CREDENTIAL_KEY] = count;
    struct tg_declared *declared = tg_declared_new(&counts);
    char room[64];
    tg_assert(declared != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct tg_consumer_spec spec = {
            .name = name_of(i, room, sizeof(room)), .groups = groups[i % 2], .group_count = 2};
        tg_assert(tg_declared_add(declared, &spec) == TG_OK);
        tg_assert(tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, key_of(i, room)) ==
                  TG_OK);
    }
    return declared;
}

/* us for CALLS look-ups by key; what only makes the keys is taken off. */
static uint64_t find_many(const struct tg_consumer_store *store, uint32_t count, bool by_name)
{
    uint64_t seed = 1, found = 0, sum = 0;
    char room[64];
    uint64_t start = tg_clock_thread_cpu();
    for (uint64_t i = 0; i < CALLS; i++) {
        uint32_t number = (uint32_t)(next_random(&seed) % count);
        struct tg_str text = by_name ? name_of(number, room, sizeof(room)) : key_of(number, room);
        sum += (unsigned char)text.p[3];
    }
    uint64_t making = tg_clock_thread_cpu() - start;
    seed = 1;
    start = tg_clock_thread_cpu();
    for (uint64_t i = 0; i < CALLS; i++) {
        uint32_t number = (uint32_t)(next_random(&seed) % count);
        const struct tg_consumer *consumer;
        struct tg_consumer_match match;
        if (by_name)
            found += tg_consumer_find(store, name_of(number, room, sizeof(room)), &consumer) == 0;
        else
            found += tg_consumer_find_by(store, TG_CREDENTIAL_KEY, key_of(number, room), &match) ==
                     TG_OK;
    }
    uint64_t all = tg_clock_thread_cpu() - start;
    tg_assert(found == CALLS && sum > 0);
    return all > making ? all - making : 0;
}

static double least(const struct tg_consumer_store *store, uint32_t count, bool by_name)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t us = find_many(store, count, by_name);
        best = TG_MIN(best, us);
    }
    return (double)best * 1000 / (double)CALLS;
}

static void measure(uint32_t count, const char *suffix)
{
    uint64_t start = tg_clock_thread_cpu();
    struct tg_declared *declared = fill(count);
    uint64_t us = tg_clock_thread_cpu() - start;
    double bytes = (double)tg_declared_memory(declared) / count;
    struct tg_consumer_store *store = tg_declared_store(declared);
    printf("bench consumer.bytes%s %.0f bytes\n", suffix, bytes);
    printf("bench consumer.add_ns%s %.0f ns\n", suffix, (double)us * 1000 / count);
    printf("bench consumer.find_ns%s %.0f ns\n", suffix, least(store, count, false));
    printf("bench consumer.find_name_ns%s %.0f ns\n", suffix, least(store, count, true));
    tg_consumer_store_free(&store);
}

int main(void)
{
    measure(10000, "");
    measure(1000000, ".1m");
    return 0;
}
