/* plugins_defer.c: functions that plugins left for the end of the request: see tg_plugins_defer().
 *
 * They run behind the chain of the log phase, as links of it: what holds for a plugin that waits,
 * fails or is killed there holds for them.
 */
#include "base/banned.h"
#include "gateway/plugins_internal.h"

enum tg_err tg_plugins_defer(struct tg_request *r, struct tg_plugin_slot *slot, int function)
{
    if (slot->deferred >= TG_DEFERRED_MAX)
        return TG_E_LIMIT;
    struct tg_deferred *deferred = tg_arena_zalloc(&r->arena, sizeof(*deferred));
    if (deferred == NULL)
        return TG_E_NOMEM;
    slot->deferred++;
    deferred->instance = slot->instance;
    deferred->slot = slot;
    deferred->function = function;
    deferred->next = r->deferred;
    r->deferred = deferred;
    return TG_OK;
}

void tg_plugins_end_deferred(struct tg_plugin_run *p)
{
    tg_account_release(&p->deferred->account);
    tg_vm_unref(p->deferred->slot->vm, &p->deferred->function);
    p->deferred = NULL;
}

/* It runs even if the plugin is in quarantine meanwhile: what it cleans up was begun before. */
static enum tg_step start_deferred(struct tg_request *r, struct tg_deferred *deferred)
{
    struct tg_plugin_run *p = &r->plugins;
    const struct tg_instance_conf *instance = deferred->instance;
    p->instance = instance;
    p->failed = false;
    p->slot = deferred->slot;
    p->deferred = deferred;
    if (tg_account_init(&deferred->account, tg_vm_alloc(p->slot->vm), instance->memory,
                        instance->churn) != TG_OK ||
        tg_run_init(&p->run, p->slot->vm, &deferred->account, deferred->function) != TG_OK) {
        enum tg_step step = tg_plugins_fail_memory(r);
        tg_plugins_end_deferred(p);
        return step;
    }
    tg_plugins_begin_run(r);
    return tg_plugins_enter(r, 0);
}

enum tg_step tg_plugins_run_deferred(struct tg_request *r)
{
    while (r->deferred != NULL) {
        struct tg_deferred *deferred = r->deferred;
        r->deferred = deferred->next;
        enum tg_step step = start_deferred(r, deferred);
        if (step != TG_STEP_NEXT)
            return step;
    }
    return TG_STEP_NEXT;
}
