/* limit.c: tg.limit: who may do how much, counted for all workers: limit/table.h for Lua.
 *
 * The functions that ask for a rate check their arguments, take one step in the zone's table and
 * return what came of it. concurrency() and adaptive() return a permit, a piece of work in flight,
 * which is the memory of its own hold: it is anchored in the registry until it is given back, so
 * that a plugin which drops it keeps its place until the request ends.
 *
 *     held --- release, request over, kill ---> given back
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "gateway/wait.h"
#include "limit/table.h"

#include <math.h>

static const char *const bucket_options[] = {"rate", "per", "burst", "cost", NULL};
static const char *const window_options[] = {"limit", "per", "kind", "cost", NULL};
static const char *const gcra_options[] = {"limit", "per", "burst", "cost", NULL};
static const char *const adaptive_options[] = {"min", "max", "latency", NULL};

/* ---- Options --------------------------------------------------------------------------------- */

/* Pushes the option `name` of argument 3; false, and nothing is pushed, when it is not given. */
static bool push_option(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, tg_bind_arg_index(L, 3));
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

static TG_NORETURN void option_error(lua_State *L, const char *name, const char *expected)
{
    char what[128];
    snprintf(what, sizeof(what), "%s: expected %s", name, expected);
    tg_bind_arg_error(L, 3, what);
}

/* The whole number `name` of the options, from `min` to UINT32_MAX, else `standard`; 0 as standard:
 * it must be given. */
static uint32_t option_count(lua_State *L, const char *name, uint32_t min, uint32_t standard)
{
    if (!push_option(L, name)) {
        if (standard == 0)
            option_error(L, name, "a whole number, got nothing");
        return standard;
    }
    double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(value >= min && value <= UINT32_MAX && floor(value) == value))
        option_error(L, name,
                     min == 0 ? "a whole number from 0 to 4294967295"
                              : "a whole number from 1 to 4294967295");
    lua_pop(L, 1);
    return (uint32_t)value;
}

/* The duration `name`; `standard` 0: it must be given. */
static uint64_t option_period(lua_State *L, const char *name, uint64_t standard)
{
    uint64_t us = standard;
    if (!tg_bind_option_duration(L, 3, name, &us) && standard == 0)
        option_error(L, name, "a duration such as \"1m\", got nothing");
    return us;
}

static enum tg_rate_kind option_kind(lua_State *L)
{
    static const char *const names[] = {
        [TG_RATE_FIXED] = "fixed", [TG_RATE_SLIDING] = "sliding", [TG_RATE_LOG] = "log"};
    enum tg_rate_kind kind = TG_RATE_SLIDING;
    size_t n;
    if (!push_option(L, "kind"))
        return kind;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    for (kind = TG_RATE_FIXED; kind <= TG_RATE_LOG; kind++) {
        if (p != NULL && tg_str_eq(tg_str(p, n), tg_str_c(names[kind])))
            break;
    }
    if (kind > TG_RATE_LOG)
        option_error(L, "kind", "\"fixed\", \"sliding\" or \"log\"");
    lua_pop(L, 1);
    return kind;
}

/* ---- Rates ----------------------------------------------------------------------------------- */

static void set_seconds(lua_State *L, const char *name, uint64_t us)
{
    lua_pushstring(L, name);
    lua_pushnumber(L, us == TG_RATE_NEVER ? HUGE_VAL : (double)us / (double)TG_USEC_PER_SEC);
    lua_rawset(L, -3);
}

static int push_verdict(lua_State *L, const struct tg_rate_verdict *verdict)
{
    lua_createtable(L, 0, 4);
    lua_pushliteral(L, "allowed");
    lua_pushboolean(L, verdict->allowed);
    lua_rawset(L, -3);
    lua_pushliteral(L, "remaining");
    lua_pushnumber(L, (double)verdict->remaining);
    lua_rawset(L, -3);
    set_seconds(L, "reset", verdict->reset);
    set_seconds(L, "retry_after", verdict->retry);
    return 1;
}

static int push_failure(lua_State *L, enum tg_err err)
{
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "limit", "every key of the zone has work in flight");
    return tg_bind_fail(L, "unavailable", tg_err_text(err));
}

/* Asks for the cost that the options say. */
static int take(lua_State *L, const struct tg_rate_rule *rule)
{
    struct tg_bind_zone found;
    struct tg_rate_verdict verdict;
    uint32_t cost = option_count(L, "cost", 0, 1);
    const char *why = tg_rate_rule_check(rule);
    if (why != NULL)
        tg_bind_arg_error(L, 3, why);
    tg_bind_find_zone(L, 1, TG_ZONE_LIMIT, &found);
    enum tg_err err = tg_limit_table_take(tg_zone_limits(found.zone), rule, tg_bind_arg_str(L, 2),
                                          cost, tg_bind_clock(L)->mono, &verdict);
    return err == TG_OK ? push_verdict(L, &verdict) : push_failure(L, err);
}

