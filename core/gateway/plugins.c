/* plugins.c: running the chains: see plugins.h.
 *
 * One plugin of a request runs at a time. `r->plugins` says which, and where in the chain it is:
 *
 *               start                                     next of the chain, or the chain is done
 *     idle ------------> active, running --- done --------------------------> idle   (NEXT)
 *                          |    ^     |
 *           wait, preempted|    |     +----- exit, error, kill --- on_error -> idle  (STOP, NEXT)
 *                          v    | resume
 *                        active, waiting --- wall time, cancel -------------> idle
 *
 * Whoever waits is woken by r->timer (sleep, wall time), by r->plugins.again (preemption) or by
 * tg_plugins_resume() (what the gateway was asked for is there). The timer is armed only when a
 * plugin waits: one that runs through costs no timer.
 *
 * Cost of a plugin that does nothing: a slot look-up, tg_run_init/resume/release and two pushes of
 * registry references. The slot is made at the plugin's first phase of a request, its account and
 * the ctx object when it is entered first; the others use them.
 *
 * Phases that are not entered. An instance may have prepared what its phase is (prepared.h), and a
 * plugin may say for which requests a phase is (`when`): both cost what step and condition cost,
 * and no entry into Lua.
 *
 * The bytes that go from one body filter to the next are plugins_chunk.c's. Messages of a WebSocket
 * go through their chain in plugins_message.c, deferred functions run behind that of the log phase
 * in plugins_defer.c.
 */
#include "base/banned.h"
#include "gateway/plugins_internal.h"

#include "base/assert.h"
#include "gateway/accounting.h"
#include "gateway/internal.h"
#include "gateway/vm_set.h"
#include "gateway/wait.h"
#include "http/ws.h"
#include "net/outbox.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <lauxlib.h>

#define LOG_LINES_PER_SECOND 50

static enum tg_step run_chain(struct tg_request *r);
static enum tg_step filter_chain(struct tg_request *r);

static struct tg_loop *loop_of(const struct tg_request *r)
{
    return &tg_gate_worker(r->gate)->loop;
}

/* Of the plugin whose turn it is, whatever VM it runs in. */
static struct tg_quarantine *quarantine_of(const struct tg_request *r)
{
    return &r->plugins.slot->entry->record->quarantine;
}

/* ---- Slots ---- */

static struct tg_plugin_slot *open_slot(struct tg_request *r,
                                        const struct tg_instance_conf *instance)
{
    uint32_t plugin = instance->plugin->index;
    struct tg_plugin_slot *slot = tg_arena_zalloc(&r->arena, sizeof(*slot));
    if (slot == NULL)
        return NULL;
    slot->entry = r->vms->entries[plugin];
    slot->vm = slot->entry->vm;
    slot->plugin = plugin;
    slot->state_ref = LUA_NOREF;
    tg_list_init(&slot->held);
    tg_vm_entry_ref(slot->entry);
    slot->open = true;
    slot->next = r->slots;
    r->slots = slot;
    return slot;
}

/* The slot's account, which it has from the first time on that its plugin is entered. */
static bool open_account(struct tg_plugin_slot *slot, const struct tg_instance_conf *instance)
{
    if (!slot->entered && tg_account_init(&slot->account, tg_vm_alloc(slot->vm), instance->memory,
                                          instance->churn) != TG_OK)
        return false;
    slot->entered = true;
    return true;
}

static struct tg_plugin_slot *slot_of(struct tg_request *r, const struct tg_instance_conf *instance)
{
    for (struct tg_plugin_slot *slot = r->slots; slot != NULL; slot = slot->next) {
        if (slot->plugin == instance->plugin->index)
            return slot;
    }
    return open_slot(r, instance);
}

/* Resumes the plugin, and counts its time. */
static enum tg_run_outcome resume_measured(struct tg_request *r, int nargs)
{
    uint64_t before = tg_accounting_cpu_now();
    enum tg_run_outcome outcome = tg_run_resume(&r->plugins.run, nargs);
    r->plugins.slot->cpu_ns += tg_accounting_cpu_now() - before;
    return outcome;
}

