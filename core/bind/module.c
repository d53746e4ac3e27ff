/* module.c: how core/bind takes part in the VMs: modules, print, the host's callbacks.
 *
 * A plugin may require "tidegate" (the library), "tidegate.schema" and its own files. The schema is
 * checked when a configuration is loaded, in a VM of its own; in a plugin's VM, where it has no
 * use, the module is a stand-in that takes every call and costs a few hundred bytes.
 *
 * A plugin's own modules are in the snapshot, as they were when the configuration was checked.
 */
#include "base/banned.h"
#include "bind/bind.h"

#include "bind/object.h"
#include "gateway/wait.h"
#include "observe/log.h"

#define PRINT_PER_SEC 100

/* Any field of it is a function that returns it, and so is it itself. */
static const char schema_stand_in[] =
    "local any = {}\n"
    "local function self() return any end\n"
    "return setmetatable(any, { __index = function() return self end, __call = self })\n";

static bool resolve(void *arg, struct tg_str name, struct tg_vm_module *out)
{
    const struct tg_vm_host *host = arg;
    if (tg_str_eq(name, TG_STR("tidegate.schema"))) {
        *out = (struct tg_vm_module){tg_str(schema_stand_in, sizeof(schema_stand_in) - 1), name};
        return true;
    }
    for (uint32_t i = 0; i < host->plugin->module_count; i++) {
        const struct tg_module_conf *module = &host->plugin->modules[i];
        if (!tg_str_eq(module->name, name))
            continue;
        *out = (struct tg_vm_module){module->source, module->chunkname};
        return true;
    }
    return false;
}

/* print() of a plugin is a line of level debug. */
static void on_print(void *arg, struct tg_run *run, struct tg_str line)
{
    static struct tg_log_gate gate;
    const struct tg_vm_host *host = arg;
    const struct tg_request *r = run != NULL ? tg_run_request(run) : NULL;
    uint64_t missed;
    if (!tg_log_is_on(TG_LOG_DEBUG) ||
        !tg_log_gate_pass(&gate, PRINT_PER_SEC, tg_clock_mono_now(), &missed))
        return;
    tg_log_kv(TG_LOG_DEBUG, "plugin", "print", tg_log_str("text", line),
              tg_log_str("plugin", host->plugin->name),
              tg_log_str("request", r != NULL ? tg_str(r->id, sizeof(r->id)) : TG_STR("")));
}

void tg_bind_install(void)
{
    tg_plugin_host = (struct tg_plugin_host){
        .open = tg_bind_open,
        .resolve = resolve,
        .on_print = on_print,
        .on_freed = tg_bind_release_value,
        .end_slot = tg_bind_end_slot,
        .deliver = tg_bind_deliver,
        .end_gate = tg_bind_end_gate,
    };
}
