/* metrics.h: the gateway's counters, gauges and histograms, and their Prometheus text.
 *
 * Which there are is listed in metrics.def. Each thread that counts has a block of cells to itself,
 * so an update is a load, an add and a store, without lock or bus cycle; blocks start on cache
 * lines of their own. Reading sums over the blocks: a reader sees each cell at some recent value,
 * not all at the same moment. A gauge may rise in one block and fall in another; only the sum has a
 * meaning.
 *
 *   writers:   worker 0   worker 1   ...   keeper       each writes its own column
 *              [cells]    [cells]          [cells]
 *   a metric:     3    +     5    +  ...  +   0   = 8
 *
 * Threads: one thread per block writes; any thread may read. Cost: 1 to 2 ns an update of a
 * counter, a few ns a histogram; about 9 KiB a block.
 */
#ifndef TG_OBSERVE_METRICS_H
#define TG_OBSERVE_METRICS_H

#include "base/fmt.h"
#include "observe/histogram.h"

enum tg_metric_id {
#define TG_METRIC(name, kind, family, labels, help) TG_METRIC_##name,
#define TG_METRIC_HISTOGRAM(name, family, help)
#define TG_METRIC_READER(family, kind, help, read)
#include "observe/metrics.def"
#undef TG_METRIC
#undef TG_METRIC_HISTOGRAM
#undef TG_METRIC_READER
    TG_METRIC_COUNT
};

enum tg_metric_histogram_id {
#define TG_METRIC(name, kind, family, labels, help)
#define TG_METRIC_HISTOGRAM(name, family, help) TG_METRIC_HISTOGRAM_##name,
#define TG_METRIC_READER(family, kind, help, read)
#include "observe/metrics.def"
#undef TG_METRIC
#undef TG_METRIC_HISTOGRAM
#undef TG_METRIC_READER
    TG_METRIC_HISTOGRAM_COUNT
};

enum tg_metric_kind {
    TG_METRIC_KIND_COUNTER,
    TG_METRIC_KIND_GAUGE,
    TG_METRIC_KIND_WORKER_TIME /* a gauge of which each worker has its own, in us */
};

struct tg_metric_info {
    enum tg_metric_kind kind;
    const char *family;
    const char *labels; /* "" when the family has one member */
    const char *help;
};

/* One thread's block. */
struct tg_metric_cells {
    /* private */
    _Alignas(64) _Atomic uint64_t values[TG_METRIC_COUNT];
    struct tg_histogram histograms[TG_METRIC_HISTOGRAM_COUNT];
};

struct tg_metrics;

/* Zeroed blocks for `writers` threads (1 at least), owned by the caller; NULL when memory is out.
 */
struct tg_metrics *tg_metrics_new(unsigned writers) TG_MUST_USE;

/* No thread may use a block any more. */
void tg_metrics_free(struct tg_metrics **metrics);

/* The block of thread `writer` (0..writers-1), borrowed. */
struct tg_metric_cells *tg_metrics_cells(struct tg_metrics *metrics, unsigned writer);

/* Counts `n` more. */
static inline void tg_metric_add(struct tg_metric_cells *cells, enum tg_metric_id id, uint64_t n)
{
    _Atomic uint64_t *cell = &cells->values[id];
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}

static inline void tg_metric_inc(struct tg_metric_cells *cells, enum tg_metric_id id)
{
    tg_metric_add(cells, id, 1);
}

/* Sets a worker's own gauge, a time in us. */
static inline void tg_metric_set(struct tg_metric_cells *cells, enum tg_metric_id id,
                                 uint64_t value)
{
    atomic_store_explicit(&cells->values[id], value, memory_order_relaxed);
}

/* Takes one off a gauge. */
static inline void tg_metric_dec(struct tg_metric_cells *cells, enum tg_metric_id id)
{
    tg_metric_add(cells, id, UINT64_MAX);
}

/* Counts a duration in us. */
static inline void tg_metric_record(struct tg_metric_cells *cells, enum tg_metric_histogram_id id,
                                    uint64_t us)
{
    tg_histogram_record(&cells->histograms[id], us);
}

/* The cell of REQUESTS_* that `status` (100..599) counts in. */
static inline enum tg_metric_id tg_metric_of_status(unsigned status)
{
    return (enum tg_metric_id)(TG_METRIC_REQUESTS_1XX + status / 100 - 1);
}

/* Sum over all blocks; a gauge that is below zero for a moment reads as 0. */
uint64_t tg_metrics_read(const struct tg_metrics *metrics, enum tg_metric_id id);

/* Adds what all blocks have counted to `out`, which the caller owns and has initialised. */
void tg_metrics_read_histogram(const struct tg_metrics *metrics, enum tg_metric_histogram_id id,
                               struct tg_histogram *out);

/* What metrics.def says of a metric; static storage. */
const struct tg_metric_info *tg_metric_info(enum tg_metric_id id);

/* Writes all metrics, the hits of all limits, the memory in use and the bounded maps in the
 * Prometheus text format (version 0.0.4): about 16 KiB. Failure latches in the builder. */
void tg_metrics_write(const struct tg_metrics *metrics, struct tg_fmt *f);

#endif
