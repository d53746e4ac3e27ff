/* ctx.c: the context itself: facts, the objects behind it, and the ways to end a phase.
 *
 * exit, redirect, fail and abort never return to the plugin: they end the activation by
 * tg_run_exit(), which is no error, so there is nothing that a pcall could catch. What they need
 * of their arguments is checked and copied into the request's arena before.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "bind/json.h"
#include "gateway/gate.h"
#include "gateway/wait.h"

#define SEC         1e6
#define HEADERS_MAX 10000 /* of exit(): what limits.request.edits can be */

int tg_api_ctx_id(lua_State *L, struct tg_bind_object *object)
{
    lua_pushlstring(L, object->r->id, sizeof(object->r->id));
    return 1;
}

int tg_api_ctx_phase(lua_State *L, struct tg_bind_object *object)
{
    lua_pushstring(L, tg_phase_name(object->r->plugins.phase));
    return 1;
}

int tg_api_ctx_started(lua_State *L, struct tg_bind_object *object)
{
    lua_pushnumber(L, (lua_Number)object->r->started_real / SEC);
    return 1;
}

int tg_api_ctx_state(lua_State *L, struct tg_bind_object *object)
{
    if (object->slot->state_ref == LUA_NOREF) {
        lua_newtable(L);
        object->slot->state_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, object->slot->state_ref);
    return 1;
}

int tg_api_ctx_shared(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_SHARED);
}

int tg_api_ctx_listener(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_LISTENER);
}

int tg_api_ctx_client(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_CLIENT);
}

int tg_api_ctx_req(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_REQ);
}

int tg_api_ctx_route(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_ROUTE);
}

int tg_api_ctx_service(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_SERVICE);
}

int tg_api_ctx_upstream(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_UPSTREAM);
}

int tg_api_ctx_resp(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_RESP);
}

int tg_api_ctx_log(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_LOG);
}

/* ---- Ending the phase ---- */

static TG_NORETURN void raise_header(lua_State *L, struct tg_str name, const char *why)
{
    char what[192];
    snprintf(what, sizeof(what), "%.*s: %s", (int)TG_MIN(name.n, (size_t)64), name.p, why);
    tg_bind_arg_error(L, 3, what);
}

static void check_header(lua_State *L, struct tg_str name, struct tg_str value)
{
    if (!tg_str_is_token(name) || !tg_str_all(value, TG_CHAR_VALUE))
        raise_header(L, name, "name or value is not valid in a header");
    if (tg_field_is_own(tg_field_id(name)))
        raise_header(L, name, "this header belongs to the gateway");
}

/* The headers of exit(): checked first, then added. One list may stand under many names, and one
 * text in it many times: what does not fit the request in all is not looked at. */
struct headers {
    struct tg_request *r;
    bool checks; /* else adds */
    unsigned count;
    uint64_t bytes; /* of names and values so far */
};

/* A header of exit(): its name at -2, a value at -1. */
static void answer_header(lua_State *L, struct headers *headers)
{
    struct tg_str name;
    struct tg_str value;
    if (++headers->count > HEADERS_MAX)
        tg_bind_arg_error(L, 3, "more than 10000 headers");
    name.p = lua_tolstring(L, -2, &name.n);
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        raise_header(L, name, "expected a string or a list of strings");
    value.p = lua_tolstring(L, -1, &value.n);
    headers->bytes += name.n + value.n;
    if (headers->bytes > headers->r->snapshot->settings.limits.request_memory)
        tg_bind_check(L, TG_E_NOMEM, 3);
    if (headers->checks)
        check_header(L, name, value);
    else
        tg_bind_check(L, tg_request_edit_response(headers->r, TG_EDIT_ADD, name, value), 3);
}

/* Checks or adds the headers of the table at index 4; whether Content-Type is among them. */
static bool answer_headers(lua_State *L, struct tg_request *r, bool checks)
{
    struct headers headers = {.r = r, .checks = checks};
    bool typed = false;
    for (lua_pushnil(L); lua_next(L, 4) != 0; lua_pop(L, 1)) {
        int list = lua_gettop(L);
        if (lua_type(L, -2) != LUA_TSTRING)
            tg_bind_arg_error(L, 3, "a name of a header is not a string");
        for (int i = 1; lua_istable(L, list); i++) {
            lua_pushvalue(L, list - 1);
            lua_rawgeti(L, list, i);
            if (lua_isnil(L, -1)) {
                lua_settop(L, list);
                break;
            }
            answer_header(L, &headers);
            lua_settop(L, list);
        }
        if (!lua_istable(L, list))
            answer_header(L, &headers);
        size_t n;
        const char *name = lua_tolstring(L, list - 1, &n);
        typed |= tg_field_id(tg_str(name, n)) == TG_FIELD_CONTENT_TYPE;
    }
    return typed;
}

/* The answer's body in the arena, and what type it has unless the plugin says. */
static struct tg_str answer_body(lua_State *L, struct tg_request *r, const char **type)
{
    struct tg_str body = {"", 0};
    *type = NULL;
    if (lua_isnoneornil(L, 3))
        return body;
    if (lua_istable(L, 3)) {
        *type = "application/json";
        tg_json_push_encoded(L, 3);
        lua_replace(L, 3);
    } else if (lua_type(L, 3) != LUA_TSTRING) {
        tg_bind_arg_error(L, 2, "expected a string, or a table to be sent as JSON");
    } else {
        *type = "text/plain; charset=utf-8";
    }
    body.p = lua_tolstring(L, 3, &body.n);
    body = tg_arena_copy(&r->arena, body);
    if (body.p == NULL)
        tg_bind_check(L, TG_E_NOMEM, 0);
    return body;
}

