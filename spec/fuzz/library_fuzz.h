/*
 * library_fuzz.h: the library `tg` in a real plugin VM, for fuzz drivers of what core/bind offers.
 *
 * library_open() makes the VM once; its main state is unbounded (host code), so drivers call
 * functions of the library as plugins do and see results and errors alone.
 */
#ifndef SPEC_FUZZ_LIBRARY_FUZZ_H
#define SPEC_FUZZ_LIBRARY_FUZZ_H

#include "base/assert.h"
#include "bind/object.h"
#include "script/run.h"

/* Lua tags its pointers, so the leak detector cannot follow them from one round to the next, and
 * would take what the VM holds for lost. The unit tests look for leaks, when their VMs are closed.
 */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static int library_ref;

static inline void library_register(lua_State *L, void *arg)
{
    tg_bind_open(L, arg);
    lua_getfield(L, -1, "tidegate");
    library_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* A state with what the Lua text `calls` returned for the library at index 1, and nothing else. */
static inline lua_State *library_open(const char *calls)
{
    static struct tg_vm_host host;
    static struct tg_limits limits;
    static struct tg_clock clock;
    static struct tg_runner runner;
    static struct tg_vm *vm;
    struct tg_vm_error error;
    lua_State *L;

    if (vm != NULL)
        return tg_vm_state(vm);
    tg_limits_init(&limits);
    limits.plugin_heap = UINT64_C(1) << 30;
    tg_clock_init_fake(&clock, TG_USEC_PER_SEC);
    tg_runner_init(&runner);
    struct tg_vm_options options = {.name = TG_STR("fuzz"),
                                    .file = TG_STR("fuzz.lua"),
                                    .source = TG_STR("return {}"),
                                    .limits = &limits,
                                    .clock = &clock,
                                    .runner = &runner,
                                    .open = library_register,
                                    .on_freed = tg_bind_release_value,
                                    .arg = &host};
    tg_assert(tg_vm_new(&options, &vm, &error) == TG_OK);
    L = tg_vm_state(vm);
    lua_settop(L, 0);
    tg_assert(luaL_loadstring(L, calls) == 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, library_ref);
    tg_assert(lua_pcall(L, 1, 1, 0) == 0);
    return L;
}

#endif