/* Resumes the plugin, before the eyes of who looks on. */
static enum tg_run_outcome resume(struct tg_request *r, int nargs)
{
    const struct tg_gate_observer *observer = tg_gate_observer(r->gate);
    if (TG_LIKELY(observer == NULL && !r->measured))
        return tg_run_resume(&r->plugins.run, nargs);
    if (observer == NULL)
        return resume_measured(r, nargs);
    observer->on_enter(observer->arg, r);
    enum tg_run_outcome outcome = tg_run_resume(&r->plugins.run, nargs);
    observer->on_leave(observer->arg, r, outcome);
    return outcome;
}

/* ---- Failures ---- */

static void log_failure(const struct tg_request *r, struct tg_str what)
{
    static struct tg_log_gate gate;
    const struct tg_plugin_run *p = &r->plugins;
    uint64_t missed;
    if (!tg_log_is_on(TG_LOG_ERROR) ||
        !tg_log_gate_pass(&gate, LOG_LINES_PER_SECOND, tg_clock_mono_now(), &missed))
        return;
    struct tg_str trace = p->active ? tg_run_trace(&p->run) : TG_STR("");
    struct tg_log_field fields[7] = {
        tg_log_str("plugin", p->instance->plugin->name),
        tg_log_str("phase", tg_str_c(p->deferred != NULL ? "defer" : tg_phase_name(p->phase))),
        tg_log_str("error", what),
        tg_log_str("request", tg_str(r->id, sizeof(r->id))),
        tg_log_str("use", p->instance->where),
    };
    size_t count = 5;
    if (trace.n > 0)
        fields[count++] = tg_log_str("calls", trace);
    if (missed > 0)
        fields[count++] = tg_log_u64("suppressed", missed);
    tg_log_fields(TG_LOG_ERROR, "plugin", "a plugin failed", fields, count);
}

enum tg_step tg_plugins_break_off(struct tg_request *r)
{
    tg_request_abort(r);
    return TG_STEP_STOP;
}

/* An answer is prepared in the place of what was. In header_filter it is what the rest of the chain
 * sees, so that each plugin has its say once, whoever answers. */
static enum tg_step answered(const struct tg_request *r)
{
    return r->plugins.phase == TG_PHASE_HEADER_FILTER ? TG_STEP_NEXT : TG_STEP_STOP;
}

static enum tg_step answer_failure(struct tg_request *r, unsigned status, const char *code)
{
    const struct tg_plugin_run *p = &r->plugins;
    struct tg_str who = p->shown.p != NULL ? p->instance->plugin->name : TG_STR("");
    r->error = code;
    tg_request_make_room(r);
    struct tg_str body = tg_answer_problem(r, status, code, p->shown, who);
    if (body.p == NULL || tg_request_answer(r, TG_SOURCE_GATEWAY, status, body) != TG_OK)
        return tg_plugins_break_off(r);
    if (tg_fields_add_id(&r->resp.fields, TG_FIELD_CONTENT_TYPE,
                         TG_STR("application/problem+json")) != TG_OK)
        return tg_plugins_break_off(r);
    return answered(r);
}

/* What becomes of the request when an instance fails, or is left out: its on_error. */
static enum tg_step settle_failure(struct tg_request *r, unsigned status, const char *code)
{
    const struct tg_plugin_run *p = &r->plugins;
    if (p->phase == TG_PHASE_LOG || p->instance->on_error == TG_ON_ERROR_SKIP)
        return TG_STEP_NEXT;
    r->error = code;
    if (p->instance->on_error == TG_ON_ERROR_CLOSE || p->phase == TG_PHASE_BODY_FILTER ||
        p->phase == TG_PHASE_CERTIFICATE)
        return tg_plugins_break_off(r);
    if (p->phase == TG_PHASE_MESSAGE) {
        r->plugins.message.close = TG_WS_CODE_INTERNAL;
        return TG_STEP_STOP;
    }
    return answer_failure(r, status, code);
}

/* The instance may not run: its on_error answers for it. An answer that the gateway gives by itself
 * (because of the same, as a rule) has nothing in it to protect, and goes out. */
static enum tg_step leave_out(struct tg_request *r, const char *code)
{
    r->plugins.shown = tg_str(NULL, 0);
    if (r->plugins.phase >= TG_PHASE_HEADER_FILTER && r->source == TG_SOURCE_GATEWAY)
        return TG_STEP_NEXT;
    return settle_failure(r, 503, code);
}

