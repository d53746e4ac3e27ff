/* vm_set.c: making and ending the VMs of a snapshot in a worker: see plugins.h.
 *
 * A set is made before the snapshot takes over, so a plugin that does not load stops the reload and
 * not the traffic. Requests that began with the set keep it: the last reference runs each plugin's
 * stop() and closes the VMs.
 *
 * Cost: a VM is some 100 us and 40 KiB plus what the plugin itself loads.
 */
#include "base/banned.h"
#include "gateway/vm_set.h"

#include "base/assert.h"
#include "gateway/background.h"
#include "gateway/gate.h"
#include "gateway/target.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "route/expr.h"

struct tg_plugin_host tg_plugin_host;

/* The phases' functions; the index is the phase. */
static const char *const phase_functions[TG_PHASES] = {"rewrite", "access", "header_filter",
                                                       "body_filter", "log"};

static enum tg_err out_of_memory(struct tg_vm_error *error)
{
    int n = snprintf(error->text, sizeof(error->text), "no memory for the plugins' VMs");
    error->n = (size_t)n;
    return TG_E_NOMEM;
}

/* ---- One VM ---- */

static void stop_vm(struct tg_vm_entry *entry)
{
    struct tg_vm_error error;
    if (tg_vm_stop(entry->vm, &error) != TG_OK)
        tg_log_kv(TG_LOG_ERROR, "plugin", "stop failed",
                  tg_log_str("plugin", entry->host.plugin->name),
                  tg_log_str("error", tg_str(error.text, error.n)));
}

static void free_stand_ins(struct tg_stand_in *first)
{
    while (first != NULL) {
        struct tg_stand_in *next = first->next;
        tg_expr_free(&first->when);
        tg_mem_free(TG_MEM_PLUGIN, first);
        first = next;
    }
}

enum tg_err tg_vm_entry_stand_in(struct tg_vm_entry *entry, enum tg_phase phase,
                                 struct tg_expr *when, const struct tg_edits *edits)
{
    struct tg_stand_ins *of = entry->configuring;
    struct tg_stand_in **end = phase == TG_PHASE_ACCESS ? &of->access : &of->header_filter;
    for (unsigned count = 1; *end != NULL; end = &(*end)->next) {
        if (count++ == TG_STAND_INS_MAX)
            return TG_E_LIMIT;
    }
    *end = tg_mem_alloc(TG_MEM_PLUGIN, sizeof(**end));
    if (*end == NULL)
        return TG_E_NOMEM;
    **end = (struct tg_stand_in){NULL, when, edits};
    return TG_OK;
}

static void free_entry(struct tg_vm_entry *entry, bool started)
{
    tg_assert(entry->background == 0);
    if (started)
        stop_vm(entry);
    if (entry->room.run != NULL)
        tg_task_cancel(&entry->room);
    TG_LIST_FOREACH(&entry->activators, it)
    {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        tg_list_remove(it);
        activator->release(activator);
    }
    if (entry->vm != NULL)
        tg_vm_free(&entry->vm);
    tg_zone_unref(&entry->dict);
    tg_zone_unref(&entry->cache);
    tg_mem_free(TG_MEM_PLUGIN, entry->configured);
    for (uint32_t i = 0; entry->stand_ins != NULL && i < entry->host.plugin->instance_count; i++) {
        free_stand_ins(entry->stand_ins[i].access);
        free_stand_ins(entry->stand_ins[i].header_filter);
    }
    tg_mem_free(TG_MEM_PLUGIN, entry->stand_ins);
    tg_mem_free(TG_MEM_PLUGIN, entry);
}

struct tg_vm_entry *tg_vm_entry_ref(struct tg_vm_entry *entry)
{
    tg_assert(entry->refs > 0);
    entry->refs++;
    return entry;
}

void tg_vm_entry_unref(struct tg_vm_entry **entry)
{
    struct tg_vm_entry *taken = *entry;
    *entry = NULL;
    if (taken == NULL)
        return;
    tg_assert(taken->refs > 0);
    if (--taken->refs == 0)
        free_entry(taken, true);
}

/* Opens what the plugin declares for itself alone; no declared zone has a name with a slash. */
static enum tg_err open_own_zones(struct tg_vm_entry *entry)
{
    struct tg_zones *zones = entry->host.gate->gateway->zones;
    const struct tg_plugin_conf *plugin = entry->host.plugin;
    char room[128];
    struct tg_fmt f;
    enum tg_err err = TG_OK;
    tg_fmt_init(&f, room, sizeof(room));
    tg_fmt_printf(&f, "plugin/%.*s", TG_STR_ARG(plugin->name));
    if (plugin->dict != 0)
        err = tg_zones_open(zones, TG_ZONE_DICT, tg_fmt_str(&f), plugin->dict, &entry->dict);
    if (err == TG_OK && plugin->cache != 0)
        err = tg_zones_open(zones, TG_ZONE_CACHE, tg_fmt_str(&f), plugin->cache, &entry->cache);
    return err;
}

