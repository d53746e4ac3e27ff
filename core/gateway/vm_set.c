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
#include "observe/log.h"

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

/* Opens what the plugin declares for itself alone; no declared zone has a name with a slash. */
static enum tg_err open_own_zones(struct tg_vm_set *set, struct tg_vm_entry *entry)
{
    struct tg_zones *zones = set->gate->gateway->zones;
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

static enum tg_err make_vm(struct tg_vm_set *set, uint32_t index, struct tg_vm_error *error)
{
    struct tg_vm_entry *entry = &set->entries[index];
    const struct tg_plugin_conf *plugin = &set->snapshot->plugins[index];
    entry->host = (struct tg_vm_host){.gate = set->gate, .set = set, .plugin = plugin};
    tg_list_init(&entry->activators);
    set->entry_count = index + 1;
    entry->limits = set->snapshot->settings.limits;
    if (plugin->heap != 0)
        entry->limits.plugin_heap = plugin->heap;
    tg_quarantine_init(&entry->quarantine, &entry->limits);
    struct tg_vm_options options = {
        .name = plugin->name,
        .file = plugin->chunkname,
        .source = plugin->source,
        .limits = &entry->limits,
        .clock = &tg_gate_worker(set->gate)->loop.clock,
        .runner = tg_gate_runner(set->gate),
        .functions = phase_functions,
        .function_count = TG_PHASES,
        .open = tg_plugin_host.open,
        .resolve = tg_plugin_host.resolve,
        .on_print = tg_plugin_host.on_print,
        .arg = &entry->host,
    };
    if (open_own_zones(set, entry) != TG_OK)
        return out_of_memory(error);
    enum tg_err err = tg_vm_new(&options, &entry->vm, error);
    return err == TG_OK ? tg_vm_start(entry->vm, error) : err;
}

static enum tg_err make_all(struct tg_vm_set *set, struct tg_vm_error *error)
{
    const struct tg_snapshot *snapshot = set->snapshot;
    for (uint32_t i = 0; i < snapshot->zone_count; i++) {
        const struct tg_zone_conf *zone = &snapshot->zones[i];
        if (tg_zones_open(set->gate->gateway->zones, zone->kind, zone->name, zone->size,
                          &set->zones[i]) != TG_OK)
            return out_of_memory(error);
    }
    for (uint32_t i = 0; i < snapshot->plugin_count; i++) {
        enum tg_err err = make_vm(set, i, error);
        if (err != TG_OK)
            return err;
    }
    for (uint32_t i = 0; i < snapshot->instance_count; i++) {
        const struct tg_instance_conf *instance = &snapshot->instances[i];
        struct tg_vm *vm = set->entries[instance->plugin->index].vm;
        enum tg_err err = tg_vm_configure(vm, instance->conf, &set->configured[i], error);
        if (err != TG_OK)
            return err;
    }
    return TG_OK;
}

static void stop_vm(struct tg_vm_entry *entry)
{
    struct tg_vm_error error;
    if (tg_vm_stop(entry->vm, &error) == TG_OK)
        return;
    tg_log_kv(TG_LOG_ERROR, "plugin", "stop failed", tg_log_str("plugin", entry->host.plugin->name),
              tg_log_str("error", tg_str(error.text, error.n)));
}

static void release_entry(struct tg_vm_entry *entry)
{
    tg_assert(entry->background == 0);
    if (entry->vm != NULL)
        stop_vm(entry);
    if (entry->room.run != NULL)
        tg_task_cancel(&entry->room);
    TG_LIST_FOREACH(&entry->activators, it)
    {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        tg_list_remove(it);
        activator->release(activator);
    }
    tg_vm_free(&entry->vm);
    tg_zone_unref(&entry->dict);
    tg_zone_unref(&entry->cache);
}

static void free_set(struct tg_vm_set *set)
{
    for (uint32_t i = 0; i < set->entry_count; i++)
        release_entry(&set->entries[i]);
    for (uint32_t i = 0; set->zones != NULL && i < set->snapshot->zone_count; i++)
        tg_zone_unref(&set->zones[i]);
    tg_mem_free(TG_MEM_PLUGIN, set->zones);
    tg_mem_free(TG_MEM_PLUGIN, set->entries);
    tg_mem_free(TG_MEM_PLUGIN, set->configured);
    tg_snapshot_unref(&set->snapshot);
    tg_mem_free(TG_MEM_PLUGIN, set);
}

enum tg_err tg_vm_set_new(struct tg_gate *gate, struct tg_snapshot *snapshot,
                          struct tg_vm_set **out, struct tg_vm_error *error)
{
    struct tg_vm_set *set = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*set));
    if (set == NULL)
        return out_of_memory(error);
    set->refs = 1;
    set->gate = gate;
    set->snapshot = tg_snapshot_ref(snapshot);
    set->entries = tg_mem_zalloc(TG_MEM_PLUGIN, snapshot->plugin_count, sizeof(*set->entries));
    set->configured = tg_mem_zalloc(TG_MEM_PLUGIN, snapshot->instance_count, sizeof(int));
    set->zones = tg_mem_zalloc(TG_MEM_PLUGIN, snapshot->zone_count, sizeof(*set->zones));
    enum tg_err err = TG_E_NOMEM;
    if (set->entries != NULL && set->configured != NULL && set->zones != NULL)
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
