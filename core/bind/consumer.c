/* consumer.c: ctx.consumer: whom the request was authenticated as.
 *
 * Always an object, so that a plugin asks `ctx.consumer.name` or `ctx.consumer:in_group "staff"`
 * without looking first; nil and false mean nobody in particular. A configuration declares no
 * consumers, so that is every request: the shape is here for plugins that shall run unchanged where
 * there are some. Lists are tables of the caller's own, made at each use.
 *
 * Threads: the VM's.
 */
#include "base/banned.h"
#include "bind/object.h"

int tg_api_ctx_consumer(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_CONSUMER);
}

int tg_api_consumer_name(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    lua_pushnil(L);
    return 1;
}

int tg_api_consumer_groups(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    lua_newtable(L);
    return 1;
}

int tg_api_consumer_tags(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    lua_newtable(L);
    return 1;
}

int tg_api_consumer_in_group(lua_State *L)
{
    (void)tg_bind_request(L);
    (void)tg_bind_arg_str(L, 1);
    lua_pushboolean(L, 0);
    return 1;
}
