/* client.c: ctx.client and ctx.listener: the two ends of the connection that a request came by. */
#include "base/banned.h"
#include "bind/object.h"

static int push_ip(lua_State *L, const struct tg_addr *addr)
{
    char room[TG_ADDR_TEXT_MAX];
    return tg_bind_push_str(L, tg_addr_ip_text(addr, room));
}

int tg_api_client_ip(lua_State *L, struct tg_bind_object *object)
{
    return push_ip(L, &object->r->client);
}

int tg_api_client_port(lua_State *L, struct tg_bind_object *object)
{
    lua_pushinteger(L, tg_addr_port(&object->r->client));
    return 1;
}

int tg_api_client_peer_ip(lua_State *L, struct tg_bind_object *object)
{
    return push_ip(L, &object->r->peer);
}

int tg_api_listener_name(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->listener->name);
}

int tg_api_listener_address(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->listener->address);
}

/* No listener speaks TLS yet: what it would say is known without asking. */
int tg_api_listener_tls(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    lua_pushboolean(L, 0);
    return 1;
}
