/* plugins.h: running the plugins of a phase, and the VMs they run in.
 *
 * A VM set belongs to one worker and one snapshot: one VM per plugin, one registry reference per
 * instance (its configured table). Requests hold a reference to the set they began with, so after
 * a reload old requests end in their old VMs and the set goes with the last of them; VMs of plugins
 * that the reload did not change are in both sets. The same holds for one VM when it is made anew
 * after kills: a slot keeps the VM that it began with.
 *
 *   tg_plugins_run(r, phase)  -> NEXT  all instances of the chain are done
 *                             -> WAIT  one suspended; r->gate resumes, then calls tg_request_step()
 *                             -> STOP  a plugin ended the request: an answer is prepared, or the
 *                                      exchange is to be broken off
 *
 * What Lua sees is core/bind's business, which sits above: it fills struct tg_plugin_host at start.
 */
#ifndef TG_GATEWAY_PLUGINS_H
#define TG_GATEWAY_PLUGINS_H

#include "gateway/request.h"

struct tg_message;

/* How core/bind takes part. One for the process, set before the first VM is made. */
struct tg_plugin_host {
    /* Registers `tidegate` and its submodules: see tg_vm_options.open. */
    void (*open)(lua_State *L, void *arg);
    /* Text of an allow-listed module or one of the plugin's own: see tg_vm_options.resolve. `arg`
     * is the struct tg_vm_host of the VM. */
    bool (*resolve)(void *arg, struct tg_str name, struct tg_vm_module *out);
    void (*on_print)(void *arg, struct tg_run *run, struct tg_str line);
    void (*on_freed)(void *userdata);
    /* The request ends: objects that plugins may still hold become stale, references go. Called
     * for each open slot, outside of plugin code. */
    void (*end_slot)(struct tg_request *r, struct tg_plugin_slot *slot);
    /* An event has come for the plugins in force; `message` is borrowed. */
    void (*deliver)(struct tg_gate *gate, struct tg_message *message);
    /* The gate ends: what is kept in gate->free_objects goes. */
    void (*end_gate)(struct tg_gate *gate);
};

/* What a VM knows of its surroundings: tg_vm_options.arg. */
struct tg_vm_host {
    struct tg_gate *gate;
    struct tg_vm_set *set;
    const struct tg_plugin_conf *plugin;
    int enter;         /* registry references that open() sets: functions (phase, conf) that call */
    int enter_chunk;   /* phase(conf, ctx) and phase(conf, ctx, chunk, eof); */
    int enter_message; /* phase(conf, ctx, data, kind, from) */
    int enter_task;    /* function (task, fn, ...) that keeps what fn(...) returns with the task */
    size_t jit_bytes;  /* of machine code that the plugin's regular expressions have */
};

extern struct tg_plugin_host tg_plugin_host;

enum tg_step { TG_STEP_NEXT, TG_STEP_WAIT, TG_STEP_STOP };

/* Who looks on: for tests and tracing. All functions but on_route are given; none may call back. */
struct tg_gate_observer {
    /* Whether `instance` takes part in this phase of `r`, which it otherwise would. */
    bool (*wants)(void *arg, const struct tg_request *r, const struct tg_instance_conf *instance);
    /* Its route is known, and no plugin of it has run: it may be authenticated. NULL: not told. */
    void (*on_route)(void *arg, struct tg_request *r);
    /* The plugin of r->plugins is entered; it has left with `outcome`. */
    void (*on_enter)(void *arg, const struct tg_request *r);
    void (*on_leave)(void *arg, const struct tg_request *r, enum tg_run_outcome outcome);
    /* Edits were applied that are this phase of the plugin of r->plugins; it was not entered. */
    void (*on_stood_in)(void *arg, const struct tg_request *r);
    /* It failed: `what` says why and where; `kill` is TG_KILL_NONE unless a bound ended it. */
    void (*on_failed)(void *arg, const struct tg_request *r, struct tg_str what, enum tg_kill kill);
    /* The request is over: after its log phase and the end of its plugins' accounts. */
    void (*on_end)(void *arg, const struct tg_request *r);
    void *arg;
};

/* ---- What the gate provides ---- */

struct tg_worker *tg_gate_worker(struct tg_gate *gate);
struct tg_runner *tg_gate_runner(struct tg_gate *gate);
const struct tg_gate_observer *tg_gate_observer(const struct tg_gate *gate);
bool tg_gate_is_dev(const struct tg_gate *gate);

/* `phase` of `r`, which waited (tg_plugins_run() and tg_plugins_filter() answered WAIT), came to
 * `step`, NEXT or STOP. Called from the loop, not from inside another call of this header. */
