/* background.c: see background.h.
 *
 * The states of an activation are those of a request's plugin (plugins.c) without a chain behind
 * it: running, waiting (a timer bounds it), preempted (a deferred task continues it), ended.
 *
 * Freed at the end of the round in which it ended, so that who resumed it may still look.
 */
#include "base/banned.h"
#include "gateway/background.h"

#include "base/assert.h"
#include "gateway/gate.h"
#include "gateway/vm_set.h"
#include "net/outbox.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define LOG_LINES_PER_SECOND 50

static struct tg_gate *gate_of(const struct tg_background *b)
{
    return b->call.entry->host.gate;
}

static struct tg_loop *loop_of(const struct tg_background *b)
{
    return &gate_of(b)->worker->loop;
}

/* ---- Ends ---- */

static void log_failure(const struct tg_background *b, struct tg_str what)
{
    static struct tg_log_gate gate;
    uint64_t missed;
    if (!tg_log_gate_pass(&gate, LOG_LINES_PER_SECOND, tg_clock_mono_now(), &missed))
        return;
    struct tg_str trace = tg_run_trace(&b->run);
    struct tg_log_field fields[5] = {
        tg_log_str("plugin", b->call.entry->host.plugin->name),
        tg_log_str("phase", tg_str_c(b->call.what)),
        tg_log_str("error", what),
    };
    size_t count = 3;
    if (trace.n > 0)
        fields[count++] = tg_log_str("calls", trace);
    if (missed > 0)
        fields[count++] = tg_log_u64("suppressed", missed);
    tg_log_fields(TG_LOG_ERROR, "plugin", "a plugin failed", fields, count);
}

static struct tg_str kill_text(enum tg_kill kill, char *room, size_t size)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, size);
    tg_fmt_printf(&f, "killed (%s): %s", tg_kill_label(kill), tg_kill_text(kill));
    return tg_fmt_str(&f);
}

static void fail(struct tg_background *b, enum tg_metric_id counter)
{
    struct tg_str what = tg_run_error(&b->run); /* where it was; nothing when it waited */
    char room[128];
    if (what.n == 0)
        what = kill_text(b->run.kill, room, sizeof(room));
    if (b->call.on_error != NULL)
        b->call.on_error(b->call.arg, b->run.kill, what);
    if (b->call.on_error == NULL || b->run.kill != TG_KILL_NONE)
        log_failure(b, what);
    tg_metric_inc(gate_of(b)->worker->cells, counter);
}

static void on_free(struct tg_task *task)
{
    struct tg_background *b = TG_CONTAINER_OF(task, struct tg_background, again);
    struct tg_gate *gate = gate_of(b);
    b->magic = 0;
    tg_list_remove(&b->link);
    tg_vm_entry_unref(&b->call.entry);
    tg_mem_free(TG_MEM_PLUGIN, b);
    tg_gate_check_drained(gate);
}

/* At the end of the round, so that none is told from inside a call of its own. */
static void on_room(struct tg_task *task)
{
    struct tg_vm_entry *entry =
        tg_vm_entry_ref(TG_CONTAINER_OF(task, struct tg_vm_entry, room)); /* who settles lets go */
    for (struct tg_list *it = entry->activators.next; it != &entry->activators; it = it->next) {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        if (activator->on_room != NULL)
            activator->on_room(activator);
    }
    tg_vm_entry_unref(&entry);
}

/* What lasts as long as the request hangs on the slot; a task that was killed gives that back too.
 */
static void end_holds(struct tg_background *b)
{
    struct tg_plugin_slot *slot = b->call.slot;
    tg_held_end_all(&b->held);
    if (slot == NULL)
        return;
    tg_held_end_run(&slot->held, &b->run);
    tg_held_inherit(&slot->held, &b->run, &b->call.request->plugins.run);
}

static void end(struct tg_background *b, bool ok)
{
    struct tg_vm_entry *entry = b->call.entry;
    end_holds(b);
    if (b->timer_on)
        tg_timer_release(&b->timer);
    if (b->call.self != NULL)
        *b->call.self = NULL;
    if (b->call.on_end != NULL)
        b->call.on_end(b->call.arg, ok, ok ? b->run.L : NULL);
    tg_run_release(&b->run);
    tg_account_release(&b->account);
    tg_task_init(&b->again, on_free);
    tg_loop_defer(loop_of(b), &b->again);
    if (b->call.request != NULL)
        return;
    entry->background--;
    if (entry->room.run == NULL)
        tg_task_init(&entry->room, on_room);
    tg_loop_defer(loop_of(b), &entry->room);
}

