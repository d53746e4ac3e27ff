/* module_gateway.c: a harness as Lua sees it: see module.h. */
#include "base/banned.h"
#include "harness/module_lua.h"

#include "bind/services.h"
#include "gateway/background.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"
#include "harness/event.h"

#define HARNESS_TYPE "tidegate.harness"

struct harness_ref {
    struct tg_harness *harness; /* owned; NULL: closed */
    struct tg_event_list list;
};

static uint64_t to_us(double seconds)
{
    return seconds > 0 ? (uint64_t)(seconds * 1e6 + 0.5) : 0;
}

static void set_number(lua_State *L, const char *key, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, key);
}

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
int tg_module_new_harness(lua_State *L)
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
    if (tg_harness_adopt(h, tg_module_check_snapshot(L, 2), lua_toboolean(L, 3), &error) == TG_OK) {
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
    struct tg_str ip = tg_module_arg_str(L, 3);
    int port = luaL_optint(L, 4, 40000);
    struct tg_addr peer;
    int fd;
    if (s == NULL || index < 1 || (uint64_t)index > s->listener_count)
        return luaL_error(L, "there is no such listener");
    const char *text =
        lua_pushfstring(L, memchr(ip.p, ':', ip.n) != NULL ? "[%s]:%d" : "%s:%d", ip.p, port);
    if (tg_addr_parse(tg_str_c(text), &peer) != TG_OK)
        return luaL_error(L, "%s is not an address", text);
    struct tg_pipe *pipe = tg_module_push_pipe(L);
    enum tg_err err = tg_harness_connect(h, (uint32_t)index - 1, &peer, &fd);
    if (err != TG_OK)
        return tg_module_push_failure(L, err);
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
    struct tg_pipe *pipe = tg_module_push_pipe(L);
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

/* ---- Names -------------------------------------------------------------------------------------
 */

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

/* ---- Who takes part ----------------------------------------------------------------------------
 */

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
    struct tg_str id = tg_module_arg_str(L, 2);
    enum tg_harness_scope scope = (enum tg_harness_scope)luaL_checkoption(L, 3, NULL, names);
    if (tg_harness_confine(h, id, scope, tg_module_arg_str(L, 4)) != TG_OK)
        return luaL_error(L, "not enough memory");
    return 0;
}

/* ---- What it holds -----------------------------------------------------------------------------
 */

static struct tg_vm *check_vm(lua_State *L)
{
    const struct tg_gate *gate = tg_harness_gate(check_harness(L));
    struct tg_str name = tg_module_arg_str(L, 2);
    for (uint32_t i = 0; gate->vms != NULL && i < gate->vms->snapshot->plugin_count; i++) {
        if (tg_str_eq(tg_vm_name(gate->vms->entries[i]->vm), name))
            return gate->vms->entries[i]->vm;
    }
    luaL_error(L, "no plugin called \"%s\" is loaded", name.p);
    return NULL;
}

static const struct tg_service_conf *check_service(lua_State *L, const struct tg_gate *gate)
{
    struct tg_str name = tg_module_arg_str(L, 2);
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
        tg_module_set_str(L, "id", tg_str(r->id, sizeof(r->id)));
        tg_module_set_str(L, "method", r->in.method_name);
        tg_module_set_str(L, "path", r->in.path);
        tg_module_set_str(L, "state", tg_str_c(tg_request_state_name(r->state)));
        if (r->plugins.waiting) {
            tg_module_set_str(L, "plugin", r->plugins.instance->plugin->name);
            tg_module_set_str(L, "phase", tg_str_c(tg_phase_name(r->plugins.phase)));
            tg_module_set_str(L, "file", r->plugins.instance->plugin->chunkname);
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
        tg_module_set_str(L, "plugin", plugin->name);
        tg_module_set_str(L, "phase", tg_str_c(b->call.what));
        tg_module_set_str(L, "file", plugin->chunkname);
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

void tg_module_open_harness(lua_State *L)
{
    tg_module_make_type(L, HARNESS_TYPE, harness_methods);
}
