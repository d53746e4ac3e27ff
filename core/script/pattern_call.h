/* pattern_call.h: what the C functions behind find, match, gmatch and gsub share.
 *
 * Internal to pattern_lua.c and pattern_gsub.c. Each function that is registered has the hooks, a
 * userdata, as its first upvalue. Errors are raised with the plugin's position, which is one level
 * up from a function that the plugin calls, and two from one that gsub's Lua loop calls. Nothing
 * here holds a resource, so raising is always safe. Threads: those of the VM.
 */
#ifndef TG_SCRIPT_PATTERN_CALL_H
#define TG_SCRIPT_PATTERN_CALL_H

#include "base/defs.h"
#include "base/str.h"
#include "script/pattern.h"
#include "script/pattern_lua.h"

#include <lauxlib.h>
#include <lua.h>

/* Where the plugin's code is on the call stack, seen from the running function. */
enum tg_pattern_level { TG_PATTERN_LEVEL_DIRECT = 1, TG_PATTERN_LEVEL_DRIVEN = 2 };

/* The hooks of the running function; they live as long as it does. */
static inline const struct tg_pattern_hooks *tg_pattern_hooks_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* Argument `index` as a string, or an error that names the argument; borrowed from the stack. */
static inline struct tg_str tg_pattern_check_str(lua_State *L, int index)
{
    struct tg_str s;
    s.p = luaL_checklstring(L, index, &s.n);
    return s;
}

/* The string or number at `index`; a number becomes a string in its place on the stack. */
static inline struct tg_str tg_pattern_str_at(lua_State *L, int index)
{
    struct tg_str s;
    s.p = lua_tolstring(L, index, &s.n);
    return s;
}

/* Raises `text` (copied) with the position of the plugin's code. */
TG_NORETURN void tg_pattern_fail(lua_State *L, enum tg_pattern_level level, const char *text);

/* Looks for a match from offset `from` on within the VM's budget, or else within m->steps. True
 * when there is one; raises when the pattern is malformed or the budget used up. */
bool tg_pattern_find_charged(lua_State *L, const struct tg_pattern_hooks *hooks,
                             enum tg_pattern_level level, struct tg_pattern *m, size_t from);

/* Takes one step from the budget for work beside the search; raises when there is none left. */
void tg_pattern_charge(lua_State *L, const struct tg_pattern_hooks *hooks,
                       enum tg_pattern_level level, struct tg_pattern *m);

/* Capture `index` (0 is the first) of the match in `m`; without any capture the first is the whole
 * match. Raises when there is none or it is unfinished. */
struct tg_pattern_capture tg_pattern_capture_at(lua_State *L, enum tg_pattern_level level,
                                                const struct tg_pattern *m, unsigned index);

/* Pushes that capture: a string, or for a position capture a number. */
void tg_pattern_push_capture(lua_State *L, enum tg_pattern_level level, const struct tg_pattern *m,
                             unsigned index);

/* Pushes all captures, and where there is none `least` times (0 or 1) the whole match; returns how
 * many values that were. */
int tg_pattern_push_captures(lua_State *L, enum tg_pattern_level level, const struct tg_pattern *m,
                             unsigned least);

#endif
