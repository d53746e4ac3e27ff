/* hook.h: the one hook of a VM, and the ends that a plugin does not choose. Private to core/script.
 *
 * One hook serves all reasons: memory above a soft mark (collect first, then perhaps kill), the end
 * of a slice (yield, or kill when the budget is used up), a kill or an exit that must not be caught
 * (raise, again and again until the plugin is out). It fires at the next instruction of the VM,
 * looks at the flags, acts, and goes off when nothing is left to do.
 *
 * Threads: the VM's; tg_runner_interrupt() (run.h) in its signal handler.
 */
#ifndef TG_SCRIPT_HOOK_H
#define TG_SCRIPT_HOOK_H

#include "script/run.h"

/* Makes the hook fire every `count` instructions, or never (0). */
void tg_hook_set(struct tg_vm *vm, int count);

/* Raises the sticky end again; does not return. The kill's place is noted from `L`. */
TG_NORETURN void tg_hook_raise_sticky(lua_State *L);

/* Notes that `run` is killed for `reason`, once, and where, when `L` can tell (may be NULL). */
void tg_hook_note_kill(struct tg_run *run, enum tg_kill reason, lua_State *L);

/* Callbacks of the allocator; `arg` is the VM. */
void tg_hook_on_pressure(void *arg);
void tg_hook_on_refused(void *arg, enum tg_kill reason);

/* A full collection now, when the current account's allowance has one left: false when not. */
bool tg_hook_collect(struct tg_vm *vm);

/* Adds the CPU time since the last call to the activation's, once the watchdog has said when the
 * entry was; before that nothing is known. */
void tg_hook_settle_cpu(struct tg_run *run);

/* Writes "file:line: " of the innermost Lua function of the plugin on `L`; 0 when there is none. */
size_t tg_hook_write_place(lua_State *L, char *out, size_t size);

/* Writes who called whom, the innermost first: "file:12 in helper < file:30", the plugin's own
 * functions alone, at most TRACE_FRAMES of them. `error` is the text of what happened: an error of
 * the interpreter's own leaves no line in the innermost frame, but begins with it. 0 where only one
 * frame is there: its place says it. */
size_t tg_hook_write_trace(lua_State *L, struct tg_str error, char *out, size_t size);

/* Writes the VM's error text for a kill, with the place and the calls that `L` tells. */
void tg_hook_write_kill(struct tg_vm *vm, enum tg_kill reason, lua_State *L);

#endif
