/* build_tls.h: TLS settings out of the configuration's tables, for the check and for the snapshot.
 *
 * Both build the same contexts: the check to find what is wrong with certificates and keys, and to
 * say so at their line; the snapshot to keep them. What a table may hold, lua/tidegate/tls.lua
 * says.
 */
#ifndef TG_CONFIG_BUILD_TLS_H
#define TG_CONFIG_BUILD_TLS_H

#include "net/tls_context.h"

#include <lua.h>

/* What of a listener's TLS is not in its table. */
struct tg_build_tls {
    struct tg_str listener;
    uint64_t ticket_life; /* us */
    uint32_t sessions;
    bool asks_plugins;
    bool http2; /* is spoken */
};

/* Builds the context of the table at `index` (absolute): one reference in *out. TG_E_INVALID with
 * `why`; TG_E_NOMEM. Raises when Lua's memory is out, holding nothing then. */
enum tg_err tg_build_tls_server(lua_State *L, int index, const struct tg_build_tls *rest,
                                struct tg_tls_context **out,
                                struct tg_tls_problem *why) TG_MUST_USE;
enum tg_err tg_build_tls_client(lua_State *L, int index, struct tg_tls_context **out,
                                struct tg_tls_problem *why) TG_MUST_USE;

/* For the check: (kind, table), "server" or "client", to nothing, or why not, the field to blame
 * and the number of the certificate (0: none). */
int tg_build_tls_check(lua_State *L);

/* For the check: (PEM) to the time at which its first certificate ends, in seconds since 1970, and
 * the time now; nothing where there is none. */
int tg_build_tls_expiry(lua_State *L);

#endif
