/* accounting.c: see accounting.h. The instruments belong to no plugin, so none can declare one of
 * the same name; all gates of the process share them, and each writes its own part.
 */
#include "base/banned.h"
#include "gateway/accounting.h"

#include "gateway/gate.h"
#include "observe/instrument.h"

#include <time.h>

/* A slice of a literal where only constants may stand. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct tg_instrument_spec specs[TG_ACCOUNTING_FIGURES] = {
    [TG_ACCOUNTING_CPU] = {.name = TEXT("cpu"),
                           .help = TEXT("CPU time of a plugin for a request (sampled)."),
                           .kind = TG_INSTRUMENT_HISTOGRAM,
                           .labels = {TEXT("plugin"), TEXT("route")},
                           .label_count = 2},
    [TG_ACCOUNTING_CHURN] = {.name = TEXT("churn"),
                             .help = TEXT("Bytes that a plugin allocated for a request (sampled)."),
                             .kind = TG_INSTRUMENT_HISTOGRAM,
                             .unit = TG_INSTRUMENT_BYTES,
                             .labels = {TEXT("plugin"), TEXT("route")},
                             .label_count = 2},
    [TG_ACCOUNTING_PEAK] = {.name = TEXT("peak"),
                            .help = TEXT("Bytes that a plugin held for a request (sampled)."),
                            .kind = TG_INSTRUMENT_HISTOGRAM,
                            .unit = TG_INSTRUMENT_BYTES,
                            .labels = {TEXT("plugin"), TEXT("route")},
                            .label_count = 2},
    [TG_ACCOUNTING_KILLED] = {.name = TEXT("killed"),
                              .help = TEXT("Requests in which a plugin was killed."),
                              .kind = TG_INSTRUMENT_COUNTER,
                              .labels = {TEXT("plugin"), TEXT("route"), TEXT("reason")},
                              .label_count = 3},
    [TG_ACCOUNTING_COLLECTIONS] = {.name = TEXT("collections"),
                                   .help = TEXT("Collections forced by a plugin's memory."),
                                   .kind = TG_INSTRUMENT_COUNTER,
                                   .labels = {TEXT("plugin")},
                                   .label_count = 1},
    [TG_ACCOUNTING_HEAP] = {.name = TEXT("heap_bytes"),
                            .help = TEXT("Heap of a plugin's VMs."),
                            .kind = TG_INSTRUMENT_GAUGE,
                            .labels = {TEXT("plugin")},
                            .label_count = 1},
};

void tg_accounting_init(struct tg_accounting *accounting)
{
    *accounting = (struct tg_accounting){.next = 0};
    for (unsigned i = 0; i < TG_ACCOUNTING_FIGURES; i++) {
        if (tg_instrument_get(&specs[i], &accounting->figures[i]) != TG_OK)
            accounting->figures[i] = NULL;
    }
}

bool tg_accounting_choose(struct tg_accounting *accounting)
{
    if (accounting->next > 0) {
        accounting->next--;
        return false;
    }
    accounting->next = TG_ACCOUNTING_EVERY - 1;
    return true;
}

uint64_t tg_accounting_cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Counts `value` under plugin, route and reason, as many of them as the figure has labels. */
static void count(const struct tg_request *r, enum tg_accounting_figure figure,
                  const struct tg_plugin_slot *slot, struct tg_str reason, double value)
{
    struct tg_instrument *instrument = r->gate->accounting.figures[figure];
    char room[TG_INSTRUMENT_TEXT_MAX];
    if (instrument == NULL)
        return;
    const struct tg_str values[] = {tg_vm_name(slot->vm),
                                    r->route != NULL ? r->route->name : TG_STR(""), reason};
    struct tg_str labels = tg_instrument_labels(instrument, values, room);
    unsigned worker = tg_gate_worker(r->gate)->index;
    switch (specs[figure].kind) {
    case TG_INSTRUMENT_COUNTER:
        (void)tg_instrument_add(instrument, worker, labels, value);
        break;
    case TG_INSTRUMENT_GAUGE:
        (void)tg_instrument_set(instrument, worker, labels, value);
        break;
    case TG_INSTRUMENT_HISTOGRAM:
        (void)tg_instrument_observe(instrument, worker, labels, value);
        break;
    }
}

void tg_accounting_end_slot(const struct tg_request *r, const struct tg_plugin_slot *slot)
{
    const struct tg_str none = TG_STR("");
    if (slot->account.collections > 0)
        count(r, TG_ACCOUNTING_COLLECTIONS, slot, none, slot->account.collections);
    if (!r->measured)
        return;
    count(r, TG_ACCOUNTING_CPU, slot, none, (double)slot->cpu_ns / 1e9);
    count(r, TG_ACCOUNTING_CHURN, slot, none, (double)slot->account.churn);
    count(r, TG_ACCOUNTING_PEAK, slot, none, (double)slot->account.peak);
    count(r, TG_ACCOUNTING_HEAP, slot, none, (double)tg_alloc_used(tg_vm_alloc(slot->vm)));
}

void tg_accounting_note_kill(const struct tg_request *r, const struct tg_plugin_slot *slot,
                             enum tg_kill reason)
{
    count(r, TG_ACCOUNTING_KILLED, slot, tg_str_c(tg_kill_label(reason)), 1);
}
