/* metrics.c: tables from metrics.def, summing, and the text.
 *
 * The exposition follows the order of metrics.def: HELP and TYPE stand once in front of each
 * family, then its members. Histograms are shown in octaves: the bounds are powers of two in
 * microseconds, because there the buckets of histogram.h end and the counts are exact.
 */
#include "base/banned.h"
#include "observe/metrics.h"

#include "base/assert.h"
#include "base/budget.h"
#include "base/limits.h"
#include "base/mem.h"
#include "observe/exposition.h"
#include "observe/map_watch.h"
#include "observe/sink.h"

#include <inttypes.h>

/* Bounds of the exposition: 2^7 us (128 us) to 2^26 us (67 s). */
#define FIRST_BOUND 7
#define LAST_BOUND  26

struct tg_metrics {
    unsigned writers;
    struct tg_metric_cells *cells;
};

static const struct tg_metric_info infos[] = {
#define TG_METRIC(name, kind, family, labels, help) {TG_METRIC_KIND_##kind, family, labels, help},
#define TG_METRIC_HISTOGRAM(name, family, help)
#define TG_METRIC_READER(family, kind, help, read)
#include "observe/metrics.def"
#undef TG_METRIC
#undef TG_METRIC_HISTOGRAM
#undef TG_METRIC_READER
};

struct tg_metrics *tg_metrics_new(unsigned writers)
{
    size_t size = writers * sizeof(struct tg_metric_cells);
    tg_assert(writers > 0);
    struct tg_metrics *metrics = tg_mem_alloc(TG_MEM_OBSERVE, sizeof(*metrics));
    if (metrics == NULL)
        return NULL;
    metrics->writers = writers;
    metrics->cells = tg_mem_alloc_aligned(TG_MEM_OBSERVE, _Alignof(struct tg_metric_cells), size);
    if (metrics->cells == NULL) {
        tg_mem_free(TG_MEM_OBSERVE, metrics);
        return NULL;
    }
    memset(metrics->cells, 0, size);
    return metrics;
}

void tg_metrics_free(struct tg_metrics **metricsp)
{
    if (*metricsp == NULL)
        return;
    tg_mem_free(TG_MEM_OBSERVE, (*metricsp)->cells);
    tg_mem_free(TG_MEM_OBSERVE, *metricsp);
    *metricsp = NULL;
}

struct tg_metric_cells *tg_metrics_cells(struct tg_metrics *metrics, unsigned writer)
{
    tg_assert(writer < metrics->writers);
    return &metrics->cells[writer];
}

uint64_t tg_metrics_read(const struct tg_metrics *metrics, enum tg_metric_id id)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < metrics->writers; i++)
        sum += atomic_load_explicit(&metrics->cells[i].values[id], memory_order_relaxed);
    bool below_zero = infos[id].kind == TG_METRIC_KIND_GAUGE && sum > INT64_MAX;
    return below_zero ? 0 : sum;
}

void tg_metrics_read_histogram(const struct tg_metrics *metrics, enum tg_metric_histogram_id id,
                               struct tg_histogram *out)
{
    for (unsigned i = 0; i < metrics->writers; i++)
        tg_histogram_merge(out, &metrics->cells[i].histograms[id]);
}

const struct tg_metric_info *tg_metric_info(enum tg_metric_id id)
{
    tg_assert(id < TG_METRIC_COUNT);
    return &infos[id];
}

/* ---- the text -------------------------------------------------------------------------------- */

static const char *const kind_names[] = {"counter", "gauge", "gauge"};

static void write_head(struct tg_fmt *f, const char *family, const char *kind, const char *help)
{
    tg_exposition_head(f, tg_str_c(family), kind, tg_str_c(help));
}

/* The last writer is no worker, where there are several. */
static void write_workers(struct tg_fmt *f, const struct tg_metrics *metrics, enum tg_metric_id id)
{
    unsigned workers = TG_MAX(metrics->writers - 1, 1u);
    for (unsigned i = 0; i < workers; i++) {
        tg_fmt_printf(f, "%s{worker=\"%u\"} ", infos[id].family, i);
        tg_exposition_seconds(
            f, atomic_load_explicit(&metrics->cells[i].values[id], memory_order_relaxed));
        tg_fmt_char(f, '\n');
    }
}

static void write_metric(struct tg_fmt *f, const struct tg_metrics *metrics, enum tg_metric_id id)
{
    const struct tg_metric_info *info = &infos[id];
    bool first = id == 0 || strcmp(info->family, infos[id - 1].family) != 0;
    bool bare = info->labels[0] == '\0';
    if (first)
        write_head(f, info->family, kind_names[info->kind], info->help);
    if (info->kind == TG_METRIC_KIND_WORKER_TIME) {
        write_workers(f, metrics, id);
        return;
    }
    tg_fmt_printf(f, "%s%s%s%s %" PRIu64 "\n", info->family, bare ? "" : "{", info->labels,
                  bare ? "" : "}", tg_metrics_read(metrics, id));
}

