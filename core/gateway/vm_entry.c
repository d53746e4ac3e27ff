/* vm_entry.c: one plugin's VM in a worker, and the record of what the plugin did: see vm_set.h.
 *
 * Cost: a VM is some 100 us and 40 KiB plus what the plugin itself loads.
 */
#include "base/banned.h"
#include "gateway/vm_set.h"

#include "base/assert.h"
#include "gateway/background.h"
#include "gateway/gate.h"
#include "observe/log.h"
#include "observe/metrics.h"

/* The phases' functions; the index is the phase. */
static const char *const phase_functions[TG_PHASES] = {
    "certificate", "rewrite", "access", "header_filter", "body_filter", "message", "log"};

static enum tg_err out_of_memory(struct tg_vm_error *error)
{
    int n = snprintf(error->text, sizeof(error->text), "no memory for the plugins' VMs");
    error->n = (size_t)n;
    return TG_E_NOMEM;
}

/* ---- Records ---- */

static struct tg_plugin_record *record_new(const struct tg_limits *limits)
{
    struct tg_plugin_record *record = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*record));
    if (record == NULL)
        return NULL;
    record->refs = 1;
    tg_quarantine_init(&record->quarantine, limits);
    return record;
}

static void record_unref(struct tg_plugin_record **record)
{
    struct tg_plugin_record *taken = *record;
    *record = NULL;
    while (taken != NULL && --taken->refs == 0) {
        struct tg_plugin_record *next = taken->next;
        tg_mem_free(TG_MEM_PLUGIN, taken);
        taken = next;
    }
}

/* The record that counts for the plugin now. */
static struct tg_plugin_record *latest(struct tg_plugin_record *record)
{
    while (record->next != NULL)
        record = record->next;
    return record;
}

struct tg_plugin_tally *tg_vm_entry_tally(struct tg_vm_entry *entry)
{
    return &latest(entry->record)->tally;
}

void tg_vm_entry_succeed(struct tg_vm_entry *entry, struct tg_vm_entry *old)
{
    struct tg_plugin_record *before = latest(old->record);
    tg_assert(before != entry->record && entry->record->next == NULL);
    entry->record->tally = before->tally;
    entry->record->tally.collections += tg_vm_collections(old->vm);
    before->next = entry->record;
    entry->record->refs++;
}

void tg_vm_entry_share_record(struct tg_vm_entry *entry, struct tg_vm_entry *old)
{
    old->record->refs++;
    record_unref(&entry->record);
    entry->record = old->record;
}

/* ---- Life ---- */