int tg_api_ctx_exit(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    const char *type;
    unsigned status = (unsigned)tg_bind_arg_int(L, 1, 200, 599);
    bool with_headers = tg_bind_arg_table(L, 3, true);
    bool typed = with_headers && answer_headers(L, r, true);
    struct tg_str body = answer_body(L, r, &type);
    tg_bind_check(L, tg_request_answer(r, TG_SOURCE_PLUGIN, status, body), 1);
    if (with_headers)
        answer_headers(L, r, false);
    if (type != NULL && !typed)
        tg_bind_check(
            L, tg_request_edit_response(r, TG_EDIT_SET, TG_STR("content-type"), tg_str_c(type)), 0);
    return tg_run_exit(L);
}

int tg_api_ctx_redirect(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str url = tg_bind_arg_str(L, 1);
    int64_t status = lua_isnoneornil(L, 3) ? 302 : tg_bind_arg_int(L, 2, 301, 308);
    if (status > 303 && status < 307)
        tg_bind_arg_error(L, 2, "expected 301, 302, 303, 307 or 308");
    if (url.n == 0 || !tg_str_all(url, TG_CHAR_VALUE))
        tg_bind_arg_error(L, 1, "is not valid in a Location header");
    tg_bind_check(L, tg_request_answer(r, TG_SOURCE_PLUGIN, (unsigned)status, TG_STR("")), 2);
    tg_bind_check(L, tg_request_edit_response(r, TG_EDIT_SET, TG_STR("location"), url), 1);
    return tg_run_exit(L);
}

int tg_api_ctx_fail(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str what = {"no reason given", 15};
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "message");
        lua_rawget(L, 2);
        lua_replace(L, 2);
    }
    if (lua_type(L, 2) == LUA_TSTRING)
        what.p = lua_tolstring(L, 2, &what.n);
    what.n = TG_MIN(what.n, (size_t)TG_RUN_ERROR_MAX);
    tg_plugins_fail(r, what);
    return tg_run_exit(L);
}

int tg_api_ctx_abort(lua_State *L)
{
    tg_request_abort(tg_bind_request(L));
    return tg_run_exit(L);
}

int tg_api_ctx_close(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    uint16_t code = (uint16_t)tg_bind_arg_int(L, 1, 1000, 4999);
    struct tg_str reason = lua_isnoneornil(L, 3) ? TG_STR("") : tg_bind_arg_str(L, 2);
    enum tg_err err = tg_request_close_websocket(r, code, reason);
    if (err == TG_E_INVALID)
        tg_bind_call_error(
            L, "no such code may be sent, or the reason is no UTF-8 of 123 bytes at most");
    tg_bind_check(L, err, 0);
    return tg_run_exit(L);
}

int tg_api_ctx_aborted(lua_State *L)
{
    const struct tg_request *r = tg_bind_request(L);
    lua_pushboolean(L, r->aborted || r->abort_wanted);
    return 1;
}

int tg_api_ctx_remaining(lua_State *L)
{
    const struct tg_request *r = tg_bind_request(L);
    uint64_t now = tg_loop_now(&r->gate->worker->loop);
    uint64_t end = tg_run_deadline(tg_run_current(L));
    if (!r->head_sent)
        end = TG_MIN(end, r->deadline);
    lua_pushnumber(L, end > now ? (lua_Number)(end - now) / SEC : 0);
    return 1;
}

int tg_api_ctx_defer(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    if (!lua_isfunction(L, 2))
        tg_bind_arg_error(L, 1, "expected a function");
    lua_settop(L, 2);
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    enum tg_err err = tg_plugins_defer(r, tg_bind_object(L)->slot, function);
    if (err != TG_OK)
        luaL_unref(L, LUA_REGISTRYINDEX, function);
    if (err == TG_E_LIMIT)
        tg_bind_call_error(L, "a plugin defers at most 32 functions in a request");
    tg_bind_check(L, err, 0);
    return 0;
}

static int slept(struct tg_wait *wait, struct tg_run *run, bool cancelled)
{
    (void)wait;
    (void)run;
    (void)cancelled;
    return 0;
}

/* All sleepers share it: nothing of it belongs to one. */
static struct tg_wait nap = {slept};

int tg_api_ctx_sleep(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    uint64_t us;
    if (!tg_bind_to_duration(L, 2, &us))
        tg_bind_arg_error(L, 1, "expected seconds or a text such as \"250ms\"");
    struct tg_run *run = tg_run_current(L);
    if (tg_run_can_suspend(L))
        tg_bind_check(L, tg_wait_begin(run, &nap, tg_loop_now(&r->gate->worker->loop) + us), 0);
    return tg_run_suspend(L);
}

int tg_api_ctx_set_service(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str name = tg_bind_arg_str(L, 1);
    enum tg_err err = tg_request_set_service(r, name);
    if (err == TG_E_NOT_FOUND) {
        char what[160];
        snprintf(what, sizeof(what),
                 "no service is called \"%.*s\"; the configuration declares them by tg.service",
                 (int)TG_MIN(name.n, (size_t)64), name.p);
        tg_bind_arg_error(L, 1, what);
    }
    tg_bind_check(L, err, 1);
    lua_settop(L, 1);
    return 1;
}
