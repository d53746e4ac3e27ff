/* run.h: activations: one call of a plugin's function, from its start to its end, through as many
 * suspensions as it wants.
 *
 *     struct tg_run run;
 *     tg_run_init(&run, vm, account, function)      function on run.L
 *     push light arguments on run.L (registry refs, numbers, booleans), or tg_run_push() for more
 *     outcome = tg_run_resume(&run, nargs)
 *        TG_RUN_DONE       results are on run.L, run.nresults of them
 *        TG_RUN_WAIT       a host function suspended; resume when it has its results, on run.L
 *        TG_RUN_PREEMPTED  the slice is over; resume with 0 in a later round of the loop
 *        TG_RUN_EXIT       a host function ended the phase for good
 *        TG_RUN_ERROR      tg_run_error() says what and where
 *        TG_RUN_KILLED     run.kill says why, tg_run_error() where
 *     tg_run_release(&run)                          in every state; abandons what is suspended
 *
 * While one activation is suspended or preempted, others of the same VM may run: account, current
 * activation and clock are switched at every entry. An activation may be suspended under any depth
 * of pcall, coroutines and metamethods, but not under a C function that calls back (a comparator of
 * table.sort, a __tostring): tg_run_suspend() then raises an error that says so, and a
 * preemption waits until the C function is done.
 *
 * A kill is sticky: once run.kill is set the hook stays armed and the sandbox's pcall, xpcall and
 * coroutine functions raise again, so nothing in the plugin catches it. TG_RUN_EXIT is a yield that
 * nobody resumes, so there is nothing to catch.
 *
 * Time. `struct tg_runner` belongs to a worker thread and is shared by all VMs on it. `seq` is odd
 * while plugin code runs and grows at each entry and exit; event/watchdog looks at it, and calls
 * tg_runner_interrupt() in a signal handler on that thread when the same odd number has been there
 * for longer than a slice.
 *
 * Threads: all on the VM's thread. Cost: init + resume + release of an empty function is under
 * 100 ns above the bare lua_resume; coroutines are recycled per VM.
 */
#ifndef TG_SCRIPT_RUN_H
#define TG_SCRIPT_RUN_H

#include "base/str.h"
#include "script/alloc.h"
#include "script/vm.h"

#include <lua.h>

enum tg_run_outcome {
    TG_RUN_DONE,
    TG_RUN_WAIT,
    TG_RUN_PREEMPTED,
    TG_RUN_EXIT,
    TG_RUN_ERROR,
    TG_RUN_KILLED,
};

/* Longest error text, in bytes. */
#define TG_RUN_ERROR_MAX 2048
#define TG_RUN_TRACE_MAX 512

/* One activation. Embedded by the caller; does not move between init and release. */
struct tg_run {
    lua_State *L;               /* its coroutine: arguments go here, results are found here */
    struct tg_vm *vm;           /* borrowed, outlives the run */
    struct tg_account *account; /* borrowed, outlives the run; NULL charges the VM */
    void *host;                 /* the caller's own pointer, for host functions; borrowed */
    uint64_t cpu_limit_us;      /* set by init from limits.plugin.cpu; the caller may change it */
    int nresults;      /* after DONE: results on top of L; after WAIT: values yielded (0) */
    enum tg_kill kill; /* set once, never cleared */
    enum tg_run_outcome outcome; /* of the last resume */
    uint64_t cpu_us;             /* CPU time seen so far: exact once the run was preempted */
    /* private */
    uint64_t pattern_steps; /* left, while it does not run */
    uint32_t preempted;     /* how often */
    uint32_t coroutines;    /* live ones that the plugin made in this activation */
    uint32_t thread;        /* index in the VM's pool */
    uint64_t serial;        /* never 0, and another for each activation of the VM */
    uint8_t state;
};

/* Takes a coroutine and puts the function under `ref` (from tg_vm_function() or luaL_ref()) on it.
 * Sets host to NULL. TG_E_NOMEM: nothing to release. The account stays charged until the first
 * resume returns, so arguments belong to it. */
enum tg_err tg_run_init(struct tg_run *run, struct tg_vm *vm, struct tg_account *account,
                        int ref) TG_MUST_USE;

/* Calls `push(L)` in protected mode with `arg` as a light userdata at index 1; what it returns is
 * left on run->L. For arguments and results that allocate: the bounds of the account and of the VM
 * hold. Where they refuse memory garbage is collected and `push` is called once more, so it does at
 * its end what cannot be done twice. `*count` receives the number of values (may be NULL).
 * TG_E_NOMEM or TG_E_SCRIPT (it raised): nothing was pushed. Not while the VM runs. */
