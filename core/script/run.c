/* run.c: entering and leaving the Lua VM, and everything that ends a stay in it. See run.h.
 *
 * What happens on an entry, in this order, and undone in reverse on the way out:
 *   1. the activation becomes vm->current, its account pays, the bounds hold
 *   2. runner->vm is set and runner->seq becomes odd: from here on the watchdog may interrupt
 *   3. lua_resume()
 *
 * The hook is set by this thread (pressure, kill, exit) and by the signal handler, which runs on
 * this same thread but between any two instructions. lua_sethook() inside lua_sethook() would leave
 * the interpreter's dispatch table half switched; so the thread says runner->busy around its calls,
 * and a handler that sees it leaves runner->late instead. A handler that strikes while the
 * interpreter changes its own hook flags may lose its effect, never its consistency: the watchdog
 * strikes again after a millisecond, as long as the same entry runs.
 *
 * Kills raise nil: the value is never seen, because the sandbox raises again whatever a plugin
 * catches while the end is sticky, and nil needs no memory.
 */
#include "base/banned.h"
#include "script/pattern_lua.h"
#include "script/state.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdatomic.h>

#define COLLECTIONS_PER_SEC 4
#define IDLE_THREADS_MAX    64
#define RETRY_INSTRUCTIONS  1000 /* until a hook that could not yield tries again */

/* ---- The hook -------------------------------------------------------------------------------- */

static void on_hook(lua_State *L, lua_Debug *ar);

void tg_hook_set(struct tg_vm *vm, int count)
{
    struct tg_runner *runner = vm->runner;
    runner->busy = true;
    do {
        runner->late = false;
        atomic_signal_fence(memory_order_seq_cst);
        lua_sethook(vm->L, count > 0 ? on_hook : NULL, count > 0 ? LUA_MASKCOUNT : 0, count);
        vm->armed = count > 0;
        count = 1;
        atomic_signal_fence(memory_order_seq_cst);
    } while (runner->late && vm->current != NULL);
    runner->busy = false;
}

static const _Atomic bool never = false;

void tg_runner_init(struct tg_runner *runner)
{
    runner->asleep = &never;
    runner->wake = NULL;
    runner->wake_arg = NULL;
    atomic_init(&runner->seq, 0);
    runner->slice_us = TG_USEC_PER_MSEC;
    runner->since_us = 0;
    runner->vm = NULL;
    runner->busy = false;
    runner->late = false;
}

void tg_runner_interrupt(void *arg, uint64_t seq, uint64_t since_us)
{
    struct tg_runner *runner = arg;
    struct tg_vm *vm = runner->vm;
    if (vm == NULL || atomic_load_explicit(&runner->seq, memory_order_relaxed) != seq)
        return;
    if (runner->since_us == 0)
        runner->since_us = since_us;
    vm->sliced = true;
    if (runner->busy) {
        runner->late = true;
        return;
    }
    lua_sethook(vm->L, on_hook, LUA_MASKCOUNT, 1);
    vm->armed = true;
}

/* "file:line: " of the innermost Lua function of the plugin on `L`; nothing when there is none. */
static size_t write_place(lua_State *L, char *out, size_t size)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.source[0] != '@')
            continue;
        int n = snprintf(out, size, "%s:%d: ", ar.short_src, ar.currentline);
        return TG_MIN((size_t)n, size - 1);
    }
    return 0;
}

static void write_kill(struct tg_vm *vm, enum tg_kill reason, lua_State *L)
{
    size_t at = write_place(L, vm->error, sizeof(vm->error));
    if (at == 0) /* tail calls left no Lua frame */
        at = (size_t)snprintf(vm->error, sizeof(vm->error), "%s: ", vm->file);
    int n = snprintf(vm->error + at, sizeof(vm->error) - at, "killed (%s): %s",
                     tg_kill_label(reason), tg_kill_text(reason));
    vm->error_n = TG_MIN(at + (size_t)n, sizeof(vm->error) - 1);
}

static void count_kill(struct tg_vm *vm, enum tg_kill reason)
{
    vm->kills[reason]++;
    vm->kill_times[vm->kill_total++ % TG_VM_REBUILD_KILLS] = vm->options.clock->mono;
}

