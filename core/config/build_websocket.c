/* build_websocket.c: see build_websocket.h. What is read has been checked by
 * lua/tidegate/websocket.lua. */
#include "base/banned.h"
#include "config/build_websocket.h"

#include "config/reader.h"
#include "config/websocket.h"

#define MAX_MESSAGE  ((uint64_t)1 << 20)
#define PONG_TIMEOUT (10 * TG_USEC_PER_SEC)

const struct tg_websocket_conf tg_websocket_defaults = {
    .from_client = {.max_message = MAX_MESSAGE},
    .from_origin = {.max_message = MAX_MESSAGE},
    .pong_timeout = PONG_TIMEOUT,
};

/* Pushes the field, which may be nil; its index. */
static int push_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    return lua_gettop(L);
}

static struct tg_websocket_side_conf build_side(lua_State *L, int table, const char *name)
{
    struct tg_websocket_side_conf side = {.max_message = MAX_MESSAGE};
    int field = push_field(L, table, name);
    side.max_message = tg_reader_count(L, field, "max_message", MAX_MESSAGE);
    uint64_t rate = tg_reader_count(L, field, "rate", 0);
    side.limited = rate > 0;
    side.rate = (struct tg_rate_rule){
        .kind = TG_RATE_BUCKET,
        .limit = (uint32_t)rate,
        .burst = (uint32_t)tg_reader_count(L, field, "burst", rate),
        .per = TG_USEC_PER_SEC,
    };
    lua_pop(L, 1);
    return side;
}

static struct tg_reconnect_conf build_reconnect(lua_State *L, int table)
{
    struct tg_reconnect_conf reconnect = {.given = false};
    int field = push_field(L, table, "reconnect");
    if (lua_istable(L, field)) {
        reconnect.given = true;
        reconnect.buffer = tg_reader_count(L, field, "buffer", 0);
        reconnect.deadline = tg_reader_time(L, field, "deadline", 0);
        reconnect.backoff = tg_reader_time(L, field, "backoff", 0);
        reconnect.max_backoff = tg_reader_time(L, field, "max_backoff", 0);
    }
    lua_pop(L, 1);
    return reconnect;
}

void tg_build_websocket(lua_State *L, struct tg_snapshot *snapshot, int table,
                        struct tg_route_conf *route)
{
    int field = push_field(L, table, "websocket");
    if (lua_istable(L, field)) {
        struct tg_websocket_conf *conf = tg_reader_alloc(L, snapshot, 1, sizeof(*conf));
        conf->from_client = build_side(L, field, "from_client");
        conf->from_origin = build_side(L, field, "from_origin");
        conf->ping = tg_reader_time(L, field, "ping", 0);
        conf->pong_timeout = tg_reader_time(L, field, "pong_timeout", PONG_TIMEOUT);
        conf->idle_timeout = tg_reader_time(L, field, "idle_timeout", 0);
        conf->reconnect = build_reconnect(L, field);
        route->websocket = conf;
    }
    lua_pop(L, 1);
}