static enum tg_err load_vm(struct tg_vm_entry *entry, struct tg_vm_error *error)
{
    const struct tg_plugin_conf *plugin = entry->host.plugin;
    struct tg_gate *gate = entry->host.gate;
    struct tg_vm_options options = {
        .name = plugin->name,
        .file = plugin->chunkname,
        .source = plugin->source,
        .limits = &entry->limits,
        .clock = &tg_gate_worker(gate)->loop.clock,
        .runner = tg_gate_runner(gate),
        .functions = phase_functions,
        .function_count = TG_PHASES,
        .open = tg_plugin_host.open,
        .resolve = tg_plugin_host.resolve,
        .on_print = tg_plugin_host.on_print,
        .arg = &entry->host,
    };
    enum tg_err err = tg_vm_new(&options, &entry->vm, error);
    return err == TG_OK ? tg_vm_start(entry->vm, error) : err;
}

static void widen(struct tg_vm_entry *entry, const struct tg_instance_conf *instance)
{
    entry->memory = TG_MAX(entry->memory, instance->memory);
    entry->churn = TG_MAX(entry->churn, instance->churn);
    entry->cpu = TG_MAX(entry->cpu, instance->cpu);
    entry->wall = TG_MAX(entry->wall, instance->wall);
}

static enum tg_err configure_all(struct tg_vm_entry *entry, const struct tg_snapshot *snapshot,
                                 struct tg_vm_error *error)
{
    for (uint32_t i = 0; i < snapshot->instance_count; i++) {
        const struct tg_instance_conf *instance = &snapshot->instances[i];
        if (instance->plugin != entry->host.plugin)
            continue;
        widen(entry, instance);
        entry->configuring = &entry->stand_ins[instance->nth];
        enum tg_err err =
            tg_vm_configure(entry->vm, instance->conf, &entry->configured[instance->nth], error);
        entry->configuring = NULL;
        if (err != TG_OK)
            return err;
    }
    return TG_OK;
}

/* The VM of plugin `index`, loaded and configured, with one reference; on failure `error` tells. */
static enum tg_err make_entry(struct tg_vm_set *set, uint32_t index, struct tg_vm_entry **out,
                              struct tg_vm_error *error)
{
    const struct tg_plugin_conf *plugin = &set->snapshot->plugins[index];
    struct tg_vm_entry *entry = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*entry));
    if (entry == NULL)
        return out_of_memory(error);
    entry->refs = 1;
    entry->host = (struct tg_vm_host){.gate = set->gate, .set = set, .plugin = plugin};
    tg_list_init(&entry->activators);
    entry->limits = set->snapshot->settings.limits;
    if (plugin->heap != 0)
        entry->limits.plugin_heap = plugin->heap;
    entry->configured = tg_mem_zalloc(TG_MEM_PLUGIN, plugin->instance_count, sizeof(int));
    entry->stand_ins =
        tg_mem_zalloc(TG_MEM_PLUGIN, plugin->instance_count, sizeof(*entry->stand_ins));
    enum tg_err err = TG_E_NOMEM;
    if (entry->configured == NULL || entry->stand_ins == NULL || open_own_zones(entry) != TG_OK)
        err = out_of_memory(error);
    else
        err = load_vm(entry, error);
    bool started = err == TG_OK;
    if (started)
        err = configure_all(entry, set->snapshot, error);
    if (err != TG_OK) {
        free_entry(entry, started);
        return err;
    }
    *out = entry;
    return TG_OK;
}

/* ---- Made anew ---- */

