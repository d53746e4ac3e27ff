/* build_websocket.h: the part of build.c that fills in config/websocket.h. May raise, as that does.
 */
#ifndef TG_CONFIG_BUILD_WEBSOCKET_H
#define TG_CONFIG_BUILD_WEBSOCKET_H

#include "config/snapshot.h"

#include <lua.h>

/* The field `websocket` of the route at `table`, into route->websocket; NULL where it has none. */
void tg_build_websocket(lua_State *L, struct tg_snapshot *snapshot, int table,
                        struct tg_route_conf *route);

#endif
