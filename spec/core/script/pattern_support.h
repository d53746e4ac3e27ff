/*
 * Lua states for the tests of the pattern functions: an allocator that counts and refuses, our
 * functions in the global table `S`, and a way to run a piece of Lua that must not raise.
 *
 * Include it behind <cmocka.h> and its headers. Each state belongs to the test that made it.
 */
#ifndef TG_SPEC_SCRIPT_PATTERN_SUPPORT_H
#define TG_SPEC_SCRIPT_PATTERN_SUPPORT_H

#include "base/defs.h"
#include "script/pattern_lua.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>

static const struct tg_pattern_hooks no_hooks;

/* Allocator that refuses growth past a limit, or one allocation by number. Blocks are counted
 * beside bytes, since LuaJIT frees a closure whose upvalues it could not allocate with too small a
 * size. */
struct heap {
    size_t used, limit, blocks;
    unsigned long calls, refuse_at;
};

static void *allocate(void *arg, void *ptr, size_t old_size, size_t size)
{
    struct heap *heap = arg;

    old_size = ptr != NULL ? old_size : 0;
    if (size > old_size) {
        heap->calls++;
        if (heap->calls == heap->refuse_at || heap->used + (size - old_size) > heap->limit)
            return NULL;
    }
    heap->used += size - old_size;
    heap->blocks += (ptr == NULL && size > 0);
    heap->blocks -= (ptr != NULL && size == 0);
    if (size > 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

/* Puts our functions into the global table `S`. */
TG_UNUSED static int open_functions(lua_State *L)
{
    const struct tg_pattern_hooks *hooks = lua_touserdata(L, 1);

    lua_newtable(L);
    tg_pattern_open(L, hooks);
    lua_setglobal(L, "S");
    return 0;
}

TG_UNUSED static lua_State *new_state(struct heap *heap, const struct tg_pattern_hooks *hooks)
{
    lua_State *L = lua_newstate(allocate, heap);

    assert_non_null(L);
    luaL_openlibs(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    assert_int_equal(lua_cpcall(L, open_functions, (void *)hooks), 0);
    return L;
}

TG_UNUSED static void close_state(lua_State *L, struct heap *heap)
{
    lua_close(L);
    assert_int_equal(heap->blocks, 0);
}

/* Runs `code`, which must not raise. */
TG_UNUSED static void run(lua_State *L, const char *code)
{
    if (luaL_loadstring(L, code) != 0 || lua_pcall(L, 0, 0, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
}

#endif
