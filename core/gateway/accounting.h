/* accounting.h: what plugins cost, by plugin and route, in the open.
 *
 *     tidegate_plugin_cpu_seconds{plugin,route}      histogram: CPU time of one request, all phases
 *     tidegate_plugin_churn_bytes{plugin,route}      histogram: bytes allocated for one request
 *     tidegate_plugin_peak_bytes{plugin,route}       histogram: the most it held for one request
 *     tidegate_plugin_killed_total{plugin,route,reason}
 *     tidegate_plugin_collections_total{plugin}      collections forced by a plugin's memory
 *     tidegate_plugin_heap_bytes{plugin}             gauge: heap of its VMs, over the workers
 *
 * Reading the thread's CPU clock is a system call, so one request in TG_ACCOUNTING_EVERY is
 * measured; kills and forced collections are counted always. The figures of a measured request are
 * exact.
 *
 * Threads: the worker's. Cost: a comparison for a request that is not measured, some 2 us for each
 * plugin of one that is.
 */
#ifndef TG_GATEWAY_ACCOUNTING_H
#define TG_GATEWAY_ACCOUNTING_H

#include "gateway/request.h"

#define TG_ACCOUNTING_EVERY 16

struct tg_instrument;

enum tg_accounting_figure {
    TG_ACCOUNTING_CPU,
    TG_ACCOUNTING_CHURN,
    TG_ACCOUNTING_PEAK,
    TG_ACCOUNTING_KILLED,
    TG_ACCOUNTING_COLLECTIONS,
    TG_ACCOUNTING_HEAP,
    TG_ACCOUNTING_FIGURES
};

/* A gate's. Zeroes: nothing is counted. */
struct tg_accounting {
    struct tg_instrument *figures[TG_ACCOUNTING_FIGURES]; /* of the process; NULL: no memory */
    uint32_t next;                                        /* requests until one is measured */
};

void tg_accounting_init(struct tg_accounting *accounting);

/* Whether the request that begins now is measured. */
bool tg_accounting_choose(struct tg_accounting *accounting);

/* CPU time of this thread in ns. */
uint64_t tg_accounting_cpu_now(void);

/* The slot ends with its request; its account is still open. */
void tg_accounting_end_slot(const struct tg_request *r, const struct tg_plugin_slot *slot);

/* The slot's plugin was killed. */
void tg_accounting_note_kill(const struct tg_request *r, const struct tg_plugin_slot *slot,
                             enum tg_kill reason);

#endif