static void fail_killed(struct tg_background *b)
{
    tg_vm_entry_note_kill(b->call.entry, b->run.kill);
    fail(b, TG_METRIC_PLUGIN_KILLS_CPU + (unsigned)b->run.kill - TG_KILL_CPU);
}

/* Ends one that waits or was preempted. */
static void kill_waiting(struct tg_background *b, enum tg_kill reason)
{
    struct tg_wait *wait = b->wait;
    b->wait = NULL;
    b->waiting = false;
    tg_task_cancel(&b->again);
    if (wait != NULL)
        wait->on_resume(wait, &b->run, true);
    tg_run_kill(&b->run, reason);
    fail_killed(b);
    end(b, false);
}

void tg_background_kill(struct tg_background *b)
{
    struct tg_wait *wait = b->wait;
    tg_magic_check(b, TG_BACKGROUND_MAGIC);
    b->wait = NULL;
    b->waiting = false;
    tg_task_cancel(&b->again);
    if (wait != NULL)
        wait->on_resume(wait, &b->run, true);
    end(b, false); /* releasing the activation abandons it */
}

/* ---- Running ---- */

static void settle(struct tg_background *b, enum tg_run_outcome outcome)
{
    switch (outcome) {
    case TG_RUN_WAIT:
        b->waiting = true;
        if (b->timer.deadline == 0)
            tg_timer_set(&b->timer, b->wall_deadline);
        return;
    case TG_RUN_PREEMPTED:
        tg_outbox_send(gate_of(b)->worker); /* the others first */
        tg_loop_yield(loop_of(b), &b->again);
        return;
    case TG_RUN_DONE:
    case TG_RUN_EXIT:
        end(b, outcome == TG_RUN_DONE);
        return;
    case TG_RUN_ERROR:
        tg_vm_entry_note_error(b->call.entry);
        fail(b, TG_METRIC_PLUGIN_ERRORS);
        break;
    case TG_RUN_KILLED:
        fail_killed(b);
        break;
    }
    end(b, false);
}

static void on_again(struct tg_task *task)
{
    struct tg_background *b = TG_CONTAINER_OF(task, struct tg_background, again);
    tg_magic_check(b, TG_BACKGROUND_MAGIC);
    if (tg_loop_now(loop_of(b)) >= b->wall_deadline)
        kill_waiting(b, TG_KILL_WALL);
    else
        settle(b, tg_run_resume(&b->run, 0));
}

enum tg_err tg_background_wait(struct tg_background *b, struct tg_wait *wait, uint64_t until)
{
    b->wait = wait;
    if (until != 0)
        tg_timer_set(&b->timer, TG_MIN(until, b->wall_deadline));
    return TG_OK;
}

void tg_background_wake(struct tg_background *b)
{
    struct tg_wait *wait = b->wait;
    tg_magic_check(b, TG_BACKGROUND_MAGIC);
    tg_assert(b->waiting);
    b->wait = NULL;
    b->waiting = false;
    tg_timer_clear(&b->timer);
    int results = wait != NULL ? wait->on_resume(wait, &b->run, false) : 0;
    if (results < 0)
        kill_waiting(b, TG_KILL_MEMORY);
    else
        settle(b, tg_run_resume(&b->run, results));
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_background *b = TG_CONTAINER_OF(timer, struct tg_background, timer);
    tg_magic_check(b, TG_BACKGROUND_MAGIC);
    if (tg_loop_now(loop_of(b)) < b->wall_deadline)
        tg_background_wake(b);
    else
        kill_waiting(b, TG_KILL_WALL);
}

static void free_new(struct tg_background *b)
{
    tg_timer_release(&b->timer);
    tg_account_release(&b->account);
    tg_mem_free(TG_MEM_PLUGIN, b);
}

/* An activation that has not begun: account, timer, coroutine and arguments. */
static enum tg_err prepare(struct tg_background *b, int *nargs)
{
    struct tg_vm_entry *entry = b->call.entry;
    const struct tg_instance_conf *instance = b->call.instance;
    struct tg_account *account = b->call.slot != NULL ? &b->call.slot->account : &b->account;
    enum tg_err err = TG_OK;
    *nargs = 0;
    if (account == &b->account)
        err = tg_account_init(account, tg_vm_alloc(entry->vm), entry->memory, entry->churn);
    if (err == TG_OK)
        err = tg_timer_init(&b->timer, &loop_of(b)->timers, on_timer);
    b->timer_on = err == TG_OK;
    if (err == TG_OK)
        err = tg_run_init(&b->run, entry->vm, account, b->call.function);
    if (err != TG_OK)
        return err;
    b->run.host = b;
    b->run.cpu_limit_us = instance != NULL ? instance->cpu : entry->cpu;
    if (b->call.push != NULL)
        err = tg_run_push(&b->run, b->call.push, b->call.arg, nargs);
    if (err == TG_OK && account == &b->account && tg_account_is_over(account))
        err = TG_E_NOMEM; /* it would be killed at its first allocation, for what it was given */
    if (err != TG_OK)
        tg_run_release(&b->run);
    return err;
}

