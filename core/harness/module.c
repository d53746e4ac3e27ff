/* module.c: see module.h. Userdata own what they stand for and give it back when they are closed
 * or collected; what may be open while Lua raises is in a userdata. */
#include "base/banned.h"
#include "harness/module.h"

#include "bind/bind.h"
#include "config/load.h"
#include "config/scratch_host.h"
#include "harness/coverage.h"
#include "harness/module_lua.h"
#include "harness/watch.h"
#include "http/ws.h"
#include "observe/instrument.h"

#include <openssl/hmac.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SNAPSHOT_TYPE "tidegate.snapshot"
#define PIPE_TYPE     "tidegate.pipe"
#define PIPE_READ     65536
#define METRICS_ROOM  16384 /* bytes to begin with */

/* A load under way: what is open while Lua may raise. */
struct loading {
    char *text; /* what was printed so far */
    size_t n;
    FILE *out;
    lua_State *L;
    int files; /* stack index of the table */
    int read;  /* and of that with what was asked for: path -> true */
};

int tg_module_push_failure(lua_State *L, enum tg_err err)
{
    lua_pushnil(L);
    switch (err) {
    case TG_E_AGAIN:
        lua_pushliteral(L, "again");
        break;
    case TG_E_CLOSED:
        lua_pushliteral(L, "closed");
        break;
    case TG_E_RESET:
        lua_pushliteral(L, "reset");
        break;
    default:
        lua_pushstring(L, tg_err_text(err));
    }
    return 2;
}

/* ---- Pipes -------------------------------------------------------------------------------------
 */

static struct tg_pipe *check_pipe(lua_State *L)
{
    return luaL_checkudata(L, 1, PIPE_TYPE);
}

struct tg_pipe *tg_module_push_pipe(lua_State *L)
{
    struct tg_pipe *pipe = lua_newuserdata(L, sizeof(*pipe));
    tg_pipe_open(pipe, -1);
    luaL_getmetatable(L, PIPE_TYPE);
    lua_setmetatable(L, -2);
    return pipe;
}

static int pipe_send(lua_State *L)
{
    struct tg_pipe *pipe = check_pipe(L);
    struct tg_str text = tg_module_arg_str(L, 2);
    size_t sent;
    enum tg_err err = tg_pipe_send(pipe, text.p, text.n, &sent);
    if (err != TG_OK)
        return tg_module_push_failure(L, err);
    lua_pushnumber(L, (double)sent);
    return 1;
}

static int pipe_receive(lua_State *L)
{
    struct tg_pipe *pipe = check_pipe(L);
    char room[PIPE_READ];
    size_t n;
    enum tg_err err = tg_pipe_receive(pipe, room, sizeof(room), &n);
    if (err != TG_OK)
        return tg_module_push_failure(L, err);
    lua_pushlstring(L, room, n);
    return 1;
}

static int pipe_finish(lua_State *L)
{
    tg_pipe_finish(check_pipe(L));
    return 0;
}

static int pipe_close(lua_State *L)
{
    tg_pipe_close(check_pipe(L));
    return 0;
}

static int pipe_reset(lua_State *L)
{
    tg_pipe_reset(check_pipe(L));
    return 0;
}

static int pipe_is_open(lua_State *L)
{
    lua_pushboolean(L, check_pipe(L)->fd >= 0);
    return 1;
}

static const luaL_Reg pipe_methods[] = {
    {"send", pipe_send},     {"receive", pipe_receive},
    {"finish", pipe_finish}, {"close", pipe_close},
    {"reset", pipe_reset},   {"is_open", pipe_is_open},
    {"__gc", pipe_close},    {NULL, NULL},
};

/* ---- Snapshots ---------------------------------------------------------------------------------
 */

struct tg_snapshot *tg_module_check_snapshot(lua_State *L, int index)
{
    struct tg_snapshot **ref = luaL_checkudata(L, index, SNAPSHOT_TYPE);
    return *ref;
}

static bool find_file(void *arg, struct tg_str path, struct tg_str *text)
{
    struct loading *l = arg;
    lua_pushlstring(l->L, path.p, path.n);
    lua_pushvalue(l->L, -1);
    lua_pushboolean(l->L, 1);
    lua_rawset(l->L, l->read);
    lua_rawget(l->L, l->files);
    text->p = lua_type(l->L, -1) == LUA_TSTRING ? lua_tolstring(l->L, -1, &text->n) : NULL;
    lua_pop(l->L, 1); /* the table keeps it */
    return text->p != NULL;
}

