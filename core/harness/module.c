/* module.c: see module.h. Userdata own what they stand for and give it back when they are closed
 * or collected; what may be open while Lua raises is in a userdata. */
#include "base/banned.h"
#include "harness/module.h"

#include "bind/bind.h"
#include "bind/services.h"
#include "config/load.h"
#include "config/scratch_host.h"
#include "gateway/background.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"
#include "harness/coverage.h"
#include "harness/event.h"
#include "harness/pipe.h"
#include "harness/watch.h"
#include "http/ws.h"
#include "observe/instrument.h"

#include <lauxlib.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <sys/stat.h>

#define HARNESS_TYPE  "tidegate.harness"
#define SNAPSHOT_TYPE "tidegate.snapshot"
#define PIPE_TYPE     "tidegate.pipe"
#define PIPE_READ     65536
#define METRICS_ROOM  16384 /* bytes to begin with */

struct harness_ref {
    struct tg_harness *harness; /* owned; NULL: closed */
    struct tg_event_list list;
};

/* A load under way: what is open while Lua may raise. */
struct loading {
    char *text; /* what was printed so far */
    size_t n;
    FILE *out;
    lua_State *L;
    int files; /* stack index of the table */
};

static uint64_t to_us(double seconds)
{
    return seconds > 0 ? (uint64_t)(seconds * 1e6 + 0.5) : 0;
}

static struct tg_str arg_str(lua_State *L, int index)
{
    struct tg_str s;
    s.p = luaL_checklstring(L, index, &s.n);
    return s;
}

static void set_str(lua_State *L, const char *key, struct tg_str s)
{
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, key);
}

/* nil and a word for `err`. */
static int push_failure(lua_State *L, enum tg_err err)
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

/* An empty one: it is made before the descriptor, so that a raise loses none. */
static struct tg_pipe *push_pipe(lua_State *L)
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
    struct tg_str text = arg_str(L, 2);
    size_t sent;
    enum tg_err err = tg_pipe_send(pipe, text.p, text.n, &sent);
    if (err != TG_OK)
        return push_failure(L, err);
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
        return push_failure(L, err);
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

static struct tg_snapshot *check_snapshot(lua_State *L, int index)
{
    struct tg_snapshot **ref = luaL_checkudata(L, index, SNAPSHOT_TYPE);
    return *ref;
}

static bool find_file(void *arg, struct tg_str path, struct tg_str *text)
{
    struct loading *l = arg;
    lua_pushlstring(l->L, path.p, path.n);
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

/* load(path, files) -> snapshot, text; or nil, text */
static int load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct tg_snapshot **snapshot = lua_newuserdata(L, sizeof(struct tg_snapshot *));
    *snapshot = NULL;
    luaL_getmetatable(L, SNAPSHOT_TYPE);
    lua_setmetatable(L, -2);
    struct loading *l = lua_newuserdata(L, sizeof(*l));
    *l = (struct loading){.L = L, .files = 2};
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
    return 2;
}

static int snapshot_gc(lua_State *L)
{
    tg_snapshot_unref(luaL_checkudata(L, 1, SNAPSHOT_TYPE));
    return 0;
}