enum tg_err tg_background_start(const struct tg_background_call *call)
{
    struct tg_vm_entry *entry = call->entry;
    struct tg_gate *gate = entry->host.gate;
    int nargs;
    uint64_t now = tg_loop_now(&gate->worker->loop);
    if (call->request == NULL && entry->background >= TG_BACKGROUND_MAX)
        return TG_E_LIMIT;
    struct tg_quarantine *quarantine = &entry->record->quarantine;
    if (gate->stopped || !tg_quarantine_allows(quarantine, &entry->limits, now))
        return TG_E_UNAVAILABLE;
    struct tg_background *b = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*b));
    if (b == NULL)
        return TG_E_NOMEM;
    b->magic = TG_BACKGROUND_MAGIC;
    b->call = *call;
    tg_list_init(&b->held);
    tg_task_init(&b->again, on_again);
    if (prepare(b, &nargs) != TG_OK) {
        free_new(b);
        return TG_E_NOMEM;
    }
    tg_vm_entry_ref(entry);
    entry->background += call->request == NULL;
    if (call->self != NULL)
        *call->self = b;
    tg_list_push_back(&gate->background, &b->link);
    b->wall_deadline = now + (call->instance != NULL ? call->instance->wall : entry->wall);
    settle(b, tg_run_resume(&b->run, nargs));
    return TG_OK;
}

void tg_background_stop(struct tg_gate *gate)
{
    gate->stopped = true;
    TG_LIST_FOREACH(&gate->background, it)
    {
        struct tg_background *b = TG_LIST_ENTRY(it, struct tg_background, link);
        if (b->again.run == on_again)
            kill_waiting(b, TG_KILL_WALL);
    }
    while (!tg_list_is_empty(&gate->lingering)) {
        struct tg_list *first = gate->lingering.next;
        struct tg_activator *activator = TG_LIST_ENTRY(first, struct tg_activator, lingering);
        activator->give_up(activator);
        tg_assert(gate->lingering.next != first);
    }
}

/* ---- Activators ---- */

void tg_activator_add(struct tg_vm_entry *entry, struct tg_activator *activator)
{
    tg_list_push_back(&entry->activators, &activator->link);
    tg_list_init(&activator->lingering);
    if (entry->state == TG_VM_IN_FORCE)
        activator->start(activator);
}

void tg_activator_linger(struct tg_vm_entry *entry, struct tg_activator *activator)
{
    if (!tg_list_is_empty(&activator->lingering))
        return;
    tg_list_push_back(&entry->host.gate->lingering, &activator->lingering);
    tg_vm_entry_ref(entry);
}

void tg_activator_settle(struct tg_vm_entry *entry, struct tg_activator *activator)
{
    struct tg_gate *gate = entry->host.gate;
    if (tg_list_is_empty(&activator->lingering))
        return;
    tg_list_remove(&activator->lingering);
    tg_vm_entry_unref(&entry);
    tg_gate_check_drained(gate);
}

void tg_background_begin(struct tg_vm_entry *entry)
{
    tg_assert(entry->state == TG_VM_NEW);
    entry->state = TG_VM_IN_FORCE;
    TG_LIST_FOREACH(&entry->activators, it)
    {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        activator->start(activator);
    }
}

void tg_background_retire(struct tg_vm_entry *entry)
{
    if (entry->state != TG_VM_IN_FORCE)
        return;
    entry->state = TG_VM_RETIRED;
    /* First those that free themselves, then those whose last work may free others. */
    TG_LIST_FOREACH(&entry->activators, it)
    {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        if (activator->on_room == NULL)
            activator->retire(activator);
    }
    for (struct tg_list *it = entry->activators.next; it != &entry->activators; it = it->next) {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        if (activator->on_room != NULL)
            activator->retire(activator);
    }
}

void tg_background_begin_all(struct tg_vm_set *set)
{
    for (uint32_t i = 0; i < set->snapshot->plugin_count; i++) {
        if (set->entries[i]->state == TG_VM_NEW)
            tg_background_begin(set->entries[i]);
    }
}

void tg_background_retire_all(struct tg_vm_set *set)
{
    for (uint32_t i = 0; set != NULL && i < set->snapshot->plugin_count; i++) {
        if (set->entries[i]->host.set == set)
            tg_background_retire(set->entries[i]);
    }
}
