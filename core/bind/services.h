/* services.h: what is known of a service's targets, as Lua tables: for tg.services and for specs.
 */
#ifndef TG_BIND_SERVICES_H
#define TG_BIND_SERVICES_H

#include "gateway/gate.h"

#include <lua.h>

/* As of `now`, us. Pushes { { target, state, in_flight, requests, failures, latency? }... }. May
 * raise. */
void tg_services_push_targets(lua_State *L, uint64_t now, struct tg_balance *balance);

/* Pushes { state, opened }, or nil where the service declares no breaker. May raise. */
void tg_services_push_breaker(lua_State *L, const struct tg_service_conf *service,
                              struct tg_balance *balance);

#endif
