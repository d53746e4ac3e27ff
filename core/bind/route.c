/* route.c: ctx.route and ctx.service: where the configuration sends the request.
 *
 * Both are always objects; where no route took the request, or it has no service, names are nil and
 * lists are empty.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "gateway/param.h"

static int push_list(lua_State *L, const struct tg_str *v, uint32_t n)
{
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        tg_bind_push_str(L, v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

int tg_api_route_name(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_route_conf *route = object->r->route;
    return tg_bind_push_str(L, route != NULL ? route->name : tg_str(NULL, 0));
}

int tg_api_route_tags(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_route_conf *route = object->r->route;
    return push_list(L, route != NULL ? route->tags : NULL, route != NULL ? route->tag_count : 0);
}

int tg_api_route_captures(lua_State *L, struct tg_bind_object *object)
{
    struct tg_request *r = object->r;
    lua_createtable(L, 0, (int)r->capture_count);
    for (uint32_t i = 0; i < r->capture_count; i++) {
        tg_bind_push_str(L, r->capture_names[i]);
        tg_bind_push_str(L, tg_param_capture(r, r->capture_names[i]));
        lua_rawset(L, -3);
    }
    return 1;
}

int tg_api_service_name(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_service_conf *service = object->r->service;
    return tg_bind_push_str(L, service != NULL ? service->name : tg_str(NULL, 0));
}

int tg_api_service_tags(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_service_conf *service = object->r->service;
    return push_list(L, service != NULL ? service->tags : NULL,
                     service != NULL ? service->tag_count : 0);
}
