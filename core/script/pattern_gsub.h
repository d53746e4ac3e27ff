/* pattern_gsub.h: the gsub of pattern_lua.h. */
#ifndef TG_SCRIPT_PATTERN_GSUB_H
#define TG_SCRIPT_PATTERN_GSUB_H

#include <lua.h>

/* Pushes the function gsub. `hooks` is the stack index of the userdata with the hooks, which the
 * function keeps. Raises when memory is out. */
void tg_pattern_push_gsub(lua_State *L, int hooks);

#endif
