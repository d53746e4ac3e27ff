/* http.c: tg.http: requests of plugins to services that the configuration declares.
 *
 * Arguments are checked first, by functions that raise and hold nothing; then the fetch is filled
 * by functions that do not raise. The plugin waits (gateway/wait.h) until the response is whole,
 * its time is over, or it ends: then the fetch is freed, and with it an exchange that is not over.
 * What the plugin gets is made under tg_run_push(), at the expense of its account. With `stream`
 * the wait is for the head only, and the response takes the fetch over (http_response.c).
 */
#include "base/banned.h"
#include "bind/http.h"

#include "bind/json.h"
#include "bind/zone.h"
#include "gateway/fetch.h"
#include "gateway/wait.h"
#include "http/h1_write.h"
#include "http/uri.h"

#define BODY_MAX     ((uint64_t)1 << 20)
#define HEADERS_MAX  64
#define QUERY_MAX    256
#define NO_TIME      0
#define OPTIONS_ROOM 128

/* What a call asks for, on the Lua stack: indexes are 0 where nothing is given. */
struct call {
    int n;       /* number of the argument that has the options, for messages */
    int options; /* index of the table, 0: none */
    int headers, query;
    bool json, stream;
    struct tg_str method, path, body;
    const struct tg_service_conf *service;
    uint64_t timeout, max_body;
};

/* A fetch that is waited for; in the fetch's arena. */
struct waiter {
    struct tg_wait wait;
    struct tg_run *run;
    struct tg_fetch *fetch;
    bool done;
};

/* ---- Checks: may raise ---- */

static TG_NORETURN void raise_option(lua_State *L, const struct call *call, const char *name,
                                     const char *what)
{
    char room[OPTIONS_ROOM];
    snprintf(room, sizeof(room), "%s: %s", name, what);
    tg_bind_arg_error(L, call->n, room);
}

/* Pushes the option and returns its index, or pushes nothing and returns 0. */
static int option(lua_State *L, const struct call *call, const char *name)
{
    if (call->options == 0)
        return 0;
    lua_pushstring(L, name);
    lua_rawget(L, call->options);
    if (!lua_isnil(L, -1))
        return lua_gettop(L);
    lua_pop(L, 1);
    return 0;
}

static bool text_option(lua_State *L, const struct call *call, const char *name, struct tg_str *out)
{
    int index = option(L, call, name);
    if (index == 0)
        return false;
    if (lua_type(L, index) != LUA_TSTRING)
        raise_option(L, call, name, "expected a string");
    out->p = lua_tolstring(L, index, &out->n);
    return true;
}

static int table_option(lua_State *L, const struct call *call, const char *name)
{
    int index = option(L, call, name);
    if (index != 0 && !lua_istable(L, index))
        raise_option(L, call, name, "expected a table");
    return index;
}

static bool is_scalar(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER;
}

/* A string, or a number as it is written by `room`. Does not raise. */
static struct tg_str scalar(lua_State *L, int index, char *room, size_t size)
{
    struct tg_str s = {room, 0};
    if (lua_type(L, index) == LUA_TSTRING)
        s.p = lua_tolstring(L, index, &s.n);
    else
        s.n = (size_t)snprintf(room, size, "%.14g", lua_tonumber(L, index));
    return s;
}

static TG_NORETURN void raise_owned(lua_State *L, const struct call *call, struct tg_str name)
{
    char what[160];
    snprintf(what, sizeof(what),
             "\"%.*s\" belongs to the gateway, as Host (the service's), Expect and framing do",
             (int)TG_MIN(name.n, (size_t)64), name.p);
    raise_option(L, call, "headers", what);
}

static void check_headers(lua_State *L, const struct call *call)
{
    char room[32];
    unsigned count = 0;
    if (call->headers == 0)
        return;
    for (lua_pushnil(L); lua_next(L, call->headers) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !is_scalar(L, -1))
            raise_option(L, call, "headers", "expected names with a string or a number each");
        if (++count > HEADERS_MAX)
            raise_option(L, call, "headers", "at most 64");
        struct tg_field field = {.name = scalar(L, -2, room, sizeof(room)),
                                 .value = scalar(L, -1, room, sizeof(room))};
        enum tg_err err = tg_edit_check(&field);
        if (err == TG_E_INVALID)
            raise_option(L, call, "headers", "a name or value is not valid in a header");
        if (err != TG_OK || field.id == TG_FIELD_HOST || field.id == TG_FIELD_EXPECT)
            raise_owned(L, call, field.name);
    }
}

static void check_query(lua_State *L, const struct call *call)
{
    unsigned count = 0;
    if (call->query == 0)
        return;
    for (lua_pushnil(L); lua_next(L, call->query) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !is_scalar(L, -1))
            raise_option(L, call, "query", "expected names with a string or a number each");
        if (++count > QUERY_MAX)
            raise_option(L, call, "query", "at most 256 parameters");
    }
}

