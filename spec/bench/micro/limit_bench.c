/*
 * What one look at a limit costs among a million keys, and what the table holds for them. Keys are
 * client addresses as text, in random order; each is asked for by GCRA, and for comparison by the
 * other algorithms. Prints `bench <name> <value> <unit>` lines: CPU time of this thread, the least
 * of three rounds, the hashing of the key included. The texts are made before, some at a time: to
 * compose one is not the limiter's work, and who reads it back in words of 8 bytes waits for the
 * bytes to be in the cache.
 *
 * Two figures of memory are beside it, in as many bytes on pages of the same kind, since they are
 * what a check is made of: reads of two random lines, the second known by the first, each pair
 * waiting for the one before (limit.two_misses_alone_ns), and pairs that know nothing of each other
 * (limit.two_misses_ns). Of the checks too there are two figures. limit.check_ns.1m lets the
 * processor begin the next check while it waits, as in any loop; limit.check_alone_ns.1m does not:
 * each key is known by the verdict before it. That is what a single check costs in a request that
 * does other things before and after, and it cannot be less than two_misses_alone_ns.
 */
#include "base/banned.h"
#include "limit/table.h"

#include "base/assert.h"
#include "base/clock.h"

#include <sys/mman.h>

#define KEYS   UINT32_C(1000000)
#define ROUNDS 3
#define CALLS  UINT64_C(2000000)
#define BYTES  ((uint64_t)64 << 20)
#define HOUR   (UINT64_C(3600) * TG_USEC_PER_SEC)
#define KEY    16 /* room for "10.000.000.000" and a NUL */
#define KEY_N  14
#define SOME   UINT64_C(4000) /* keys that are made at a time: they stay in the near cache */
#define LINE   64

_Static_assert(CALLS % SOME == 0, "each call has a key");

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static char digits[256][3]; /* "000" to "255" */

static void fill_digits(void)
{
    for (unsigned n = 0; n < 256; n++) {
        digits[n][0] = (char)('0' + n / 100);
        digits[n][1] = (char)('0' + n / 10 % 10);
        digits[n][2] = (char)('0' + n % 10);
    }
}

/* Number `i` as the address "10.aaa.bbb.ccc". */
static void make_key(uint32_t i, char key[KEY])
{
    memcpy(key, "10.aaa.bbb.ccc", KEY_N + 1);
    memcpy(key + 3, digits[i >> 16 & 255], 3);
    memcpy(key + 7, digits[i >> 8 & 255], 3);
    memcpy(key + 11, digits[i & 255], 3);
}

static char keys[SOME][KEY];

/* Asks for each of `keys` once; how many were allowed. With `alone` the place of each key depends
 * on the verdict before, by nothing. */
static uint64_t take_some(struct tg_limit_table *table, const struct tg_rate_rule *rule,
                          uint64_t now, bool alone)
{
    struct tg_rate_verdict verdict = {0};
    uint64_t allowed = 0;
    for (uint64_t i = 0; i < SOME; i++) {
        uint64_t nothing = alone ? verdict.remaining >> 40 : 0;
        struct tg_str key = tg_str(keys[i + nothing], KEY_N);
        tg_assert(tg_limit_table_take(table, rule, key, 1, now + i, &verdict) == TG_OK);
        allowed += verdict.allowed;
    }
    return allowed;
}

static void fill(struct tg_limit_table *table, const struct tg_rate_rule *rule)
{
    for (uint32_t i = 0; i < KEYS; i += (uint32_t)SOME) {
        for (uint32_t k = 0; k < SOME; k++)
            make_key(i + k, keys[k]);
        tg_assert(take_some(table, rule, 1, false) == SOME);
    }
}

static double measure(struct tg_limit_table *table, const struct tg_rate_rule *rule, bool alone)
{
    uint64_t least = UINT64_MAX, seed = 1, allowed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t spent = 0;
        for (uint64_t i = 0; i < CALLS; i += SOME) {
            for (uint64_t k = 0; k < SOME; k++)
                make_key((uint32_t)(next_random(&seed) % KEYS), keys[k]);
            uint64_t start = tg_clock_thread_cpu();
            allowed += take_some(table, rule, i, alone);
            spent += tg_clock_thread_cpu() - start;
        }
        least = TG_MIN(least, spent);
    }
    tg_assert(allowed > KEYS);
    return (double)least * 1000 / (double)CALLS;
}

/* Pairs of dependent reads in `lines`, each of which holds the number of another. */
static double measure_misses(const char *lines, bool alone)
{
    uint64_t least = UINT64_MAX, seed = 1, sum = 0, first, second;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        second = 0;
        for (uint64_t i = 0; i < CALLS; i++) {
            uint64_t nothing = alone ? second >> 40 : 0;
            uint64_t line = next_random(&seed) % (BYTES / LINE) + nothing;
            memcpy(&first, lines + line * LINE, sizeof(first));
            memcpy(&second, lines + first * LINE, sizeof(second));
            sum += second;
        }
        least = TG_MIN(least, tg_clock_thread_cpu() - start);
    }
    tg_assert(sum > 0);
    return (double)least * 1000 / (double)CALLS;
}

static void print_misses(void)
{
    uint64_t seed = 7;
    char *lines = tg_mem_map(TG_MEM_COUNTER, (size_t)2 << 20, BYTES);
    tg_assert(lines != NULL);
    madvise(lines, BYTES, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < BYTES / LINE; i++) {
        uint64_t other = next_random(&seed) % (BYTES / LINE);
        memcpy(lines + i * LINE, &other, sizeof(other));
    }
    printf("bench limit.two_misses_ns %.1f ns\n", measure_misses(lines, false));
    printf("bench limit.two_misses_alone_ns %.1f ns\n", measure_misses(lines, true));
    tg_mem_unmap(TG_MEM_COUNTER, lines, BYTES);
}

int main(void)
{
    static const char *const names[] = {"fixed", "sliding", "log", "bucket", "gcra"};
    fill_digits();
    print_misses();
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        struct tg_map_stats stats;
        if (kind == TG_RATE_LOG)
            continue; /* a log has more entries than one: not a million keys in 64 MiB */
        const struct tg_rate_rule rule = {(enum tg_rate_kind)kind, 100, 10, HOUR};
        struct tg_limit_table *table = tg_limit_table_new(TG_MEM_COUNTER, BYTES);
        tg_assert(table != NULL);
        fill(table, &rule);
        double ns = measure(table, &rule, false);
        tg_shared_map_stats(tg_limit_table_map(table), &stats);
        printf("# %s: %.1f ns, %llu keys, %llu pushed out\n", names[kind], ns,
               (unsigned long long)stats.entries, (unsigned long long)stats.left[TG_MAP_CAPACITY]);
        if (kind == TG_RATE_GCRA) {
            tg_assert(stats.entries >= KEYS - 100); /* shards are not filled alike, by chance */
            printf("bench limit.check_ns.1m %.1f ns\n", ns);
            printf("bench limit.check_alone_ns.1m %.1f ns\n", measure(table, &rule, true));
            printf("bench limit.table_bytes.1m %zu bytes\n", tg_mem_used(TG_MEM_COUNTER));
        }
        tg_limit_table_free(&table);
    }
    return 0;
}