/* The instance failed. */
static enum tg_step fail_as(struct tg_request *r, struct tg_str what, unsigned status,
                            const char *code, enum tg_metric_id counter)
{
    const struct tg_gate_observer *observer = tg_gate_observer(r->gate);
    const struct tg_plugin_run *p = &r->plugins;
    log_failure(r, what);
    if (tg_gate_is_dev(r->gate))
        r->plugins.shown = tg_arena_copy(&r->arena, what);
    if (observer != NULL)
        observer->on_failed(observer->arg, r, what, p->active ? p->run.kill : TG_KILL_NONE);
    tg_metric_inc(tg_gate_worker(r->gate)->cells, counter);
    return settle_failure(r, status, code);
}

static enum tg_step fail(struct tg_request *r, struct tg_str what, unsigned status,
                         const char *code)
{
    tg_vm_entry_note_error(r->vms->entries[r->plugins.instance->plugin->index]);
    return fail_as(r, what, status, code, TG_METRIC_PLUGIN_ERRORS);
}

enum tg_step tg_plugins_fail_memory(struct tg_request *r)
{
    return fail(r, TG_STR("no memory to run it"), 503, "plugin_unavailable");
}

void tg_plugins_fail(struct tg_request *r, struct tg_str what)
{
    r->plugins.failed = true;
    r->plugins.failure = tg_arena_copy(&r->arena, what);
}

/* ---- Waiting ---- */

static void wake(struct tg_request *r, enum tg_step step)
{
    if (step != TG_STEP_WAIT)
        tg_request_step(r, r->plugins.phase, step);
}

static void end_run(struct tg_plugin_run *p)
{
    tg_held_end_run(&p->slot->held, &p->run);
    tg_run_release(&p->run);
    p->active = false;
    p->waiting = false;
    p->on_resume = NULL;
    if (p->deferred != NULL)
        tg_plugins_end_deferred(p);
}

static enum tg_step go_on(struct tg_request *r, enum tg_step step)
{
    if (step != TG_STEP_NEXT)
        return step;
    if (r->plugins.phase == TG_PHASE_MESSAGE)
        return tg_plugins_message_chain(r);
    return r->plugins.phase == TG_PHASE_BODY_FILTER ? filter_chain(r) : run_chain(r);
}

static enum tg_step fail_killed(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    struct tg_str what = tg_run_error(&p->run); /* where it was; nothing when it waited */
    char room[128];
    struct tg_fmt f;
    if (what.n == 0) {
        tg_fmt_init(&f, room, sizeof(room));
        tg_fmt_printf(&f, "killed (%s): %s", tg_kill_label(p->run.kill), tg_kill_text(p->run.kill));
        what = tg_fmt_str(&f);
    }
    tg_vm_entry_note_kill(p->slot->entry, p->run.kill);
    tg_accounting_note_kill(r, p->slot, p->run.kill);
    p->slot->killed = p->phase != TG_PHASE_MESSAGE; /* the next one is another piece of work */
    return fail_as(r, what, 503, "plugin_killed",
                   TG_METRIC_PLUGIN_KILLS_CPU + (unsigned)p->run.kill - TG_KILL_CPU);
}

static void stop_waiting(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    p->waiting = false;
    if (r->timer_on)
        tg_timer_clear(&r->timer);
    if (p->again.run != NULL)
        tg_task_cancel(&p->again);
}

/* Ends a plugin that waits because of `reason`; the verdict of its failure. */
static enum tg_step kill_waiting(struct tg_request *r, enum tg_kill reason)
{
    struct tg_plugin_run *p = &r->plugins;
    stop_waiting(r);
    if (p->on_resume != NULL)
        p->on_resume(r, true);
    tg_run_kill(&p->run, reason);
    enum tg_step step = fail_killed(r);
    end_run(p);
    return step;
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_request *r = TG_CONTAINER_OF(timer, struct tg_request, timer);
    tg_magic_check(r, TG_REQUEST_MAGIC);
    tg_assert(r->plugins.waiting);
    if (tg_loop_now(loop_of(r)) < r->wall_deadline)
        wake(r, tg_plugins_resume(r));
    else
        wake(r, go_on(r, kill_waiting(r, TG_KILL_WALL)));
}

static void on_again(struct tg_task *task)
{
    struct tg_request *r = TG_CONTAINER_OF(task, struct tg_request, plugins.again);
    tg_magic_check(r, TG_REQUEST_MAGIC);
    if (tg_loop_now(loop_of(r)) >= r->wall_deadline)
        wake(r, go_on(r, kill_waiting(r, TG_KILL_WALL)));
    else
        wake(r, tg_plugins_resume(r));
}