static void replace(struct tg_vm_set *set, uint32_t index)
{
    struct tg_vm_entry *made;
    struct tg_vm_error error;
    struct tg_vm_entry *old = set->entries[index];
    struct tg_str name = old->host.plugin->name;
    old->rebuild = false;
    if (make_entry(set, index, &made, &error) != TG_OK) {
        tg_log_kv(TG_LOG_ERROR, "plugin",
                  "a plugin's VM was to be made anew after kills, which failed: the old one stays",
                  tg_log_str("plugin", name), tg_log_str("error", tg_str(error.text, error.n)));
        return;
    }
    set->entries[index] = made;
    set->tallies[index].rebuilds++;
    set->tallies[index].collections += tg_vm_collections(old->vm);
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
static void rebuild(struct tg_vm_set *set, struct tg_vm_entry *entry)
{
    entry->rebuild = true;
    if (!tg_list_is_empty(&set->rebuild.link))
        return;
    tg_vm_set_ref(set);
    tg_loop_defer(&set->gate->worker->loop, &set->rebuild);
}

static struct tg_plugin_tally *tally_of(struct tg_vm_entry *entry)
{
    return &entry->host.set->tallies[entry->host.plugin->index];
}

void tg_vm_entry_note_error(struct tg_vm_entry *entry)
{
    tally_of(entry)->errors++;
}

void tg_vm_entry_note_kill(struct tg_vm_entry *entry, enum tg_kill reason)
{
    struct tg_vm_set *set = entry->host.set;
    uint32_t index = entry->host.plugin->index;
    tally_of(entry)->kills[reason]++;
    struct tg_quarantine *quarantine = &set->quarantines[index];
    if (entry == set->entries[index] && tg_vm_wants_rebuild(entry->vm))
        rebuild(set, entry);
    if (!tg_quarantine_note_kill(quarantine, &entry->limits, tg_loop_now(&set->gate->worker->loop)))
        return;
    tg_metric_inc(set->gate->worker->cells, TG_METRIC_PLUGIN_QUARANTINES);
    tg_log_kv(TG_LOG_ERROR, "plugin", "a plugin is in quarantine after too many kills",
              tg_log_str("plugin", entry->host.plugin->name),
              tg_log_u64("milliseconds", quarantine->pause_us / 1000));
}

/* ---- Sets ---- */

static enum tg_err make_all(struct tg_vm_set *set, struct tg_vm_error *error)
{
    const struct tg_snapshot *snapshot = set->snapshot;
    if (tg_targets_new(set->gate, snapshot, &set->targets) != TG_OK)
        return out_of_memory(error);
    for (uint32_t i = 0; i < snapshot->zone_count; i++) {
        const struct tg_zone_conf *zone = &snapshot->zones[i];
        if (tg_zones_open(set->gate->gateway->zones, zone->kind, zone->name, zone->size,
                          &set->zones[i]) != TG_OK)
            return out_of_memory(error);
    }
    for (uint32_t i = 0; i < snapshot->plugin_count; i++) {
        tg_quarantine_init(&set->quarantines[i], &snapshot->settings.limits);
        enum tg_err err = make_entry(set, i, &set->entries[i], error);
        if (err != TG_OK)
            return err;
    }
    return TG_OK;
}

static void free_set(struct tg_vm_set *set)
{
    for (uint32_t i = 0; set->entries != NULL && i < set->snapshot->plugin_count; i++)
        tg_vm_entry_unref(&set->entries[i]);
    for (uint32_t i = 0; set->zones != NULL && i < set->snapshot->zone_count; i++)
        tg_zone_unref(&set->zones[i]);
    tg_targets_unref(&set->targets);
    tg_mem_free(TG_MEM_PLUGIN, set->zones);
    tg_mem_free(TG_MEM_PLUGIN, set->entries);
    tg_mem_free(TG_MEM_PLUGIN, set->quarantines);
    tg_mem_free(TG_MEM_PLUGIN, set->tallies);
    tg_snapshot_unref(&set->snapshot);
    tg_mem_free(TG_MEM_PLUGIN, set);
}

enum tg_err tg_vm_set_new(struct tg_gate *gate, struct tg_snapshot *snapshot,
                          struct tg_vm_set **out, struct tg_vm_error *error)
{
    uint32_t count = snapshot->plugin_count;
    struct tg_vm_set *set = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*set));
    if (set == NULL)
        return out_of_memory(error);
    set->refs = 1;
    set->gate = gate;
    set->snapshot = tg_snapshot_ref(snapshot);
    tg_task_init(&set->rebuild, on_rebuild);
    set->entries = tg_mem_zalloc(TG_MEM_PLUGIN, count, sizeof(struct tg_vm_entry *));
    set->quarantines = tg_mem_zalloc(TG_MEM_PLUGIN, count, sizeof(*set->quarantines));
    set->tallies = tg_mem_zalloc(TG_MEM_PLUGIN, count, sizeof(*set->tallies));
    set->zones = tg_mem_zalloc(TG_MEM_PLUGIN, snapshot->zone_count, sizeof(*set->zones));
    enum tg_err err = TG_E_NOMEM;
    if (set->entries != NULL && set->quarantines != NULL && set->tallies != NULL &&
        set->zones != NULL)
        err = make_all(set, error);
    else
        err = out_of_memory(error);
    if (err != TG_OK) {
        free_set(set);
        return err;
    }
    *out = set;
    return TG_OK;
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
    if (--taken->refs == 0)
        free_set(taken);
}
