/* quota.c: tg.limit.quota: limits that a request must all pass: gateway/quota for Lua.
 *
 *     tg.limit.quota {
 *       zone = "calls", headers = { "ratelimit" }, dry_run = false,
 *       limits = { { name = "burst", key = { "consumer", "route" }, limit = 20, per = "1s" } },
 *     }
 *
 * It is made in init and configure, checked once, and anchored, since requests refer to it. Texts
 * stay where Lua has them, anchored too.
 */
#include "base/banned.h"
#include "bind/prepared.h"
#include "bind/zone.h"

#include "base/json.h"
#include "gateway/quota.h"
#include "http/token.h"
#include "limit/table.h"
#include "observe/instrument.h"

#include <math.h>

#define MESSAGE_MAX 1000 /* bytes */

struct prepared {
    uint32_t magic;
    struct tg_quota quota;
};

static const char *const quota_options[] = {"zone",   "dry_run", "headers",
                                            "limits", "refusal", NULL};
static const char *const refusal_options[] = {"status", "message", "counter", "field", NULL};
static const char *const rule_options[] = {"name", "scope", "key",  "absent", "algorithm", "limit",
                                           "per",  "burst", "cost", "min",    "latency",   NULL};

/* The limit that is read: number `nth` (0: none), whose table is at `index`. */
struct place {
    lua_State *L;
    int index;
    uint32_t nth;
};

static TG_NORETURN void refuse(const struct place *at, const char *name, const char *why)
{
    char what[160];
    if (at->nth > 0)
        snprintf(what, sizeof(what), "limits[%u].%s: %s", at->nth, name, why);
    else
        snprintf(what, sizeof(what), "%s: %s", name, why);
    tg_bind_arg_error(at->L, 1, what);
}

/* Pushes the member `name`; false, and nothing is pushed, when it is not there. */
static bool push(const struct place *at, const char *name)
{
    lua_pushstring(at->L, name);
    lua_rawget(at->L, at->index);
    if (!lua_isnil(at->L, -1))
        return true;
    lua_pop(at->L, 1);
    return false;
}

/* The text on top of the stack, which is popped, anchored; p == NULL: it is no text. */
static struct tg_str take_text(lua_State *L)
{
    struct tg_str text = {NULL, 0};
    if (lua_type(L, -1) == LUA_TSTRING) {
        text.p = lua_tolstring(L, -1, &text.n);
        tg_bind_anchor(L, -1);
    }
    lua_pop(L, 1);
    return text;
}

static struct tg_str text_of(const struct place *at, const char *name, struct tg_str standard)
{
    if (!push(at, name))
        return standard;
    struct tg_str text = take_text(at->L);
    if (text.p == NULL)
        refuse(at, name, "expected text");
    return text;
}

static bool flag_of(const struct place *at, const char *name)
{
    bool flag = push(at, name);
    if (flag) {
        flag = lua_toboolean(at->L, -1) != 0;
        lua_pop(at->L, 1);
    }
    return flag;
}

/* A whole number from 1 on; `standard` 0: it must be given. */
static uint32_t count_of(const struct place *at, const char *name, uint32_t standard)
{
    double value = standard;
    if (push(at, name)) {
        value = lua_type(at->L, -1) == LUA_TNUMBER ? lua_tonumber(at->L, -1) : 0;
        lua_pop(at->L, 1);
    }
    if (!(value >= 1 && value <= UINT32_MAX && floor(value) == value))
        refuse(at, name, "expected a whole number from 1 to 4294967295");
    return (uint32_t)value;
}

static uint64_t period_of(const struct place *at, const char *name)
{
    uint64_t us = 0;
    if (push(at, name)) {
        if (!tg_bind_to_duration(at->L, -1, &us))
            us = 0;
        lua_pop(at->L, 1);
    }
    if (us == 0)
        refuse(at, name, "expected a duration such as \"1m\"");
    return us;
}

/* Which of `names` (of `n`) the member is; the first when it is not given. */
static unsigned choice_of(const struct place *at, const char *name, const char *const *names,
                          unsigned n)
{
    unsigned i = 0;
    if (!push(at, name))
        return 0;
    const char *text = lua_type(at->L, -1) == LUA_TSTRING ? lua_tostring(at->L, -1) : "";
    while (i < n && strcmp(names[i], text) != 0)
        i++;
    if (i == n)
        refuse(at, name, "is none of those that there are; see tg.limit.quota");
    lua_pop(at->L, 1);
    return i;
}