enum tg_err tg_run_push(struct tg_run *run, lua_CFunction push, void *arg, int *count) TG_MUST_USE;

/* Starts or continues with the `nargs` values on top of run->L: arguments at the start, results of
 * the suspended host function after WAIT, 0 after PREEMPTED. Not after any other outcome. The
 * bounds of the account and of the VM hold inside. */
enum tg_run_outcome tg_run_resume(struct tg_run *run, int nargs);

/* Marks the activation as killed, and counts it. Suspended: it is abandoned, the outcome becomes
 * TG_RUN_KILLED and only release may follow. Running (called by a host function): takes effect at
 * the plugin's next instruction; tg_run_raise_kill() does at once. Not for a client that went away:
 * that is no fault of the plugin, and tg_run_release() alone abandons it. */
void tg_run_kill(struct tg_run *run, enum tg_kill reason);

/* Gives the coroutine back; abandons a suspended one. A second call does nothing. */
void tg_run_release(struct tg_run *run);

/* Text of the last ERROR or KILLED of this VM: "file:line: what", at most TG_RUN_ERROR_MAX bytes,
 * valid until the VM is entered again. Plugin values are never converted by plugin code. */
struct tg_str tg_run_error(const struct tg_run *run);

/* Who called whom when that happened, the innermost first: "file:12 in helper < file:30". Empty
 * where the place in the error says it all, and for a stack that overflowed. Valid as long. */
struct tg_str tg_run_trace(const struct tg_run *run);

/* The value on top of `co`, a coroutine of the VM, as text; a table is taken off: a string as it
 * is, an error of the API as "message (code)", else its type. Runs no code of the plugin and
 * allocates nothing. Returns how much of `out` it took. */
size_t tg_run_describe(struct tg_vm *vm, lua_State *co, char *out, size_t size);

/* ---- For host functions, called from Lua ---- */

/* The activation that called; NULL while the VM loads or does host work. A few ns. */
struct tg_run *tg_run_current(lua_State *L);

/* `return tg_run_suspend(L);` suspends: tg_run_resume() returns TG_RUN_WAIT, and the host
 * function's results are what the next resume passes. Check tg_run_can_suspend() before starting
 * what you will wait for: where the stack does not allow it, this raises. */
int tg_run_suspend(lua_State *L);
bool tg_run_can_suspend(lua_State *L);

/* Whether the activation that called has used up its CPU time. For host functions whose loops may
 * be long, since no hook fires in them: they ask now and then, and end when it is so. What they
 * return is not seen, the plugin is killed at its next instructions. Costs a load until the slice
 * is over. False while the VM loads or does host work, and in a state that is no VM of ours. */
bool tg_run_is_spent(lua_State *L);

/* The same, and when it is so kills at once: for who holds nothing. */
void tg_run_end_if_spent(lua_State *L);

/* `return tg_run_exit(L);` ends the activation: TG_RUN_EXIT. Works in every place. */
int tg_run_exit(lua_State *L);

/* Kills the calling activation; does not return. */
TG_NORETURN void tg_run_raise_kill(lua_State *L, enum tg_kill reason);

/* ---- The worker thread ---- */

struct tg_runner {
    _Atomic uint64_t seq;       /* odd: plugin code runs; changes at each entry and exit */
    uint64_t slice_us;          /* CPU time between preemptions, for the watchdog; default 1000 */
    const _Atomic bool *asleep; /* the watchdog sleeps: an entry calls wake(); never NULL */
    void (*wake)(void *arg);
    void *wake_arg; /* borrowed */
    /* private */
    struct tg_vm *volatile vm;  /* what runs now */
    volatile bool busy;         /* lua_sethook() is at work */
    volatile bool late;         /* an interrupt came meanwhile */
    volatile uint64_t since_us; /* thread CPU time that the entry is counted from; 0: not known */
};

/* A runner that nobody watches. To have it watched, set asleep, wake and wake_arg to the watch's
 * and the watchdog's (event/watchdog.h), and let the watch call tg_runner_interrupt(). */
void tg_runner_init(struct tg_runner *runner);

/* `runner` is a struct tg_runner. The slice of entry `seq` is over: arms the hook of what runs, if
 * it still is that entry. `since_us` is the thread's CPU time when that entry was first seen. Safe
 * in a signal handler on the runner's own thread, and nowhere else. */
void tg_runner_interrupt(void *runner, uint64_t seq, uint64_t since_us);

#endif
