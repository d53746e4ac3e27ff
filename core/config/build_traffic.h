/* build_traffic.h: the part of build.c that fills in config/traffic.h.
 *
 * Called by config/build.c, in protected mode: not enough memory raises. `table` is the absolute
 * index of a checked table of the tree (lua/tidegate/config.lua); the stack is left as it was.
 */
#ifndef TG_CONFIG_BUILD_TRAFFIC_H
#define TG_CONFIG_BUILD_TRAFFIC_H

#include "config/build_plugin.h"

/* What routes refer to by index; all but the snapshot is const and complete. */
struct tg_build_traffic {
    struct tg_snapshot *snapshot;
    const struct tg_service_conf *services;
    struct tg_build_chains chains;
};

/* Rewriting, redirect, split, canary, mirror and answers of the route at `table`. */
void tg_build_route_traffic(lua_State *L, const struct tg_build_traffic *b, int table,
                            struct tg_route_conf *route);

/* The list `responses` of the table; NULL when it is absent or empty. */
const struct tg_answers_conf *tg_build_answers(lua_State *L, struct tg_snapshot *snapshot,
                                               int table);

#endif
