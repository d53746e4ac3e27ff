/* coroutine.c: see coroutine.h.
 *
 * vm->coros maps each coroutine that a plugin made and that has not ended to the serial of the
 * activation that made it; the number is negative while the host has it paused. Keys are weak: what
 * nobody can resume any more does not count. Only what is in the map can be resumed, so the host's
 * own coroutines cannot, and what the host paused is resumed by the wrapper that passed the pause
 * on, not by another activation that got hold of the handle.
 */
#include "base/banned.h"
#include "script/coroutine.h"

#include "script/hook.h"
#include "script/state.h"

void tg_coroutine_open(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    tg_vm_inline(L)->coros_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* The number noted for the coroutine at `index`; 0 when it is not in the map. */
static lua_Number noted(lua_State *L, const struct tg_vm *vm, int index)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->coros_ref);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    lua_Number number = lua_tonumber(L, -1);
    lua_pop(L, 2);
    return number;
}

/* Notes `number`, or forgets the coroutine with 0. */
static void note(lua_State *L, const struct tg_vm *vm, int index, lua_Number number)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->coros_ref);
    lua_pushvalue(L, index);
    if (number != 0)
        lua_pushnumber(L, number);
    else
        lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* Live coroutines of the current activation, by looking. */
static uint32_t count_live(lua_State *L, const struct tg_vm *vm)
{
    uint32_t live = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->coros_ref);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_Number number = lua_tonumber(L, -1);
        live += (number < 0 ? -number : number) == (lua_Number)vm->current->serial;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return live;
}

static int co_create(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    struct tg_run *run = vm->current;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (run->coroutines >= TG_COROUTINE_LIVE) {
        tg_hook_collect(vm);
        run->coroutines = count_live(L, vm);
    }
    if (run->coroutines >= TG_COROUTINE_LIVE)
        tg_run_raise_kill(L, TG_KILL_QUOTA);
    lua_settop(L, 1);
    lua_State *co = lua_newthread(L);
    tg_alloc_mark_stack(vm->alloc);
    note(L, vm, 2, run->serial);
    run->coroutines++;
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

/* ---- Resuming -------------------------------------------------------------------------------- */

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argcheck(L, co != NULL, 1, "coroutine expected");
    return co;
}

static int fail(lua_State *L, const char *why)
{
    lua_pushboolean(L, 0);
    lua_pushboolean(L, 0);
    lua_pushstring(L, why);
    return 3;
}

static void forget(lua_State *L, struct tg_vm *vm, lua_Number number)
{
    note(L, vm, 1, 0);
    if (number == (lua_Number)vm->current->serial && vm->current->coroutines > 0)
        vm->current->coroutines--;
}

/* What sandbox.lua gets: true (paused by the host); or false, and what coroutine.resume returns. */
static int hand_back(lua_State *L, struct tg_vm *vm, lua_State *co, int status, lua_Number number)
{
    if (status == LUA_YIELD && vm->pause != TG_PAUSE_NONE) {
        note(L, vm, 1, -number);
        lua_pushboolean(L, 1);
        return 1;
    }
    if (status != LUA_YIELD)
        forget(L, vm, number);
    int n = status == 0 || status == LUA_YIELD ? lua_gettop(co) : 1;
    if (!lua_checkstack(L, n + 2)) {
        lua_settop(co, 0);
        return fail(L, "too many results to resume");
    }
    lua_pushboolean(L, 0);
    lua_pushboolean(L, status == 0 || status == LUA_YIELD);
    lua_xmove(co, L, n);
    return n + 2;
}

/* Resumes `co` with the arguments from index 2 on. */
static int resume_inner(lua_State *L, struct tg_vm *vm, lua_State *co, lua_Number number)
{
    int nargs = lua_gettop(L) - 1;
    ptrdiff_t on_stack = vm->c_stack - (const char *)__builtin_frame_address(0);
    if (vm->depth >= TG_COROUTINE_DEPTH || on_stack > TG_COROUTINE_C_STACK)
        tg_run_raise_kill(L, TG_KILL_DEPTH);
    if (!lua_checkstack(co, nargs))
        return fail(L, "too many arguments to resume");
    lua_xmove(L, co, nargs);
    bool could_yield = vm->can_yield;
    vm->can_yield = could_yield && lua_isyieldable(L);
    vm->depth++;
    vm->running = co;
    int status = lua_resume(co, nargs);
    vm->running = L;
    vm->depth--;
    vm->can_yield = could_yield;
    if (tg_vm_is_sticky(vm) && vm->pause == TG_PAUSE_NONE) {
        if (vm->current->kill != TG_KILL_NONE)
            tg_hook_note_kill(vm->current, vm->current->kill, co);
        tg_hook_raise_sticky(L);
    }
    return hand_back(L, vm, co, status, number);
}

static bool is_dead(lua_State *co)
{
    int status = lua_status(co);
    lua_Debug ar;
    if (status == LUA_YIELD)
        return false;
    return status != 0 || (lua_getstack(co, 0, &ar) == 0 && lua_gettop(co) == 0);
}

static bool is_active(lua_State *co)
{
    lua_Debug ar;
    return lua_status(co) == 0 && lua_getstack(co, 0, &ar) > 0;
}

static int co_step(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    lua_State *co = check_coroutine(L);
    lua_Number number = noted(L, vm, 1);
    if (co != L && is_dead(co))
        return fail(L, "cannot resume dead coroutine");
    if (number <= 0 || co == L || is_active(co))
        return fail(L, "cannot resume non-suspended coroutine");
    return resume_inner(L, vm, co, number);
}

static int co_go_on(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    lua_Number number = -noted(L, vm, 1);
    note(L, vm, 1, number);
    return resume_inner(L, vm, lua_tothread(L, 1), number);
}

/* ---- The rest of the library ----------------------------------------------------------------- */

static int co_yield (lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    if (L == vm->current->L)
        return luaL_error(L, "coroutine.yield outside a coroutine");
    if (!lua_isyieldable(L))
        return luaL_error(L, "coroutine.yield inside a function that C calls (a comparator of "
                             "table.sort, a __tostring)");
    return lua_yield(L, lua_gettop(L));
}

static int co_status(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    const char *status = "suspended";
    if (co == L)
        status = "running";
    else if (is_dead(co))
        status = "dead";
    else if (is_active(co) || noted(L, tg_vm_inline(L), 1) < 0)
        status = "normal";
    lua_pushstring(L, status);
    return 1;
}

static int co_running(lua_State *L)
{
    if (L == tg_vm_inline(L)->current->L)
        lua_pushnil(L);
    else
        lua_pushthread(L);
    return 1;
}

static int co_isyieldable(lua_State *L)
{
    lua_pushboolean(L, L != tg_vm_inline(L)->current->L && lua_isyieldable(L));
    return 1;
}

/* What pcall caught: raised again when it must not be. */
static int co_caught(lua_State *L)
{
    if (tg_vm_is_sticky(tg_vm_inline(L)))
        tg_hook_raise_sticky(L);
    return lua_gettop(L);
}

static void set_functions(lua_State *L, const luaL_Reg *functions)
{
    for (; functions->name != NULL; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}

void tg_coroutine_register(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", co_create},           {"yield", co_yield },
        {"status", co_status},           {"running", co_running},
        {"isyieldable", co_isyieldable}, {NULL, NULL},
    };
    set_functions(L, functions);
}

void tg_coroutine_register_kernel(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", co_create}, {"step", co_step}, {"go_on", co_go_on},
        {"caught", co_caught}, {NULL, NULL},
    };
    set_functions(L, functions);
}
