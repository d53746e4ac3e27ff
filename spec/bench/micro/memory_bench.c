/*
 * What a block of the slab costs to lease and return, and a metric to count up. Blocks of all
 * classes up to 16 KiB are leased by the hundred and returned in another order, as connections and
 * buffers come and go. Prints `bench <name> <value> <unit>` lines: CPU time of this thread, the
 * least of five rounds.
 */
#include "base/banned.h"
#include "base/slab.h"

#include "base/assert.h"
#include "base/clock.h"
#include "observe/metrics.h"

#define ROUNDS 5
#define BLOCKS 128u
#define BURSTS 20000u
#define ADDS   UINT64_C(50000000)

static void burst(struct tg_slab *slab, void **blocks)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = tg_slab_lease(slab, (size_t)64 << i % 9);
        tg_assert(blocks[i] != NULL);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        unsigned at = i * 37 % BLOCKS;
        tg_slab_return(slab, blocks[at], (size_t)64 << at % 9);
    }
}

static double measure_slab(void)
{
    struct tg_slab *slab = tg_slab_new(TG_MEM_CONNECTION, (size_t)4 << 20);
    void *blocks[BLOCKS];
    uint64_t least = UINT64_MAX;
    tg_assert(slab != NULL);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (unsigned i = 0; i < BURSTS; i++)
            burst(slab, blocks);
        least = TG_MIN(least, tg_clock_thread_cpu() - start);
    }
    tg_slab_free(&slab);
    return (double)least * 1000 / ((double)BURSTS * BLOCKS);
}

static double measure_metric(void)
{
    struct tg_metrics *metrics = tg_metrics_new(1);
    uint64_t least = UINT64_MAX;
    tg_assert(metrics != NULL);
    struct tg_metric_cells *cells = tg_metrics_cells(metrics, 0);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (uint64_t i = 0; i < ADDS; i++) {
            tg_metric_add(cells, (enum tg_metric_id)(i & 15), 1);
            __asm__ volatile("" ::: "memory"); /* each by itself, as in a request */
        }
        least = TG_MIN(least, tg_clock_thread_cpu() - start);
    }
    tg_assert(tg_metrics_read(metrics, (enum tg_metric_id)0) == ROUNDS * ADDS / 16);
    tg_metrics_free(&metrics);
    return (double)least * 1000 / (double)ADDS;
}

int main(void)
{
    printf("bench slab.alloc_free_ns %.1f ns\n", measure_slab());
    printf("bench metric.add_ns %.2f ns\n", measure_metric());
    return 0;
}
