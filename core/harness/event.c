/* event.c: see event.h. Listeners are called from the depth of the loop, so an error of Lua (there
 * is only one: no memory) ends here, and is noted. */
#include "base/banned.h"
#include "harness/event.h"

#include "consumer/store.h"
#include "gateway/vm_set.h"

#include <lauxlib.h>

struct event {
    struct tg_event_list *list;
    const char *type;
    void (*fill)(lua_State *L, const struct event *e); /* the table is on top */
    const struct tg_request *r;
    uint32_t id;
    const struct tg_query *query;
    const struct tg_addr *addr;
    enum tg_log_level level;
    const char *component;
    struct tg_str text;
    const struct tg_log_field *fields;
    size_t count;
    enum tg_run_outcome outcome;
    uint64_t cpu;
    enum tg_kill kill;
};

static void set_str(lua_State *L, const char *key, struct tg_str s)
{
    if (s.p == NULL)
        return;
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, key);
}

static void set_seconds(lua_State *L, const char *key, uint64_t us)
{
    set_number(L, key, (double)us / 1e6);
}

static void set_bool(lua_State *L, const char *key, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static int append(lua_State *L)
{
    const struct event *e = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->list->ref);
    lua_createtable(L, 0, 8);
    set_str(L, "type", tg_str_c(e->type));
    e->fill(L, e);
    lua_rawseti(L, -2, e->list->count + 1);
    return 0;
}

static void emit(struct event *e)
{
    lua_State *L = e->list->L;
    if (L == NULL)
        return; /* the harness is being freed */
    if (lua_cpcall(L, append, e) == 0) {
        e->list->count++;
        return;
    }
    e->list->lost = true;
    lua_pop(L, 1);
}

/* ---- Connections and lines ---------------------------------------------------------------------
 */

static void fill_dial(lua_State *L, const struct event *e)
{
    char room[TG_ADDR_TEXT_MAX];
    set_number(L, "id", e->id);
    set_str(L, "address", tg_addr_text(e->addr, room));
}

static void fill_query(lua_State *L, const struct event *e)
{
    set_number(L, "id", e->id);
    set_str(L, "name", tg_str_c(e->query->name));
    set_str(L, "question",
            e->query->question == TG_QUESTION_SRV ? TG_STR("srv") : TG_STR("address"));
}

static void on_query(void *arg, uint32_t id, const struct tg_query *query)
{
    emit(&(struct event){
        .list = arg, .type = "query", .fill = fill_query, .id = id, .query = query});
}

static void on_dial(void *arg, uint32_t id, const struct tg_addr *addr)
{
    emit(&(struct event){.list = arg, .type = "dial", .fill = fill_dial, .id = id, .addr = addr});
}

static void fill_line(lua_State *L, const struct event *e)
{
    set_str(L, "level", tg_str_c(tg_log_level_name(e->level)));
    set_str(L, "component", tg_str_c(e->component));
    set_str(L, "message", e->text);
    lua_createtable(L, 0, (int)e->count);
    for (size_t i = 0; i < e->count; i++) {
        if (e->fields[i].text.p != NULL)
            set_str(L, e->fields[i].key, e->fields[i].text);
        else
            set_number(L, e->fields[i].key, (double)e->fields[i].number);
    }
    lua_setfield(L, -2, "fields");
}

static void on_line(void *arg, enum tg_log_level level, const char *component,
                    struct tg_str message, const struct tg_log_field *fields, size_t count)
{
    emit(&(struct event){.list = arg,
                         .type = "line",
                         .fill = fill_line,
                         .level = level,
                         .component = component,
                         .text = message,
                         .fields = fields,
                         .count = count});
}

/* ---- Plugins -----------------------------------------------------------------------------------
 */

static void fill_place(lua_State *L, const struct event *e)
{
    const struct tg_plugin_run *p = &e->r->plugins;
    set_str(L, "request", tg_str(e->r->id, sizeof(e->r->id)));
    set_str(L, "plugin", p->instance->plugin->name);
    set_str(L, "instance", p->instance->id);
    set_str(L, "phase", tg_str_c(p->deferred != NULL ? "deferred" : tg_phase_name(p->phase)));
    set_seconds(L, "at", tg_harness_clock(e->list->harness)->mono);
}

static void on_enter(void *arg, const struct tg_request *r)
{
    emit(&(struct event){.list = arg, .type = "enter", .fill = fill_place, .r = r});
}

static void fill_leave(lua_State *L, const struct event *e)
{
    static const char *const outcomes[] = {
        [TG_RUN_DONE] = "done", [TG_RUN_WAIT] = "wait",   [TG_RUN_PREEMPTED] = "preempted",
        [TG_RUN_EXIT] = "exit", [TG_RUN_ERROR] = "error", [TG_RUN_KILLED] = "killed",
    };
    fill_place(L, e);
    set_str(L, "outcome", tg_str_c(outcomes[e->outcome]));
    set_seconds(L, "cpu", e->cpu);
}

static void on_leave(void *arg, const struct tg_request *r, enum tg_run_outcome outcome,
                     uint64_t cpu)
{
    emit(&(struct event){
        .list = arg, .type = "leave", .fill = fill_leave, .r = r, .outcome = outcome, .cpu = cpu});
}