int tg_api_limit_bucket(lua_State *L)
{
    struct tg_rate_rule rule = {.kind = TG_RATE_BUCKET};
    tg_bind_arg_table(L, 3, false);
    tg_bind_check_options(L, 3, bucket_options);
    rule.limit = option_count(L, "rate", 1, 0);
    rule.per = option_period(L, "per", TG_USEC_PER_SEC);
    rule.burst = option_count(L, "burst", 1, rule.limit);
    return take(L, &rule);
}

int tg_api_limit_window(lua_State *L)
{
    struct tg_rate_rule rule;
    tg_bind_arg_table(L, 3, false);
    tg_bind_check_options(L, 3, window_options);
    rule.kind = option_kind(L);
    rule.limit = rule.burst = option_count(L, "limit", 1, 0);
    rule.per = option_period(L, "per", 0);
    return take(L, &rule);
}

int tg_api_limit_gcra(lua_State *L)
{
    struct tg_rate_rule rule = {.kind = TG_RATE_GCRA};
    tg_bind_arg_table(L, 3, false);
    tg_bind_check_options(L, 3, gcra_options);
    rule.limit = option_count(L, "limit", 1, 0);
    rule.per = option_period(L, "per", 0);
    rule.burst = option_count(L, "burst", 1, 1);
    return take(L, &rule);
}

/* ---- Work in flight -------------------------------------------------------------------------- */

struct permit {
    uint32_t magic;
    bool held;
    int ref; /* anchor while it is held */
    struct tg_vm *vm;
    const struct tg_clock *clock; /* the loop's */
    const struct tg_request *r;   /* borrowed: it ends after its holds; NULL: in the background */
    struct tg_zone *zone;         /* one reference while it is held */
    struct tg_limit_ticket ticket;
    struct tg_held hold;
};

static void give_back(struct permit *permit, bool failed)
{
    permit->held = false;
    tg_held_remove(&permit->hold);
    tg_limit_table_leave(tg_zone_limits(permit->zone), &permit->ticket, failed,
                         permit->clock->mono);
    tg_zone_unref(&permit->zone);
    luaL_unref(tg_vm_state(permit->vm), LUA_REGISTRYINDEX, permit->ref);
    permit->ref = LUA_NOREF;
}

/* The request is over, or its plugin: an answer of 500 and above is a failure. */
static void on_release(struct tg_held *hold)
{
    struct permit *permit = TG_CONTAINER_OF(hold, struct permit, hold);
    give_back(permit, permit->r != NULL && permit->r->resp.status >= 500);
}

/* An anchored permit that holds nothing yet; on top of the stack. */
static struct permit *new_permit(lua_State *L)
{
    struct permit *permit = tg_bind_new_value(L, TG_SCOPE_PERMIT, sizeof(*permit));
    permit->vm = tg_vm_from(L);
    permit->clock = tg_bind_clock(L);
    permit->r = tg_run_request(tg_run_current(L));
    permit->hold.lasts = true;
    permit->hold.release = on_release;
    tg_list_init(&permit->hold.link);
    lua_pushvalue(L, -1);
    permit->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return permit;
}

static int enter(lua_State *L, const struct tg_flight_rule *rule, int rule_arg)
{
    struct tg_bind_zone found;
    struct tg_str key = tg_bind_arg_str(L, 2);
    const char *why = tg_flight_rule_check(rule);
    if (why != NULL)
        tg_bind_arg_error(L, rule_arg, why);
    tg_bind_find_zone(L, 1, TG_ZONE_LIMIT, &found);
    if (!tg_run_is_hosted(tg_run_current(L)))
        tg_bind_call_error(L, "is not for init and configure: nobody would give the permit back");
    struct permit *permit = new_permit(L);
    enum tg_err err = tg_limit_table_enter(tg_zone_limits(found.zone), rule, key,
                                           permit->clock->mono, &permit->ticket);
    if (err == TG_OK) {
        permit->held = true;
        permit->zone = tg_zone_ref(found.zone);
        tg_held_add(tg_run_current(L), &permit->hold);
        return 1;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, permit->ref);
    permit->ref = LUA_NOREF;
    if (err == TG_E_AGAIN)
        return tg_bind_fail(L, "limit", "as many as may be are in flight");
    return push_failure(L, err);
}

int tg_api_limit_concurrency(lua_State *L)
{
    struct tg_flight_rule rule = {.max = (uint32_t)tg_bind_arg_int(L, 3, 1, TG_FLIGHT_MAX)};
    return enter(L, &rule, 3);
}

int tg_api_limit_adaptive(lua_State *L)
{
    struct tg_flight_rule rule;
    tg_bind_arg_table(L, 3, false);
    tg_bind_check_options(L, 3, adaptive_options);
    rule.max = option_count(L, "max", 1, 0);
    rule.min = option_count(L, "min", 1, 1);
    rule.latency = option_period(L, "latency", 0);
    if (rule.latency == 0)
        option_error(L, "latency", "more than nothing");
    return enter(L, &rule, 3);
}

int tg_api_permit_release(lua_State *L)
{
    struct permit *permit = tg_bind_check_value(L);
    bool held = permit->held;
    if (held)
        give_back(permit, lua_toboolean(L, tg_bind_arg_index(L, 1)));
    lua_pushboolean(L, held);
    return 1;
}