void tg_request_step(struct tg_request *r, enum tg_phase phase, enum tg_step step);

/* ---- VM sets ---- */

/* A set for `snapshot` in the worker of `gate` (one reference, the caller's), without VMs yet. On
 * failure `error` tells. */
enum tg_err tg_vm_set_new(struct tg_gate *gate, struct tg_snapshot *snapshot,
                          struct tg_vm_set **out, struct tg_vm_error *error) TG_MUST_USE;

/* Makes the next VM of the set; TG_E_AGAIN: others are left. What the snapshot in force leaves to
 * this one (snapshot->kept) is not made. On failure `error` says which plugin and why, and the set
 * is good for nothing but being dropped. make_all() does not come back for each. */
enum tg_err tg_vm_set_make(struct tg_vm_set *set, struct tg_vm_error *error) TG_MUST_USE;
enum tg_err tg_vm_set_make_all(struct tg_vm_set *set, struct tg_vm_error *error) TG_MUST_USE;

/* `set`, which is made, takes the place of `old` (NULL: there was none) in its gate: VMs that are
 * kept belong to it from now on, VMs of changed code get what save() of the older one returned. */
void tg_vm_set_take_over(struct tg_vm_set *set, struct tg_vm_set *old);

struct tg_vm_set *tg_vm_set_ref(struct tg_vm_set *set);
void tg_vm_set_unref(struct tg_vm_set **set);

/* ---- Running ---- */

/* Runs the chain of `phase` (not body_filter) from its beginning. */
enum tg_step tg_plugins_run(struct tg_request *r, enum tg_phase phase) TG_MUST_USE;

/* Goes on after a wait; the same answers. For who woke the plugin (a body that is complete): sleep,
 * preemption and wall time go on by themselves. */
enum tg_step tg_plugins_resume(struct tg_request *r) TG_MUST_USE;

/* The same for who has nobody to answer to: tg_request_step() is called where it goes on. */
void tg_plugins_wake(struct tg_request *r);

/* Runs `data` (valid during the call) through the body filters; what comes out is appended to *out,
 * which must live until the step is NEXT or STOP. WAIT: the rest is kept and tg_plugins_resume()
 * goes on; the next data only after that. STOP: the exchange was broken off. */
enum tg_step tg_plugins_filter(struct tg_request *r, struct tg_str data, bool eof,
                               struct tg_buf *out) TG_MUST_USE;

/* Runs a message through the plugins of `message`: in the order of requests what the client sent,
 * in reverse what the origin did. `data` as for filters; r->plugins.message says what it is, and
 * after NEXT or STOP what is to become of it: dropped, unchanged, or in *out. STOP without `close`:
 * the exchange is to be broken off. */
enum tg_step tg_plugins_message(struct tg_request *r, const struct tg_plugin_message *message,
                                const struct tg_buf *data, struct tg_buf *out) TG_MUST_USE;

/* Abandons the plugin that waits, if one does: nobody needs its outcome any more. That is no kill,
 * for it did nothing wrong. A plugin that is running now goes on: it is on the stack of the caller.
 */
void tg_plugins_cancel(struct tg_request *r);

/* The same when the gateway stops, in the log phase: deferred functions begin, and do not wait. */
void tg_plugins_stop(struct tg_request *r);

/* Ends all slots: the request is over. Not while a plugin runs. */
void tg_plugins_end(struct tg_request *r);

/* For core/bind: `function` (a registry reference of the slot's VM, taken over) runs when the
 * request is over, after the log phase, the last one deferred first, whatever became of plugin and
 * client: in an activation with bounds of its own, whose failure is logged and nothing more.
 * TG_E_LIMIT: TG_DEFERRED_MAX are there; TG_E_NOMEM; nothing is taken over then. */
enum tg_err tg_plugins_defer(struct tg_request *r, struct tg_plugin_slot *slot,
                             int function) TG_MUST_USE;

/* Those of one plugin in one request. */
#define TG_DEFERRED_MAX 32

/* For core/bind: pushes chunk and eof of the body filter that runs. Raises when memory is out. */
int tg_plugins_take_chunk(lua_State *L);

/* For core/bind: pushes data, kind and sender of the message that a plugin looks at. Raises as
 * above. */
int tg_plugins_take_message(lua_State *L);

/* For core/bind: the plugin that runs has failed by its own word; tg_run_exit() follows, and
 * on_error decides. `what` is copied. */
void tg_plugins_fail(struct tg_request *r, struct tg_str what);

#endif
