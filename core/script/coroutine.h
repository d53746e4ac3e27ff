/* coroutine.h: the plugin's own coroutines, between it and the host. Private to core/script.
 *
 * A plugin's coroutine may call host functions that suspend, may be preempted, and may be killed;
 * the plugin must notice nothing of the first two and survive none of the last. sandbox.lua drives
 * these functions; see there for the loop. Bounds: nesting TG_COROUTINE_DEPTH, and what a plugin
 * has on the C stack when it resumes one, TG_COROUTINE_C_STACK (kill "depth"); live coroutines per
 * activation TG_COROUTINE_LIVE (kill "quota").
 *
 * A coroutine that calls C which calls Lua, over and over, ends when its Lua stack is full, which
 * is within some MiB of C stack; the next one would begin anew. Hence the second bound.
 *
 * All functions raise: they are called by Lua or in protected mode.
 */
#ifndef TG_SCRIPT_COROUTINE_H
#define TG_SCRIPT_COROUTINE_H

#include <lua.h>

#define TG_COROUTINE_DEPTH   64
#define TG_COROUTINE_C_STACK ((ptrdiff_t)3 << 20) /* bytes */
#define TG_COROUTINE_LIVE    256

/* Makes the table of live coroutines. */
void tg_coroutine_open(lua_State *L);

/* Sets create, yield, status, running and isyieldable in the table on top. */
void tg_coroutine_register(lua_State *L);

/* Sets what sandbox.lua builds on in the table on top: create, step, go_on, caught. */
void tg_coroutine_register_kernel(lua_State *L);

#endif
