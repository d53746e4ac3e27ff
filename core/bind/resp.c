/* resp.c: ctx.resp: what the client gets.
 *
 * In rewrite and access there is no response yet: setters are recorded by the gateway and applied
 * when there is one. In header_filter they edit it.
 */
#include "base/banned.h"
#include "bind/fields.h"

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
    return tg_bind_push_field(L, &r->resp.fields, tg_bind_arg_str(L, 1));
}

int tg_api_resp_header_list(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_field_list(L, &r->resp.fields, tg_bind_arg_str(L, 1));
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
    struct tg_str name = tg_bind_arg_str(L, 1);
    struct tg_str value = kind == TG_EDIT_REMOVE ? TG_STR("") : tg_bind_arg_str(L, 2);
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
    tg_bind_check(L, tg_request_apply_response(r, tg_bind_arg_edits(L, 1)), 1);
    lua_settop(L, 1);
    return 1;
}

int tg_api_resp_remove_header(lua_State *L)
{
    return edit(L, TG_EDIT_REMOVE);
}

/* ---- Cookies: RFC 6265, 4.1.1; Partitioned and the like as browsers take them ---- */

/* The option `name` of the table at 4: pushes it; false (and nothing pushed) when it is not there.
 */
static bool push_option(lua_State *L, const char *name)
{
    if (!lua_istable(L, 4))
        return false;
    lua_pushstring(L, name);
    lua_rawget(L, 4);
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* Adds "; Name=value" for a text option: visible ASCII and spaces without ";". */
static void add_text(lua_State *L, struct tg_fmt *f, const char *option, const char *attribute)
{
    if (!push_option(L, option))
        return;
    size_t n = 0;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    bool valid = p != NULL && n > 0;
    for (size_t i = 0; valid && i < n; i++)
        valid = p[i] >= ' ' && p[i] < 0x7f && p[i] != ';';
    if (!valid) {
        char what[64];
        snprintf(what, sizeof(what), "%s: not valid in a cookie", option);
        tg_bind_arg_error(L, 3, what);
    }
    tg_fmt_printf(f, "; %s=", attribute);
    tg_fmt_bytes(f, p, n);
    lua_pop(L, 1);
}

static void add_flag(lua_State *L, struct tg_fmt *f, const char *option, const char *attribute)
{
    if (!push_option(L, option))
        return;
    if (lua_toboolean(L, -1))
        tg_fmt_printf(f, "; %s", attribute);
    lua_pop(L, 1);
}

static void add_max_age(lua_State *L, struct tg_fmt *f)
{
    if (!push_option(L, "max_age"))
        return;
    if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0 && lua_tonumber(L, -1) < 1e12))
        tg_bind_arg_error(L, 3, "max_age: expected seconds as a number");
    tg_fmt_printf(f, "; Max-Age=%.0f", lua_tonumber(L, -1));
    lua_pop(L, 1);
}

static void add_same_site(lua_State *L, struct tg_fmt *f)
{
    static const char *const known[] = {"Strict", "Lax", "None"};
    if (!push_option(L, "same_site"))
        return;
    size_t n = 0;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : "";
    const char *found = NULL;
    for (size_t i = 0; i < TG_COUNT_OF(known); i++) {
        if (tg_str_eq_nocase(tg_str(p, n), tg_str_c(known[i])))
            found = known[i];
    }
    if (found == NULL)
        tg_bind_arg_error(L, 3, "same_site: expected \"strict\", \"lax\" or \"none\"");
    tg_fmt_printf(f, "; SameSite=%s", found);
    lua_pop(L, 1);
}

int tg_api_resp_set_cookie(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str name = tg_bind_arg_str(L, 1);
    struct tg_str value = tg_bind_arg_str(L, 2);
    tg_bind_arg_table(L, 3, true);
    if (!tg_str_is_token(name))
        tg_bind_arg_error(L, 1, "is not a token");
    if (!tg_str_all(value, TG_CHAR_COOKIE))
        tg_bind_arg_error(L, 2, "has a character that a cookie cannot hold; encode it first");
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, name.n + value.n + 128);
    tg_fmt_add(&f, name);
    tg_fmt_char(&f, '=');
    tg_fmt_add(&f, value);
    add_text(L, &f, "path", "Path");
    add_text(L, &f, "domain", "Domain");
    add_max_age(L, &f);
    add_flag(L, &f, "secure", "Secure");
    add_flag(L, &f, "http_only", "HttpOnly");
    add_same_site(L, &f);
    add_flag(L, &f, "partitioned", "Partitioned");
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
