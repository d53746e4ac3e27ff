/* build.c: walks the tree that lua/tidegate/config.lua returned and fills C structs from it.
 *
 * The tree has been checked: types, ranges, references. What is read here is trusted to have the
 * shape that config.lua describes; tg_assert() guards it. Strings, arrays and encoded plugin
 * configurations are copied into the snapshot's memory, so that the VM can be closed afterwards.
 *
 * The walk runs in protected mode, since looking a field up may raise when memory is out. All that
 * it allocates belongs to the snapshot, which is dropped whole on failure. Readers of fields take
 * the absolute index of their table and leave the stack as it was.
 *
 * Units: seconds become microseconds, sizes stay bytes, indices that count from 1 become pointers.
 */
#include "base/banned.h"
#include "config/build.h"

#include "base/assert.h"
#include "config/build_consumer.h"
#include "config/build_plugin.h"
#include "config/build_target.h"
#include "config/build_tls.h"
#include "config/build_traffic.h"
#include "config/policy.h"
#include "config/reader.h"
#include "net/listen.h"

#include <lauxlib.h>

struct build {
    struct tg_scratch *scratch;
    struct tg_snapshot *snapshot;
    const char *path;
    /* Being filled; the snapshot's members of the same names are const. */
    struct tg_service_conf *services;
    struct tg_build_chains chains;
};

/* ---- Reading fields -------------------------------------------------------------------------- */

/* Copy of the string at `index`; empty for nil. */
static struct tg_str copy_at(lua_State *L, struct build *b, int index)
{
    struct tg_str s = {"", 0};