void tg_run_note_kill(struct tg_run *run, enum tg_kill reason, lua_State *L)
{
    struct tg_vm *vm = run->vm;
    if (run->kill == TG_KILL_NONE) {
        run->kill = reason;
        vm->error_n = 0;
        count_kill(vm, reason);
    }
    if (L != NULL && vm->error_n == 0)
        write_kill(vm, run->kill, L);
    if (run->state == TG_RUN_STATE_RUNNING)
        tg_hook_set(vm, 1);
}

void tg_run_raise_sticky(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    tg_assert(tg_vm_is_sticky(vm));
    if (vm->current->kill != TG_KILL_NONE)
        tg_run_note_kill(vm->current, vm->current->kill, L);
    lua_pushnil(L);
    lua_error(L);
    abort();
}

void tg_run_raise_kill(lua_State *L, enum tg_kill reason)
{
    struct tg_vm *vm = tg_vm_inline(L);
    if (vm->current == NULL) {
        luaL_error(L, "%s", tg_kill_text(reason));
        abort();
    }
    tg_run_note_kill(vm->current, reason, L);
    tg_run_raise_sticky(L);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void tg_run_on_pressure(void *arg)
{
    struct tg_vm *vm = arg;
    vm->pressed = true;
    if (!vm->armed && vm->current != NULL)
        tg_hook_set(vm, 1);
}

void tg_run_on_refused(void *arg, enum tg_kill reason)
{
    struct tg_vm *vm = arg;
    if (vm->current != NULL)
        tg_run_note_kill(vm->current, reason, vm->running);
}

bool tg_run_collect(struct tg_vm *vm, struct tg_run *run)
{
    struct tg_account *account = tg_alloc_switch(vm->alloc, NULL);
    uint64_t now = vm->options.clock->mono;
    if (now - account->window_start >= TG_USEC_PER_SEC) {
        account->window_start = now;
        account->window_collections = 0;
    }
    bool allowed = account->window_collections < COLLECTIONS_PER_SEC;
    if (allowed) {
        account->window_collections++;
        account->collections++;
        bool enforced = tg_alloc_enforce(vm->alloc, false);
        lua_gc(run->L, LUA_GCCOLLECT, 0);
        tg_alloc_enforce(vm->alloc, enforced);
        tg_alloc_collected(vm->alloc);
    }
    tg_alloc_switch(vm->alloc, account);
    return allowed;
}

/* Memory is above a soft mark. Without an allowance nobody knows what of it is garbage: then the
 * hard bound decides. */
static void relieve(struct tg_vm *vm, struct tg_run *run)
{
    vm->pressed = false;
    if (!tg_alloc_is_pressed(vm->alloc) || !tg_run_collect(vm, run))
        return;
    if (run->account != NULL && tg_account_is_over(run->account))
        tg_run_note_kill(run, TG_KILL_MEMORY, vm->running);
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* CPU time of this activation until now; only once the watchdog has said when the entry was. */
static void settle_cpu(struct tg_run *run)
{
    struct tg_runner *runner = run->vm->runner;
    if (runner->since_us == 0)
        return;
    uint64_t now = tg_clock_thread_cpu();
    if (now > runner->since_us)
        run->cpu_us += now - runner->since_us;
    runner->since_us = now;
}

/* The slice is over: the budget too, or let the others run. True: yielding is possible now. */
static bool slice_ends(struct tg_vm *vm, struct tg_run *run, lua_State *L)
{
    settle_cpu(run);
    if (run->cpu_us >= run->cpu_limit_us) {
        tg_run_note_kill(run, TG_KILL_CPU, L);
        return false;
    }
    if (!tg_run_can_suspend(L)) {
        tg_hook_set(vm, RETRY_INSTRUCTIONS);
        return false;
    }
    vm->sliced = false;
    run->preempted++;
    return true;
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct tg_vm *vm = tg_vm_inline(L);
    struct tg_run *run = vm->current;
    (void)ar;
    if (run == NULL || vm->pause != TG_PAUSE_NONE)
        return;
    if (vm->pressed && !tg_vm_is_sticky(vm))
        relieve(vm, run);
    if (tg_vm_is_sticky(vm))
        tg_run_raise_sticky(L);
    if (!vm->sliced) {
        tg_hook_set(vm, 0);
        return;
    }
    if (slice_ends(vm, run, L)) {
        vm->pause = TG_PAUSE_PREEMPT;
        lua_yield(L, 0);
    }
    if (tg_vm_is_sticky(vm))
        tg_run_raise_sticky(L);
}

/* ---- Coroutines of the pool ------------------------------------------------------------------ */

static int make_thread(lua_State *L)
{
    struct tg_vm_thread *thread = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    thread->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    thread->L = co;
    return 0;
}

static bool grow_pool(struct tg_vm *vm)
{
    if (vm->thread_count == vm->thread_room) {
        size_t room = TG_MAX(4, 2 * (size_t)vm->thread_room);
        struct tg_vm_thread *threads =
            tg_mem_realloc(TG_MEM_PLUGIN, vm->threads, room * sizeof(*threads));
        if (threads == NULL)
            return false;
        vm->threads = threads;
        uint32_t *idle = tg_mem_realloc(TG_MEM_PLUGIN, vm->idle, room * sizeof(*idle));
        if (idle == NULL)
            return false;
        vm->idle = idle;
        vm->thread_room = (uint32_t)room;
    }
    vm->threads[vm->thread_count] = (struct tg_vm_thread){NULL, LUA_NOREF};
    vm->idle[vm->idle_count++] = vm->thread_count++;
    return true;
}

static bool lease_thread(struct tg_vm *vm, struct tg_run *run)
{
    if (vm->idle_count == 0 && !grow_pool(vm))
        return false;
    uint32_t index = vm->idle[vm->idle_count - 1];
    struct tg_vm_thread *thread = &vm->threads[index];
    if (thread->L == NULL) {
        struct tg_vm_error error;
        if (tg_vm_call(vm, make_thread, thread, &error) != TG_OK)
            return false;
    }
    vm->idle_count--;
    run->L = thread->L;
    run->thread = index;
    return true;
}

static void return_thread(struct tg_vm *vm, struct tg_run *run)
{
    struct tg_vm_thread *thread = &vm->threads[run->thread];
    bool is_clean = run->outcome == TG_RUN_DONE || run->state == TG_RUN_STATE_READY;
    bool is_kept = vm->idle_count < IDLE_THREADS_MAX;
#ifdef HAVE_LUA_RESETTHREAD
    /* The function closes the upvalues of its first argument, so that has to be the coroutine too.
     */
    if (!is_clean)
        lua_resetthread(thread->L, thread->L);
#else
    is_kept = is_kept && is_clean;
#endif
    if (is_kept) {
        lua_settop(thread->L, 0);
    } else {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, thread->ref);
        *thread = (struct tg_vm_thread){NULL, LUA_NOREF};
    }
    vm->idle[vm->idle_count++] = run->thread;
}

void tg_run_pool_release(struct tg_vm *vm)
{
    tg_assert(vm->idle_count == vm->thread_count);
    tg_mem_free(TG_MEM_PLUGIN, vm->threads);
    tg_mem_free(TG_MEM_PLUGIN, vm->idle);
}

/* ---- Life of an activation ------------------------------------------------------------------- */

enum tg_err tg_run_init(struct tg_run *run, struct tg_vm *vm, struct tg_account *account, int ref)
{
    *run = (struct tg_run){
        .vm = vm,
        .account = account,
        .cpu_limit_us = vm->options.limits->plugin_cpu,
        .pattern_steps = TG_PATTERN_STEPS_DEFAULT,
        .serial = ++vm->serial,
        .outcome = TG_RUN_WAIT,
    };
    if (!lease_thread(vm, run))
        return TG_E_NOMEM;
    run->state = TG_RUN_STATE_READY;
    tg_alloc_switch(vm->alloc, account);
    lua_rawgeti(run->L, LUA_REGISTRYINDEX, ref);
    return TG_OK;
}

void tg_run_release(struct tg_run *run)
{
    struct tg_vm *vm = run->vm;
    if (run->state == TG_RUN_STATE_NONE)
        return;
    tg_assert(run->state != TG_RUN_STATE_RUNNING);
    tg_alloc_switch(vm->alloc, NULL);
    return_thread(vm, run);
    run->state = TG_RUN_STATE_NONE;
    run->L = NULL;
}

enum tg_err tg_run_push(struct tg_run *run, lua_CFunction push, void *arg, int *count)
{
    struct tg_vm *vm = run->vm;
    lua_State *L = vm->L;
    int top = lua_gettop(L);
    struct tg_account *was = tg_alloc_switch(vm->alloc, run->account);
    vm->host_fn = push;
    vm->host_arg = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->host_call_ref);
    int status = lua_pcall(L, 0, LUA_MULTRET, 0);
    int n = lua_gettop(L) - top;
    if (status == 0 && lua_checkstack(run->L, n))
        lua_xmove(L, run->L, n);
    else if (status == 0)
        status = LUA_ERRMEM;
    lua_settop(L, top);
    tg_alloc_switch(vm->alloc, was);
    if (count != NULL)
        *count = status == 0 ? n : 0;
    return status == 0 ? TG_OK : status == LUA_ERRMEM ? TG_E_NOMEM : TG_E_SCRIPT;
}

