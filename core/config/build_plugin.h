/* build_plugin.h: the part of build.c that fills in plugins, their instances and the chains of
 * these.
 *
 * In protected mode, as build.c: not enough memory raises. `tree` is the absolute index of the
 * tree.
 */
#ifndef TG_CONFIG_BUILD_PLUGIN_H
#define TG_CONFIG_BUILD_PLUGIN_H

#include "config/snapshot.h"

#include <lua.h>

/* The chains of the tree, which others refer to by number; the snapshot's. */
struct tg_build_chains {
    const struct tg_chains *v;
    uint32_t n;
};

/* Plugins, instances and chains of the tree, after its settings. */
void tg_build_plugins(lua_State *L, struct tg_snapshot *snapshot, int tree,
                      struct tg_build_chains *out);

/* The chains that are number `index`, counted from 1. */
const struct tg_chains *tg_build_chains_at(const struct tg_build_chains *chains, uint64_t index);

/* Those that the table at `table` (a route, a service among several) names, one for each listener.
 */
const struct tg_chains *const *tg_build_listener_chains(lua_State *L, struct tg_snapshot *snapshot,
                                                        int table,
                                                        const struct tg_build_chains *chains);

#endif
