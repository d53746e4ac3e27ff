/* watch.h: a limit of wall time for the specs themselves, so that one without an end is reported
 * and the others still run.
 *
 * The host's interpreter has no watchdog of its own: a timer's signal sets a hook, which raises an
 * error with file and line in the spec. A spec that catches it is raised at again, harder each
 * time. The JIT is switched off in the host, since compiled loops see no hook.
 *
 * Threads: the one that runs the specs, which must be the process's only one to take SIGALRM.
 */
#ifndef TG_HARNESS_WATCH_H
#define TG_HARNESS_WATCH_H

#include <lua.h>

/* Pushes a function limit(seconds, what): from now on what runs in this state may take so long;
 * `what` stands in the message. 0 ends the limit. */
void tg_spec_watch_push(lua_State *L);

#endif
