/* policy.c: see policy.h.
 *
 * The tables have been checked (lua/tidegate/upstream.lua), which has put the defaults in too; what
 * is read here is trusted as in build.c. */
#include "base/banned.h"
#include "config/policy.h"

#include "base/assert.h"
#include "config/reader.h"
#include "http/token.h"

/* ---- Balance ---- */

static void build_balance(lua_State *L, struct tg_snapshot *s, int service,
                          struct tg_balance_conf *balance)
{
    static const char *const kinds[] = {"round-robin", "least-requests", "latency", "hash",
                                        "random"};
    static const char *const sources[] = {"ip", "header", "cookie", "key", "consumer"};
    lua_getfield(L, service, "balance");
    int table = lua_gettop(L);
    lua_rawgeti(L, table, 1);
    balance->kind = (enum tg_balance_kind)tg_reader_word(L, kinds, TG_COUNT_OF(kinds));
    lua_pop(L, 1);
    balance->bound = tg_reader_number(L, table, "bound", 0);
    balance->slow_start = tg_reader_time(L, table, "slow_start", 0);
    lua_getfield(L, table, "by");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "from");
        balance->by = (enum tg_hash_source)tg_reader_word(L, sources, TG_COUNT_OF(sources));
        lua_pop(L, 1);
        balance->name = tg_reader_str(L, s, lua_gettop(L), "name");
    }
    lua_pop(L, 2);
}

/* ---- Health ---- */

