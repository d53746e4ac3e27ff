/* req.c: ctx.req: what the client sent. It never changes: edits go to ctx.upstream.
 *
 * Values are made into Lua strings when they are asked for, straight from the slices of the head.
 * The body is read when somebody asks: the function then suspends, and what it returns is pushed
 * by the on_resume of its kind (text, JSON, form, piece). Whatever was read is kept for the origin,
 * and for those who ask next; what nobody asked for streams to the origin past the plugins.
 */
#include "base/banned.h"
#include "bind/fields.h"

#include "bind/json.h"
#include "bind/wrap.h"
#include "gateway/param.h"
#include "http/head.h"
#include "http/uri.h"

/* ---- The head ---- */

int tg_api_req_method(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->in.method_name);
}

int tg_api_req_scheme(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->scheme);
}

int tg_api_req_host(lua_State *L, struct tg_bind_object *object)
{
    uint16_t port;
    return tg_bind_push_str(L, tg_param_host(object->r, &port));
}

int tg_api_req_port(lua_State *L, struct tg_bind_object *object)
{
    uint16_t port;
    tg_param_host(object->r, &port);
    if (port == 0)
        port = tg_str_eq(object->r->scheme, TG_STR("https")) ? 443 : 80;
    lua_pushinteger(L, port);
    return 1;
}

int tg_api_req_path(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->in.path);
}

int tg_api_req_raw_path(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->in.raw_path);
}

int tg_api_req_query_string(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->in.query);
}

int tg_api_req_version(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, tg_request_head_version(&object->r->in));
}

int tg_api_req_has_body(lua_State *L, struct tg_bind_object *object)
{
    lua_pushboolean(L, object->r->in.framing != TG_FRAMING_NONE);
    return 1;
}

int tg_api_req_header(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_field(L, &r->in.fields, tg_bind_method_str(L, 1));
}

int tg_api_req_header_list(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_field_list(L, &r->in.fields, tg_bind_method_str(L, 1));
}

/* One step of headers(); upvalues: the entry, the object, how many came already. */
static int next_header(lua_State *L)
{
    const struct tg_bind_object *object = tg_bind_fresh(L, lua_upvalueindex(2));
    uint32_t at = (uint32_t)lua_tointeger(L, lua_upvalueindex(3));
    if (object == NULL)
        tg_bind_call_error(L, "request context used after the request ended");
    if (at >= object->r->in.fields.n)
        return 0;
    const struct tg_field *field = &object->r->in.fields.v[at];
    lua_pushinteger(L, (lua_Integer)at + 1);
    lua_replace(L, lua_upvalueindex(3));
    luaL_Buffer name;
    luaL_buffinit(L, &name);
    for (size_t i = 0; i < field->name.n; i++)
        luaL_addchar(&name, tg_char_lower(field->name.p[i]));
    luaL_pushresult(&name);
    tg_bind_push_str(L, field->value);
    return 2;
}

int tg_api_req_headers(lua_State *L)
{
    tg_bind_request(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_header, 3);
    return 1;
}

/* ---- Parameters and cookies ---- */

#define PARAMETERS_MAX 4096 /* that are decoded at a time: some half a MiB of the plugin's */
#define TOO_MANY       "more than 4096 parameters"

/* Pushes `encoded` decoded, at the plugin's expense: it may ask with every message. */
static void push_decoded(lua_State *L, struct tg_str encoded)
{
    char *room = lua_newuserdata(L, encoded.n + 1);
    lua_pushlstring(L, room, tg_uri_decode_into(encoded, true, room));
    lua_remove(L, -2);
}

int tg_api_req_query(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str value;
    if (tg_param_query(r, tg_bind_method_str(L, 1), &value) == TG_E_NOMEM)
        tg_bind_check(L, TG_E_NOMEM, 0);
    return tg_bind_push_str(L, value);
}

int tg_api_req_query_all(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str rest = r->in.query;
    struct tg_str name;
    struct tg_str value;
    unsigned count = 0;
    lua_newtable(L);
    int map = lua_gettop(L);
    while (rest.p != NULL && tg_uri_next_param(&rest, &name, &value)) {
        if (++count > PARAMETERS_MAX)
            tg_bind_raise(L, "limit", TOO_MANY);
        push_decoded(L, name);
        lua_pushvalue(L, -1);
        lua_rawget(L, map);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, map);
        }
        push_decoded(L, value);
        lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
        lua_settop(L, map);
    }
    return 1;
}

int tg_api_req_cookie(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_str(L, tg_param_cookie(r, tg_bind_method_str(L, 1)));
}

/* ---- The body ---- */

/* Pushes the body that was collected, or nil and why there is none. */
static int push_body(lua_State *L, struct tg_request *r)
{
    if (r->body.too_large)
        return tg_bind_fail(L, "too_large", "the body is larger than the plugin may buffer");
    struct tg_str body = tg_request_body(r);
    if (body.p == NULL)
        return tg_bind_fail(L, "limit", "the body does not fit limits.request.memory");
    return tg_bind_push_str(L, body);
}

static int push_json(lua_State *L, struct tg_request *r)
{
    int count = push_body(L, r);
    if (count != 1)
        return count;
    size_t n;
    const char *p = lua_tolstring(L, -1, &n);
    return tg_json_push_decoded(L, tg_str(p, n));
}