static void enter(struct tg_vm *vm, struct tg_run *run)
{
    struct tg_runner *runner = vm->runner;
    tg_assert(runner->vm == NULL);
    vm->current = run;
    vm->running = run->L;
    vm->pattern_steps = run->pattern_steps;
    vm->depth = 0;
    vm->can_yield = true;
    vm->error_n = 0;
    run->state = TG_RUN_STATE_RUNNING;
    runner->since_us = TG_UNLIKELY(run->preempted > 0) ? tg_clock_thread_cpu() : 0;
    tg_alloc_switch(vm->alloc, run->account);
    tg_alloc_enforce(vm->alloc, true);
    runner->vm = vm;
    atomic_store_explicit(&runner->seq,
                          atomic_load_explicit(&runner->seq, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (TG_UNLIKELY(atomic_load_explicit(runner->asleep, memory_order_relaxed)))
        runner->wake(runner->wake_arg);
}

/* Returns the pause with which the coroutine yielded. */
static enum tg_pause leave(struct tg_vm *vm, struct tg_run *run)
{
    struct tg_runner *runner = vm->runner;
    enum tg_pause pause = vm->pause;
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&runner->seq,
                          atomic_load_explicit(&runner->seq, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    runner->vm = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    settle_cpu(run);
    run->pattern_steps = vm->pattern_steps;
    tg_alloc_enforce(vm->alloc, false);
    tg_alloc_switch(vm->alloc, NULL);
    vm->current = NULL;
    vm->pause = TG_PAUSE_NONE;
    vm->pressed = false;
    vm->sliced = false;
    if (TG_UNLIKELY(vm->armed))
        tg_hook_set(vm, 0);
    return pause;
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

/* Appends `.key` of the table at -1 of `L` when it is a string. `ref` is the key's. */
static void write_field(struct tg_vm *vm, lua_State *L, int ref, const char *label)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
        size_t room = sizeof(vm->error) - vm->error_n;
        int n = snprintf(vm->error + vm->error_n, room, " %s=%.512s", label, lua_tostring(L, -1));
        vm->error_n += TG_MIN((size_t)n, room - 1);
    }
    lua_pop(L, 1);
}

/* The error value on top of `co` as text. Runs no code of the plugin and allocates nothing. */
static void write_error(struct tg_vm *vm, lua_State *co)
{
    size_t n = 0;
    const char *text = lua_type(co, -1) == LUA_TSTRING ? lua_tolstring(co, -1, &n) : NULL;
    struct tg_str file = tg_str_c(vm->file);
    vm->error_n = 0;
    if (text == NULL || !tg_str_starts(tg_str(text, n), file))
        vm->error_n = write_place(co, vm->error, sizeof(vm->error));
    size_t room = sizeof(vm->error) - 1 - vm->error_n;
    if (text != NULL) {
        memcpy(vm->error + vm->error_n, text, TG_MIN(n, room));
        vm->error_n += TG_MIN(n, room);
        return;
    }
    char number[64] = "";
    if (lua_type(co, -1) == LUA_TNUMBER)
        snprintf(number, sizeof(number), ": %.14g", lua_tonumber(co, -1));
    int wrote = snprintf(vm->error + vm->error_n, room, "error object (%s)%s",
                         luaL_typename(co, -1), number);
    vm->error_n += TG_MIN((size_t)wrote, room - 1);
    if (lua_type(co, -1) == LUA_TTABLE && lua_checkstack(vm->L, 2)) {
        lua_xmove(co, vm->L, 1);
        write_field(vm, vm->L, vm->code_key_ref, "code");
        write_field(vm, vm->L, vm->message_key_ref, "message");
        lua_pop(vm->L, 1);
    }
}

static enum tg_run_outcome end_killed(struct tg_run *run)
{
    if (run->vm->error_n == 0)
        write_kill(run->vm, run->kill, run->L);
    run->state = TG_RUN_STATE_ENDED;
    return TG_RUN_KILLED;
}

static enum tg_run_outcome judge(struct tg_run *run, int status, enum tg_pause pause)
{
    struct tg_vm *vm = run->vm;
    bool exiting = vm->exiting;
    vm->exiting = false;
    run->nresults = 0;
    run->state = TG_RUN_STATE_ENDED;
    if (TG_UNLIKELY(run->kill != TG_KILL_NONE))
        return end_killed(run);
    if (pause == TG_PAUSE_EXIT || exiting)
        return TG_RUN_EXIT;
    if (status == 0) {
        run->nresults = lua_gettop(run->L);
        return TG_RUN_DONE;
    }
    if (status == LUA_YIELD) {
        run->state = TG_RUN_STATE_PAUSED;
        tg_assert(pause != TG_PAUSE_NONE);
        return pause == TG_PAUSE_WAIT ? TG_RUN_WAIT : TG_RUN_PREEMPTED;
    }
    write_error(vm, run->L);
    return TG_RUN_ERROR;
}

enum tg_run_outcome tg_run_resume(struct tg_run *run, int nargs)
{
    struct tg_vm *vm = run->vm;
    tg_assert(run->state == TG_RUN_STATE_READY || run->state == TG_RUN_STATE_PAUSED);
    enter(vm, run);
    int status = lua_resume(run->L, nargs);
    enum tg_pause pause = leave(vm, run);
    run->outcome = judge(run, status, pause);
    return run->outcome;
}

void tg_run_kill(struct tg_run *run, enum tg_kill reason)
{
    if (run->state == TG_RUN_STATE_NONE || run->state == TG_RUN_STATE_ENDED)
        return;
    tg_run_note_kill(run, reason, run->L);
    if (run->state != TG_RUN_STATE_RUNNING)
        run->outcome = end_killed(run);
}

struct tg_str tg_run_error(const struct tg_run *run)
{
    return tg_str(run->vm->error, run->vm->error_n);
}

/* ---- For host functions ---------------------------------------------------------------------- */

struct tg_run *tg_run_current(lua_State *L)
{
    return tg_vm_inline(L)->current;
}

bool tg_run_can_suspend(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    return vm->current != NULL && vm->can_yield && lua_isyieldable(L);
}

int tg_run_suspend(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    if (!tg_run_can_suspend(L))
        return luaL_error(L, vm->current == NULL
                                 ? "cannot wait here: the plugin is being loaded"
                                 : "cannot wait inside a function that C calls (a comparator of "
                                   "table.sort, a __tostring)");
    vm->pause = TG_PAUSE_WAIT;
    return lua_yield(L, 0);
}

int tg_run_exit(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    if (vm->current == NULL)
        return luaL_error(L, "cannot end a phase here: the plugin is being loaded");
    if (tg_run_can_suspend(L)) {
        vm->pause = TG_PAUSE_EXIT;
        return lua_yield(L, 0);
    }
    vm->exiting = true;
    tg_hook_set(vm, 1);
    tg_run_raise_sticky(L);
}
