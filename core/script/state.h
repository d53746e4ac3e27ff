/* state.h: what the files of script/ share about a VM. Private to core/script; vm.h and run.h are
 * the contracts.
 *
 * Who owns what of it: vm.c builds and closes the VM; run.c enters and leaves it; hook.c alone
 * touches the hook; sandbox.c and coroutine.c run inside and look at `current`, `pause` and
 * `depth`.
 *
 * A pause is a yield of the host's on its way out: from the innermost coroutine, through the
 * sandbox's wrappers, to tg_run_resume(). While `pause` is set nobody may act on the plugin.
 */
#ifndef TG_SCRIPT_STATE_H
#define TG_SCRIPT_STATE_H

#include "script/run.h"
#include "script/vm.h"

#include <lauxlib.h>

/* The part of the sandbox that is Lua. Chunks of the host have names with '=', and files of plugins
 * with '@': that is how messages about places tell them apart. */
#define TG_SANDBOX_FILE "lua/tidegate/sandbox.lua"

enum tg_pause { TG_PAUSE_NONE, TG_PAUSE_WAIT, TG_PAUSE_PREEMPT, TG_PAUSE_EXIT };

enum tg_run_state {
    TG_RUN_STATE_NONE, /* not initialised, or released */
    TG_RUN_STATE_READY,
    TG_RUN_STATE_RUNNING,
    TG_RUN_STATE_PAUSED,
    TG_RUN_STATE_ENDED,
};

struct tg_vm_thread {
    lua_State *L;
    int ref;
};

#define TG_VM_NAME_MAX      64
#define TG_VM_FILE_MAX      256
#define TG_VM_REQUIRE_DEPTH 32
#define TG_VM_REBUILD_KILLS 3
#define TG_VM_REBUILD_US    (10 * TG_USEC_PER_SEC)

struct tg_vm {
    lua_State *L;
    struct tg_alloc *alloc; /* owned */
    struct tg_runner *runner;
    struct tg_run *current; /* the activation inside lua_resume() */
    lua_State *running;     /* the coroutine that runs now: its own, or one of the plugin's */
    enum tg_pause pause;
    unsigned depth;         /* coroutines of the plugin on the C stack */
    const char *c_stack;    /* where the C stack was when the current activation was entered */
    bool can_yield;         /* every coroutine below the running one may yield */
    bool exiting;           /* the current activation raised an exit it could not yield */
    uint64_t pattern_steps; /* that the current activation has left */
    bool pressed;           /* memory is above a soft mark */
    volatile int armed;     /* instructions between two calls of the hook; 0: it is off */
    volatile bool sliced;   /* the slice is over */
    bool frozen;
    uint64_t save_until_us; /* thread CPU time at which what save() returned is given up */

    struct tg_vm_thread *threads; /* every coroutine of the pool; owned */
    uint32_t *idle;               /* indices of those that wait for work */
    uint32_t thread_count;
    uint32_t thread_room;
    uint32_t idle_count;
    uint64_t serial;

    uint64_t kills[TG_KILL_COUNT];
    uint64_t kill_times[TG_VM_REBUILD_KILLS]; /* mono us of the last ones, a ring */
    uint64_t kill_total;
    uint64_t collections; /* forced */

    int plugin_ref;
    int functions[TG_VM_FUNCTIONS_MAX];
    int init_ref;
    int configure_ref;
    int save_ref;
    int restore_ref;
    int stop_ref;
    int host_call_ref; /* the C function behind tg_run_push() and tg_vm_call() */
    int code_key_ref;  /* "code" and "message", for error objects */
    int message_key_ref;
    int env_ref; /* the sandbox's environment, and what stands behind it */
    int globals_ref;
    int coros_ref;   /* weak: coroutine -> who made it; negative while the host paused it */
    int modules_ref; /* require(): name -> value */
    const char *requiring[TG_VM_REQUIRE_DEPTH]; /* names being loaded, outermost first */
    unsigned require_depth;
    lua_State *pusher;     /* where tg_run_push() works: its stack grows past every bound */
    lua_CFunction host_fn; /* in flight from tg_run_push() or tg_vm_call() */
    void *host_arg;

    struct tg_vm_options options; /* the slices point below */
    char name[TG_VM_NAME_MAX];
    char file[TG_VM_FILE_MAX];
    char error[TG_RUN_ERROR_MAX];
    size_t error_n;
    char trace[TG_RUN_TRACE_MAX];
    size_t trace_n;
};

static inline struct tg_vm *tg_vm_inline(lua_State *L)
{
    void *alloc;
    lua_getallocf(L, &alloc);
    return tg_alloc_arg(alloc);
}

/* Is an end under way that the plugin must not catch? */
static inline bool tg_vm_is_sticky(const struct tg_vm *vm)
{
    return vm->current != NULL && (vm->current->kill != TG_KILL_NONE || vm->exiting);
}

/* Gives back the pool's arrays. */
void tg_run_pool_release(struct tg_vm *vm);

#endif
