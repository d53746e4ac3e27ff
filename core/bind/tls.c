/* tls.c: ctx.tls: what was agreed on when the client's connection was encrypted.
 *
 * Always an object, so that a plugin asks `ctx.tls.sni` without looking first; on a clear-text
 * connection its fields are nil. Listeners speak clear text alone (ctx.listener.tls is false), so
 * that is every connection: the shape is here for plugins that shall run unchanged on both.
 *
 * Threads: the VM's. Cost: a handle for the object, nothing for a field.
 */
#include "base/banned.h"
#include "bind/object.h"

int tg_api_ctx_tls(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_TLS);
}

static int push_clear_text(lua_State *L)
{
    lua_pushnil(L);
    return 1;
}

int tg_api_tls_sni(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    return push_clear_text(L);
}

int tg_api_tls_alpn(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    return push_clear_text(L);
}

int tg_api_tls_version(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    return push_clear_text(L);
}
