/* pattern_lua.h: string.find, match, gmatch and gsub on tg_pattern, for plugin VMs.
 *
 * The four functions behave as LuaJIT's (manual, 5.4; pattern.h lists what differs), with two
 * gains: time is bounded by a budget of steps, and what they call back (a function, or the __index
 * of a table, given to gsub) may suspend, since the loop that calls it is Lua code. Offsets and
 * counts that no 32-bit integer holds count as out of range; LuaJIT wraps them.
 *
 * Memory: everything is allocated by the VM, and so charged to it: results, and beyond a buffer of
 * 1 KiB on the C stack the text that gsub builds, whose buffer doubles. A refused allocation
 * raises as any other and leaves nothing behind.
 *
 * Threads: those of the VM.
 */
#ifndef TG_SCRIPT_PATTERN_LUA_H
#define TG_SCRIPT_PATTERN_LUA_H

#include "base/defs.h"

#include <lua.h>

#define TG_PATTERN_STEPS_DEFAULT UINT64_C(500000) /* some 3 ms */

struct tg_pattern_hooks {
    /* Steps that are left; every call takes from it what it spends. The VM refills it when an
     * activation begins. Borrowed until the state is closed. NULL: each call (for gmatch each
     * round of the loop) has TG_PATTERN_STEPS_DEFAULT of its own. */
    uint64_t *steps;

    /* Told that a call ran out of steps. May raise or mark the activation as killed; when it
     * returns, the call raises an ordinary Lua error. May be NULL. */
    void (*on_exceeded)(lua_State *L, void *arg);
    void *arg; /* for on_exceeded */
};

/* Sets find, match, gmatch and gsub in the table at the top of the stack, which stays there.
 * `hooks` is copied. Needs the base library's `type` among the globals. Raises when memory is out:
 * call it protected. */
void tg_pattern_open(lua_State *L, const struct tg_pattern_hooks *hooks);

#endif
