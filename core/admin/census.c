/* census.c: see census.h. */
#include "base/banned.h"
#include "admin/census.h"

#include "base/assert.h"
#include "gateway/gate.h"
#include "gateway/vm_set.h"

struct tg_census *tg_census_new(struct tg_snapshot *snapshot, uint32_t workers)
{
    size_t rows = (size_t)workers * snapshot->plugin_count * sizeof(struct tg_census_row);
    struct tg_census *census = tg_mem_zalloc(TG_MEM_OBSERVE, 1, sizeof(*census) + rows);
    if (census == NULL)
        return NULL;
    census->snapshot = tg_snapshot_ref(snapshot);
    census->workers = workers;
    return census;
}

void tg_census_free(struct tg_census **census)
{
    if (*census == NULL)
        return;
    tg_snapshot_unref(&(*census)->snapshot);
    tg_mem_free(TG_MEM_OBSERVE, *census);
    *census = NULL;
}

static uint64_t pause_left(const struct tg_quarantine *q, uint64_t now)
{
    uint64_t end = q->since + q->pause_us;
    return q->state == TG_QUARANTINE_SHUT && end > now ? end - now : 0;
}

static void fill(struct tg_census_row *row, const struct tg_vm_set *set, uint32_t plugin)
{
    struct tg_vm_entry *entry = set->entries[plugin];
    const struct tg_plugin_tally *tally = tg_vm_entry_tally(entry);
    const struct tg_quarantine *quarantine = &entry->record->quarantine;
    const struct tg_alloc *alloc = tg_vm_alloc(entry->vm);
    *row = (struct tg_census_row){
        .present = true,
        .heap = tg_alloc_used(alloc),
        .held = tg_alloc_held(alloc),
        .errors = tally->errors,
        .collections = tally->collections + tg_vm_collections(entry->vm),
        .rebuilds = tally->rebuilds,
        .background = entry->background,
        .quarantine = quarantine->state,
        .quarantines = quarantine->times,
        .pause_left = pause_left(quarantine, tg_loop_now(&set->gate->worker->loop)),
    };
    memcpy(row->kills, tally->kills, sizeof(row->kills));
}

/* The plugin of `snapshot` that is called as `plugin` is; plugin_count when there is none. */
static uint32_t find_plugin(const struct tg_snapshot *snapshot, const struct tg_plugin_conf *plugin)
{
    uint32_t i = 0;
    while (i < snapshot->plugin_count && !tg_str_eq(snapshot->plugins[i].name, plugin->name))
        i++;
    return i;
}

void tg_census_visit(struct tg_census *census, struct tg_gate *gate)
{
    const struct tg_vm_set *set = gate->vms;
    uint32_t count = census->snapshot->plugin_count;
    tg_assert(gate->worker->index < census->workers);
    struct tg_census_row *rows = &census->rows[(size_t)gate->worker->index * count];
    for (uint32_t i = 0; set != NULL && i < set->snapshot->plugin_count; i++) {
        bool same = set->snapshot == census->snapshot;
        uint32_t at = same ? i : find_plugin(census->snapshot, &set->snapshot->plugins[i]);
        if (at < count)
            fill(&rows[at], set, i);
    }
}