/* services() -> { { name, targets = { "10.0.0.1:80"... } }... } */
static int snapshot_services(lua_State *L)
{
    const struct tg_snapshot *s = check_snapshot(L, 1);
    lua_createtable(L, (int)s->service_count, 0);
    for (uint32_t i = 0; i < s->service_count; i++) {
        lua_createtable(L, 0, 2);
        set_str(L, "name", s->services[i].name);
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

/* listeners() -> { { name, address }... } */
static int snapshot_listeners(lua_State *L)
{
    const struct tg_snapshot *s = check_snapshot(L, 1);
    lua_createtable(L, (int)s->listener_count, 0);
    for (uint32_t i = 0; i < s->listener_count; i++) {
        lua_createtable(L, 0, 2);
        set_str(L, "name", s->listeners[i].name);
        set_str(L, "address", s->listeners[i].address);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* plugins() -> { { name, version, file, source }... } */
static int snapshot_plugins(lua_State *L)
{
    const struct tg_snapshot *s = check_snapshot(L, 1);
    lua_createtable(L, (int)s->plugin_count, 0);
    for (uint32_t i = 0; i < s->plugin_count; i++) {
        lua_createtable(L, 0, 4);
        set_str(L, "name", s->plugins[i].name);
        set_str(L, "version", s->plugins[i].version);
        set_str(L, "file", s->plugins[i].chunkname);
        set_str(L, "source", s->plugins[i].source);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* files() -> path -> text of all plugin files and their modules */
static int snapshot_files(lua_State *L)
{
    const struct tg_snapshot *s = check_snapshot(L, 1);
    lua_newtable(L);
    for (uint32_t i = 0; i < s->plugin_count; i++) {
        const struct tg_plugin_conf *p = &s->plugins[i];
        set_str(L, p->chunkname.p, p->source);
        for (uint32_t k = 0; k < p->module_count; k++)
            set_str(L, p->modules[k].chunkname.p, p->modules[k].source);
    }
    return 1;
}

static const luaL_Reg snapshot_methods[] = {
    {"services", snapshot_services}, {"listeners", snapshot_listeners},
    {"plugins", snapshot_plugins},   {"files", snapshot_files},
    {"__gc", snapshot_gc},           {NULL, NULL},
};

/* ---- The harness -------------------------------------------------------------------------------
 */

static struct harness_ref *check_ref(lua_State *L)
{
    struct harness_ref *ref = luaL_checkudata(L, 1, HARNESS_TYPE);
    if (ref->harness == NULL)
        luaL_error(L, "this gateway has been closed");
    return ref;
}

/* The harness of argument 1, its events going to this state. */
static struct tg_harness *check_harness(lua_State *L)
{
    struct harness_ref *ref = check_ref(L);
    ref->list.L = L;
    return ref->harness;
}

/* new(real, seed) -> harness */
static int new_harness(lua_State *L)
{
    double real = luaL_checknumber(L, 1);
    double seed = luaL_optnumber(L, 2, 1);
    struct harness_ref *ref = lua_newuserdata(L, sizeof(*ref));
    *ref = (struct harness_ref){.list = {.ref = LUA_NOREF}};
    luaL_getmetatable(L, HARNESS_TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    ref->list.ref = luaL_ref(L, LUA_REGISTRYINDEX);
    enum tg_err err =
        tg_harness_new(to_us(real), (uint64_t)seed, &tg_event_listeners, &ref->list, &ref->harness);
    if (err != TG_OK)
        return luaL_error(L, "cannot make a gateway: %s", tg_err_text(err));
    ref->list.harness = ref->harness;
    return 1;
}

static int harness_close(lua_State *L)
{
    struct harness_ref *ref = luaL_checkudata(L, 1, HARNESS_TYPE);
    ref->list.L = NULL;
    tg_harness_free(&ref->harness);
    luaL_unref(L, LUA_REGISTRYINDEX, ref->list.ref);
    ref->list.ref = LUA_NOREF;
    return 0;
}

/* adopt(snapshot, anew) -> true; or nil, why */
static int harness_adopt(lua_State *L)
{
    struct tg_harness *h = check_harness(L);
    struct tg_vm_error error;
    if (tg_harness_adopt(h, check_snapshot(L, 2), lua_toboolean(L, 3), &error) == TG_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushlstring(L, error.text, error.n);
    return 2;
}

static int harness_run(lua_State *L)
{
    struct tg_harness *h = check_harness(L);
    if (tg_harness_run(h) != TG_OK)
        return luaL_error(L, "the gateway does not come to rest");
    if (check_ref(L)->list.lost)
        return luaL_error(L, "not enough memory");
    return 0;
}

/* events() -> list of those since the last call */
static int harness_events(lua_State *L)
{
    struct harness_ref *ref = check_ref(L);
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref->list.ref);
    lua_insert(L, -2);
    lua_rawseti(L, LUA_REGISTRYINDEX, ref->list.ref);
    ref->list.count = 0;
    return 1;
}

/* now() -> seconds since 1970, seconds of the monotonic clock */
static int harness_now(lua_State *L)
{
    const struct tg_clock *clock = tg_harness_clock(check_harness(L));
    lua_pushnumber(L, (double)clock->real / 1e6);
    lua_pushnumber(L, (double)clock->mono / 1e6);
    return 2;
}

/* next() -> seconds of the monotonic clock, or nil */
static int harness_next(lua_State *L)
{
    uint64_t next = tg_harness_next(check_harness(L));
    if (next == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (double)next / 1e6);
    return 1;
}

static int harness_move(lua_State *L)
{
    tg_harness_move(check_harness(L), to_us(luaL_checknumber(L, 2)));
    return 0;
}

/* connect(listener, ip, port) -> pipe; or nil, why. Listeners count from 1. */
static int harness_connect(lua_State *L)
{
    struct tg_harness *h = check_harness(L);
    const struct tg_snapshot *s = tg_harness_gate(h)->snapshot;
    lua_Integer index = luaL_checkinteger(L, 2);
    struct tg_str ip = arg_str(L, 3);
    int port = luaL_optint(L, 4, 40000);
    struct tg_addr peer;
    int fd;
    if (s == NULL || index < 1 || (uint64_t)index > s->listener_count)
        return luaL_error(L, "there is no such listener");
    const char *text =
        lua_pushfstring(L, memchr(ip.p, ':', ip.n) != NULL ? "[%s]:%d" : "%s:%d", ip.p, port);
    if (tg_addr_parse(tg_str_c(text), &peer) != TG_OK)
        return luaL_error(L, "%s is not an address", text);
    struct tg_pipe *pipe = push_pipe(L);
    enum tg_err err = tg_harness_connect(h, (uint32_t)index - 1, &peer, &fd);
    if (err != TG_OK)
        return push_failure(L, err);
    tg_pipe_open(pipe, fd);
    return 1;
}

/* settle(id, verdict) -> pipe ("ok") or true; false when the gateway has given up. */
static int harness_settle(lua_State *L)
{
    static const char *const names[] = {"ok", "refused", "unreachable", "reset", NULL};
    static const enum tg_err verdicts[] = {TG_OK, TG_E_REFUSED, TG_E_UNREACHABLE, TG_E_RESET};
    struct tg_harness *h = check_harness(L);
    uint32_t id = (uint32_t)luaL_checknumber(L, 2);
    enum tg_err verdict = verdicts[luaL_checkoption(L, 3, "ok", names)];
    struct tg_pipe *pipe = push_pipe(L);
    int fd;
    if (tg_harness_settle_dial(h, id, verdict, &fd) != TG_OK) {
        lua_pushboolean(L, 0);
    } else if (verdict != TG_OK) {
        lua_pushboolean(L, 1);
    } else {
        tg_pipe_open(pipe, fd);
    }
    return 1;
}

/* The record at the top of the stack: "10.0.0.1", or { host, port, priority, weight }; it is
 * popped.
 */
static void read_record(lua_State *L, struct tg_record *record)
{
    *record = (struct tg_record){0};
    if (lua_type(L, -1) == LUA_TSTRING) {
        struct tg_str text = {.p = lua_tolstring(L, -1, &text.n)};
        if (tg_addr_parse_ip(text, &record->addr) != TG_OK)
            luaL_error(L, "%s is not an address", text.p);
    } else {
        uint16_t *const numbers[] = {&record->port, &record->priority, &record->weight};
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_rawgeti(L, -1, 1);
        snprintf(record->target, sizeof(record->target), "%s", luaL_checkstring(L, -1));
        lua_pop(L, 1);
        for (int i = 0; i < 3; i++) {
            lua_rawgeti(L, -1, i + 2);
            *numbers[i] = (uint16_t)luaL_checkinteger(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

/* Protected: (answer, records) */
static int read_records(lua_State *L)
{
    struct tg_answer *answer = lua_touserdata(L, 1);
    for (int i = 1; i <= (int)lua_objlen(L, 2) && answer->n < TG_ANSWER_MAX; i++) {
        lua_rawgeti(L, 2, i);
        read_record(L, &answer->records[answer->n++]);
    }
    return 0;
}

/* answer(id, "failed" | "none" | "records", ttl, records) -> whether somebody waits for it */
static int harness_answer(lua_State *L)
{
    static const char *const kinds[] = {[TG_ANSWER_FAILED] = "failed",
                                        [TG_ANSWER_NONE] = "none",
                                        [TG_ANSWER_RECORDS] = "records",
                                        NULL};
    struct tg_harness *h = check_harness(L);
    uint32_t id = (uint32_t)luaL_checknumber(L, 2);
    enum tg_answer_kind kind = (enum tg_answer_kind)luaL_checkoption(L, 3, NULL, kinds);
    double ttl = luaL_checknumber(L, 4);
    luaL_checktype(L, 5, LUA_TTABLE);
    struct tg_answer *answer = tg_names_answer(kind, to_us(ttl));
    if (answer == NULL)
        return luaL_error(L, "not enough memory");
    lua_pushcfunction(L, read_records);
    lua_pushlightuserdata(L, answer);
    lua_pushvalue(L, 5);
    int status = lua_pcall(L, 2, 0, 0);
    bool wanted = status == 0 && tg_harness_settle_query(h, id, answer);
    tg_mem_free(TG_MEM_OTHER, answer);
    if (status != 0)
        return lua_error(L);
    lua_pushboolean(L, wanted);
    return 1;
}

/* consumer(name or nil) */
static int harness_consumer(lua_State *L)
{
    struct tg_harness *h = check_harness(L);
    size_t n = 0;
    const char *name = luaL_optlstring(L, 2, NULL, &n);
    if (tg_harness_set_consumer(h, tg_str(name, n)) != TG_OK)
        return luaL_error(L, "not enough memory");
    return 0;
}

/* only(phase or nil) */
static int harness_only(lua_State *L)
{
    struct tg_harness *h = check_harness(L);
    const char *name = luaL_optstring(L, 2, NULL);
    int phase = 0;
    while (name != NULL && phase < TG_PHASES &&
           strcmp(name, tg_phase_name((enum tg_phase)phase)) != 0)
        phase++;
    if (name != NULL && phase == TG_PHASES)
        return luaL_error(L, "there is no phase \"%s\"", name);
    tg_harness_set_phase(h, name != NULL ? (enum tg_phase)phase : TG_PHASES);
    return 0;
}

/* watch_state(on): "wrote" events from now on, or none */
static int harness_watch_state(lua_State *L)
{
    if (tg_harness_watch_state(check_harness(L), lua_toboolean(L, 2) != 0) != TG_OK)
        return luaL_error(L, "not enough memory");
    return 0;
}

/* confine(id, "route" | "service" | "listener", name) */
static int harness_confine(lua_State *L)
{
    static const char *const names[] = {"route", "service", "listener", NULL};
    struct tg_harness *h = check_harness(L);
    struct tg_str id = arg_str(L, 2);
    enum tg_harness_scope scope = (enum tg_harness_scope)luaL_checkoption(L, 3, NULL, names);
    if (tg_harness_confine(h, id, scope, arg_str(L, 4)) != TG_OK)
        return luaL_error(L, "not enough memory");
    return 0;
}

static struct tg_vm *check_vm(lua_State *L)
{
    const struct tg_gate *gate = tg_harness_gate(check_harness(L));
    struct tg_str name = arg_str(L, 2);
    for (uint32_t i = 0; gate->vms != NULL && i < gate->vms->snapshot->plugin_count; i++) {
        if (tg_str_eq(tg_vm_name(gate->vms->entries[i]->vm), name))
            return gate->vms->entries[i]->vm;
    }
    luaL_error(L, "no plugin called \"%s\" is loaded", name.p);
    return NULL;
}

static const struct tg_service_conf *check_service(lua_State *L, const struct tg_gate *gate)
{
    struct tg_str name = arg_str(L, 2);
    for (uint32_t i = 0; gate->vms != NULL && i < gate->vms->snapshot->service_count; i++) {
        if (tg_str_eq(gate->vms->snapshot->services[i].name, name))
            return &gate->vms->snapshot->services[i];
    }
    luaL_error(L, "there is no service \"%s\"", name.p);
    return NULL;
}

/* breaker(service) -> { state, opened } or nil */
static int harness_breaker(lua_State *L)
{
    const struct tg_gate *gate = tg_harness_gate(check_harness(L));
    const struct tg_service_conf *service = check_service(L, gate);
    tg_services_push_breaker(L, service, gate->vms->targets->balances[service->index]);
    return 1;
}

/* targets(service) -> list, see bind/services.h */
static int harness_targets(lua_State *L)
{
    const struct tg_gate *gate = tg_harness_gate(check_harness(L));
    const struct tg_service_conf *service = check_service(L, gate);
    uint64_t now = tg_harness_clock(check_harness(L))->mono;
    tg_services_push_targets(L, now, gate->vms->targets->balances[service->index]);
    return 1;
}

static int do_nothing(lua_State *L)
{
    (void)L;
    return 0;
}

static int do_collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* vm(plugin) -> { used, own, held, alive, kills = { cpu = n... } }: bytes live in all accounts, in
 * the VM's own, held from the system */
static int harness_vm(lua_State *L)
{
    struct tg_vm *vm = check_vm(L);
    struct tg_vm_error error;
    lua_createtable(L, 0, 5);
    set_number(L, "used", (double)tg_alloc_used(tg_vm_alloc(vm)));
    set_number(L, "own", (double)tg_alloc_vm_account(tg_vm_alloc(vm))->live);
    set_number(L, "held", (double)tg_alloc_held(tg_vm_alloc(vm)));
    lua_pushboolean(L, tg_vm_call(vm, do_nothing, NULL, &error) == TG_OK);
    lua_setfield(L, -2, "alive");
    lua_newtable(L);
    for (int kill = TG_KILL_NONE + 1; kill < TG_KILL_COUNT; kill++) {
        uint64_t n = tg_vm_kills(vm, (enum tg_kill)kill);
        if (n > 0)
            set_number(L, tg_kill_label((enum tg_kill)kill), (double)n);
    }
    lua_setfield(L, -2, "kills");
    return 1;
}

/* collect(plugin): a full collection in its VM */
static int harness_collect(lua_State *L)
{
    struct tg_vm_error error;
    if (tg_vm_call(check_vm(L), do_collect, NULL, &error) != TG_OK)
        return luaL_error(L, "%s", error.text);
    return 0;
}

/* open() -> { { id, method, path, state, plugin, phase, file }... }: requests that are not over;
 * plugin, phase and file of the plugin that waits */
static int harness_open(lua_State *L)
{
    const struct tg_gate *gate = tg_harness_gate(check_harness(L));
    int n = 0;
    lua_newtable(L);
    TG_LIST_FOREACH(&gate->requests, it)
    {
        const struct tg_request *r = TG_LIST_ENTRY(it, struct tg_request, link);
        lua_createtable(L, 0, 8);
        set_str(L, "id", tg_str(r->id, sizeof(r->id)));
        set_str(L, "method", r->in.method_name);
        set_str(L, "path", r->in.path);
        set_str(L, "state", tg_str_c(tg_request_state_name(r->state)));
        if (r->plugins.waiting) {
            set_str(L, "plugin", r->plugins.instance->plugin->name);
            set_str(L, "phase", tg_str_c(tg_phase_name(r->plugins.phase)));
            set_str(L, "file", r->plugins.instance->plugin->chunkname);
        }
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* background() -> { { plugin, phase, file }... }: work for no request that is not over */
static int harness_background(lua_State *L)
{
    const struct tg_gate *gate = tg_harness_gate(check_harness(L));
    int n = 0;
    lua_newtable(L);
    TG_LIST_FOREACH(&gate->background, it)
    {
        const struct tg_background *b = TG_LIST_ENTRY(it, struct tg_background, link);
        const struct tg_plugin_conf *plugin = b->call.entry->host.plugin;
        lua_createtable(L, 0, 3);
        set_str(L, "plugin", plugin->name);
        set_str(L, "phase", tg_str_c(b->call.what));
        set_str(L, "file", plugin->chunkname);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static const luaL_Reg harness_methods[] = {
    {"answer", harness_answer},
    {"background", harness_background},
    {"watch_state", harness_watch_state},
    {"adopt", harness_adopt},
    {"run", harness_run},
    {"events", harness_events},
    {"now", harness_now},
    {"next", harness_next},
    {"move", harness_move},
    {"connect", harness_connect},
    {"settle", harness_settle},
    {"only", harness_only},
    {"consumer", harness_consumer},
    {"confine", harness_confine},
    {"vm", harness_vm},
    {"breaker", harness_breaker},
    {"targets", harness_targets},
    {"collect", harness_collect},
    {"open", harness_open},
    {"close", harness_close},
    {"__gc", harness_close},
    {NULL, NULL},
};

/* ---- The module --------------------------------------------------------------------------------
 */

/* hmac(name, key, text) -> bytes */
static int hmac(lua_State *L)
{
    const EVP_MD *digest = EVP_get_digestbyname(luaL_checkstring(L, 1));
    struct tg_str key = arg_str(L, 2);
    struct tg_str text = arg_str(L, 3);
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
    tg_ws_make_accept(arg_str(L, 1), accept);
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

static void make_type(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int tg_harness_open(lua_State *L)
{
    tg_bind_install();
    tg_log_set_level(TG_LOG_DEBUG);
    make_type(L, HARNESS_TYPE, harness_methods);
    make_type(L, SNAPSHOT_TYPE, snapshot_methods);
    make_type(L, PIPE_TYPE, pipe_methods);
    lua_newtable(L);
    lua_pushcfunction(L, new_harness);
    lua_setfield(L, -2, "new");
    lua_pushcfunction(L, load);
    lua_setfield(L, -2, "load");
    lua_pushcfunction(L, hmac);
    lua_setfield(L, -2, "hmac");
    lua_pushcfunction(L, websocket_accept);
    lua_setfield(L, -2, "websocket_accept");
    lua_pushcfunction(L, push_metrics);
    lua_setfield(L, -2, "metrics");
    lua_pushcfunction(L, cover);
    lua_setfield(L, -2, "cover");
    lua_pushcfunction(L, tg_coverage_push);
    lua_setfield(L, -2, "covered");
    lua_pushcfunction(L, make_folder);
    lua_setfield(L, -2, "mkdir");
    lua_pushcfunction(L, set_env);
    lua_setfield(L, -2, "setenv");
    tg_spec_watch_push(L);
    lua_setfield(L, -2, "limit");
    return 1;
}
