/* vm.h: the Lua VM of one plugin in one worker.
 *
 * Life:  tg_vm_new()        state on the counting allocator, JIT off, sandbox, plugin loaded
 *        tg_vm_start()      init(plugin), then the globals are frozen
 *        tg_vm_configure()  once per instance: conf decoded, configure(conf) at conf.compiled
 *        ... activations (run.h) ...
 *        tg_vm_save()       save(): what a successor's tg_vm_restore() hands to its restore()
 *        tg_vm_stop()       stop()
 *        tg_vm_free()
 *
 * The plugin is one chunk that returns a table. Functions that the host will call are named in
 * tg_vm_options.functions and looked up once, at load: a function that is absent costs nothing
 * later. Bytecode is refused. Modules come from what `open` registered and from `resolve`, until
 * the VM is started; after that only what was loaded before can be required.
 *
 * The plugin's code (chunk, init, configure, stop) runs under the CPU, memory and churn bounds of
 * the options and cannot suspend there. Errors are text for people, with file and line.
 *
 * Threads: one. Everything here may allocate; nothing here raises into the caller.
 */
#ifndef TG_SCRIPT_VM_H
#define TG_SCRIPT_VM_H

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "script/alloc.h"

#include <lua.h>

struct tg_blob;
struct tg_vm;
struct tg_run;
struct tg_runner;

/* A module as a resolver found it. */
struct tg_vm_module {
    struct tg_str text; /* Lua source; valid until the next call of the resolver */
    struct tg_str name; /* path for messages, such as "plugins/hmac/keys.lua" */
};

struct tg_vm_options {
    struct tg_str name;   /* the plugin's name, for messages; copied */
    struct tg_str file;   /* its path, for messages; copied */
    struct tg_str source; /* its text; borrowed during tg_vm_new() */

    const struct tg_limits *limits; /* plugin_* fields are used; borrowed, outlives the VM */
    const struct tg_clock *clock;   /* behind os.time, os.date, os.clock; borrowed */
    struct tg_runner *runner;       /* of the worker thread; borrowed */

    /* Functions of the plugin's table to look up, e.g. {"rewrite", "access"}; borrowed, static. */
    const char *const *functions;
    unsigned function_count; /* at most TG_VM_FUNCTIONS_MAX */

    /* Registers host libraries: a table is on top of L, and module `m` of its fields is what
     * require(m) returns. May raise. NULL: none. */
    void (*open)(lua_State *L, void *arg);
    /* Finds the module `name`; false when it is not allowed or not there. NULL: none. */
    bool (*resolve)(void *arg, struct tg_str name, struct tg_vm_module *out);
    /* A line of print(), at most 2 KiB, without the newline; `run` may be NULL. NULL: dropped. */
    void (*on_print)(void *arg, struct tg_run *run, struct tg_str line);
    /* A userdata of tg_vm_mark_owner() is gone: see tg_alloc_events.on_freed. NULL: none is. */
    void (*on_freed)(void *userdata);
    void *arg; /* for the callbacks; borrowed */
};

#define TG_VM_FUNCTIONS_MAX 16

/* Room for an error: what, where, and what to do. */
struct tg_vm_error {
    char text[2304]; /* terminated */
    size_t n;
};

/* Builds the VM and loads the plugin into *out. TG_E_NOMEM; TG_E_UNAVAILABLE: this LuaJIT takes no
 * allocator; TG_E_SCRIPT: the plugin does not load; TG_E_KILLED: it broke a bound while loading.
 * `error` (never NULL) tells. */
enum tg_err tg_vm_new(const struct tg_vm_options *options, struct tg_vm **out,
                      struct tg_vm_error *error) TG_MUST_USE;

/* Runs init(plugin) where there is one and freezes the globals. Once, before any activation. */
enum tg_err tg_vm_start(struct tg_vm *vm, struct tg_vm_error *error) TG_MUST_USE;

/* Makes an instance: `conf` is a blob of marshal.h (borrowed); configure() gets its table and
 * `scope` (borrowed), a text that is the instance's alone among those of the plugin; *ref receives
 * the registry reference of the table, for lua_rawgeti(). */
enum tg_err tg_vm_configure(struct tg_vm *vm, struct tg_str conf, struct tg_str scope, int *ref,
                            struct tg_vm_error *error) TG_MUST_USE;

/* Drops an instance (or any registry reference of this VM); *ref becomes LUA_NOREF. */
void tg_vm_unref(struct tg_vm *vm, int *ref);

/* Runs save() where there is one, and encodes what it returns into *out (fresh, the caller's; empty
 * when there is no save() or it returned nothing). TG_E_INVALID: that is no plain data; TG_E_LIMIT:
 * more than TG_VM_STATE_MAX bytes. */
enum tg_err tg_vm_save(struct tg_vm *vm, struct tg_blob *out,
                       struct tg_vm_error *error) TG_MUST_USE;

/* Runs restore(t) where there is one, with `state` (of tg_vm_save(), not empty; borrowed). */
enum tg_err tg_vm_restore(struct tg_vm *vm, struct tg_str state,
                          struct tg_vm_error *error) TG_MUST_USE;

#define TG_VM_STATE_MAX ((size_t)1 << 20)

/* Runs stop() where there is one. */
enum tg_err tg_vm_stop(struct tg_vm *vm, struct tg_vm_error *error) TG_MUST_USE;

/* Closes the state. No activation may be open. */
void tg_vm_free(struct tg_vm **vm);

/* Registry reference of options.functions[index], or LUA_NOREF when the plugin has none. */
int tg_vm_function(const struct tg_vm *vm, unsigned index);

/* Registry reference of the plugin's table. */
int tg_vm_plugin(const struct tg_vm *vm);

/* The VM that `L` (any coroutine of it) belongs to. A few ns; no table is looked at. */
struct tg_vm *tg_vm_from(lua_State *L);

/* The userdata, which lua_newuserdata() has just made on `L`, owns what has to be released:
 * options.on_freed is called with it when it goes, also when the VM ends. */
void tg_vm_mark_owner(lua_State *L, const void *userdata);

/* The main state, for host work in protected mode: see tg_vm_call(). */
lua_State *tg_vm_state(struct tg_vm *vm);

/* Calls `fn(L)` in protected mode on the main state with `arg` as a light userdata at index 1,
 * charged to the VM, bounds off. Results are dropped. TG_E_NOMEM or TG_E_SCRIPT on a raise. */
enum tg_err tg_vm_call(struct tg_vm *vm, lua_CFunction fn, void *arg,
                       struct tg_vm_error *error) TG_MUST_USE;

struct tg_alloc *tg_vm_alloc(struct tg_vm *vm);
void *tg_vm_arg(const struct tg_vm *vm); /* options.arg */
struct tg_str tg_vm_name(const struct tg_vm *vm);

/* Activations killed in this VM so far; when three fell into ten seconds it wants to be rebuilt. */
uint64_t tg_vm_kills(const struct tg_vm *vm, enum tg_kill reason);
bool tg_vm_wants_rebuild(const struct tg_vm *vm);

/* Collections of garbage that memory above a soft mark forced in this VM so far. */
uint64_t tg_vm_collections(const struct tg_vm *vm);

#endif