static void find_service(lua_State *L, struct call *call, struct tg_str name, int n)
{
    const struct tg_snapshot *snapshot = tg_bind_vm_entry(L)->host.set->snapshot;
    for (uint32_t i = 0; i < snapshot->service_count && call->service == NULL; i++) {
        if (tg_str_eq(snapshot->services[i].name, name))
            call->service = &snapshot->services[i];
    }
    if (call->service != NULL)
        return;
    char what[200];
    int shown = (int)TG_MIN(name.n, 64);
    bool url = memmem(name.p, name.n, "://", 3) != NULL;
    snprintf(what, sizeof(what),
             url ? "\"%.*s\" is a URL; declare a tg.service in the configuration, and name it here"
                 : "no service is called \"%.*s\"; the configuration declares them by tg.service",
             shown, name.p);
    tg_bind_arg_error(L, n, what);
}

static void check_target(lua_State *L, const struct call *call, int n)
{
    bool good = call->path.n > 0 && call->path.p[0] == '/';
    for (size_t i = 0; i < call->path.n; i++) {
        unsigned char c = (unsigned char)call->path.p[i];
        good = good && c > ' ' && c < 127 && c != '#';
    }
    if (!good)
        tg_bind_arg_error(L, n, "path: expected \"/...\", percent-encoded");
    if (!tg_str_is_token(call->method))
        raise_option(L, call, "method", "is not a token");
    if (tg_method_from_name(call->method) == TG_METHOD_CONNECT)
        raise_option(L, call, "method", "CONNECT opens tunnels, which plugins have no use for");
}

static void take_body(lua_State *L, struct call *call)
{
    bool given = text_option(L, call, "body", &call->body);
    int json = option(L, call, "json");
    if (json == 0)
        return;
    if (given)
        raise_option(L, call, "json", "is given beside body; one of them is the body");
    tg_json_push_encoded(L, json);
    call->json = true;
    call->body.p = lua_tolstring(L, -1, &call->body.n);
}

/* The options that request, get and post share. */
static void take_options(lua_State *L, struct call *call)
{
    static const char *const names[] = {"service",  "path",   "method", "headers",
                                        "query",    "body",   "json",   "timeout",
                                        "max_body", "stream", NULL};
    tg_bind_check_options(L, call->n, names);
    if (!tg_bind_vm_entry(L)->host.plugin->wants_http)
        tg_bind_call_error(L, "the plugin does not declare needs = { http = true }");
    luaL_checkstack(L, 24, "arguments");
    text_option(L, call, "method", &call->method);
    call->headers = table_option(L, call, "headers");
    call->query = table_option(L, call, "query");
    take_body(L, call);
    tg_bind_option_duration(L, call->n, "timeout", &call->timeout);
    int max = option(L, call, "max_body");
    if (max != 0 && !tg_bind_to_size(L, max, &call->max_body))
        raise_option(L, call, "max_body", "expected a size such as \"64KiB\"");
    int stream = option(L, call, "stream");
    if (stream != 0 && !lua_isboolean(L, stream))
        raise_option(L, call, "stream", "expected true or false");
    call->stream = stream != 0 && lua_toboolean(L, stream);
    check_headers(L, call);
    check_query(L, call);
}

/* ---- Filling in: does not raise ---- */

static void write_query(lua_State *L, const struct call *call, struct tg_fmt *f)
{
    char room[32];
    char mark = tg_str_find(call->path, '?', 0) < call->path.n ? '&' : '?';
    tg_fmt_add(f, call->path);
    if (call->query == 0)
        return;
    for (lua_pushnil(L); lua_next(L, call->query) != 0; lua_pop(L, 1)) {
        if (f->failed) /* one text may stand in it many times: it goes no further */
            continue;
        tg_fmt_char(f, mark);
        tg_uri_encode(f, scalar(L, -2, room, sizeof(room)), "");
        tg_fmt_char(f, '=');
        tg_uri_encode(f, scalar(L, -1, room, sizeof(room)), "");
        mark = '&';
    }
}

static void write_headers(lua_State *L, const struct call *call, struct tg_fmt *f)
{
    char room[32];
    bool typed = false;
    if (call->headers != 0) {
        for (lua_pushnil(L); lua_next(L, call->headers) != 0; lua_pop(L, 1)) {
            if (f->failed)
                continue;
            struct tg_str name = scalar(L, -2, room, sizeof(room));
            typed |= tg_field_id(name) == TG_FIELD_CONTENT_TYPE;
            tg_h1_write_field(f, name, scalar(L, -1, room, sizeof(room)));
        }
    }
    if (call->json && !typed)
        tg_h1_write_field(f, TG_STR("Content-Type"), TG_STR("application/json"));
}

/* ---- The end ---- */

/* Under tg_run_push(): the results of the plugin's call. */
static int push_result(lua_State *L)
{
    struct waiter *waiter = lua_touserdata(L, 1);
    struct tg_fetch *fetch = waiter->fetch;
    if (fetch->err != TG_OK)
        return tg_bind_push_fetch_error(L, fetch->err, fetch->connected, fetch->reason);
    if (fetch->on_piece == NULL)
        return tg_bind_push_response(L, &fetch->head, &fetch->received);
    tg_bind_push_stream(L, fetch, waiter->run);
    waiter->fetch = NULL; /* the response's */
    return 1;
}

