/* vm_set.c: the VMs of a snapshot in a worker, together: see vm_set.h and plugins.h.
 *
 * A set is made before the snapshot takes over, one VM at a time, so a plugin that does not load
 * stops the reload and not the traffic, and the making of many holds the loop for one at a time.
 * Requests that began with the set keep it.
 */
#include "base/banned.h"
#include "gateway/vm_set.h"

#include "base/assert.h"
#include "gateway/background.h"
#include "gateway/gate.h"
#include "gateway/target.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct tg_plugin_host tg_plugin_host;

static enum tg_err out_of_memory(struct tg_vm_error *error)
{
    int n = snprintf(error->text, sizeof(error->text), "no memory for the plugins' VMs");
    error->n = (size_t)n;
    return TG_E_NOMEM;
}

static void log_plugin(enum tg_log_level level, const char *what, struct tg_str name,
                       const struct tg_vm_error *error)
{
    tg_log_kv(level, "plugin", what, tg_log_str("plugin", name),
              tg_log_str("error", tg_str(error->text, error->n)));
}

/* ---- Made anew ---- */

static void replace(struct tg_vm_set *set, uint32_t index)
{
    struct tg_vm_entry *made;
    struct tg_vm_error error;
    struct tg_vm_entry *old = set->entries[index];
    struct tg_str name = old->host.plugin->name;
    old->rebuild = false;
    if (tg_vm_entry_new(set, index, &made, &error) != TG_OK) {
        log_plugin(TG_LOG_ERROR,
                   "a plugin's VM was to be made anew after kills, which failed: the old one stays",
                   name, &error);
        return;
    }
    tg_vm_entry_share_record(made, old);
    set->entries[index] = made;
    struct tg_plugin_tally *tally = tg_vm_entry_tally(made);
    tally->rebuilds++;
    tally->collections += tg_vm_collections(old->vm);
    tg_background_retire(old);
    tg_vm_entry_unref(&old);
    tg_background_begin(made);
    tg_metric_inc(tg_gate_worker(set->gate)->cells, TG_METRIC_PLUGIN_REBUILDS);
    tg_log_kv(TG_LOG_WARN, "plugin", "a plugin's VM was made anew after three kills in 10 s",
              tg_log_str("plugin", name));
}

static void on_rebuild(struct tg_task *task)
{
    struct tg_vm_set *set = TG_CONTAINER_OF(task, struct tg_vm_set, rebuild);
    bool in_force = set->gate->vms == set && !set->gate->worker->draining;
    for (uint32_t i = 0; i < set->snapshot->plugin_count && in_force; i++) {
        if (set->entries[i]->rebuild)
            replace(set, i);
    }
    tg_vm_set_unref(&set);
}

/* Outside of plugin code, in the next round; requests that run keep the old one. */
void tg_vm_set_rebuild(struct tg_vm_set *set, struct tg_vm_entry *entry)
{
    if (set->refs == 0 || set->entries[entry->host.plugin->index] != entry)
        return;
    entry->rebuild = true;
    if (!tg_list_is_empty(&set->rebuild.link))
        return;
    tg_vm_set_ref(set);
    tg_loop_defer(&set->gate->worker->loop, &set->rebuild);
}

/* ---- Taking over from another set ---- */

/* What the plugin's older code saved reaches the new VM; what goes wrong is logged, and the new one
 * starts without. */
static void hand_over_state(struct tg_vm_set *set, uint32_t index, struct tg_vm_entry *old)
{
    struct tg_blob state;
    struct tg_vm_error error;
    struct tg_vm_entry *fresh;
    struct tg_str name = old->host.plugin->name;
    if (tg_vm_save(old->vm, &state, &error) != TG_OK)
        log_plugin(TG_LOG_ERROR, "save() failed: the plugin's new VM starts without its state",
                   name, &error);
    else if (state.n > 0 &&
             tg_vm_restore(set->entries[index]->vm, tg_str(state.p, state.n), &error) != TG_OK) {
        log_plugin(TG_LOG_ERROR, "restore() failed: the plugin's new VM starts without the state",
                   name, &error);
        if (tg_vm_entry_new(set, index, &fresh, &error) == TG_OK) { /* half restored is worse */
            tg_vm_entry_unref(&set->entries[index]);
            set->entries[index] = fresh;
        }
    }
    tg_blob_release(&state);
}

static struct tg_vm_entry *find_named(const struct tg_vm_set *set, struct tg_str name)
{
    for (uint32_t i = 0; i < set->snapshot->plugin_count; i++) {
        if (tg_str_eq(set->snapshot->plugins[i].name, name))
            return set->entries[i];
    }
    return NULL;
}

void tg_vm_set_take_over(struct tg_vm_set *set, struct tg_vm_set *old)
{
    const struct tg_snapshot *snapshot = set->snapshot;
    for (uint32_t i = 0; old != NULL && i < snapshot->plugin_count; i++) {
        struct tg_vm_entry *before = find_named(old, snapshot->plugins[i].name);
        if (set->entries[i] == NULL) {
            set->entries[i] = tg_vm_entry_ref(before);
            tg_vm_entry_move(before, set, i);
        } else if (before != NULL) {
            hand_over_state(set, i, before);
            tg_vm_entry_succeed(set->entries[i], before);
        }
    }
}

/* ---- Making ---- */