static int push_form(lua_State *L, struct tg_request *r)
{
    int count = push_body(L, r);
    if (count != 1)
        return count;
    unsigned parameters = 0;
    struct tg_str rest;
    struct tg_str name;
    struct tg_str value;
    rest.p = lua_tolstring(L, -1, &rest.n);
    lua_newtable(L);
    int map = lua_gettop(L);
    while (tg_uri_next_param(&rest, &name, &value)) {
        if (++parameters > PARAMETERS_MAX)
            return tg_bind_fail(L, "too_large", TOO_MANY);
        push_decoded(L, name);
        lua_pushvalue(L, -1);
        lua_rawget(L, map);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push_decoded(L, value);
            lua_rawset(L, map);
        }
        lua_settop(L, map);
    }
    return 1;
}

/* Results for the activation that waited; runs under tg_run_push(). */
static int resume_body(lua_State *L)
{
    return push_body(L, lua_touserdata(L, 1));
}

static int resume_json(lua_State *L)
{
    return push_json(L, lua_touserdata(L, 1));
}

static int resume_form(lua_State *L)
{
    return push_form(L, lua_touserdata(L, 1));
}

static int on_resume_with(struct tg_request *r, bool cancelled, lua_CFunction push)
{
    int count = 0;
    if (cancelled) {
        tg_request_unwait_body(r);
        return 0;
    }
    return tg_run_push(&r->plugins.run, push, r, &count) == TG_OK ? count : -1;
}

static int refuse_values(lua_State *L)
{
    return tg_bind_fail(L, "too_large", "what the body holds does not fit limits.plugin.memory");
}

/* The same for what is decoded, whose size nobody knows beforehand. */
static int on_resume_decoding(struct tg_request *r, bool cancelled, lua_CFunction push)
{
    int count = on_resume_with(r, cancelled, push);
    return count < 0 ? on_resume_with(r, cancelled, refuse_values) : count;
}

static int on_body(struct tg_request *r, bool cancelled)
{
    return on_resume_with(r, cancelled, resume_body);
}

static int on_json(struct tg_request *r, bool cancelled)
{
    return on_resume_decoding(r, cancelled, resume_json);
}

static int on_form(struct tg_request *r, bool cancelled)
{
    return on_resume_decoding(r, cancelled, resume_form);
}

/* Collects the body and pushes it by `push`, now or when `on_resume` runs. */
static int read_body(lua_State *L, int (*push)(lua_State *L, struct tg_request *r),
                     int (*on_resume)(struct tg_request *r, bool cancelled))
{
    struct tg_request *r = tg_bind_request(L);
    uint64_t max = tg_bind_arg_max(L, 1, r->plugins.instance->body);
    if (r->body.whole.p != NULL)
        return push(L, r);
    if (r->plugins.phase > TG_PHASE_ACCESS)
        return tg_bind_fail(L, "unavailable", "the body was not read whole in rewrite or access");
    if (r->body.complete)
        return push(L, r);
    if (tg_run_current(L)->host != r)
        tg_bind_call_error(L, "reads the body for the phase, not for a task; read it before");
    if (!tg_run_can_suspend(L))
        return tg_run_suspend(L);
    enum tg_err err = tg_request_wait_body(r, max, on_resume);
    if (err == TG_E_AGAIN)
        return tg_run_suspend(L);
    if (err == TG_E_UNAVAILABLE)
        return tg_bind_fail(L, "unavailable", "the body went to the origin already");
    tg_bind_check(L, err, 0);
    return push(L, r);
}

int tg_api_req_body(lua_State *L)
{
    return read_body(L, push_body, on_body);
}

int tg_api_req_json(lua_State *L)
{
    return read_body(L, push_json, on_json);
}

int tg_api_req_form(lua_State *L)
{
    return read_body(L, push_form, on_form);
}

/* ---- Piece by piece ---- */

static int push_chunk(lua_State *L, const struct tg_request *r)
{
    if (r->body.too_large)
        return tg_bind_fail(L, "too_large", "the body is larger than the plugin may buffer");
    struct tg_str chunk = tg_request_chunk(r);
    if (chunk.n == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, chunk.p, chunk.n);
    return 1;
}

static int resume_chunk(lua_State *L)
{
    return push_chunk(L, lua_touserdata(L, 1));
}

static int on_chunk(struct tg_request *r, bool cancelled)
{
    return on_resume_with(r, cancelled, resume_chunk);
}

/* next_chunk(req, offset): what the body has there, nil at its end, or nil and an error. */
static int next_chunk(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    if (tg_run_current(L)->host != r)
        tg_bind_call_error(L, "reads the body for the phase, not for a task");
    if (!tg_run_can_suspend(L))
        return tg_run_suspend(L);
    enum tg_err err =
        tg_request_wait_chunk(r, r->plugins.instance->body, (size_t)lua_tonumber(L, 2), on_chunk);
    if (err == TG_E_AGAIN)
        return tg_run_suspend(L);
    if (err != TG_OK)
        return tg_bind_fail(L, "unavailable", "the body went to the origin already");
    return push_chunk(L, r);
}

int tg_api_req_limit_body(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    uint64_t max;
    if (!tg_bind_to_size(L, 2, &max))
        tg_bind_arg_error(L, 1, "expected bytes or a size such as \"64KiB\"");
    lua_pushboolean(L, tg_request_limit_body(r, max));
    return 1;
}

/* What lua/tidegate/chunks.lua begins with. */
int tg_api_req_chunks(lua_State *L)
{
    tg_bind_request(L);
    return 0;
}

void tg_bind_wrap_req(lua_State *L)
{
    static const lua_CFunction parts[] = {next_chunk};
    tg_bind_wrap(L, "lua/tidegate/chunks.lua", "chunks", parts, TG_COUNT_OF(parts));
}
