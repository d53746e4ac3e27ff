/* run.c: entering and leaving the Lua VM, and what a stay in it comes to. See run.h.
 *
 * What happens on an entry, in this order, and is undone in reverse on the way out:
 *   1. the activation becomes vm->current, its account pays, the bounds hold
 *   2. runner->vm is set and runner->seq becomes odd: from here on the watchdog may interrupt
 *   3. lua_resume()
 *
 * Coroutines are kept in a pool per VM, anchored in the registry. After a clean end one is used
 * again as it is; after any other it is reset, where LuaJIT can do that, or dropped.
 */
#include "base/banned.h"
#include "script/run.h"

#include "base/assert.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "script/hook.h"
#include "script/pattern_lua.h"
#include "script/state.h"

#include <stdatomic.h>

#define IDLE_THREADS_MAX 64

/* ---- Coroutines of the pool ------------------------------------------------------------------ */

static int make_thread(lua_State *L)
{
    struct tg_vm_thread *thread = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    tg_alloc_mark_stack(tg_vm_inline(L)->alloc);
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

/* True when the coroutine can be used again; it then has been made so.
 *
 * lua_resetthread() closes the upvalues of its first argument, so that has to be the coroutine too.
 * And it works on freed memory when the stack had overflowed, which an error may leave behind but a
 * yield does not (nothing yields out of the handler of an overflow): what ended in an error is not
 * reset. */
static bool make_reusable(const struct tg_run *run, lua_State *co)
{
    if (run->outcome == TG_RUN_DONE || run->state == TG_RUN_STATE_READY)
        return true;
#ifdef HAVE_LUA_RESETTHREAD
    if (lua_status(co) == LUA_YIELD) {
        lua_resetthread(co, co);
        return true;
    }
#endif
    return false;
}

static void return_thread(struct tg_vm *vm, struct tg_run *run)
{
    struct tg_vm_thread *thread = &vm->threads[run->thread];
    if (vm->idle_count < IDLE_THREADS_MAX && make_reusable(run, thread->L)) {
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

/* Calls what is to push, within the bounds of the account and the VM. */
static int call_push(struct tg_vm *vm)
{
    lua_State *L = vm->pusher;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->host_call_ref);
    bool enforced = tg_alloc_enforce(vm->alloc, true);
    int status = lua_pcall(L, 0, LUA_MULTRET, 0);
    tg_alloc_enforce(vm->alloc, enforced);
    return status;
}

enum tg_err tg_run_push(struct tg_run *run, lua_CFunction push, void *arg, int *count)
{
    struct tg_vm *vm = run->vm;
    lua_State *L = vm->pusher;
    struct tg_account *was = tg_alloc_switch(vm->alloc, run->account);
    vm->host_fn = push;
    vm->host_arg = arg;
    int status = call_push(vm);
    if (TG_UNLIKELY(status == LUA_ERRMEM) && tg_alloc_is_pressed(vm->alloc) && tg_hook_collect(vm))
        status = call_push(vm);
    int n = lua_gettop(L);
    if (status == 0 && lua_checkstack(run->L, n))
        lua_xmove(L, run->L, n);
    else if (status == 0)
        status = LUA_ERRMEM;
    lua_settop(L, 0);
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
    vm->c_stack = __builtin_frame_address(0);
    vm->can_yield = true;
    vm->error_n = 0;
    vm->trace_n = 0;
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
    tg_hook_settle_cpu(run);
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

/* The string `.key` of the table at -1 of `L`, else NULL; it stays with the table. `ref` is the
 * key's. */
static const char *field_of(lua_State *L, int ref)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_rawget(L, -2);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

size_t tg_run_describe(struct tg_vm *vm, lua_State *co, char *out, size_t size)
{
    struct tg_fmt f;
    const char *code = NULL;
    const char *message = NULL;
    int type = lua_type(co, -1);
    tg_fmt_init(&f, out, size);
    if (type == LUA_TSTRING) {
        size_t n;
        const char *text = lua_tolstring(co, -1, &n);
        n = TG_MIN(n, size - 1);
        memcpy(out, text, n);
        return n;
    }
    if (type == LUA_TTABLE && lua_checkstack(vm->L, 2)) {
        lua_xmove(co, vm->L, 1);
        code = field_of(vm->L, vm->code_key_ref);
        message = field_of(vm->L, vm->message_key_ref);
        lua_pop(vm->L, 1);
    }
    if (message != NULL)
        tg_fmt_printf(&f, "%.512s", message);
    else
        tg_fmt_printf(&f, "error object (%s)", lua_typename(co, type));
    if (code != NULL)
        tg_fmt_printf(&f, " (%.64s)", code);
    if (type == LUA_TNUMBER)
        tg_fmt_printf(&f, ": %.14g", lua_tonumber(co, -1));
    return f.n;
}

/* Behind the error of who indexed a function, as in ctx.req.headers["x"]: what Lua does not say. */
static void advise(struct tg_vm *vm, const char *text, size_t n)
{
    static const char end[] = "(a function value)";
    static const char advice[] = ": write () behind its name, to call it";
    bool meant = n >= sizeof(end) && strstr(text, "attempt to index ") != NULL &&
                 strcmp(text + n + 1 - sizeof(end), end) == 0;
    if (!meant || sizeof(vm->error) - vm->error_n < sizeof(advice))
        return;
    memcpy(vm->error + vm->error_n, advice, sizeof(advice) - 1);
    vm->error_n += sizeof(advice) - 1;
}

/* The error value on top of `co` as text, with its place where it does not name one. */
static void write_error(struct tg_vm *vm, lua_State *co)
{
    char text[TG_RUN_ERROR_MAX];
    size_t n = tg_run_describe(vm, co, text, sizeof(text));
    vm->error_n = 0;
    if (!tg_str_starts(tg_str(text, n), tg_str_c(vm->file)))
        vm->error_n = tg_hook_write_place(co, vm->error, sizeof(vm->error));
    n = TG_MIN(n, sizeof(vm->error) - 1 - vm->error_n);
    memcpy(vm->error + vm->error_n, text, n);
    vm->error_n += n;
    text[n] = '\0';
    advise(vm, text, n);
    if (strstr(text, "stack overflow") == NULL)
        vm->trace_n = tg_hook_write_trace(co, tg_str(text, n), vm->trace, sizeof(vm->trace));
}

static enum tg_run_outcome end_killed(struct tg_run *run)
{
    if (run->vm->error_n == 0)
        tg_hook_write_kill(run->vm, run->kill, run->L);
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
    tg_hook_note_kill(run, reason, run->L);
    if (run->state != TG_RUN_STATE_RUNNING)
        run->outcome = end_killed(run);
}

struct tg_str tg_run_error(const struct tg_run *run)
{
    return tg_str(run->vm->error, run->vm->error_n);
}

struct tg_str tg_run_trace(const struct tg_run *run)
{
    return tg_str(run->vm->trace, run->vm->trace_n);
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

bool tg_run_is_spent(lua_State *L)
{
    if (lua_getallocf(L, NULL) != tg_alloc_lua)
        return false;
    struct tg_vm *vm = tg_vm_inline(L);
    if (TG_LIKELY(!vm->sliced) || vm->current == NULL)
        return false;
    tg_hook_settle_cpu(vm->current);
    return vm->current->cpu_us >= vm->current->cpu_limit_us;
}

void tg_run_end_if_spent(lua_State *L)
{
    if (TG_UNLIKELY(tg_run_is_spent(L)))
        tg_run_raise_kill(L, TG_KILL_CPU);
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
    tg_hook_raise_sticky(L);
}
