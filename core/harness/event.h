/* event.h: what happens inside a harness, as tables for Lua.
 *
 * Each event becomes a table at the end of a list, in order; the Lua side empties the list. Times
 * are seconds of the harness's clock since the harness was made. `type` is one of:
 *
 *   dial    id, address                          the gateway wants a connection
 *   line    level, component, message, fields    a log line
 *   enter   request, plugin, phase, at           a plugin is entered, or resumed
 *   leave   the same, outcome, cpu               it is left: done wait preempted exit error killed
 *   failed  request, plugin, phase, what, kill   it failed; kill is nil unless a bound ended it
 *   wrote   request, plugin, phase, table        it wrote one of its module tables
 *   end     request and what is known of it, see push_end()
 */
#ifndef TG_HARNESS_EVENT_H
#define TG_HARNESS_EVENT_H

#include "harness/harness.h"

#include <lua.h>

struct tg_event_list {
    lua_State *L;               /* where the events go, while a harness works for it */
    int ref;                    /* the list */
    int count;                  /* of events in it */
    bool lost;                  /* there was no memory for one */
    struct tg_harness *harness; /* whose clock is told */
};

/* The listeners; their argument is a struct tg_event_list. */
extern const struct tg_harness_events tg_event_listeners;

#endif
