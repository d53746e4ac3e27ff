/* coverage.h: which lines of plugins were run.
 *
 * A line hook in the plugins' VMs, set when a VM is made and at every entry. A VM has one hook, and
 * the bounds of a plugin need it more: once memory or time has armed it, the lines of that stretch
 * are not seen. Plugins run several times slower with it, so figures of CPU mean nothing then.
 *
 * Off unless tg_coverage_start() was called. One thread; lines are kept until the process ends.
 */
#ifndef TG_HARNESS_COVERAGE_H
#define TG_HARNESS_COVERAGE_H

#include <lua.h>

/* From now on lines are counted, in VMs that are made from now on. */
void tg_coverage_start(void);

/* Sets the hook in the VM of `L`, where coverage is on. */
void tg_coverage_watch(lua_State *L);

/* Pushes a table: name of the file -> { [line] = true }. May raise. */
int tg_coverage_push(lua_State *L);

#endif
