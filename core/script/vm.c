/* vm.c: building a VM, running the plugin's own set-up code, and closing it. See vm.h.
 *
 * Set-up code of the plugin (its chunk, init, configure, stop) runs as an activation that is
 * charged to the VM and may not suspend; a preemption is answered by going on at once. Host work
 * that allocates goes through tg_vm_call(), so that a lack of memory is an error code and never a
 * raise into C.
 */
#include "base/banned.h"
#include "script/vm.h"

#include "base/assert.h"
#include "base/mem.h"
#include "script/marshal.h"
#include "script/sandbox.h"
#include "script/hook.h"
#include "script/state.h"

#include <luajit.h>
#include <stdarg.h>

#define SETUP_CPU_US TG_USEC_PER_SEC /* a plugin may work longer while it is loaded */

/* ---- Errors ---------------------------------------------------------------------------------- */

TG_PRINTF(3, 4)
static enum tg_err fail(struct tg_vm_error *error, enum tg_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    error->n = TG_MIN((size_t)n, sizeof(error->text) - 1);
    return err;
}

/* What a protected call on the main state came to; its message is on top. */
static enum tg_err read_status(struct tg_vm *vm, int status, struct tg_vm_error *error)
{
    lua_State *L = vm->L;
    if (status == 0)
        return TG_OK;
    if (status == LUA_ERRMEM)
        return fail(error, TG_E_NOMEM, "%s: out of memory", vm->file);
    return fail(error, TG_E_SCRIPT, "%s",
                lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
}

static int on_panic(lua_State *L)
{
    fprintf(stderr, "tidegate: Lua error outside a protected call: %s\n",
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
    abort();
}

/* ---- Host work ------------------------------------------------------------------------------- */

/* Under tg_run_push() and tg_vm_call(): calls what they left in the VM. */
static int host_call(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    lua_pushlightuserdata(L, vm->host_arg);
    return vm->host_fn(L);
}

enum tg_err tg_vm_call(struct tg_vm *vm, lua_CFunction fn, void *arg, struct tg_vm_error *error)
{
    lua_State *L = vm->L;
    int top = lua_gettop(L);
    struct tg_account *account = tg_alloc_switch(vm->alloc, NULL);
    bool enforced = tg_alloc_enforce(vm->alloc, false);
    vm->host_fn = fn;
    vm->host_arg = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->host_call_ref);
    enum tg_err err = read_status(vm, lua_pcall(L, 0, 0, 0), error);
    lua_settop(L, top);
    tg_alloc_enforce(vm->alloc, enforced);
    tg_alloc_switch(vm->alloc, account);
    return err;
}

void tg_vm_unref(struct tg_vm *vm, int *ref)
{
    luaL_unref(vm->L, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

/* ---- The plugin's set-up code ---------------------------------------------------------------- */

struct keep {
    lua_State *from;
    int ref;
};

/* Moves the first result of an activation into the registry. */
static int keep_result(lua_State *L)
{
    struct keep *keep = lua_touserdata(L, 1);
    lua_settop(keep->from, 1);
    lua_xmove(keep->from, L, 1);
    keep->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Whether an error begins as Lua's do, with "<file>:<line>: ": what a tail call raises does not. */
static bool names_line(struct tg_str text)
{
    const char *colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
    return colon != NULL && colon + 1 < text.p + text.n && colon[1] >= '0' && colon[1] <= '9';
}

static enum tg_err judge_setup(struct tg_vm *vm, struct tg_run *run, const char *what, int *result,
                               struct tg_vm_error *error)
{
    struct tg_str text = tg_run_error(run);
    struct keep keep = {run->L, LUA_NOREF};
    switch (run->outcome) {
    case TG_RUN_DONE:
        break;
    case TG_RUN_ERROR:
        if (names_line(text))
            return fail(error, TG_E_SCRIPT, "%.*s", TG_STR_ARG(text));
        return fail(error, TG_E_SCRIPT, "%s: %.*s (while in %s)", vm->file, TG_STR_ARG(text), what);
    case TG_RUN_KILLED:
        return fail(error, TG_E_KILLED, "%.*s (while in %s)", TG_STR_ARG(text), what);
    default:
        return fail(error, TG_E_SCRIPT, "%s: %s cannot wait or end a phase", vm->file, what);
    }
    if (result == NULL)
        return TG_OK;
    enum tg_err err = tg_vm_call(vm, keep_result, &keep, error);
    *result = keep.ref;
    return err;
}

/* Calls the function under `ref` with the `nargs` values under `args`; *result, unless NULL,
 * receives the reference of its first result. */
static enum tg_err run_setup(struct tg_vm *vm, int ref, const int args[], int nargs,
                             const char *what, int *result, struct tg_vm_error *error)
{
    struct tg_run run;
    if (tg_run_init(&run, vm, NULL, ref) != TG_OK)
        return fail(error, TG_E_NOMEM, "%s: out of memory", vm->file);
    run.cpu_limit_us = TG_MAX(run.cpu_limit_us, SETUP_CPU_US);
    for (int i = 0; i < nargs; i++)
        lua_rawgeti(run.L, LUA_REGISTRYINDEX, args[i]);
    while (tg_run_resume(&run, nargs) == TG_RUN_PREEMPTED)
        nargs = 0;
    enum tg_err err = judge_setup(vm, &run, what, result, error);
    tg_run_release(&run);
    return err;
}

/* ---- Building -------------------------------------------------------------------------------- */

/* References that exist from the start, and the sandbox. */
static int set_up(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    luaL_unref(L, LUA_REGISTRYINDEX, (lua_pushboolean(L, 1), luaL_ref(L, LUA_REGISTRYINDEX)));
    lua_pushcfunction(L, host_call);
    vm->host_call_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->pusher = lua_newthread(L);
    tg_alloc_mark_stack(vm->alloc);
    luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "code");
    vm->code_key_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "message");
    vm->message_key_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    tg_sandbox_open(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (vm->options.open != NULL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm->modules_ref);
        vm->options.open(L, vm->options.arg);
    }
    return 0;
}

static int load_chunk(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    struct tg_str source = vm->options.source;
    int *ref = lua_touserdata(L, 1);
    if (source.n > 0 && source.p[0] == LUA_SIGNATURE[0])
        return luaL_error(L, "%s: this is bytecode; a plugin is Lua text", vm->file);
    lua_pushfstring(L, "@%s", vm->file);
    if (tg_sandbox_load(L, source.p, source.n, lua_tostring(L, -1)) != 0)
        return lua_error(L);
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int find_function(lua_State *L, const struct tg_vm *vm, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    if (lua_type(L, -1) != LUA_TFUNCTION)
        return luaL_error(L, "%s: \"%s\" must be a function, not a %s", vm->file, name,
                          luaL_typename(L, -1));
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int find_functions(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->plugin_ref);
    if (lua_type(L, -1) != LUA_TTABLE)
        return luaL_error(L, "%s: must return a table, returns a %s", vm->file,
                          luaL_typename(L, -1));
    for (unsigned i = 0; i < vm->options.function_count; i++)
        vm->functions[i] = find_function(L, vm, vm->options.functions[i]);
    vm->init_ref = find_function(L, vm, "init");
    vm->configure_ref = find_function(L, vm, "configure");
    vm->save_ref = find_function(L, vm, "save");
    vm->restore_ref = find_function(L, vm, "restore");
    vm->stop_ref = find_function(L, vm, "stop");
    return 0;
}

static enum tg_err load_plugin(struct tg_vm *vm, struct tg_vm_error *error)
{
    int chunk = LUA_NOREF;
    enum tg_err err = tg_vm_call(vm, load_chunk, &chunk, error);
    if (err == TG_OK)
        err = run_setup(vm, chunk, NULL, 0, "the file's own code", &vm->plugin_ref, error);
    tg_vm_unref(vm, &chunk);
    return err == TG_OK ? tg_vm_call(vm, find_functions, NULL, error) : err;
}

static void on_freed(void *arg, void *userdata)
{
    const struct tg_vm *vm = arg;
    vm->options.on_freed(userdata);
}

static enum tg_err open_state(struct tg_vm *vm, struct tg_vm_error *error)
{
    const struct tg_alloc_events events = {
        .on_pressure = tg_hook_on_pressure,
        .on_refused = tg_hook_on_refused,
        .arg = vm,
        .on_freed = on_freed,
    };
    vm->alloc = tg_alloc_new(TG_MEM_PLUGIN, vm->options.limits->plugin_heap, &events);
    if (vm->alloc == NULL)
        return fail(error, TG_E_NOMEM, "%s: out of memory", vm->file);
    vm->L = tg_alloc_new_state(vm->alloc);
    if (vm->L == NULL && tg_alloc_growths(vm->alloc) == 0 && tg_alloc_held(vm->alloc) > 0)
        return fail(error, TG_E_UNAVAILABLE,
                    "%s: this LuaJIT accepts no allocator of ours (it was built without GC64), "
                    "so plugins could not be bounded; link one that was built with it",
                    vm->file);
    if (vm->L == NULL)
        return fail(error, TG_E_NOMEM, "%s: out of memory", vm->file);
    lua_atpanic(vm->L, on_panic);
    enum tg_err err = read_status(vm, lua_cpcall(vm->L, set_up, NULL), error);
    lua_settop(vm->L, 0);
    return err;
}

static void copy_name(char *out, size_t size, struct tg_str *s)
{
    size_t n = TG_MIN(s->n, size - 1);
    memcpy(out, s->p, n);
    out[n] = '\0';
    *s = tg_str(out, n);
}

enum tg_err tg_vm_new(const struct tg_vm_options *options, struct tg_vm **out,
                      struct tg_vm_error *error)
{
    tg_assert(options->function_count <= TG_VM_FUNCTIONS_MAX);
    *out = NULL;
    error->n = 0;
    error->text[0] = '\0';
    struct tg_vm *vm = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*vm));
    if (vm == NULL)
        return fail(error, TG_E_NOMEM, "%.*s: out of memory", TG_STR_ARG(options->file));
    vm->options = *options;
    copy_name(vm->name, sizeof(vm->name), &vm->options.name);
    copy_name(vm->file, sizeof(vm->file), &vm->options.file);
    vm->runner = options->runner;
    vm->plugin_ref = LUA_NOREF;
    enum tg_err err = open_state(vm, error);
    if (err == TG_OK)
        err = load_plugin(vm, error);
    vm->options.source = tg_str_c("");
    if (err != TG_OK)
        tg_vm_free(&vm);
    *out = vm;
    return err;
}

void tg_vm_free(struct tg_vm **vmp)
{
    struct tg_vm *vm = *vmp;
    if (vm == NULL)
        return;
    tg_assert(vm->current == NULL);
    tg_run_pool_release(vm);
    if (vm->L != NULL)
        lua_close(vm->L);
    tg_alloc_free(&vm->alloc);
    tg_mem_free(TG_MEM_PLUGIN, vm);
    *vmp = NULL;
}

/* ---- Its beginning and its end --------------------------------------------------------------- */

enum tg_err tg_vm_start(struct tg_vm *vm, struct tg_vm_error *error)
{
    tg_assert(!vm->frozen);
    if (vm->init_ref != LUA_NOREF) {
        enum tg_err err = run_setup(vm, vm->init_ref, &vm->plugin_ref, 1, "init()", NULL, error);
        if (err != TG_OK)
            return err;
    }
    tg_sandbox_freeze(vm->L);
    return TG_OK;
}

enum tg_err tg_vm_stop(struct tg_vm *vm, struct tg_vm_error *error)
{
    return vm->stop_ref != LUA_NOREF ? run_setup(vm, vm->stop_ref, NULL, 0, "stop()", NULL, error)
                                     : TG_OK;
}

/* ---- State across a reload ------------------------------------------------------------------- */

struct state {
    int ref; /* of the value */
    struct tg_str blob;
    struct tg_blob *out;
    enum tg_err err;
    char why[256];
};

/* No activation's budget pays for the encoding, so it has as long as save() had. */
static bool is_save_over(lua_State *L)
{
    return tg_clock_thread_cpu() > tg_vm_inline(L)->save_until_us;
}

static int encode_state(lua_State *L)
{
    const struct tg_marshal_options options = {
        .root = "state", .bytes = TG_VM_STATE_MAX, .is_spent = is_save_over, .tag = TG_MEM_PLUGIN};
    struct state *state = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref);
    if (lua_isnil(L, -1))
        return 0;
    state->err =
        tg_marshal_encode(L, lua_gettop(L), &options, state->out, state->why, sizeof(state->why));
    return 0;
}