/* ---- One limit ------------------------------------------------------------------------------- */

/* The key on top of the stack, which is popped. */
static void add_key(const struct place *at, struct tg_quota_rule *rule)
{
    struct tg_str text = take_text(at->L);
    if (rule->key_count == TG_QUOTA_KEYS_MAX)
        refuse(at, "key", "at most 8 together");
    if (text.p == NULL || !tg_quota_key_parse(text, &rule->keys[rule->key_count]))
        refuse(at, "key",
               "expected \"all\", \"consumer\", \"credential\", \"ip\", \"ip/24\", \"ip/24/56\", "
               "\"route\", \"service\", \"header:NAME\" or \"shared:PLUGIN.KEY\"");
    rule->key_count++;
}

static void read_keys(const struct place *at, struct tg_quota_rule *rule)
{
    if (!push(at, "key")) {
        lua_pushliteral(at->L, "ip");
        add_key(at, rule);
        return;
    }
    if (!lua_istable(at->L, -1)) {
        add_key(at, rule);
        return;
    }
    size_t n = lua_objlen(at->L, -1);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(at->L, -1, (int)i);
        add_key(at, rule);
    }
    lua_pop(at->L, 1);
    if (n == 0)
        refuse(at, "key", "an empty list counts nothing");
}

static void read_flight(const struct place *at, struct tg_quota_rule *rule, bool adaptive)
{
    rule->in_flight = true;
    rule->flight.max = rule->most = count_of(at, "limit", 0);
    if (adaptive) {
        rule->flight.min = count_of(at, "min", 1);
        rule->flight.latency = period_of(at, "latency");
    }
    const char *why = tg_flight_rule_check(&rule->flight);
    if (why != NULL)
        refuse(at, "limit", why);
}

static void read_rate(const struct place *at, struct tg_quota_rule *rule, enum tg_rate_kind kind)
{
    bool bursts = kind == TG_RATE_BUCKET || kind == TG_RATE_GCRA;
    rule->rate.kind = kind;
    rule->rate.limit = count_of(at, "limit", 0);
    rule->rate.burst = bursts ? count_of(at, "burst", rule->rate.limit) : rule->rate.limit;
    rule->rate.per = period_of(at, "per");
    rule->most = rule->rate.burst;
    rule->cost = count_of(at, "cost", 1);
    const char *why = tg_rate_rule_check(&rule->rate);
    if (why != NULL)
        refuse(at, "limit", why);
    if (rule->cost > rule->most)
        refuse(at, "cost", "more than is ever granted");
}

static bool is_name(struct tg_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < ' ' || name.p[i] > '~' || name.p[i] == '"' || name.p[i] == '\\')
            return false;
    }
    return name.n > 0 && name.n <= 64;
}

/* "SCOPE\0NAME\0", anchored. */
static struct tg_str prefix_of(const struct place *at, struct tg_str name)
{
    struct tg_str scope = text_of(at, "scope", TG_STR(""));
    lua_pushlstring(at->L, scope.p, scope.n);
    lua_pushlstring(at->L, "", 1);
    lua_pushlstring(at->L, name.p, name.n);
    lua_pushlstring(at->L, "", 1);
    lua_concat(at->L, 4);
    return take_text(at->L);
}

static void read_rule(const struct place *at, struct tg_quota_rule *rule)
{
    static const char *const absents[] = {"ip", "share", "skip", "refuse"};
    static const char *const algorithms[] = {"sliding", "fixed",       "log",     "bucket",
                                             "gcra",    "concurrency", "adaptive"};
    static const enum tg_rate_kind kinds[] = {TG_RATE_SLIDING, TG_RATE_FIXED, TG_RATE_LOG,
                                              TG_RATE_BUCKET, TG_RATE_GCRA};
    rule->name = text_of(at, "name", TG_STR("default"));
    if (!is_name(rule->name))
        refuse(at, "name", "expected 1 to 64 visible characters, no quotes, no backslashes");
    rule->prefix = prefix_of(at, rule->name);
    rule->absent = (enum tg_quota_absent)choice_of(at, "absent", absents, TG_QUOTA_ABSENTS);
    read_keys(at, rule);
    unsigned algorithm = choice_of(at, "algorithm", algorithms, TG_COUNT_OF(algorithms));
    if (algorithm < TG_COUNT_OF(kinds))
        read_rate(at, rule, kinds[algorithm]);
    else
        read_flight(at, rule, algorithm > TG_COUNT_OF(kinds));
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* Raises unless all keys of the table at at->index are in `names`. */
static void check_names(const struct place *at, const char *const *names)
{
    lua_State *L = at->L;
    for (lua_pushnil(L); lua_next(L, at->index) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        unsigned i = 0;
        while (names[i] != NULL && strcmp(names[i], name) != 0)
            i++;
        if (names[i] == NULL)
            refuse(at, name, "there is no such option");
    }
}

static void read_headers(const struct place *at, struct tg_quota *quota)
{
    lua_State *L = at->L;
    if (!push(at, "headers"))
        return;
    if (!lua_istable(L, -1))
        refuse(at, "headers", "expected a list");
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (strcmp(name, "ratelimit") == 0)
            quota->ratelimit = true;
        else if (strcmp(name, "x-ratelimit") == 0)
            quota->x_ratelimit = true;
        else
            refuse(at, "headers", "expected \"ratelimit\" or \"x-ratelimit\"");
    }
    lua_pop(L, 1);
}

