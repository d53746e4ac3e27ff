/* policy.h: from what a service says about its targets in the tree to struct tg_policy.
 *
 * For build.c, in protected mode: may raise when memory is out. Strings go into the snapshot.
 */
#ifndef TG_CONFIG_POLICY_H
#define TG_CONFIG_POLICY_H

#include "config/snapshot.h"

#include <lua.h>

/* Fills `policy` from the service's table at `service`, an absolute index. */
void tg_policy_build(lua_State *L, struct tg_snapshot *snapshot, int service,
                     struct tg_policy *policy);

/* Fills `hedge` from the field of that name in the table at `owner`, of a service or a route; as it
 * is (zeroes) where there is none, or false. */
void tg_policy_build_hedge(lua_State *L, int owner, struct tg_hedge_conf *hedge);

#endif