enum tg_err tg_vm_save(struct tg_vm *vm, struct tg_blob *out, struct tg_vm_error *error)
{
    struct state state = {.ref = LUA_NOREF, .out = out};
    *out = (struct tg_blob){.tag = TG_MEM_PLUGIN};
    if (vm->save_ref == LUA_NOREF)
        return TG_OK;
    enum tg_err err = run_setup(vm, vm->save_ref, NULL, 0, "save()", &state.ref, error);
    if (err != TG_OK)
        return err;
    vm->save_until_us = tg_clock_thread_cpu() + SETUP_CPU_US;
    err = tg_vm_call(vm, encode_state, &state, error);
    tg_vm_unref(vm, &state.ref);
    if (err == TG_OK && state.err != TG_OK)
        return fail(error, state.err, "%s: save(): %s", vm->file,
                    state.why[0] != '\0' ? state.why : tg_err_text(state.err));
    return err;
}

static int decode_state(lua_State *L)
{
    struct state *state = lua_touserdata(L, 1);
    if (tg_marshal_decode(L, state->blob) != TG_OK)
        return luaL_error(L, "the state of another VM is not well formed");
    state->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

enum tg_err tg_vm_restore(struct tg_vm *vm, struct tg_str blob, struct tg_vm_error *error)
{
    struct state state = {.ref = LUA_NOREF, .blob = blob};
    if (vm->restore_ref == LUA_NOREF)
        return TG_OK;
    enum tg_err err = tg_vm_call(vm, decode_state, &state, error);
    if (err == TG_OK)
        err = run_setup(vm, vm->restore_ref, &state.ref, 1, "restore()", NULL, error);
    tg_vm_unref(vm, &state.ref);
    return err;
}

/* ---- Instances ------------------------------------------------------------------------------- */

struct instance {
    struct tg_str blob;
    struct tg_str scope;
    int args[2]; /* of configure(): references of the configuration and of the scope */
    int compiled;
};

static int decode_conf(lua_State *L)
{
    struct instance *instance = lua_touserdata(L, 1);
    struct tg_vm *vm = tg_vm_inline(L);
    if (tg_marshal_decode(L, instance->blob) != TG_OK || lua_type(L, -1) != LUA_TTABLE)
        return luaL_error(L, "%s: the instance's configuration is not a table", vm->file);
    instance->args[0] = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushlstring(L, instance->scope.p, instance->scope.n);
    instance->args[1] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int set_compiled(lua_State *L)
{
    struct instance *instance = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->args[0]);
    lua_pushliteral(L, "compiled");
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->compiled);
    lua_rawset(L, -3);
    return 0;
}

