/* sandbox.h: the environment that plugin code sees.
 *
 * tg_sandbox_open() builds, in a fresh state, the allow-listed copy of Lua's libraries, and
 * replaces what is dangerous: see sandbox.c for the list and the reasons. Library tables belong to
 * the VM, so a plugin that changes one changes it for itself.
 *
 * The plugin's environment is an empty table in front of the real one: reads fall through, writes
 * declare a global while the plugin loads. After tg_sandbox_freeze() every write and every read of
 * an undeclared global raises, with file and line.
 *
 * Threads: the VM's. These functions raise: call them in protected mode.
 */
#ifndef TG_SCRIPT_SANDBOX_H
#define TG_SCRIPT_SANDBOX_H

#include <lua.h>

/* Opens libraries and builds the environment; leaves the stack as it was. */
void tg_sandbox_open(lua_State *L);

/* Pushes the environment that plugin chunks get. */
void tg_sandbox_push_env(lua_State *L);

/* Globals can neither be written nor declared from now on; require() loads nothing new. */
void tg_sandbox_freeze(lua_State *L);

/* Loads `text` (text only; bytecode is refused) under `name` with the plugin's environment: 0 and
 * the function on the stack, or lua_load()'s status and a message. */
int tg_sandbox_load(lua_State *L, const char *text, size_t n, const char *name);

#endif
