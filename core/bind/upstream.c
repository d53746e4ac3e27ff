/* upstream.c: ctx.upstream: what goes to the origin, and what came of it.
 *
 * Setters edit a copy of what the client sent, which the gateway makes at the first edit. Facts are
 * nil as long as no origin was asked.
 */
#include "base/banned.h"
#include "bind/fields.h"

#include "bind/json.h"
#include "gateway/hide.h"
#include "http/uri.h"

static int edit(lua_State *L, enum tg_edit_kind kind)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str name = tg_bind_method_str(L, 1);
    struct tg_str value = kind == TG_EDIT_REMOVE ? TG_STR("") : tg_bind_method_str(L, 2);
    enum tg_err err = tg_request_edit_upstream(r, kind, name, value);
    if (TG_UNLIKELY(err != TG_OK))
        tg_bind_raise_edit(L, err, name);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_set_header(lua_State *L)
{
    return edit(L, TG_EDIT_SET);
}

int tg_api_upstream_add_header(lua_State *L)
{
    return edit(L, TG_EDIT_ADD);
}

int tg_api_upstream_edit(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_check(L, tg_request_apply_upstream(r, tg_bind_arg_edits(L, 1, true)), 1);
    if (r->resp.status != 0) /* refused: 415 */
        return tg_run_exit(L);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_remove_header(lua_State *L)
{
    return edit(L, TG_EDIT_REMOVE);
}

int tg_api_upstream_set_method(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_check(L, tg_request_set_method(r, tg_bind_method_str(L, 1)), 1);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_set_path(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_check(L, tg_request_set_path(r, tg_bind_method_str(L, 1)), 1);
    lua_settop(L, 1);
    return 1;
}

/* One "name=value" of set_query(): name at -2, value at the top. */
static void add_param(lua_State *L, struct tg_fmt *f)
{
    size_t n;
    bool named = lua_type(L, -2) == LUA_TSTRING;
    bool valued = lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER;
    if (!named || !valued)
        tg_bind_arg_error(L, 1, "expected names with a string, a number or a list of those");
    if (f->failed) /* one list may stand under many names: it goes no further */
        tg_bind_check(L, TG_E_NOMEM, 1);
    if (f->n > 0)
        tg_fmt_char(f, '&');
    const char *p = lua_tolstring(L, -2, &n);
    tg_uri_encode(f, tg_str(p, n), "");
    tg_fmt_char(f, '=');
    p = lua_tolstring(L, -1, &n);
    tg_uri_encode(f, tg_str(p, n), "");
}

/* The map at index 2 as a query string in the arena. */
static struct tg_str query_from_map(lua_State *L, struct tg_request *r)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, 128);
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        int value = lua_gettop(L);
        if (!lua_istable(L, value)) {
            add_param(L, &f);
            continue;
        }
        for (int i = 1;; i++) {
            lua_pushvalue(L, value - 1);
            lua_rawgeti(L, value, i);
            if (lua_isnil(L, -1))
                break;
            add_param(L, &f);
            lua_settop(L, value);
        }
        lua_settop(L, value);
    }
    if (f.n == 0 && !f.failed)
        return TG_STR("");
    return tg_fmt_str(&f);
}