/* {"error": message}, anchored. */
static struct tg_str refusal_body(const struct place *at)
{
    char room[6 * MESSAGE_MAX + 32];
    struct tg_fmt f;
    struct tg_str message = text_of(at, "message", TG_STR("too many requests"));
    tg_fmt_init(&f, room, sizeof(room));
    tg_fmt_lit(&f, "{\"error\":\"");
    tg_json_text(&f, message);
    tg_fmt_lit(&f, "\"}");
    if (message.n > MESSAGE_MAX)
        refuse(at, "refusal.message", "at most 1000 bytes");
    lua_pushlstring(at->L, f.p, f.n);
    return take_text(at->L);
}

/* The counter that the plugin declares, with the labels "limit" and "mode" and no others. */
static void read_counter(const struct place *at, struct tg_quota_refusal *out)
{
    struct tg_str name = text_of(at, "counter", tg_str(NULL, 0));
    if (name.p == NULL)
        return;
    out->counter = tg_bind_find_instrument(at->L, name);
    const struct tg_instrument_spec *spec =
        out->counter != NULL ? tg_instrument_spec(out->counter) : NULL;
    if (spec == NULL || spec->kind != TG_INSTRUMENT_COUNTER || spec->label_count != 2)
        refuse(at, "refusal.counter", "expected a declared counter with the labels limit and mode");
    out->limit_at = tg_str_eq(spec->labels[0], TG_STR("limit")) ? 0 : 1;
    if (!tg_str_eq(spec->labels[out->limit_at], TG_STR("limit")) ||
        !tg_str_eq(spec->labels[1 - out->limit_at], TG_STR("mode")))
        refuse(at, "refusal.counter", "expected a declared counter with the labels limit and mode");
}

static void read_refusal(const struct place *at, struct tg_quota_refusal *out)
{
    if (!push(at, "refusal"))
        return;
    struct place of = {at->L, lua_gettop(at->L), 0};
    if (!lua_istable(at->L, -1))
        refuse(at, "refusal", "expected a table");
    check_names(&of, refusal_options);
    out->status = count_of(&of, "status", 429);
    if (out->status < 400 || out->status > 599)
        refuse(at, "refusal.status", "expected 400 to 599");
    out->body = refusal_body(&of);
    out->field = text_of(&of, "field", tg_str(NULL, 0));
    if (out->field.p != NULL && !tg_bind_is_log_key(out->field))
        refuse(at, "refusal.field", "a key is letters, digits and \"_\", 64 at most");
    read_counter(&of, out);
    lua_settop(at->L, of.index - 1);
}

static void write_policies(lua_State *L, struct tg_quota *quota)
{
    char room[TG_QUOTA_RULES_MAX * 160];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    for (uint32_t i = 0; i < quota->n; i++) {
        tg_fmt_add(&f, i > 0 ? TG_STR(", ") : TG_STR(""));
        tg_quota_write_policy(&quota->v[i], &f);
    }
    lua_pushlstring(L, f.p, f.n);
    quota->policies = take_text(L);
}

/* The limits on top of the stack into the quota. */
static void read_rules(lua_State *L, struct tg_quota *quota, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        struct place at = {L, lua_gettop(L), i + 1};
        if (!lua_istable(L, -1))
            refuse(&at, "limit", "expected a table for each limit");
        check_names(&at, rule_options);
        read_rule(&at, &quota->v[i]);
        lua_settop(L, at.index - 1);
    }
    quota->n = n;
    write_policies(L, quota);
}

