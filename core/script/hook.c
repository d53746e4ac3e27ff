/* hook.c: everything that reaches into a running VM: pressure on memory, the end of a slice, kills
 * and exits. See hook.h.
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
#include "script/hook.h"

#include "base/assert.h"
#include "base/fmt.h"
#include "script/state.h"

#include <stdatomic.h>

#define COLLECTIONS_PER_SEC 4
#define RETRY_INSTRUCTIONS  1000 /* until a hook that could not yield tries again */
#define PLACE_LEVELS        200  /* frames among which the plugin's own is looked for */
#define TRACE_FRAMES        8    /* of the plugin's, in a trace */

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
        vm->armed = count;
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
    vm->armed = 1;
}

size_t tg_hook_write_place(lua_State *L, char *out, size_t size)
{
    lua_Debug ar;
    for (int level = 0; level < PLACE_LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.source[0] != '@')
            continue;
        int n = snprintf(out, size, "%s:%d: ", ar.short_src, ar.currentline);
        return TG_MIN((size_t)n, size - 1);
    }
    return 0;
}

/* Whether the frame is the plugin's own. */
static bool is_own(const lua_Debug *ar, unsigned frames)
{
    return ar->source[0] == '@' && (ar->currentline > 0 || frames == 0);
}

static void write_frame(struct tg_fmt *f, const lua_Debug *ar, struct tg_str error)
{
    struct tg_str file = tg_str_c(ar->short_src);
    size_t end = tg_str_starts(error, file) ? tg_str_find(error, ':', file.n + 1) : error.n;
    if (ar->currentline > 0)
        tg_fmt_printf(f, "%.*s:%d", TG_STR_ARG(file), ar->currentline);
    else
        tg_fmt_add(f, end < error.n ? tg_str_sub(error, 0, end) : file);
    if (ar->name != NULL && ar->namewhat[0] != '\0')
        tg_fmt_printf(f, " in %.40s", ar->name);
}

size_t tg_hook_write_trace(lua_State *L, struct tg_str error, char *out, size_t size)
{
    lua_Debug ar;
    struct tg_fmt f;
    unsigned frames = 0;
    tg_fmt_init(&f, out, size);
    for (int level = 0; level < PLACE_LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sln", &ar);
        if (!is_own(&ar, frames))
            continue;
        if (frames > 0)
            tg_fmt_lit(&f, " < ");
        if (frames++ == TRACE_FRAMES) {
            tg_fmt_lit(&f, "...");
            break;
        }
        write_frame(&f, &ar, error);
    }
    return frames > 1 ? f.n : 0; /* as far as the room went */
}

void tg_hook_write_kill(struct tg_vm *vm, enum tg_kill reason, lua_State *L)
{
    size_t at = tg_hook_write_place(L, vm->error, sizeof(vm->error));
    if (at == 0) /* tail calls left no Lua frame, or many of the library stand above it */
        at = (size_t)snprintf(vm->error, sizeof(vm->error), "%s: ", vm->file);
    int n = snprintf(vm->error + at, sizeof(vm->error) - at, "killed (%s): %s",
                     tg_kill_label(reason), tg_kill_text(reason));
    vm->error_n = TG_MIN(at + (size_t)n, sizeof(vm->error) - 1);
    vm->trace_n = tg_hook_write_trace(L, TG_STR(""), vm->trace, sizeof(vm->trace));
}

static void count_kill(struct tg_vm *vm, enum tg_kill reason)
{
    vm->kills[reason]++;
    vm->kill_times[vm->kill_total++ % TG_VM_REBUILD_KILLS] = vm->options.clock->mono;
}

void tg_hook_note_kill(struct tg_run *run, enum tg_kill reason, lua_State *L)
{
    struct tg_vm *vm = run->vm;
    if (run->kill == TG_KILL_NONE) {
        run->kill = reason;
        vm->error_n = 0;
        vm->trace_n = 0;
        count_kill(vm, reason);
    }
    if (L != NULL && vm->error_n == 0)
        tg_hook_write_kill(vm, run->kill, L);
    if (run->state == TG_RUN_STATE_RUNNING)
        tg_hook_set(vm, 1);
}

void tg_hook_raise_sticky(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    tg_assert(tg_vm_is_sticky(vm));
    if (vm->current->kill != TG_KILL_NONE)
        tg_hook_note_kill(vm->current, vm->current->kill, L);
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
    tg_hook_note_kill(vm->current, reason, L);
    tg_hook_raise_sticky(L);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void tg_hook_on_pressure(void *arg)
{
    struct tg_vm *vm = arg;
    vm->pressed = true;
    if (vm->armed != 1 && vm->current != NULL)
        tg_hook_set(vm, 1);
}

void tg_hook_on_refused(void *arg, enum tg_kill reason)
{
    struct tg_vm *vm = arg;
    if (vm->current != NULL)
        tg_hook_note_kill(vm->current, reason, vm->running);
}

bool tg_hook_collect(struct tg_vm *vm)
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
        vm->collections++;
        bool enforced = tg_alloc_enforce(vm->alloc, false);
        lua_gc(vm->current != NULL ? vm->running : vm->L, LUA_GCCOLLECT, 0);
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
    if (!tg_alloc_is_pressed(vm->alloc) || !tg_hook_collect(vm))
        return;
    if (run->account != NULL && tg_account_is_over(run->account))
        tg_hook_note_kill(run, TG_KILL_MEMORY, vm->running);
}

/* ---- Time ------------------------------------------------------------------------------------ */

void tg_hook_settle_cpu(struct tg_run *run)
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
    tg_hook_settle_cpu(run);
    if (run->cpu_us >= run->cpu_limit_us) {
        tg_hook_note_kill(run, TG_KILL_CPU, L);
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
        tg_hook_raise_sticky(L);
    if (!vm->sliced) {
        tg_hook_set(vm, 0);
        return;
    }
    if (slice_ends(vm, run, L)) {
        vm->pause = TG_PAUSE_PREEMPT;
        lua_yield(L, 0);
    }
    if (tg_vm_is_sticky(vm))
        tg_hook_raise_sticky(L);
}