static int on_resume(struct tg_wait *wait, struct tg_run *run, bool cancelled)
{
    struct waiter *waiter = TG_CONTAINER_OF(wait, struct waiter, wait);
    int count = 0;
    enum tg_err err = TG_OK;
    if (!waiter->done)
        waiter->fetch->err = TG_E_TIMEOUT;
    if (!cancelled)
        err = tg_run_push(run, push_result, waiter, &count);
    tg_fetch_free(&waiter->fetch);
    return err == TG_OK ? count : -1;
}

static void on_done(struct tg_fetch *fetch)
{
    struct waiter *waiter = fetch->arg;
    waiter->done = true;
    tg_wait_end(waiter->run);
}

/* Starts the exchange and the wait for it. */
static enum tg_err start(lua_State *L, const struct call *call, struct tg_fetch *fetch)
{
    const struct tg_loop *loop = &tg_bind_vm_entry(L)->host.gate->worker->loop;
    struct waiter *waiter = tg_arena_zalloc(&fetch->arena, sizeof(*waiter));
    uint64_t now = tg_loop_now(loop);
    if (waiter == NULL)
        return TG_E_NOMEM;
    *waiter = (struct waiter){{on_resume}, tg_run_current(L), fetch, false};
    fetch->service = call->service;
    fetch->method = tg_method_from_name(call->method);
    fetch->method_name = tg_arena_copy(&fetch->arena, call->method);
    write_query(L, call, &fetch->target);
    write_headers(L, call, &fetch->fields);
    if (call->body.p != NULL)
        fetch->body = tg_arena_copy(&fetch->arena, call->body);
    if (fetch->method_name.p == NULL || (call->body.p != NULL && fetch->body.p == NULL))
        return TG_E_NOMEM;
    fetch->max_body = call->max_body;
    if (!call->stream) /* a longer one would be collected out of the VM, for nothing */
        fetch->max_body = TG_MIN(fetch->max_body, fetch->entry->memory);
    fetch->deadline = call->timeout != NO_TIME ? now + call->timeout : UINT64_MAX;
    fetch->on_done = on_done;
    fetch->on_piece = call->stream ? on_done : NULL; /* the head is all that is waited for */
    fetch->arg = waiter;
    enum tg_err err = tg_fetch_start(fetch);
    if (err != TG_OK)
        return err;
    return tg_wait_begin(waiter->run, &waiter->wait,
                         call->timeout != NO_TIME ? fetch->deadline : NO_TIME);
}

static int perform(lua_State *L, const struct call *call)
{
    struct tg_fetch *fetch;
    if (!tg_run_is_hosted(tg_run_current(L)))
        tg_bind_call_error(L, "is not for init and configure: nothing can wait there");
    if (!tg_run_can_suspend(L))
        return tg_run_suspend(L); /* raises, with the reason */
    enum tg_err err = tg_fetch_new(tg_bind_vm_entry(L), &fetch);
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "limit", "32 requests of this plugin are in flight");
    if (err != TG_OK)
        return tg_bind_fail(L, "unavailable", tg_err_text(err));
    err = start(L, call, fetch);
    if (err == TG_OK)
        return tg_run_suspend(L);
    tg_fetch_free(&fetch);
    bool lacking = err == TG_E_NOMEM || err == TG_E_FILES;
    const char *code = lacking ? "unavailable" : err == TG_E_DNS ? "dns" : "refused";
    return tg_bind_fail(L, code, tg_err_text(err));
}

/* ---- tg.http ---- */

int tg_api_http_request(lua_State *L)
{
    struct call call = {.n = 1, .options = 1, .method = TG_STR("GET"), .max_body = BODY_MAX};
    struct tg_str service;
    tg_bind_arg_table(L, 1, false);
    lua_settop(L, 1);
    take_options(L, &call);
    if (!text_option(L, &call, "service", &service))
        raise_option(L, &call, "service", "is missing; name a declared service");
    if (!text_option(L, &call, "path", &call.path))
        call.path = TG_STR("/");
    find_service(L, &call, service, 1);
    check_target(L, &call, 1);
    return perform(L, &call);
}

/* get and post: service, path, options. */
static int short_form(lua_State *L, struct tg_str method)
{
    struct call call = {.n = 3, .method = method, .max_body = BODY_MAX};
    struct tg_str service = tg_bind_arg_str(L, 1);
    call.path = tg_bind_arg_str(L, 2);
    call.options = tg_bind_arg_table(L, 3, true) ? 3 : 0;
    lua_settop(L, 3);
    take_options(L, &call);
    find_service(L, &call, service, 1);
    check_target(L, &call, 2);
    return perform(L, &call);
}

int tg_api_http_get(lua_State *L)
{
    return short_form(L, TG_STR("GET"));
}

int tg_api_http_post(lua_State *L)
{
    return short_form(L, TG_STR("POST"));
}