    if (lua_isnil(L, index))
        return s;
    s.p = lua_tolstring(L, index, &s.n);
    tg_assert(s.p != NULL);
    s = tg_snapshot_copy(b->snapshot, s);
    if (s.p == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
    return s;
}

/* ---- Settings -------------------------------------------------------------------------------- */

static void build_limits(lua_State *L, int table, struct tg_limits *limits)
{
    lua_getfield(L, table, "limits");
    int values = lua_gettop(L);
    for (int i = 0; i < TG_LIMIT_COUNT; i++) {
        enum tg_limit_id id = (enum tg_limit_id)i;
        const struct tg_limit_info *info = tg_limit_info(id);
        uint64_t *field = tg_limit_field(limits, id);
        *field = info->unit == TG_LIMIT_UNIT_TIME
                     ? tg_reader_time(L, values, info->path, info->value)
                     : tg_reader_count(L, values, info->path, info->value);
    }
    lua_pop(L, 1);
}

void tg_build_push_admin(lua_State *L, const char *config)
{
    const char *slash = strrchr(config, '/');
    int admin = lua_gettop(L);
    lua_getfield(L, admin, "listen");
    lua_getfield(L, -1, "path");
    const char *path = lua_tostring(L, -1);
    if (path != NULL && path[0] != '/' && slash != NULL) {
        lua_pushliteral(L, "unix:");
        lua_pushlstring(L, config, (size_t)(slash + 1 - config));
        lua_pushstring(L, path);
        lua_concat(L, 3);
    } else {
        lua_getfield(L, -2, "text");
    }
    lua_replace(L, admin + 1);
    lua_settop(L, admin + 1);
}

/* What settings.admin names. */
static struct tg_str build_admin(lua_State *L, struct build *b, int table)
{
    struct tg_str listen = {"", 0};
    lua_getfield(L, table, "admin");
    if (!lua_isnil(L, -1)) {
        b->snapshot->settings.admin_write = tg_reader_bool(L, lua_gettop(L), "write");
        tg_build_push_admin(L, b->path);
        listen = copy_at(L, b, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return listen;
}

static void build_budget(lua_State *L, int table, struct tg_budget *budget)
{
    lua_getfield(L, table, "memory");
    if (!lua_isnil(L, -1)) {
        int memory = lua_gettop(L);
        budget->total = tg_reader_count(L, memory, "total", 0);
        lua_getfield(L, memory, "shares");
        int shares = lua_gettop(L);
        for (int i = 0; i < TG_BUDGET_PARTS; i++)
            budget->shares[i] = (uint8_t)tg_reader_count(
                L, shares, tg_budget_info((enum tg_budget_part)i)->field, 0);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void build_adaptive(lua_State *L, int table, struct tg_settings *settings)
{
    lua_getfield(L, table, "adaptive");
    if (!lua_isnil(L, -1)) {
        settings->adaptive_latency = tg_reader_time(L, lua_gettop(L), "latency", 0);
        settings->adaptive_min = (uint32_t)tg_reader_count(L, lua_gettop(L), "min", 1);
    }
    lua_pop(L, 1);
}

static void build_settings(lua_State *L, struct build *b, int tree)
{
    struct tg_settings *settings = &b->snapshot->settings;

    lua_getfield(L, tree, "settings");
    int table = lua_gettop(L);
    settings->workers = (uint32_t)tg_reader_count(L, table, "workers", 0);
    settings->server_name = tg_reader_str(L, b->snapshot, table, "server_name");
    settings->admin_listen = build_admin(L, b, table);
    build_limits(L, table, &settings->limits);
    lua_getfield(L, table, "place");
    settings->place.zone = tg_reader_str(L, b->snapshot, lua_gettop(L), "zone");
    settings->place.region = tg_reader_str(L, b->snapshot, lua_gettop(L), "region");
    lua_pop(L, 1);
    build_budget(L, table, &settings->budget);
    build_adaptive(L, table, settings);
    tg_build_dns(L, b->snapshot, table, &settings->dns);
    settings->answers = tg_build_answers(L, b->snapshot, table);
    lua_getfield(L, table, "log");
    lua_getfield(L, -1, "level");
    bool known = tg_log_level_from(tg_str_c(lua_tostring(L, -1)), &settings->log_level);
    tg_assert(known);
    lua_pop(L, 3);
}

/* ---- Zones ----------------------------------------------------------------------------------- */

static enum tg_zone_kind zone_kind(struct tg_str name)
{
    enum tg_zone_kind kind = TG_ZONE_DICT;
    while (!tg_str_eq(name, tg_str_c(tg_zone_kind_name(kind))))
        kind++;
    return kind;
}

static void build_zones(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "zones");
    int list = lua_gettop(L);
    struct tg_zone_conf *zones = tg_reader_alloc(L, b->snapshot, count, sizeof(*zones));

    for (uint32_t i = 0; i < count; i++) {
        int table = tg_reader_item(L, list, i);
        zones[i].name = tg_reader_str(L, b->snapshot, table, "name");
        zones[i].kind = zone_kind(tg_reader_str(L, b->snapshot, table, "kind"));
        zones[i].size = tg_reader_count(L, table, "size", 0);
        zones[i].stale = tg_reader_time(L, table, "stale", 0);
        lua_pop(L, 1);
    }
    b->snapshot->zones = zones;
    b->snapshot->zone_count = count;
    lua_pop(L, 1);
}

/* "unix:" and a path; a relative one goes below the configuration's folder. */
static struct tg_str socket_path(lua_State *L, struct build *b, const char *path)
{
    const char *slash = path[0] != '/' ? strrchr(b->path, '/') : NULL;
    lua_pushliteral(L, "unix:");
    lua_pushlstring(L, b->path, slash != NULL ? (size_t)(slash + 1 - b->path) : 0);
    lua_pushstring(L, path);
    lua_concat(L, 3);
    struct tg_str text = copy_at(L, b, -1);
    lua_pop(L, 1);
    return text;
}

/* The key of a listener on a unix socket, of bounded length. */
static struct tg_str listener_path(lua_State *L, struct build *b, const char *path)
{
    struct tg_str text = socket_path(L, b, path);
    if (text.n >= TG_LISTEN_KEY_MAX)
        luaL_error(L, "%s: the path of a unix socket has at most 107 bytes", text.p);
    return text;
}

/* ---- Listeners, services, routes ------------------------------------------------------------- */

/* Reads the address in a field: its canonical text and what the kernel takes. */
static struct tg_str build_address(lua_State *L, struct build *b, int table, struct tg_addr *addr)
{
    lua_getfield(L, table, "address");
    int address = lua_gettop(L);
    struct tg_str text = tg_reader_str(L, b->snapshot, address, "text");
    lua_getfield(L, address, "path");
    if (!lua_isnil(L, -1))
        text = listener_path(L, b, lua_tostring(L, -1));
    else if (tg_addr_parse(text, addr) != TG_OK)
        luaL_error(L, "%s: not an address", text.p);
    lua_pop(L, 2);
    return text;
}

static void build_trusted(lua_State *L, struct build *b, int table,
                          struct tg_listener_conf *listener)
{
    listener->trusted_count = tg_reader_list(L, table, "trusted");
    int list = lua_gettop(L);
    struct tg_cidr *networks =
        tg_reader_alloc(L, b->snapshot, listener->trusted_count, sizeof(*networks));
    for (uint32_t i = 0; i < listener->trusted_count; i++) {
        int item = tg_reader_item(L, list, i);
        const char *text = lua_tostring(L, item);
        if (tg_cidr_parse(tg_str_c(text), &networks[i]) != TG_OK)
            luaL_error(L, "%s: not a network", text);
        lua_pop(L, 1);
    }
    listener->trusted = networks;
    lua_pop(L, 1);
}

static void refuse_tls(lua_State *L, struct tg_str name, enum tg_err err,
                       const struct tg_tls_problem *why)
{
    if (err == TG_E_INVALID)
        luaL_error(L, "%s: tls: %s: %s", name.p, why->field, why->text);
    if (err != TG_OK)
        luaL_error(L, TG_READER_NO_MEMORY);
}

static void build_listener_tls(lua_State *L, struct build *b, int table,
                               struct tg_listener_conf *listener)
{
    const struct tg_limits *limits = &b->snapshot->settings.limits;
    struct tg_build_tls rest = {
        .listener = listener->name,
        .ticket_life = limits->ticket_life,
        .sessions = (uint32_t)limits->tls_sessions,
        .asks_plugins = listener->chains->phase[TG_PHASE_CERTIFICATE].n > 0,
        .http2 = listener->http2,
    };
    struct tg_tls_problem why = {0};
    lua_getfield(L, table, "tls");
    if (lua_istable(L, -1))
        refuse_tls(L, listener->name,
                   tg_build_tls_server(L, lua_gettop(L), &rest, &listener->tls, &why), &why);
    lua_pop(L, 1);
}

static void build_listeners(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "listeners");
    int list = lua_gettop(L);
    struct tg_listener_conf *listeners = tg_reader_alloc(L, b->snapshot, count, sizeof(*listeners));

    b->snapshot->listeners = listeners; /* now: their TLS is freed with the snapshot */
    b->snapshot->listener_count = count;
    for (uint32_t i = 0; i < count; i++) {
        int table = tg_reader_item(L, list, i);
        listeners[i].name = tg_reader_str(L, b->snapshot, table, "name");
        listeners[i].index = i;
        listeners[i].address = build_address(L, b, table, &listeners[i].addr);
        build_trusted(L, b, table, &listeners[i]);
        listeners[i].allow_trace = tg_reader_bool(L, table, "allow_trace");
        listeners[i].allow_connect = tg_reader_bool(L, table, "allow_connect");
        listeners[i].merge_slashes = tg_reader_bool(L, table, "merge_slashes");
        listeners[i].answer_options = tg_reader_bool(L, table, "answer_options");
        listeners[i].http2 = tg_reader_bool(L, table, "http2");
        listeners[i].proxy_protocol = tg_reader_bool(L, table, "proxy_protocol");
        listeners[i].redirects = tg_reader_bool(L, table, "redirects");
        listeners[i].redirect_port = (uint16_t)tg_reader_count(L, table, "redirect_port", 443);
        listeners[i].hsts = tg_reader_str(L, b->snapshot, table, "hsts");
        listeners[i].chains = tg_build_chains_at(&b->chains, tg_reader_count(L, table, "chain", 0));
        build_listener_tls(L, b, table, &listeners[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void build_service_tls(lua_State *L, int table, struct tg_service_conf *service)
{
    struct tg_tls_problem why = {0};
    lua_getfield(L, table, "tls");
    if (lua_istable(L, -1))
        refuse_tls(L, service->name, tg_build_tls_client(L, lua_gettop(L), &service->tls, &why),
                   &why);
    lua_pop(L, 1);
}

static void build_service(lua_State *L, struct build *b, int table, struct tg_service_conf *service)
{
    const struct tg_limits *limits = &b->snapshot->settings.limits;

    service->name = tg_reader_str(L, b->snapshot, table, "name");
    service->builtin_echo =
        tg_str_eq(tg_reader_str(L, b->snapshot, table, "builtin"), TG_STR("echo"));
    service->path = tg_reader_str(L, b->snapshot, table, "path");
    tg_build_targets(L, b->snapshot, b->path, table, service);
    service->tags = tg_reader_strs(L, b->snapshot, table, "tags", &service->tag_count);
    lua_getfield(L, table, "timeout");
    int timeout = lua_gettop(L);
    service->connect_timeout =
        tg_reader_time(L, timeout, "connect", limits->upstream_connect_timeout);
    service->response_timeout =
        tg_reader_time(L, timeout, "response", limits->upstream_response_timeout);
    service->io_timeout = tg_reader_time(L, timeout, "idle", limits->upstream_idle_timeout);
    lua_pop(L, 1);
    tg_policy_build(L, b->snapshot, table, &service->policy);
    service->proxy_protocol = (int)tg_reader_count(L, table, "proxy_protocol", 0);
    build_service_tls(L, table, service);
}

static void build_services(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "services");
    int list = lua_gettop(L);

    b->services = tg_reader_alloc(L, b->snapshot, count, sizeof(*b->services));
    b->snapshot->services = b->services; /* now, as listeners */
    b->snapshot->service_count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->services[i].index = i;
        build_service(L, b, tg_reader_item(L, list, i), &b->services[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void build_route(lua_State *L, struct build *b, int table, struct tg_route_conf *route)
{
    struct tg_build_traffic traffic = {b->snapshot, b->services, b->chains};
    uint64_t service = tg_reader_count(L, table, "service", 0);

    tg_assert(service <= b->snapshot->service_count);
    route->name = tg_reader_str(L, b->snapshot, table, "name");
    route->service = service > 0 ? &b->services[service - 1] : NULL;
    route->strip_prefix = tg_reader_str(L, b->snapshot, table, "strip_prefix");
    route->preserve_host = tg_reader_bool(L, table, "preserve_host");
    route->client_cert = tg_reader_bool(L, table, "client_cert");
    route->queue_priority = (uint32_t)tg_reader_count(L, table, "queue_priority", 5);
    route->importance = (enum tg_importance)tg_build_importance(L, table, TG_IMPORTANCE_NORMAL);
    route->tags = tg_reader_strs(L, b->snapshot, table, "tags", &route->tag_count);
    route->chains = tg_build_listener_chains(L, b->snapshot, table, &b->chains);
    tg_build_route_traffic(L, &traffic, table, route);
    lua_getfield(L, table, "timeout");
    int timeout = lua_gettop(L);
    route->connect_timeout = tg_reader_time(L, timeout, "connect", 0);
    route->response_timeout = tg_reader_time(L, timeout, "response", 0);
    route->io_timeout = tg_reader_time(L, timeout, "idle", 0);
    route->deadline = tg_reader_time(L, timeout, "deadline", 0);
    lua_pop(L, 1);
}

static void build_routes(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "routes");
    int list = lua_gettop(L);
    struct tg_route_conf *routes = tg_reader_alloc(L, b->snapshot, count, sizeof(*routes));

    for (uint32_t i = 0; i < count; i++) {
        routes[i].index = i;
        build_route(L, b, tg_reader_item(L, list, i), &routes[i]);
        lua_pop(L, 1);
    }
    b->snapshot->routes = routes;
    b->snapshot->route_count = count;
    b->snapshot->table = tg_scratch_take_table(b->scratch);
    lua_pop(L, 1);
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* Protected. What refers to others comes after them. */
static int build_all(lua_State *L)
{
    struct build *b = lua_touserdata(L, 1);

    tg_scratch_push_tree(L);
    tg_assert(lua_istable(L, 2));
    b->snapshot->path = tg_snapshot_copy(b->snapshot, tg_str_c(b->path));
    if (b->snapshot->path.p == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
    build_settings(L, b, 2);
    build_zones(L, b, 2);
    tg_build_plugins(L, b->snapshot, 2, &b->chains);
    build_listeners(L, b, 2);
    build_services(L, b, 2);
    build_routes(L, b, 2);
    tg_build_consumers(L, b->snapshot, 2, &b->chains);
    return 0;
}

enum tg_err tg_snapshot_build(struct tg_scratch *scratch, const char *path, FILE *diagnostics,
                              struct tg_snapshot **out)
{
    lua_State *L = tg_scratch_state(scratch);
    struct build b = {.scratch = scratch, .snapshot = tg_snapshot_new(), .path = path};

    if (b.snapshot == NULL)
        return TG_E_NOMEM;
    if (lua_cpcall(L, build_all, &b) == 0) {
        *out = b.snapshot;
        return TG_OK;
    }
    const char *why = lua_tostring(L, -1);
    bool memory = why == NULL || strstr(why, TG_READER_NO_MEMORY) != NULL;
    if (!memory)
        (void)fprintf(diagnostics, "%s\n", why);
    lua_settop(L, 0);
    tg_snapshot_unref(&b.snapshot);
    return memory ? TG_E_NOMEM : TG_E_CONFIG;
}