int tg_api_upstream_set_query(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str query = lua_istable(L, 2) ? query_from_map(L, r) : tg_bind_method_str(L, 1);
    tg_bind_check(L, query.p != NULL ? tg_request_set_query(r, query) : TG_E_NOMEM, 1);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_remove_query(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_check(L, tg_request_remove_query(r, tg_bind_arg_str(L, 1)), 0);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_remove_cookie(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_check(L, tg_request_remove_cookie(r, tg_bind_arg_str(L, 1)), 0);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_set_body(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    bool json = lua_istable(L, 2);
    if (json) {
        tg_json_push_encoded(L, 2);
        lua_replace(L, 2);
    }
    struct tg_str body = tg_bind_method_str(L, 1);
    tg_bind_check(L, tg_request_set_body(r, body), 1);
    if (json)
        tg_bind_check(L,
                      tg_request_edit_upstream(r, TG_EDIT_SET, TG_STR("content-type"),
                                               TG_STR("application/json")),
                      0);
    lua_settop(L, 1);
    return 1;
}

static void set_port(struct tg_addr *addr, uint16_t port)
{
    if (addr->u.any.sa_family == AF_INET6)
        addr->u.v6.sin6_port = htons(port);
    else
        addr->u.v4.sin_port = htons(port);
}

int tg_api_upstream_set_target(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str ip = tg_bind_method_str(L, 1);
    uint16_t port = (uint16_t)tg_bind_arg_int(L, 2, 1, 65535);
    struct tg_addr addr;
    if (tg_addr_parse_ip(ip, &addr) != TG_OK)
        tg_bind_arg_error(L, 1,
                          "expected an IP address; for a name declare a service and use "
                          "ctx:set_service()");
    set_port(&addr, port);
    r->out.target = addr;
    r->out.target_set = true;
    lua_settop(L, 1);
    return 1;
}

static void take_timeout(lua_State *L, const char *name, uint64_t *us)
{
    lua_pushstring(L, name);
    lua_rawget(L, 2);
    if (!lua_isnil(L, -1) && (!tg_bind_to_duration(L, -1, us) || *us == 0)) {
        char what[96];
        snprintf(what, sizeof(what), "%s: expected seconds or a text such as \"500ms\"", name);
        tg_bind_arg_error(L, 1, what);
    }
    lua_pop(L, 1);
}

int tg_api_upstream_set_timeout(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_bind_arg_table(L, 1, false);
    take_timeout(L, "connect", &r->out.connect_timeout);
    take_timeout(L, "response", &r->out.response_timeout);
    take_timeout(L, "idle", &r->out.io_timeout);
    lua_settop(L, 1);
    return 1;
}

int tg_api_upstream_hash_key(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    tg_request_set_hash_key(r, tg_bind_method_str(L, 1));
    lua_settop(L, 1);
    return 1;
}

/* One element of `on`, at the top. */
static void take_class(lua_State *L, struct tg_retry_conf *retry)
{
    int status = (int)lua_tointeger(L, -1);
    if (lua_type(L, -1) == LUA_TNUMBER && status >= 400 && status <= 599 &&
        retry->status_count < TG_RETRY_STATUSES_MAX) {
        retry->statuses[retry->status_count++] = (uint16_t)status;
        retry->on |= 1u << TG_RETRY_STATUS;
        return;
    }
    for (int class = 0; lua_type(L, -1) == LUA_TSTRING && class < TG_RETRY_STATUS; class ++) {
        if (strcmp(lua_tostring(L, -1), tg_retry_label((enum tg_retry_class) class)) == 0) {
            retry->on |= 1u << class;
            return;
        }
    }
    tg_bind_arg_error(L, 1,
                      "on: expected \"connect\", \"reset\", \"timeout\" or statuses from 400 "
                      "to 599, at most 16 of them");
}

static void take_classes(lua_State *L, struct tg_retry_conf *retry)
{
    if (!lua_istable(L, -1))
        tg_bind_arg_error(L, 1, "on: expected a list");
    retry->on = 0;
    retry->status_count = 0;
    for (int i = 1; i <= (int)lua_objlen(L, -1) && i <= 32; i++) {
        lua_rawgeti(L, -1, i);
        take_class(L, retry);
        lua_pop(L, 1);
    }
}

int tg_api_upstream_set_retry(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_retry_conf retry = tg_request_retry(r);
    tg_bind_arg_table(L, 1, false);
    lua_getfield(L, 2, "attempts");
    if (!lua_isnil(L, -1)) {
        lua_Number attempts = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER ||
            !(attempts >= 0 && attempts <= TG_RETRY_ATTEMPTS_MAX) || attempts != (uint32_t)attempts)
            tg_bind_arg_error(L, 1, "attempts: expected a whole number from 0 to 10");
        retry.attempts = (uint32_t)attempts;
    }
    lua_getfield(L, 2, "on");
    if (!lua_isnil(L, -1))
        take_classes(L, &retry);
    tg_bind_check(L, tg_request_set_retry(r, &retry), 1);
    lua_settop(L, 1);
    return 1;
}

/* ---- Facts ---- */

int tg_api_upstream_header(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    return tg_bind_push_field(L, &r->upstream.fields, tg_bind_method_str(L, 1));
}

static int push_status(lua_State *L, const struct tg_upstream_facts *facts)
{
    if (facts->status == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, facts->status);
    return 1;
}

static int push_latency(lua_State *L, const struct tg_upstream_facts *facts)
{
    if (facts->head_at == 0 || facts->connect_start == 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)(facts->head_at - facts->connect_start) / 1e6);
    return 1;
}

int tg_api_upstream_status(lua_State *L, struct tg_bind_object *object)
{
    return push_status(L, &object->r->upstream);
}

int tg_api_upstream_latency(lua_State *L, struct tg_bind_object *object)
{
    return push_latency(L, &object->r->upstream);
}

static void push_attempt(lua_State *L, const struct tg_attempt *a)
{
    const char *label = tg_attempt_label(a);
    lua_createtable(L, 0, 5);
    tg_bind_push_str(L, a->target);
    lua_setfield(L, -2, "target");
    if (a->status != 0) {
        lua_pushinteger(L, a->status);
        lua_setfield(L, -2, "status");
    }
    if (a->ended != 0) {
        lua_pushnumber(L, (lua_Number)(a->ended - a->started) / 1e6);
        lua_setfield(L, -2, "latency");
    }
    if (label != NULL) {
        lua_pushstring(L, label);
        lua_setfield(L, -2, "error");
    }
    if (a->error != TG_OK) {
        lua_pushstring(L, tg_err_text(a->error));
        lua_setfield(L, -2, "message");
    }
    if (a->hedge) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, "hedge");
    }
}

int tg_api_upstream_attempts(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_upstream_facts *facts = &object->r->upstream;
    int n = 0;
    lua_newtable(L);
    for (const struct tg_attempt *a = facts->last != NULL ? &facts->first : NULL; a != NULL;
         a = a->next) {
        push_attempt(L, a);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}