static bool ready_timer(struct tg_request *r)
{
    if (r->timer_on)
        return true;
    r->timer_on = tg_timer_init(&r->timer, &loop_of(r)->timers, on_timer) == TG_OK;
    return r->timer_on;
}

/* on_resume of tg_request_wait(). */
static int end_wait(struct tg_request *r, bool cancelled)
{
    struct tg_wait *wait = r->plugins.wait;
    return wait->on_resume(wait, &r->plugins.run, cancelled);
}

enum tg_err tg_request_wait(struct tg_request *r, struct tg_wait *wait, uint64_t until)
{
    if (!ready_timer(r))
        return TG_E_NOMEM;
    r->plugins.wait = wait;
    r->plugins.on_resume = end_wait;
    if (until != 0)
        tg_timer_set(&r->timer, TG_MIN(until, r->wall_deadline));
    return TG_OK;
}

void tg_plugins_wake(struct tg_request *r)
{
    wake(r, tg_plugins_resume(r));
}

/* The plugin waits for something: wall time runs. */
static enum tg_step begin_wait(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    p->waiting = true;
    if (!tg_plugins_keep_chunk(p) || !ready_timer(r))
        return kill_waiting(r, TG_KILL_MEMORY);
    if (r->timer.deadline == 0) /* else it ends the wait */
        tg_timer_set(&r->timer, r->wall_deadline);
    return TG_STEP_WAIT;
}

/* The slice is over: the others first. */
static enum tg_step begin_again(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    tg_outbox_send(tg_gate_worker(r->gate));
    p->waiting = true;
    if (!tg_plugins_keep_chunk(p))
        return kill_waiting(r, TG_KILL_MEMORY);
    if (p->again.run == NULL)
        tg_task_init(&p->again, on_again);
    tg_loop_yield(loop_of(r), &p->again);
    return TG_STEP_WAIT;
}

/* ---- One plugin ---- */

/* A value that the phase returned though no one takes it: `return 403`, or `return nil, err`, lets
 * the request pass, which the author may not have meant. Told once for each VM and phase. Objects
 * are no news: `return ctx.req:set_header(...)` is a way to write a last statement. */
static void tell_ignored(const struct tg_plugin_run *p)
{
    bool is_value = false;
    uint32_t bit = 1u << p->phase;
    if (p->phase == TG_PHASE_LOG || p->deferred != NULL || (p->slot->entry->told & bit) != 0)
        return;
    for (int i = 1; i <= p->run.nresults; i++) {
        int type = lua_type(p->run.L, -i);
        is_value |= type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING ||
                    type == LUA_TTABLE;
    }
    if (!is_value)
        return;
    p->slot->entry->told |= bit;
    tg_log_kv(TG_LOG_WARN, "plugin",
              "what the phase returned is ignored, the request goes on: ctx:exit() answers, "
              "ctx:fail() and error() fail",
              tg_log_str("plugin", p->instance->plugin->name),
              tg_log_str("phase", tg_str_c(tg_phase_name(p->phase))),
              tg_log_str("use", p->instance->where));
}

static enum tg_step settle_done(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    const char *wrong = p->phase == TG_PHASE_BODY_FILTER ? tg_plugins_take_results(p)
                        : p->phase == TG_PHASE_MESSAGE   ? tg_plugins_take_verdict(p)
                                                         : NULL;
    enum tg_step step = TG_STEP_NEXT;
    if (wrong != NULL)
        step = fail(r, tg_str_c(wrong), 500, "plugin_error");
    else if (TG_UNLIKELY(p->run.nresults > 0) && p->phase != TG_PHASE_BODY_FILTER &&
             p->phase != TG_PHASE_MESSAGE)
        tell_ignored(p);
    end_run(p);
    return step;
}

/* The verdict of what tg_run_resume() said. WAIT leaves the activation open. */
static enum tg_step settle(struct tg_request *r, enum tg_run_outcome outcome)
{
    struct tg_plugin_run *p = &r->plugins;
    enum tg_step step = TG_STEP_STOP;
    switch (outcome) {
    case TG_RUN_DONE:
        return settle_done(r);
    case TG_RUN_WAIT:
        return begin_wait(r);
    case TG_RUN_PREEMPTED:
        return begin_again(r);
    case TG_RUN_EXIT:
        step = p->failed         ? fail(r, p->failure, 503, "plugin_failed")
               : r->abort_wanted ? TG_STEP_STOP
                                 : answered(r);
        break;
    case TG_RUN_ERROR:
        step = fail(r, tg_run_error(&p->run), 500, "plugin_error");
        break;
    case TG_RUN_KILLED:
        step = fail_killed(r);
        break;
    }
    end_run(p);
    return step;
}