int tg_api_limit_quota(lua_State *L)
{
    struct place at = {L, 1, 0};
    struct tg_bind_zone found;
    tg_bind_check_set_up(L);
    tg_bind_arg_table(L, 1, false);
    lua_settop(L, 1);
    check_names(&at, quota_options);
    if (!push(&at, "zone"))
        lua_pushnil(L);
    lua_insert(L, 1); /* where tg_bind_find_zone() looks for it */
    tg_bind_find_zone(L, 1, TG_ZONE_LIMIT, &found);
    lua_remove(L, 1);
    if (!push(&at, "limits") || !lua_istable(L, -1))
        refuse(&at, "limits", "expected a list");
    size_t n = lua_objlen(L, -1);
    if (n < 1 || n > TG_QUOTA_RULES_MAX)
        refuse(&at, "limits", "expected 1 to 16 limits");
    struct prepared *prepared =
        tg_bind_new_value(L, TG_SCOPE_QUOTA, sizeof(*prepared) + n * sizeof(prepared->quota.v[0]));
    lua_insert(L, 2); /* the object at 2, the limits on top */
    prepared->quota.zone = text_of(&at, "zone", tg_str(NULL, 0));
    prepared->quota.dry_run = flag_of(&at, "dry_run");
    read_headers(&at, &prepared->quota);
    read_refusal(&at, &prepared->quota.refusal);
    read_rules(L, &prepared->quota, (uint32_t)n);
    lua_settop(L, 2);
    tg_bind_anchor(L, 2);
    return 1;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* The step: see gateway/prepared.h. */
static enum tg_prepared step(const void *of, struct tg_request *r)
{
    struct tg_quota_outcome *outcome = tg_quota_take(of, r, r->plugins.slot);
    return outcome != NULL ? tg_quota_settle(r, outcome) : TG_PREPARED_FAILED;
}

int tg_api_quota_instead_of(lua_State *L)
{
    const struct prepared *prepared = tg_bind_check_value(L);
    enum tg_phase phase = tg_bind_arg_phase(L, 1u << TG_PHASE_ACCESS, "a quota can be \"access\"");
    return tg_bind_instead_of(L, phase, (struct tg_prepared_step){step, &prepared->quota});
}

static int push_failure(lua_State *L, enum tg_err err)
{
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "limit", "every key of the zone has work in flight");
    return tg_bind_fail(L, "unavailable", tg_err_text(err));
}

static int push_refusal(lua_State *L, const struct tg_quota_outcome *outcome)
{
    int n = 0;
    lua_createtable(L, 0, 3);
    lua_newtable(L);
    for (uint32_t i = 0; i < outcome->quota->n; i++) {
        if ((outcome->refused & 1u << i) == 0)
            continue;
        tg_bind_push_str(L, outcome->quota->v[i].name);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "by");
    lua_pushnumber(L, outcome->retry == TG_RATE_NEVER
                          ? HUGE_VAL
                          : (double)outcome->retry / (double)TG_USEC_PER_SEC);
    lua_setfield(L, -2, "retry_after");
    if (outcome->missing != NULL) {
        tg_bind_push_str(L, outcome->missing->text);
        lua_setfield(L, -2, "missing");
    }
    return 1;
}

int tg_api_quota_take(lua_State *L)
{
    const struct prepared *prepared = tg_bind_check_value(L);
    struct tg_bind_object *object = tg_bind_check_object(L, 2, TG_SCOPE_CTX);
    if (object->r->plugins.phase != TG_PHASE_ACCESS)
        tg_bind_call_error(L, "the access phase is over");
    if (prepared->quota.refusal.status != 0 && tg_run_current(L)->host != object->r)
        tg_bind_call_error(L, "a quota that answers by itself ends the phase, which is not for "
                              "tasks to do");
    struct tg_quota_outcome *outcome = tg_quota_take(&prepared->quota, object->r, object->slot);
    if (outcome == NULL)
        return push_failure(L, TG_E_NOMEM);
    switch (tg_quota_settle(object->r, outcome)) {
    case TG_PREPARED_DONE:
        return 0;
    case TG_PREPARED_ANSWERED:
        return tg_run_exit(L);
    case TG_PREPARED_FAILED:
        return push_failure(L, TG_E_NOMEM);
    case TG_PREPARED_LEFT:
        break;
    }
    return outcome->err != TG_OK ? push_failure(L, outcome->err) : push_refusal(L, outcome);
}