/* What is printed is kept; see fopencookie(3). */
static ssize_t keep_text(void *cookie, const char *p, size_t n)
{
    struct loading *l = cookie;
    char *text = tg_mem_realloc(TG_MEM_OTHER, l->text, l->n + n);
    if (text == NULL)
        return 0;
    memcpy(text + l->n, p, n);
    l->text = text;
    l->n += n;
    return (ssize_t)n;
}

static int loading_gc(lua_State *L)
{
    struct loading *l = lua_touserdata(L, 1);
    if (l->out != NULL)
        (void)fclose(l->out);
    l->out = NULL;
    tg_mem_free(TG_MEM_OTHER, l->text);
    l->text = NULL;
    return 0;
}

/* load(path, files) -> snapshot or nil, text, read */
static int load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct tg_snapshot **snapshot = lua_newuserdata(L, sizeof(struct tg_snapshot *));
    *snapshot = NULL;
    luaL_getmetatable(L, SNAPSHOT_TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    struct loading *l = lua_newuserdata(L, sizeof(*l));
    *l = (struct loading){.L = L, .files = 2, .read = 4};
    lua_newtable(L);
    lua_pushcfunction(L, loading_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    l->out = fopencookie(l, "w", (cookie_io_functions_t){.write = keep_text});
    if (l->out == NULL)
        return luaL_error(L, "not enough memory");
    struct tg_config_files files = {find_file, l};
    enum tg_err err = tg_config_load_over(path, &files, l->out, snapshot);
    (void)fflush(l->out);
    if (err == TG_OK)
        lua_pushvalue(L, 3);
    else
        lua_pushnil(L);
    lua_pushlstring(L, l->n > 0 ? l->text : "", l->n);
    lua_pushvalue(L, l->read);
    return 3;
}

static int snapshot_gc(lua_State *L)
{
    tg_snapshot_unref(luaL_checkudata(L, 1, SNAPSHOT_TYPE));
    return 0;
}

/* services() -> { { name, targets = { "10.0.0.1:80"... } }... } */
static int snapshot_services(lua_State *L)
{
    const struct tg_snapshot *s = tg_module_check_snapshot(L, 1);
    lua_createtable(L, (int)s->service_count, 0);
    for (uint32_t i = 0; i < s->service_count; i++) {
        lua_createtable(L, 0, 2);
        tg_module_set_str(L, "name", s->services[i].name);
        lua_createtable(L, (int)s->services[i].target_count, 0);
        for (uint32_t k = 0; k < s->services[i].target_count; k++) {
            lua_pushlstring(L, s->services[i].targets[k].name.p, s->services[i].targets[k].name.n);
            lua_rawseti(L, -2, (int)k + 1);
        }
        lua_setfield(L, -2, "targets");
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* routes() -> { { name }... } */
static int snapshot_routes(lua_State *L)
{
    const struct tg_snapshot *s = tg_module_check_snapshot(L, 1);
    lua_createtable(L, (int)s->route_count, 0);
    for (uint32_t i = 0; i < s->route_count; i++) {
        lua_createtable(L, 0, 1);
        tg_module_set_str(L, "name", s->routes[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* listeners() -> { { name, address }... } */
static int snapshot_listeners(lua_State *L)
{
    const struct tg_snapshot *s = tg_module_check_snapshot(L, 1);
    lua_createtable(L, (int)s->listener_count, 0);
    for (uint32_t i = 0; i < s->listener_count; i++) {
        lua_createtable(L, 0, 2);
        tg_module_set_str(L, "name", s->listeners[i].name);
        tg_module_set_str(L, "address", s->listeners[i].address);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* plugins() -> { { name, version, file, source }... } */
static int snapshot_plugins(lua_State *L)
{
    const struct tg_snapshot *s = tg_module_check_snapshot(L, 1);
    lua_createtable(L, (int)s->plugin_count, 0);
    for (uint32_t i = 0; i < s->plugin_count; i++) {
        lua_createtable(L, 0, 4);
        tg_module_set_str(L, "name", s->plugins[i].name);
        tg_module_set_str(L, "version", s->plugins[i].version);
        tg_module_set_str(L, "file", s->plugins[i].chunkname);
        tg_module_set_str(L, "source", s->plugins[i].source);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* files() -> path -> text of all plugin files and their modules */
static int snapshot_files(lua_State *L)
{
    const struct tg_snapshot *s = tg_module_check_snapshot(L, 1);
    lua_newtable(L);
    for (uint32_t i = 0; i < s->plugin_count; i++) {
        const struct tg_plugin_conf *p = &s->plugins[i];
        tg_module_set_str(L, p->chunkname.p, p->source);
        for (uint32_t k = 0; k < p->module_count; k++)
            tg_module_set_str(L, p->modules[k].chunkname.p, p->modules[k].source);
    }
    return 1;
}

static const luaL_Reg snapshot_methods[] = {
    {"services", snapshot_services},
    {"routes", snapshot_routes},
    {"listeners", snapshot_listeners},
    {"plugins", snapshot_plugins},
    {"files", snapshot_files},
    {"__gc", snapshot_gc},
    {NULL, NULL},
};

/* ---- The module --------------------------------------------------------------------------------
 */

/* hmac(name, key, text) -> bytes */
static int hmac(lua_State *L)
{
    const EVP_MD *digest = EVP_get_digestbyname(luaL_checkstring(L, 1));
    struct tg_str key = tg_module_arg_str(L, 2);
    struct tg_str text = tg_module_arg_str(L, 3);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (digest == NULL)
        return luaL_error(L, "no digest is called \"%s\"", lua_tostring(L, 1));
    if (HMAC(digest, key.p, (int)key.n, (const unsigned char *)text.p, text.n, out, &n) == NULL)
        return luaL_error(L, "HMAC failed");
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

/* websocket_accept(key) -> the Sec-WebSocket-Accept that belongs to it */
static int websocket_accept(lua_State *L)
{
    char accept[TG_WS_ACCEPT_TEXT];
    tg_ws_make_accept(tg_module_arg_str(L, 1), accept);
    lua_pushlstring(L, accept, sizeof(accept));
    return 1;
}

/* setenv(name, value or nil) */
static int set_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    int rc = lua_isnoneornil(L, 2) ? unsetenv(name) : setenv(name, luaL_checkstring(L, 2), 1);
    return rc == 0 ? 0 : luaL_error(L, "\"%s\" cannot be the name of a variable", name);
}

/* mkdir(path): nothing when it is there or cannot be made; writing into it then tells. */
static int make_folder(lua_State *L)
{
    (void)!mkdir(luaL_checkstring(L, 1), 0777);
    return 0;
}

/* metrics() -> what plugins count, in the Prometheus text format */
static int push_metrics(lua_State *L)
{
    struct tg_fmt f;
    size_t size = METRICS_ROOM;
    for (;;) {
        tg_fmt_init(&f, lua_newuserdata(L, size), size);
        tg_instruments_write(&f);
        if (tg_fmt_str(&f).p != NULL)
            break;
        size *= 4;
        lua_pop(L, 1);
    }
    lua_pushlstring(L, tg_fmt_str(&f).p, tg_fmt_str(&f).n);
    return 1;
}

/* cover(): lines of plugins are counted from now on */
static int cover(lua_State *L)
{
    (void)L;
    tg_coverage_start();
    return 0;
}

void tg_module_make_type(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

static const luaL_Reg functions[] = {
    {"new", tg_module_new_harness},
    {"load", load},
    {"hmac", hmac},
    {"websocket_accept", websocket_accept},
    {"metrics", push_metrics},
    {"cover", cover},
    {"covered", tg_coverage_push},
    {"mkdir", make_folder},
    {"setenv", set_env},
    {NULL, NULL},
};

int tg_harness_open(lua_State *L)
{
    tg_bind_install();
    tg_log_set_level(TG_LOG_DEBUG);
    tg_module_open_harness(L);
    tg_module_make_type(L, SNAPSHOT_TYPE, snapshot_methods);
    tg_module_make_type(L, PIPE_TYPE, pipe_methods);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    tg_spec_watch_push(L);
    lua_setfield(L, -2, "limit");
    return 1;
}