static void fill_failed(lua_State *L, const struct event *e)
{
    fill_place(L, e);
    set_str(L, "what", e->text);
    if (e->kill != TG_KILL_NONE)
        set_str(L, "kill", tg_str_c(tg_kill_label(e->kill)));
}

static void on_failed(void *arg, const struct tg_request *r, struct tg_str what, enum tg_kill kill)
{
    emit(&(struct event){
        .list = arg, .type = "failed", .fill = fill_failed, .r = r, .text = what, .kill = kill});
}

static void fill_wrote(lua_State *L, const struct event *e)
{
    fill_place(L, e);
    set_str(L, "table", e->text);
}

static void on_wrote(void *arg, const struct tg_request *r, const char *name)
{
    emit(&(struct event){
        .list = arg, .type = "wrote", .fill = fill_wrote, .r = r, .text = tg_str_c(name)});
}

/* ---- The end of a request ----------------------------------------------------------------------
 */

/* accounts: { { plugin, peak, total }... } in bytes */
static void set_accounts(lua_State *L, const struct tg_request *r)
{
    int n = 0;
    lua_newtable(L);
    for (const struct tg_plugin_slot *slot = r->slots; slot != NULL; slot = slot->next) {
        lua_createtable(L, 0, 3);
        set_str(L, "plugin", r->snapshot->plugins[slot->plugin].name);
        set_number(L, "peak", (double)slot->account.peak);
        set_number(L, "total", (double)slot->account.churn);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "accounts");
}

/* attempts: { { target, status, error, latency }... } */
static void set_attempts(lua_State *L, const struct tg_upstream_facts *u)
{
    int n = 0;
    lua_newtable(L);
    for (const struct tg_attempt *a = u->last != NULL ? &u->first : NULL; a != NULL; a = a->next) {
        const char *label = tg_attempt_label(a);
        lua_createtable(L, 0, 5);
        set_str(L, "target", a->target);
        if (a->status != 0)
            set_number(L, "status", a->status);
        if (label != NULL)
            set_str(L, "error", tg_str_c(label));
        if (a->error != TG_OK)
            set_str(L, "message", tg_str_c(tg_err_text(a->error)));
        if (a->ended != 0)
            set_seconds(L, "latency", a->ended - a->started);
        if (a->hedge)
            set_bool(L, "hedge", true);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "attempts");
}

/* upstream: { called, status, attempts, address, error } */
static void set_upstream(lua_State *L, const struct tg_request *r)
{
    char room[TG_ADDR_TEXT_MAX];
    const struct tg_upstream_facts *u = &r->upstream;
    lua_createtable(L, 0, 6);
    set_bool(L, "called", u->called);
    set_attempts(L, u);
    if (u->status != 0)
        set_number(L, "status", u->status);
    if (u->addr.len > 0)
        set_str(L, "address", tg_addr_text(&u->addr, room));
    if (u->error != TG_OK)
        set_str(L, "error", tg_str_c(tg_err_name(u->error)));
    lua_setfield(L, -2, "upstream");
}

/* consumer: { name, id, custom_id, groups, credential }; none for nobody */
static void set_consumer(lua_State *L, const struct tg_request *r)
{
    const struct tg_consumer *c = r->consumer;
    if (c == NULL)
        return;
    lua_createtable(L, 0, 5);
    set_str(L, "name", c->name);
    set_str(L, "id", c->id);
    set_str(L, "custom_id", c->custom_id);
    set_str(L, "credential", r->credential);
    lua_createtable(L, (int)c->groups->n, 0);
    for (uint32_t i = 0; i < c->groups->n; i++) {
        lua_pushlstring(L, c->groups->v[i].p, c->groups->v[i].n);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "groups");
    lua_setfield(L, -2, "consumer");
}

static void fill_end(lua_State *L, const struct event *e)
{
    const struct tg_request *r = e->r;
    char room[TG_ADDR_TEXT_MAX];
    set_str(L, "request", tg_str(r->id, sizeof(r->id)));
    set_str(L, "peer", tg_addr_text(&r->peer, room));
    set_seconds(L, "at", tg_harness_clock(e->list->harness)->mono);
    set_seconds(L, "started", r->started);
    set_str(L, "method", r->in.method_name);
    set_str(L, "path", r->in.path);
    if (r->head_sent) {
        set_number(L, "status", r->resp.status);
        set_str(L, "source", tg_str_c(tg_source_name(r->source)));
    }
    if (r->error != NULL)
        set_str(L, "error", tg_str_c(r->error));
    if (r->route != NULL)
        set_str(L, "route", r->route->name);
    if (r->service != NULL)
        set_str(L, "service", r->service->name);
    set_bool(L, "aborted", r->aborted);
    if (r->log_fields.n > 0)
        set_str(L, "log_fields", r->log_fields);
    set_consumer(L, r);
    set_upstream(L, r);
    set_accounts(L, r);
}

static void on_end(void *arg, const struct tg_request *r)
{
    emit(&(struct event){.list = arg, .type = "end", .fill = fill_end, .r = r});
}

const struct tg_harness_events tg_event_listeners = {
    .on_dial = on_dial,
    .on_query = on_query,
    .on_line = on_line,
    .on_enter = on_enter,
    .on_leave = on_leave,
    .on_failed = on_failed,
    .on_wrote = on_wrote,
    .on_end = on_end,
};