void tg_plugins_begin_run(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    p->active = true;
    p->run.host = r;
    p->run.cpu_limit_us = p->instance->cpu;
    r->wall_deadline = tg_loop_now(loop_of(r)) + p->instance->wall;
}

/* What configure() prepared in place of the phase, if it did. */
static enum tg_prepared stand_in(struct tg_request *r)
{
    const struct tg_gate_observer *observer = tg_gate_observer(r->gate);
    const struct tg_plugin_run *p = &r->plugins;
    uint32_t place = tg_vm_set_place(r->vms, p->slot->plugin, p->instance->nth);
    enum tg_prepared outcome = tg_prepared_run(&p->slot->entry->stand_ins[place], r);
    if (observer != NULL && outcome != TG_PREPARED_LEFT)
        observer->on_stood_in(observer->arg, r);
    return outcome;
}

enum tg_step tg_plugins_enter(struct tg_request *r, int nargs)
{
    return settle(r, resume(r, nargs));
}

/* Calls the phase's function. */
static enum tg_step enter(struct tg_request *r, int function)
{
    struct tg_plugin_run *p = &r->plugins;
    const struct tg_vm_entry *entry = p->slot->entry;
    const struct tg_vm_host *host = &entry->host;
    int by = p->phase == TG_PHASE_BODY_FILTER ? host->enter_chunk
             : p->phase == TG_PHASE_MESSAGE   ? host->enter_message
                                              : host->enter;
    if (!open_account(p->slot, p->instance))
        return tg_plugins_fail_memory(r);
    if (p->phase == TG_PHASE_MESSAGE)
        tg_account_renew(&p->slot->account, p->instance->churn);
    if (tg_run_init(&p->run, p->slot->vm, &p->slot->account, by) != TG_OK)
        return tg_plugins_fail_memory(r);
    tg_plugins_begin_run(r);
    lua_rawgeti(p->run.L, LUA_REGISTRYINDEX, function);
    lua_rawgeti(p->run.L, LUA_REGISTRYINDEX,
                entry->configured[tg_vm_set_place(r->vms, p->slot->plugin, p->instance->nth)]);
    return tg_plugins_enter(r, 2);
}

static enum tg_step start(struct tg_request *r, const struct tg_instance_conf *instance)
{
    struct tg_plugin_run *p = &r->plugins;
    p->instance = instance;
    p->failed = false;
    p->slot = slot_of(r, instance);
    if (p->slot == NULL)
        return tg_plugins_fail_memory(r);
    p->slot->instance = instance;
    int function = tg_vm_function(p->slot->vm, p->phase);
    if (function == LUA_NOREF)
        return TG_STEP_NEXT;
    const struct tg_vm_entry *entry = p->slot->entry;
    if (!tg_quarantine_allows(quarantine_of(r), &entry->limits, tg_loop_now(loop_of(r))))
        return leave_out(r, "plugin_quarantined");
    if (p->slot->killed)
        return leave_out(r, "plugin_killed");
    switch (stand_in(r)) {
    case TG_PREPARED_DONE:
        return TG_STEP_NEXT;
    case TG_PREPARED_ANSWERED:
        return answered(r);
    case TG_PREPARED_FAILED:
        return tg_plugins_fail_memory(r);
    case TG_PREPARED_LEFT:
        break;
    }
    return enter(r, function);
}

/* ---- Chains ---- */

/* Whether the instance takes part: what the plugin's `when` for the phase and its own say of the
 * request. */
static bool applies(struct tg_request *r, const struct tg_instance_conf *instance)
{
    const struct tg_gate_observer *observer = tg_gate_observer(r->gate);
    if (observer != NULL && !observer->wants(observer->arg, r, instance))
        return false;
    return tg_condition_holds(instance->plugin->when[r->plugins.phase], r) &&
           tg_condition_holds(instance->when, r);
}

enum tg_step tg_plugins_offer(struct tg_request *r, const struct tg_instance_conf *instance)
{
    return applies(r, instance) ? start(r, instance) : TG_STEP_NEXT;
}

