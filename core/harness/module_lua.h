/* module_lua.h: what the two files of the Lua module share: module.c has the module itself, pipes
 * and snapshots, module_gateway.c a harness and its methods. For Lua states of the host, which may
 * raise.
 */
#ifndef TG_HARNESS_MODULE_LUA_H
#define TG_HARNESS_MODULE_LUA_H

#include "config/snapshot.h"
#include "harness/pipe.h"

#include <lauxlib.h>

/* Makes the type of harnesses; new(real, seed) of the module. */
void tg_module_open_harness(lua_State *L);
int tg_module_new_harness(lua_State *L);

/* A metatable called `name` whose methods these are. */
void tg_module_make_type(lua_State *L, const char *name, const luaL_Reg *methods);

/* Pushes a pipe that is closed: it is made before the descriptor, so that a raise loses none. */
struct tg_pipe *tg_module_push_pipe(lua_State *L);

/* The snapshot of argument `index`; borrowed. */
struct tg_snapshot *tg_module_check_snapshot(lua_State *L, int index);

/* Pushes nil and a word for `err`; returns 2. */
int tg_module_push_failure(lua_State *L, enum tg_err err);

static inline struct tg_str tg_module_arg_str(lua_State *L, int index)
{
    struct tg_str s;
    s.p = luaL_checklstring(L, index, &s.n);
    return s;
}

/* A member of the table on top of the stack. */
static inline void tg_module_set_str(lua_State *L, const char *key, struct tg_str s)
{
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, key);
}

#endif
