/* host.c: see host.h; and how stock busted finds us: luaopen_tidegate_test() and
 * luaopen_tidegate_harness() in build/tidegate.so. */
#include "base/banned.h"
#include "harness/host.h"

#include "base/embed.h"
#include "base/err.h"
#include "harness/module.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <sys/resource.h>

#define STACK_SIZE   ((rlim_t)120 << 20) /* as a worker's: see event/worker.h */
#define STATUS_ERROR 3

/* A searcher for package.loaders: modules are files of lua/ in the binary. */
static int find_embedded(lua_State *L)
{
    static const char *const patterns[] = {"lua/%s.lua", "lua/%s/init.lua"};
    const char *path = luaL_gsub(L, luaL_checkstring(L, 1), ".", "/");
    for (size_t i = 0; i < TG_COUNT_OF(patterns); i++) {
        const struct tg_embed *file = tg_embed_find(lua_pushfstring(L, patterns[i], path));
        if (file == NULL)
            continue;
        const char *chunk = lua_pushfstring(L, "@%s", file->name);
        if (luaL_loadbufferx(L, file->data, file->size, chunk, "t") != 0)
            return lua_error(L);
        return 1;
    }
    lua_pushfstring(L, "\n\tno file of the program is called %s", path);
    return 1;
}

void tg_host_install(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, tg_harness_open);
    lua_setfield(L, -2, "tidegate.harness");
    lua_getfield(L, -2, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, find_embedded);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 3);
}

static void set_arguments(lua_State *L, int argc, char *const *argv)
{
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushliteral(L, "tidegate");
    lua_rawseti(L, -2, 0);
    lua_setglobal(L, "arg");
}

static int with_traceback(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

/* Protected: (name) -> status */
static int call_main(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_call(L, 0, 1);
    return 1;
}

int tg_host_run(const char *name, int argc, char *const *argv)
{
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < STACK_SIZE) {
        stack.rlim_cur = TG_MIN(STACK_SIZE, stack.rlim_max);
        setrlimit(RLIMIT_STACK, &stack);
    }
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return STATUS_ERROR;
    luaL_openlibs(L);
    tg_host_install(L);
    set_arguments(L, argc, argv);
    lua_pushcfunction(L, with_traceback);
    lua_pushcfunction(L, call_main);
    lua_pushstring(L, name);
    int status = STATUS_ERROR;
    if (lua_pcall(L, 1, 1, 1) == 0)
        status = (int)lua_tointeger(L, -1);
    else
        (void)fprintf(stderr, "tidegate: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return status;
}

/* ---- As a module of stock busted ---------------------------------------------------------------
 */

/* Whether the state that called is LuaJIT's: another interpreter brings its own functions of the
 * same names, and ours would find those. Asks the linker only, since that is safe in every Lua. */
static bool is_luajit(void)
{
    Dl_info of_lua;
    Dl_info of_luajit;
    return dladdr((void *)(uintptr_t)lua_pushlstring, &of_lua) != 0 &&
           dladdr((void *)(uintptr_t)luaJIT_setmode, &of_luajit) != 0 &&
           of_lua.dli_fbase == of_luajit.dli_fbase;
}

static void refuse_others(lua_State *L)
{
    if (is_luajit())
        return;
    lua_pushstring(L,
                   "tidegate.test needs LuaJIT, as plugins do: run busted --lua=luajit, or write "
                   "lua = \"luajit\" into .busted");
    lua_error(L);
}

/* All that the module shows: the rest of it is hidden (see the Makefile). */
__attribute__((visibility("default"))) int luaopen_tidegate_harness(lua_State *L);
__attribute__((visibility("default"))) int luaopen_tidegate_test(lua_State *L);

int luaopen_tidegate_harness(lua_State *L)
{
    refuse_others(L);
    tg_host_install(L);
    return tg_harness_open(L);
}

int luaopen_tidegate_test(lua_State *L)
{
    refuse_others(L);
    tg_host_install(L);
    const struct tg_embed *file = tg_embed_find("lua/tidegate/test/init.lua");
    if (luaL_loadbufferx(L, file->data, file->size, "@lua/tidegate/test/init.lua", "t") != 0)
        return lua_error(L);
    lua_pushliteral(L, "tidegate.test");
    lua_call(L, 1, 1);
    return 1;
}
