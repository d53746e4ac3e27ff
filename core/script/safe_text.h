/* safe_text.h: functions on text that a refused allocation leaves unharmed.
 *
 * LuaJIT has tostring and string.char, lower, reverse, sub, upper in machine code of its own, which
 * makes strings while the state's `top` is that of some earlier call. When the allocator then says
 * no, the message "not enough memory" is written at that place, which may be the frame of a caller
 * still to be returned to: the process crashes while it unwinds. A VM whose allocator may refuse
 * has these functions instead. They behave as the manual says (Lua 5.1, 5.1 and 5.4), with offsets
 * beyond 32 bits held at the nearest bound where LuaJIT wraps them.
 *
 * Threads: those of the VM.
 */
#ifndef TG_SCRIPT_SAFE_TEXT_H
#define TG_SCRIPT_SAFE_TEXT_H

#include <lua.h>

/* Sets char, lower, reverse, sub and upper in the table at the top of the stack and pushes a
 * tostring. Needs `type` and `tostring` of the base library among the globals. Raises when memory
 * is out: call it protected. */
void tg_safe_text_open(lua_State *L);

#endif
