/* resp.c: ctx.resp: what the client gets.
 *
 * In rewrite and access there is no response yet: setters are recorded by the gateway and applied
 * when there is one. In header_filter they edit it.
 */
#include "base/banned.h"
#include "bind/fields.h"

#include "bind/text.h"

int tg_api_resp_status(lua_State *L, struct tg_bind_object *object)
{
    lua_pushinteger(L, object->r->resp.status);
    return 1;
}

int tg_api_resp_source(lua_State *L, struct tg_bind_object *object)
{
    lua_pushstring(L, tg_source_name(object->r->source));
    return 1;
}

int tg_api_resp_bytes_sent(lua_State *L, struct tg_bind_object *object)
{
    lua_pushnumber(L, (lua_Number)object->r->bytes_sent);
    return 1;
}

int tg_api_resp_complete(lua_State *L, struct tg_bind_object *object)
{
    lua_pushboolean(L, !object->r->aborted);
    return 1;
}

int tg_api_resp_header(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_field(L, &r->resp.fields, tg_bind_method_str(L, 1));
}

int tg_api_resp_header_list(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_field_list(L, &r->resp.fields, tg_bind_method_str(L, 1));
}

int tg_api_resp_set_status(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    unsigned status = (unsigned)tg_bind_arg_int(L, 1, 200, 599);
    tg_bind_check(L, tg_request_set_status(r, status), 1);
    lua_settop(L, 1);
    return 1;
}

static int edit(lua_State *L, enum tg_edit_kind kind)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str name = tg_bind_method_str(L, 1);
    struct tg_str value = kind == TG_EDIT_REMOVE ? TG_STR("") : tg_bind_method_str(L, 2);
    enum tg_err err = tg_request_edit_response(r, kind, name, value);
    if (TG_UNLIKELY(err != TG_OK))
        tg_bind_raise_edit(L, err, name);
    lua_settop(L, 1);
    return 1;
}

int tg_api_resp_set_header(lua_State *L)
{
    return edit(L, TG_EDIT_SET);
}

int tg_api_resp_add_header(lua_State *L)
{
    return edit(L, TG_EDIT_ADD);
}

int tg_api_resp_edit(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_check(L, tg_request_apply_response(r, tg_bind_arg_edits(L, 1, false)), 1);
    lua_settop(L, 1);
    return 1;
}

int tg_api_resp_remove_header(lua_State *L)
{
    return edit(L, TG_EDIT_REMOVE);
}

/* ---- Cookies ---- */

int tg_api_resp_set_cookie(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, 256);
    tg_bind_write_cookie(L, &f);
    struct tg_str cookie = tg_fmt_str(&f);
    enum tg_err err = TG_E_NOMEM;
    if (cookie.p != NULL)
        err = tg_request_edit_response(r, TG_EDIT_ADD, TG_STR("set-cookie"), cookie);
    tg_bind_check(L, err, 2);
    lua_settop(L, 1);
    return 1;
}

int tg_api_resp_buffer(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    r->filter_max = tg_bind_arg_max(L, 1, r->plugins.instance->body);
    r->filter_buffers = true;
    lua_settop(L, 1);
    return 1;
}