static void write_value(struct tg_fmt *f, const char *family, enum tg_metric_kind kind,
                        const char *help, uint64_t value)
{
    write_head(f, family, kind_names[kind], help);
    tg_fmt_printf(f, "%s %" PRIu64 "\n", family, value);
}

static void write_histogram(struct tg_fmt *f, const struct tg_metrics *metrics,
                            enum tg_metric_histogram_id id, const char *family, const char *help)
{
    struct tg_histogram sum;
    tg_histogram_init(&sum);
    tg_metrics_read_histogram(metrics, id, &sum);
    uint64_t count = tg_histogram_count(&sum);
    write_head(f, family, "histogram", help);
    for (unsigned bits = FIRST_BOUND; bits <= LAST_BOUND; bits++) {
        tg_fmt_printf(f, "%s_bucket{le=\"", family);
        tg_exposition_seconds(f, UINT64_C(1) << bits);
        tg_fmt_printf(f, "\"} %" PRIu64 "\n", tg_histogram_count_below(&sum, bits));
    }
    tg_fmt_printf(f, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", family, count, family);
    tg_exposition_seconds(f, tg_histogram_sum(&sum));
    tg_fmt_printf(f, "\n%s_count %" PRIu64 "\n", family, count);
}

static void write_limit_hits(struct tg_fmt *f)
{
    write_head(f, "tidegate_limit_hits_total", "counter", "How often each limit was hit.");
    for (int id = 0; id < TG_LIMIT_COUNT; id++)
        tg_fmt_printf(f, "tidegate_limit_hits_total{limit=\"%s\"} %" PRIu64 "\n",
                      tg_limit_info((enum tg_limit_id)id)->path,
                      tg_limit_hits((enum tg_limit_id)id));
}

static void write_limit_uses(struct tg_fmt *f, const char *family, const char *help,
                             uint64_t (*read)(enum tg_limit_id id))
{
    write_head(f, family, "gauge", help);
    for (int i = 0; i < TG_LIMIT_COUNT; i++) {
        enum tg_limit_id id = (enum tg_limit_id)i;
        const struct tg_limit_info *info = tg_limit_info(id);
        if (!tg_limit_is_used(id))
            continue;
        tg_fmt_printf(f, "%s{limit=\"%s\"} ", family, info->path);
        if (info->unit == TG_LIMIT_UNIT_TIME)
            tg_exposition_seconds(f, read(id));
        else
            tg_fmt_printf(f, "%" PRIu64, read(id));
        tg_fmt_char(f, '\n');
    }
}

static void write_budget(struct tg_fmt *f, const char *family, const char *kind, const char *help,
                         uint64_t (*read)(enum tg_budget_part part))
{
    write_head(f, family, kind, help);
    for (int i = 0; i < TG_BUDGET_PARTS; i++)
        tg_fmt_printf(f, "%s{part=\"%s\"} %" PRIu64 "\n", family,
                      tg_budget_info((enum tg_budget_part)i)->field, read((enum tg_budget_part)i));
}

static void write_memory(struct tg_fmt *f)
{
    write_head(f, "tidegate_memory_bytes", "gauge", "Memory in use, by subsystem.");
    for (int tag = 0; tag < TG_MEM_TAGS; tag++)
        tg_fmt_printf(f, "tidegate_memory_bytes{subsystem=\"%s\"} %zu\n",
                      tg_mem_tag_name((enum tg_mem_tag)tag), tg_mem_used((enum tg_mem_tag)tag));
}

void tg_metrics_write(const struct tg_metrics *metrics, struct tg_fmt *f)
{
#define TG_METRIC(name, kind, family, labels, help) write_metric(f, metrics, TG_METRIC_##name);
#define TG_METRIC_HISTOGRAM(name, family, help)                                                    \
    write_histogram(f, metrics, TG_METRIC_HISTOGRAM_##name, family, help);
#define TG_METRIC_READER(family, kind, help, read)                                                 \
    write_value(f, family, TG_METRIC_KIND_##kind, help, read());
#include "observe/metrics.def"
#undef TG_METRIC
#undef TG_METRIC_HISTOGRAM
#undef TG_METRIC_READER
    write_limit_hits(f);
    write_limit_uses(f, "tidegate_limit_use",
                     "What is in use of a limit now: bytes, seconds or a count.", tg_limit_use);
    write_limit_uses(f, "tidegate_limit_use_max", "The most that was in use of a limit.",
                     tg_limit_peak);
    write_memory(f);
    tg_map_watches_write(f);
    write_budget(f, "tidegate_budget_used_bytes", "gauge",
                 "Memory in use, by part of settings.memory.", tg_budget_used);
    write_budget(f, "tidegate_budget_used_max_bytes", "gauge",
                 "The most memory that was in use, by part of settings.memory.", tg_budget_peak);
    write_budget(f, "tidegate_budget_refused_total", "counter",
                 "Allocations refused because a part of settings.memory was full.",
                 tg_budget_refused);
}
