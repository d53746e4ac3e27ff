/* build_target.h: the targets of services, and where their names are looked up, from the checked
 * tree into the snapshot.
 *
 * For build.c, in protected mode: may raise when memory is out. Strings go into the snapshot.
 */
#ifndef TG_CONFIG_BUILD_TARGET_H
#define TG_CONFIG_BUILD_TARGET_H

#include "config/snapshot.h"

#include <lua.h>

/* Fills in the targets of the service's table at `service`, an absolute index. `path` is that of
 * the configuration, for unix sockets below its folder. */
void tg_build_targets(lua_State *L, struct tg_snapshot *snapshot, const char *path, int service,
                      struct tg_service_conf *out);

/* Reads `dns` of the settings' table at `settings`, an absolute index. */
void tg_build_dns(lua_State *L, struct tg_snapshot *snapshot, int settings,
                  struct tg_dns_conf *out);

#endif
