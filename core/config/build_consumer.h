/* build_consumer.h: the part of build.c that fills in consumers and their plugins.
 *
 * In protected mode, as build.c: not enough memory raises. Tables are given by absolute index.
 */
#ifndef TG_CONFIG_BUILD_CONSUMER_H
#define TG_CONFIG_BUILD_CONSUMER_H

#include "config/build_plugin.h"

/* Consumers, and the plugins that some of them share, after the routes of the tree. */
void tg_build_consumers(lua_State *L, struct tg_snapshot *snapshot, int tree,
                        const struct tg_build_chains *chains);

/* The importance that the table at `table`, a route's or a consumer's, declares; `silent` where it
 * does not. */
int tg_build_importance(lua_State *L, int table, int silent);

#endif