static const struct tg_chain *chain_of(const struct tg_request *r)
{
    return &r->chains->phase[r->plugins.phase];
}

/* The chain is looked up at each turn: another takes its place when a plugin authenticates. */
static enum tg_step run_chain(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    while (p->next < chain_of(r)->n) {
        const struct tg_instance_conf *instance = chain_of(r)->v[p->next++];
        enum tg_step step = applies(r, instance) ? start(r, instance) : TG_STEP_NEXT;
        if (step != TG_STEP_NEXT)
            return step;
    }
    return p->phase == TG_PHASE_LOG ? tg_plugins_run_deferred(r) : TG_STEP_NEXT;
}

static enum tg_step filter_chain(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    const struct tg_chain *chain = chain_of(r);
    while (p->next < chain->n && (tg_plugins_chunk_size(p) > 0 || p->chunk_eof)) {
        const struct tg_instance_conf *instance = chain->v[p->next++];
        enum tg_step step = applies(r, instance) ? start(r, instance) : TG_STEP_NEXT;
        if (step != TG_STEP_NEXT)
            return step;
    }
    return tg_plugins_hand_out_chunk(p) ? TG_STEP_NEXT : tg_plugins_break_off(r);
}

enum tg_step tg_plugins_run(struct tg_request *r, enum tg_phase phase)
{
    tg_assert(!r->plugins.active && phase != TG_PHASE_BODY_FILTER && phase != TG_PHASE_MESSAGE);
    r->plugins.phase = phase;
    r->plugins.next = 0;
    return run_chain(r);
}

enum tg_step tg_plugins_filter(struct tg_request *r, struct tg_str data, bool eof,
                               struct tg_buf *out)
{
    struct tg_plugin_run *p = &r->plugins;
    tg_assert(!p->active);
    if (p->chunk_buf.slab == NULL)
        tg_buf_init(&p->chunk_buf, tg_gate_worker(r->gate)->slab);
    p->phase = TG_PHASE_BODY_FILTER;
    p->next = 0;
    p->chunk = data.p != NULL ? data : TG_STR("");
    p->chunk_eof = eof;
    p->out = out;
    return filter_chain(r);
}

enum tg_step tg_plugins_resume(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    tg_assert(p->active && p->waiting);
    int (*on_resume)(struct tg_request *, bool) = p->on_resume;
    p->on_resume = NULL;
    stop_waiting(r);
    int results = on_resume != NULL ? on_resume(r, false) : 0;
    if (results < 0)
        return go_on(r, kill_waiting(r, TG_KILL_MEMORY));
    return go_on(r, settle(r, resume(r, results)));
}

/* ---- Ends ---- */

void tg_plugins_cancel(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    if (!p->active || !p->waiting)
        return;
    stop_waiting(r);
    if (p->on_resume != NULL)
        p->on_resume(r, true);
    end_run(p);
    tg_plugins_drop_chunk(p);
}

void tg_plugins_stop(struct tg_request *r)
{
    tg_plugins_cancel(r);
    r->plugins.phase = TG_PHASE_LOG;
    while (tg_plugins_run_deferred(r) == TG_STEP_WAIT)
        tg_plugins_cancel(r);
}

static void leave_vm(struct tg_request *r, struct tg_plugin_slot *slot)
{
    tg_plugin_host.end_slot(r, slot);
    tg_accounting_end_slot(r, slot);
    tg_account_release(&slot->account);
}

void tg_plugins_end(struct tg_request *r)
{
    tg_plugins_cancel(r);
    tg_assert(!r->plugins.active);
    for (; r->deferred != NULL; r->deferred = r->deferred->next)
        tg_vm_unref(r->deferred->slot->vm, &r->deferred->function);
    for (struct tg_plugin_slot *slot = r->slots; slot != NULL; slot = slot->next) {
        if (!slot->open)
            continue;
        tg_held_end_all(&slot->held);
        if (slot->entered)
            leave_vm(r, slot);
        tg_vm_entry_unref(&slot->entry);
        slot->open = false;
    }
    for (struct tg_shared_value *value = r->shared; value != NULL; value = value->next)
        tg_blob_release(&value->blob);
    r->shared = NULL;
    tg_plugins_drop_chunk(&r->plugins);
    if (r->timer_on)
        tg_timer_release(&r->timer);
    r->timer_on = false;
}
