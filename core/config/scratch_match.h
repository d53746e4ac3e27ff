/* scratch_match.h: what a route asks of a request besides host, path and method, from the table
 * that lua/tidegate/resolve.lua hands to build_routes.
 *
 *     { priority = 5, scheme = "https", networks = { "10.0.0.0/8" }, sni = { "a.test" },
 *       conditions = { { source = "header", name = "x-v", kind = "value", values = { "2" } } } }
 */
#ifndef TG_CONFIG_SCRATCH_MATCH_H
#define TG_CONFIG_SCRATCH_MATCH_H

#include "route/builder.h"

#include <lua.h>

/* The list of strings in field `name` of the table at index `table`. The array is a userdata left
 * on the stack, the strings stay in the table. May raise. */
const struct tg_str *tg_scratch_string_list(lua_State *L, int table, const char *name,
                                            size_t *count);

/* Fills what `spec` says of conditions and priority from the table at index `table`. What it points
 * to stays on the stack. May raise when memory is out. */
void tg_scratch_read_match(lua_State *L, int table, struct tg_route_spec *spec);

#endif