/* What the snapshot in force leaves to this one: nothing unless they were compared. */
static const struct tg_kept *kept_of(const struct tg_vm_set *set, uint32_t index)
{
    const struct tg_snapshot *now = set->gate->snapshot;
    const struct tg_snapshot *next = set->snapshot;
    if (now == NULL || next->kept == NULL || next->follows != now->revision)
        return NULL;
    return next->kept[index].kept ? &next->kept[index] : NULL;
}

/* Where the kept VM has the instances of this set: it may have been kept before. */
static enum tg_err compose_order(struct tg_vm_set *set, uint32_t index, const struct tg_kept *kept)
{
    const struct tg_vm_set *now = set->gate->vms;
    uint32_t count = set->snapshot->plugins[index].instance_count;
    if (kept->order == NULL && now->orders[kept->index] == NULL)
        return TG_OK;
    uint32_t *order = tg_mem_alloc(TG_MEM_PLUGIN, count * sizeof(*order));
    if (order == NULL)
        return TG_E_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        order[i] = tg_vm_set_place(now, kept->index, kept->order != NULL ? kept->order[i] : i);
    set->orders[index] = order;
    return TG_OK;
}

enum tg_err tg_vm_set_make(struct tg_vm_set *set, struct tg_vm_error *error)
{
    enum tg_err err = TG_OK;
    bool made = false;
    while (err == TG_OK && !made && set->next < set->snapshot->plugin_count) {
        uint32_t index = set->next++;
        const struct tg_kept *kept = kept_of(set, index);
        made = kept == NULL;
        if (made)
            err = tg_vm_entry_new(set, index, &set->entries[index], error);
        else if (compose_order(set, index, kept) != TG_OK)
            err = out_of_memory(error);
    }
    return err == TG_OK && set->next < set->snapshot->plugin_count ? TG_E_AGAIN : err;
}

enum tg_err tg_vm_set_make_all(struct tg_vm_set *set, struct tg_vm_error *error)
{
    enum tg_err err;
    do {
        err = tg_vm_set_make(set, error);
    } while (err == TG_E_AGAIN);
    return err;
}

static enum tg_err open_zones(struct tg_vm_set *set)
{
    const struct tg_snapshot *snapshot = set->snapshot;
    enum tg_err err = TG_OK;
    for (uint32_t i = 0; i < snapshot->zone_count && err == TG_OK; i++) {
        const struct tg_zone_conf *zone = &snapshot->zones[i];
        err = tg_zones_open(set->gate->gateway->zones, zone->kind, zone->name, zone->size,
                            &set->zones[i]);
    }
    return err;
}

enum tg_err tg_vm_set_new(struct tg_gate *gate, struct tg_snapshot *snapshot,
                          struct tg_vm_set **out, struct tg_vm_error *error)
{
    uint32_t count = snapshot->plugin_count;
    struct tg_vm_set *set = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*set));
    if (set == NULL)
        return out_of_memory(error);
    set->refs = 1;
    set->holds = 1;
    set->gate = gate;
    set->snapshot = tg_snapshot_ref(snapshot);
    tg_task_init(&set->rebuild, on_rebuild);
    set->entries = tg_mem_zalloc(TG_MEM_PLUGIN, count, sizeof(struct tg_vm_entry *));
    set->orders = tg_mem_zalloc(TG_MEM_PLUGIN, count, sizeof(uint32_t *));
    set->zones = tg_mem_zalloc(TG_MEM_PLUGIN, snapshot->zone_count, sizeof(*set->zones));
    if (set->entries == NULL || set->orders == NULL || set->zones == NULL ||
        open_zones(set) != TG_OK || tg_targets_new(gate, snapshot, &set->targets) != TG_OK) {
        tg_vm_set_unref(&set);
        return out_of_memory(error);
    }
    *out = set;
    return TG_OK;
}

/* ---- Life ---- */

void tg_vm_set_hold(struct tg_vm_set *set)
{
    tg_assert(set->holds > 0);
    set->holds++;
}

void tg_vm_set_let_go(struct tg_vm_set *set)
{
    tg_assert(set->holds > 0);
    if (--set->holds > 0)
        return;
    for (uint32_t i = 0; set->zones != NULL && i < set->snapshot->zone_count; i++)
        tg_zone_unref(&set->zones[i]);
    tg_targets_unref(&set->targets);
    for (uint32_t i = 0; set->orders != NULL && i < set->snapshot->plugin_count; i++)
        tg_mem_free(TG_MEM_PLUGIN, (void *)set->orders[i]);
    tg_mem_free(TG_MEM_PLUGIN, set->zones);
    tg_mem_free(TG_MEM_PLUGIN, set->orders);
    tg_mem_free(TG_MEM_PLUGIN, set->entries);
    tg_snapshot_unref(&set->snapshot);
    tg_mem_free(TG_MEM_PLUGIN, set);
}

struct tg_vm_set *tg_vm_set_ref(struct tg_vm_set *set)
{
    tg_assert(set->refs > 0);
    set->refs++;
    return set;
}

void tg_vm_set_unref(struct tg_vm_set **set)
{
    struct tg_vm_set *taken = *set;
    *set = NULL;
    if (taken == NULL)
        return;
    tg_assert(taken->refs > 0);
    if (--taken->refs > 0)
        return;
    for (uint32_t i = 0; taken->entries != NULL && i < taken->snapshot->plugin_count; i++)
        tg_vm_entry_unref(&taken->entries[i]);
    tg_vm_set_let_go(taken);
}
