/*
 * What a plugin VM costs: entering and leaving a phase that does nothing, beside a bare
 * lua_resume() in the same state; request-like allocation on our accounting allocator, beside
 * LuaJIT's own, both interpreted; and the memory of a VM with a small plugin. Prints `bench <name>
 * <value> <unit>` lines: CPU time of this thread, the least of several rounds, interleaved.
 */
#include "base/banned.h"
#include "script/run.h"

#include "base/assert.h"
#include "base/mem.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>

#define ROUNDS  9
#define ENTRIES 200000
#define CALLS   300

static const char plugin[] =
    "local P = {}\n"
    "function P.access() end\n"
    "function P.work()\n"
    "  local headers = {}\n"
    "  for i = 1, 30 do headers['x-header-' .. i] = 'value ' .. i end\n"
    "  local parts = {}\n"
    "  for k, v in pairs(headers) do parts[#parts + 1] = k .. '=' .. v end\n"
    "  local log = { list = table.concat(parts, '&'), at = { line = 1, file = 'x' } }\n"
    "  for i = 1, 20 do parts[i] = { name = i, f = function() return i end } end\n"
    "  return #log.list\n"
    "end\n"
    "return P\n";

static const char *const functions[] = {"access", "work"};

static struct tg_vm *open_vm(struct tg_limits *limits, struct tg_clock *clock,
                             struct tg_runner *runner)
{
    struct tg_vm_options options = {
        .name = TG_STR("bench"),
        .file = TG_STR("bench.lua"),
        .source = TG_STR(plugin),
        .limits = limits,
        .clock = clock,
        .runner = runner,
        .functions = functions,
        .function_count = TG_COUNT_OF(functions),
    };
    struct tg_vm_error error;
    struct tg_vm *vm;
    tg_assert(tg_vm_new(&options, &vm, &error) == TG_OK && tg_vm_start(vm, &error) == TG_OK);
    return vm;
}

/* ns for init, resume and release with an account of its own. */
static double enter_many(struct tg_vm *vm)
{
    struct tg_account account;
    struct tg_run run;
    uint64_t start = tg_clock_thread_cpu();
    for (int i = 0; i < ENTRIES; i++) {
        tg_assert(tg_account_init(&account, tg_vm_alloc(vm), 1 << 20, 1 << 26) == TG_OK);
        tg_assert(tg_run_init(&run, vm, &account, tg_vm_function(vm, 0)) == TG_OK);
        lua_pushinteger(run.L, i);
        tg_assert(tg_run_resume(&run, 1) == TG_RUN_DONE);
        tg_run_release(&run);
        tg_account_release(&account);
    }
    return (double)(tg_clock_thread_cpu() - start) * 1000 / ENTRIES;
}

static double resume_many(struct tg_vm *vm)
{
    lua_State *co = lua_newthread(tg_vm_state(vm));
    uint64_t start = tg_clock_thread_cpu();
    for (int i = 0; i < ENTRIES; i++) {
        lua_rawgeti(co, LUA_REGISTRYINDEX, tg_vm_function(vm, 0));
        lua_pushinteger(co, i);
        tg_assert(lua_resume(co, 1) == 0);
        lua_settop(co, 0);
    }
    double ns = (double)(tg_clock_thread_cpu() - start) * 1000 / ENTRIES;
    lua_settop(tg_vm_state(vm), 0);
    return ns;
}

static double work_many(struct tg_vm *vm)
{
    struct tg_account account;
    struct tg_run run;
    uint64_t start = tg_clock_thread_cpu();
    for (int i = 0; i < CALLS; i++) {
        tg_assert(tg_account_init(&account, tg_vm_alloc(vm), 1 << 20, 1 << 26) == TG_OK);
        tg_assert(tg_run_init(&run, vm, &account, tg_vm_function(vm, 1)) == TG_OK);
        tg_assert(tg_run_resume(&run, 0) == TG_RUN_DONE);
        tg_run_release(&run);
        tg_account_release(&account);
    }
    return (double)(tg_clock_thread_cpu() - start);
}

/* The same function in a state on LuaJIT's own allocator, interpreted. */
static lua_State *open_plain(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    tg_assert(luaL_dostring(L, plugin) == 0);
    lua_getfield(L, -1, "work");
    return L;
}

static double work_plain(lua_State *L)
{
    lua_State *co = lua_newthread(L);
    uint64_t start = tg_clock_thread_cpu();
    for (int i = 0; i < CALLS; i++) {
        lua_pushvalue(L, -2);
        lua_xmove(L, co, 1);
        tg_assert(lua_resume(co, 0) == 0);
        lua_settop(co, 0);
    }
    double us = (double)(tg_clock_thread_cpu() - start);
    lua_pop(L, 1);
    return us;
}

static void bench(const char *name, double value, const char *unit)
{
    printf("bench %s %.3g %s\n", name, value, unit);
}

int main(void)
{
    struct tg_limits limits;
    struct tg_clock clock;
    struct tg_runner runner;
    double enter = 1e9, resume = 1e9, ours = 1e9, plain = 1e9;
    tg_limits_init(&limits);
    tg_clock_init(&clock);
    tg_runner_init(&runner);
    struct tg_vm *vm = open_vm(&limits, &clock, &runner);
    lua_State *L = open_plain();
    bench("sandbox.vm_bytes", (double)tg_mem_used(TG_MEM_PLUGIN), "bytes");
    for (int i = 0; i < ROUNDS; i++) {
        double ns = enter_many(vm);
        enter = TG_MIN(enter, ns);
        ns = resume_many(vm);
        resume = TG_MIN(resume, ns);
        double us = work_many(vm);
        ours = TG_MIN(ours, us);
        us = work_plain(L);
        plain = TG_MIN(plain, us);
    }
    bench("sandbox.entry_ns", enter - resume, "ns");
    bench("sandbox.resume_ns", resume, "ns");
    bench("sandbox.alloc_vs_luajit", ours / plain, "ratio");
    lua_close(L);
    tg_vm_free(&vm);
    return 0;
}