static void stop_vm(struct tg_vm_entry *entry)
{
    struct tg_vm_error error;
    if (tg_vm_stop(entry->vm, &error) != TG_OK)
        tg_log_kv(TG_LOG_ERROR, "plugin", "stop failed",
                  tg_log_str("plugin", entry->host.plugin->name),
                  tg_log_str("error", tg_str(error.text, error.n)));
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
    tg_zone_unref(&entry->limit);
    record_unref(&entry->record);
    tg_mem_free(TG_MEM_PLUGIN, entry->configured);
    for (uint32_t i = 0; entry->stand_ins != NULL && i < entry->host.plugin->instance_count; i++)
        tg_prepared_release(&entry->stand_ins[i]);
    tg_mem_free(TG_MEM_PLUGIN, entry->stand_ins);
    struct tg_vm_set *set = entry->host.set;
    tg_mem_free(TG_MEM_PLUGIN, entry);
    tg_vm_set_let_go(set);
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
    if (err == TG_OK && plugin->limit != 0)
        err = tg_zones_open(zones, TG_ZONE_LIMIT, tg_fmt_str(&f), plugin->limit, &entry->limit);
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
        .on_freed = tg_plugin_host.on_freed,
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

/* The widest bounds of the plugin's instances. */
static void widen_all(struct tg_vm_entry *entry)
{
    const struct tg_plugin_conf *plugin = entry->host.plugin;
    entry->memory = entry->churn = entry->cpu = entry->wall = 0;
    for (uint32_t i = 0; i < plugin->instance_count; i++)
        widen(entry, plugin->instances[i]);
}

static enum tg_err configure_all(struct tg_vm_entry *entry, struct tg_vm_error *error)
{
    const struct tg_plugin_conf *plugin = entry->host.plugin;
    enum tg_err err = TG_OK;
    for (uint32_t i = 0; i < plugin->instance_count && err == TG_OK; i++) {
        uint32_t place = tg_vm_set_place(entry->host.set, plugin->index, i);
        entry->configuring = &entry->stand_ins[place];
        err = tg_vm_configure(entry->vm, plugin->instances[i]->conf, plugin->instances[i]->scope,
                              &entry->configured[place], error);
        entry->configuring = NULL;
    }
    return err;
}

enum tg_err tg_vm_entry_new(struct tg_vm_set *set, uint32_t index, struct tg_vm_entry **out,
                            struct tg_vm_error *error)
{
    const struct tg_plugin_conf *plugin = &set->snapshot->plugins[index];
    struct tg_vm_entry *entry = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*entry));
    if (entry == NULL)
        return out_of_memory(error);
    entry->refs = 1;
    entry->host = (struct tg_vm_host){.gate = set->gate, .set = set, .plugin = plugin};
    tg_vm_set_hold(set);
    tg_list_init(&entry->activators);
    entry->limits = set->snapshot->settings.limits;
    if (plugin->heap != 0)
        entry->limits.plugin_heap = plugin->heap;
    widen_all(entry);
    entry->record = record_new(&entry->limits);
    entry->configured = tg_mem_zalloc(TG_MEM_PLUGIN, plugin->instance_count, sizeof(int));
    entry->stand_ins =
        tg_mem_zalloc(TG_MEM_PLUGIN, plugin->instance_count, sizeof(*entry->stand_ins));
    enum tg_err err = TG_E_NOMEM;
    if (entry->record == NULL || entry->configured == NULL || entry->stand_ins == NULL ||
        open_own_zones(entry) != TG_OK)
        err = out_of_memory(error);
    else
        err = load_vm(entry, error);
    bool started = err == TG_OK;
    if (started)
        err = configure_all(entry, error);
    if (err != TG_OK) {
        free_entry(entry, started);
        return err;
    }
    *out = entry;
    return TG_OK;
}

void tg_vm_entry_move(struct tg_vm_entry *entry, struct tg_vm_set *set, uint32_t index)
{
    struct tg_vm_set *before = entry->host.set;
    tg_vm_set_hold(set);
    entry->host.set = set;
    entry->host.plugin = &set->snapshot->plugins[index];
    widen_all(entry);
    tg_vm_set_let_go(before);
}

/* ---- What activations come to ---- */

void tg_vm_entry_note_error(struct tg_vm_entry *entry)
{
    tg_vm_entry_tally(entry)->errors++;
}

/* Which bound a plugin met that was killed for `reason`; those without one in limits.def are fixed.
 */
static void count_hit(enum tg_kill reason)
{
    if (reason == TG_KILL_CPU)
        tg_limit_hit(plugin_cpu);
    else if (reason == TG_KILL_WALL)
        tg_limit_hit(plugin_wall);
    else if (reason == TG_KILL_MEMORY)
        tg_limit_hit(plugin_memory);
    else if (reason == TG_KILL_CHURN)
        tg_limit_hit(plugin_churn);
}

void tg_vm_entry_note_kill(struct tg_vm_entry *entry, enum tg_kill reason)
{
    struct tg_gate *gate = entry->host.gate;
    struct tg_quarantine *quarantine = &entry->record->quarantine;
    tg_vm_entry_tally(entry)->kills[reason]++;
    count_hit(reason);
    if (tg_vm_wants_rebuild(entry->vm))
        tg_vm_set_rebuild(entry->host.set, entry);
    if (!tg_quarantine_note_kill(quarantine, &entry->limits, tg_loop_now(&gate->worker->loop)))
        return;
    tg_metric_inc(gate->worker->cells, TG_METRIC_PLUGIN_QUARANTINES);
    tg_log_kv(TG_LOG_ERROR, "plugin", "a plugin is in quarantine after too many kills",
              tg_log_str("plugin", entry->host.plugin->name),
              tg_log_u64("milliseconds", quarantine->pause_us / 1000));
}
