/*
 * What one look at a limit costs among a million keys, and what the table holds for them. Keys are
 * client addresses as text, in random order; each is asked for by GCRA, and for comparison by the
 * other algorithms. Prints `bench <name> <value> <unit>` lines: CPU time of this thread, the least
 * of three rounds, the hashing of the key included.
 */
#include "base/banned.h"
#include "limit/table.h"

#include "base/assert.h"
#include "base/clock.h"

#define KEYS   UINT32_C(1000000)
#define ROUNDS 3
#define CALLS  UINT64_C(2000000)
#define BYTES  ((uint64_t)64 << 20)
#define HOUR   (UINT64_C(3600) * TG_USEC_PER_SEC)
#define KEY    15 /* "10.000.000.000" and its NUL */

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
    memcpy(key, "10.aaa.bbb.ccc", KEY);
    memcpy(key + 3, digits[i >> 16 & 255], 3);
    memcpy(key + 7, digits[i >> 8 & 255], 3);
    memcpy(key + 11, digits[i & 255], 3);
}

static void take(struct tg_limit_table *table, const struct tg_rate_rule *rule, uint64_t number,
                 uint64_t now, uint64_t *allowed)
{
    struct tg_rate_verdict verdict;
    char key[KEY];
    make_key((uint32_t)number, key);
    tg_assert(tg_limit_table_take(table, rule, tg_str(key, KEY - 1), 1, now, &verdict) == TG_OK);
    *allowed += verdict.allowed;
}

static double measure(struct tg_limit_table *table, enum tg_rate_kind kind)
{
    const struct tg_rate_rule rule = {kind, 100, 10, HOUR};
    uint64_t least = UINT64_MAX, seed = 1, allowed = 0;
    for (uint32_t i = 0; i < KEYS; i++)
        take(table, &rule, i, 1, &allowed);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (uint64_t i = 0; i < CALLS; i++)
            take(table, &rule, next_random(&seed) % KEYS, i, &allowed);
        least = TG_MIN(least, tg_clock_thread_cpu() - start);
    }
    tg_assert(allowed > KEYS);
    return (double)least * 1000 / (double)CALLS;
}

int main(void)
{
    static const char *const names[] = {"fixed", "sliding", "log", "bucket", "gcra"};
    fill_digits();
    for (int kind = 0; kind < TG_RATE_KINDS; kind++) {
        struct tg_map_stats stats;
        if (kind == TG_RATE_LOG)
            continue; /* a log has more entries than one: not a million keys in 64 MiB */
        struct tg_limit_table *table = tg_limit_table_new(TG_MEM_COUNTER, BYTES);
        tg_assert(table != NULL);
        double ns = measure(table, (enum tg_rate_kind)kind);
        tg_shared_map_stats(tg_limit_table_map(table), &stats);
        printf("# %s: %.1f ns, %llu keys, %llu pushed out\n", names[kind], ns,
               (unsigned long long)stats.entries, (unsigned long long)stats.left[TG_MAP_CAPACITY]);
        if (kind == TG_RATE_GCRA) {
            tg_assert(stats.entries >= KEYS - 100); /* shards are not filled alike, by chance */
            printf("bench limit.check_ns.1m %.1f ns\n", ns);
            printf("bench limit.table_bytes.1m %zu bytes\n", tg_mem_used(TG_MEM_COUNTER));
        }
        tg_limit_table_free(&table);
    }
    return 0;
}