enum tg_err tg_vm_configure(struct tg_vm *vm, struct tg_str conf, struct tg_str scope, int *ref,
                            struct tg_vm_error *error)
{
    struct instance instance = {conf, scope, {LUA_NOREF, LUA_NOREF}, LUA_NOREF};
    *ref = LUA_NOREF;
    enum tg_err err = tg_vm_call(vm, decode_conf, &instance, error);
    if (err == TG_OK && vm->configure_ref != LUA_NOREF) {
        err = run_setup(vm, vm->configure_ref, instance.args, 2, "configure()", &instance.compiled,
                        error);
        if (err == TG_OK)
            err = tg_vm_call(vm, set_compiled, &instance, error);
        tg_vm_unref(vm, &instance.compiled);
    }
    tg_vm_unref(vm, &instance.args[1]);
    if (err != TG_OK)
        tg_vm_unref(vm, &instance.args[0]);
    *ref = instance.args[0];
    return err;
}

/* ---- What others ask ------------------------------------------------------------------------- */

int tg_vm_function(const struct tg_vm *vm, unsigned index)
{
    tg_assert(index < vm->options.function_count);
    return vm->functions[index];
}

int tg_vm_plugin(const struct tg_vm *vm)
{
    return vm->plugin_ref;
}

struct tg_vm *tg_vm_from(lua_State *L)
{
    return tg_vm_inline(L);
}

void tg_vm_mark_owner(lua_State *L, const void *userdata)
{
    tg_alloc_mark_owner(tg_vm_inline(L)->alloc, userdata);
}

lua_State *tg_vm_state(struct tg_vm *vm)
{
    return vm->L;
}

struct tg_alloc *tg_vm_alloc(struct tg_vm *vm)
{
    return vm->alloc;
}

void *tg_vm_arg(const struct tg_vm *vm)
{
    return vm->options.arg;
}

struct tg_str tg_vm_name(const struct tg_vm *vm)
{
    return vm->options.name;
}

uint64_t tg_vm_kills(const struct tg_vm *vm, enum tg_kill reason)
{
    tg_assert(reason < TG_KILL_COUNT);
    return vm->kills[reason];
}

bool tg_vm_wants_rebuild(const struct tg_vm *vm)
{
    uint64_t oldest = vm->kill_times[vm->kill_total % TG_VM_REBUILD_KILLS];
    return vm->kill_total >= TG_VM_REBUILD_KILLS &&
           vm->options.clock->mono - oldest <= TG_VM_REBUILD_US;
}

uint64_t tg_vm_collections(const struct tg_vm *vm)
{
    return vm->collections;
}