static uint32_t read_statuses(lua_State *L, int table, const char *name, uint16_t *out,
                              uint32_t most)
{
    uint32_t n = 0;
    lua_getfield(L, table, name);
    if (lua_istable(L, -1)) {
        n = TG_MIN((uint32_t)lua_objlen(L, -1), most);
        for (uint32_t i = 0; i < n; i++) {
            lua_rawgeti(L, -1, (int)i + 1);
            out[i] = (uint16_t)lua_tointeger(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return n;
}

static void build_check(lua_State *L, struct tg_snapshot *s, int table, struct tg_check_conf *check)
{
    bool tcp = tg_str_eq(tg_reader_str(L, s, table, "type"), TG_STR("tcp"));
    check->kind = tcp ? TG_CHECK_TCP : TG_CHECK_HTTP;
    check->path = tg_reader_str(L, s, table, "path");
    check->method = tg_reader_str(L, s, table, "method");
    if (check->method.n == 0)
        check->method = TG_STR("GET");
    check->host = tg_reader_str(L, s, table, "host");
    check->body = tg_reader_str(L, s, table, "body");
    check->status_count =
        read_statuses(L, table, "statuses", check->statuses, TG_COUNT_OF(check->statuses));
    check->every = tg_reader_time(L, table, "every", 0);
    check->timeout = tg_reader_time(L, table, "timeout", 0);
    check->jitter = tg_reader_number(L, table, "jitter", 0);
    check->rise = (uint32_t)tg_reader_count(L, table, "rise", 1);
    check->fall = (uint32_t)tg_reader_count(L, table, "fall", 1);
}

static void build_outlier(lua_State *L, int table, struct tg_outlier_conf *outlier)
{
    outlier->failures = (uint32_t)tg_reader_count(L, table, "failures", 0);
    outlier->window = tg_reader_time(L, table, "window", 0);
    outlier->eject = tg_reader_time(L, table, "eject", 0);
    outlier->eject_max = tg_reader_time(L, table, "eject_max", 0);
    outlier->max_out = tg_reader_number(L, table, "max_out", 0);
    outlier->latency = tg_reader_time(L, table, "latency", 0);
}

static void build_health(lua_State *L, struct tg_snapshot *s, int service, struct tg_policy *policy)
{
    lua_getfield(L, service, "health");
    int table = lua_gettop(L);
    policy->balance.panic = tg_reader_number(L, table, "panic", 0);
    lua_getfield(L, table, "active");
    if (lua_istable(L, -1))
        build_check(L, s, lua_gettop(L), &policy->check);
    lua_getfield(L, table, "passive");
    if (lua_istable(L, -1))
        build_outlier(L, lua_gettop(L), &policy->outlier);
    lua_pop(L, 3);
}

static void build_breaker(lua_State *L, int service, struct tg_breaker_conf *breaker)
{
    lua_getfield(L, service, "breaker");
    int table = lua_gettop(L);
    if (lua_istable(L, table)) {
        breaker->ratio = tg_reader_number(L, table, "ratio", 0);
        breaker->volume = (uint32_t)tg_reader_count(L, table, "volume", 1);
        breaker->window = tg_reader_time(L, table, "window", 0);
        breaker->cooldown = tg_reader_time(L, table, "cooldown", 0);
        breaker->probes = (uint32_t)tg_reader_count(L, table, "probes", 1);
    }
    lua_pop(L, 1);
}

/* ---- Retries ---- */

static unsigned read_classes(lua_State *L, int table)
{
    unsigned on = 0;
    lua_getfield(L, table, "on");
    for (int class = 0; class < TG_RETRY_STATUS; class ++) {
        if (tg_reader_bool(L, lua_gettop(L), tg_retry_label((enum tg_retry_class) class)))
            on |= 1u << class;
    }
    lua_pop(L, 1);
    return on;
}

static unsigned read_methods(lua_State *L, int table)
{
    unsigned methods = 0;
    lua_getfield(L, table, "methods");
    for (int i = 1; i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        methods |= 1u << tg_method_from_name(tg_str_c(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return methods;
}

static void build_retry(lua_State *L, int service, struct tg_retry_conf *retry)
{
    lua_getfield(L, service, "retry");
    int table = lua_gettop(L);
    retry->given = lua_istable(L, table);
    if (retry->given) {
        retry->attempts = (uint32_t)tg_reader_count(L, table, "attempts", 1);
        retry->on = read_classes(L, table);
        retry->status_count =
            read_statuses(L, table, "statuses", retry->statuses, TG_RETRY_STATUSES_MAX);
        if (retry->status_count > 0)
            retry->on |= 1u << TG_RETRY_STATUS;
        retry->methods = read_methods(L, table);
        retry->budget = tg_reader_number(L, table, "budget", 0);
        retry->per_try = tg_reader_time(L, table, "per_try", 0);
        retry->buffer = tg_reader_count(L, table, "buffer", 0);
        lua_getfield(L, table, "backoff");
        retry->backoff = tg_reader_time(L, lua_gettop(L), "base", 0);
        retry->backoff_most = tg_reader_time(L, lua_gettop(L), "max", 0);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* ---- Hedging ---- */

void tg_policy_build_hedge(lua_State *L, int owner, struct tg_hedge_conf *hedge)
{
    lua_getfield(L, owner, "hedge");
    int table = lua_gettop(L);
    if (lua_istable(L, table)) {
        hedge->on = true;
        hedge->methods = read_methods(L, table);
        lua_getfield(L, table, "after");
        hedge->share = tg_reader_number(L, lua_gettop(L), "share", 0);
        hedge->after = tg_reader_time(L, lua_gettop(L), "seconds", 0);
        lua_pop(L, 1);
        if (hedge->share > 0)
            hedge->after = tg_reader_time(L, table, "least", TG_USEC_PER_MSEC);
    }
    lua_pop(L, 1);
}

/* ---- Connections ---- */

static void build_pool(lua_State *L, const struct tg_limits *limits, int service,
                       struct tg_pool_conf *pool)
{
    lua_getfield(L, service, "pool");
    int table = lua_gettop(L);
    pool->max_idle = (uint32_t)tg_reader_count(L, table, "max_idle", limits->upstream_keepalive);
    pool->min_idle = (uint32_t)tg_reader_count(L, table, "min_idle", 0);
    pool->max_open = (uint32_t)tg_reader_count(L, table, "max", 0);
    lua_getfield(L, table, "adaptive");
    if (lua_istable(L, -1)) {
        pool->size_min = (uint32_t)tg_reader_count(L, lua_gettop(L), "min", 0);
        pool->size_max = (uint32_t)tg_reader_count(L, lua_gettop(L), "max", 0);
    }
    lua_pop(L, 1);
    pool->max_connecting = (uint32_t)tg_reader_count(L, table, "connecting", 0);
    pool->max_waiting = (uint32_t)tg_reader_count(L, table, "queue", 0);
    pool->max_requests = (uint32_t)tg_reader_count(L, table, "requests", 0);
    pool->wait = tg_reader_time(L, table, "wait", 0);
    pool->lifetime = tg_reader_time(L, table, "lifetime", 0);
    pool->idle_timeout =
        tg_reader_time(L, table, "idle_timeout", limits->upstream_keepalive_timeout);
    pool->streams = (uint32_t)limits->upstream_streams;
    pool->window = (uint32_t)limits->upstream_window;
    pool->head = (uint32_t)limits->response_headers;
    pool->ping = limits->upstream_ping;
    lua_pop(L, 1);
}

static enum tg_origin_http build_http(lua_State *L, int service)
{
    lua_getfield(L, service, "http");
    const char *word = lua_tostring(L, -1);
    enum tg_origin_http http = TG_ORIGIN_HTTP1;
    if (word != NULL && strcmp(word, "2") == 0)
        http = TG_ORIGIN_HTTP2;
    else if (word != NULL && strcmp(word, "auto") == 0)
        http = TG_ORIGIN_AUTO;
    lua_pop(L, 1);
    return http;
}

void tg_policy_build(lua_State *L, struct tg_snapshot *snapshot, int service,
                     struct tg_policy *policy)
{
    build_balance(L, snapshot, service, &policy->balance);
    build_health(L, snapshot, service, policy);
    build_breaker(L, service, &policy->breaker);
    build_retry(L, service, &policy->retry);
    tg_policy_build_hedge(L, service, &policy->hedge);
    policy->judges = policy->breaker.ratio > 0 || policy->outlier.failures > 0;
    build_pool(L, &snapshot->settings.limits, service, &policy->pool);
    policy->http = build_http(L, service);
}
