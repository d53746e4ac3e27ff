/* build_target.c: see build_target.h. As in build.c, what is read has been checked by
 * lua/tidegate/targets.lua, and tg_assert() guards that. */
#include "base/banned.h"
#include "config/build_target.h"

#include "base/assert.h"
#include "config/reader.h"

#include <lauxlib.h>
#include <string.h>

static const char *const kinds[] = {
    [TG_TARGET_ADDRESS] = "address", [TG_TARGET_NAME] = "name", [TG_TARGET_SRV] = "srv"};

static struct tg_str copy(lua_State *L, struct tg_snapshot *snapshot, struct tg_str s)
{
    s = tg_snapshot_copy(snapshot, s);
    if (s.p == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
    return s;
}

/* The address, or the unix socket, whose relative path is below the configuration's folder. */
static void read_address(lua_State *L, struct tg_snapshot *snapshot, const char *config, int table,
                         struct tg_balance_target *target)
{
    char text[TG_ADDR_TEXT_MAX];
    struct tg_str path = tg_reader_str(L, snapshot, table, "path");
    const char *slash = strrchr(config, '/');
    if (path.n == 0) {
        target->name = tg_reader_str(L, snapshot, table, "text");
        if (tg_addr_parse(target->name, &target->addr) != TG_OK)
            luaL_error(L, "%s: not an address", target->name.p);
        return;
    }
    size_t below = path.p[0] != '/' && slash != NULL ? (size_t)(slash + 1 - config) : 0;
    if (below + path.n > TG_ADDR_PATH_MAX)
        luaL_error(L, "unix:%s: below the folder of %s this path has more than %d bytes", path.p,
                   config, (int)TG_ADDR_PATH_MAX);
    memcpy(text, config, below);
    memcpy(text + below, path.p, path.n);
    enum tg_err err = tg_addr_from_path(tg_str(text, below + path.n), &target->addr);
    if (err == TG_E_LIMIT)
        luaL_error(L,
                   "unix:%s: more than %d different unix sockets were targets since the start: "
                   "start anew",
                   path.p, (int)TG_ADDR_PATHS_MAX);
    if (err != TG_OK)
        luaL_error(L, TG_READER_NO_MEMORY);
    target->name = copy(L, snapshot, tg_addr_text(&target->addr, text));
}

static void read_target(lua_State *L, struct tg_snapshot *snapshot, const char *config, int table,
                        struct tg_balance_target *target)
{
    lua_getfield(L, table, "kind");
    target->kind = (enum tg_target_kind)tg_reader_word(L, kinds, TG_COUNT_OF(kinds));
    lua_pop(L, 1);
    if (target->kind == TG_TARGET_ADDRESS)
        read_address(L, snapshot, config, table, target);
    else
        target->name = tg_reader_str(L, snapshot, table, "text");
    target->host = tg_reader_str(L, snapshot, table, "host");
    if (target->host.n == 0)
        target->host = target->name;
    target->domain = tg_reader_str(L, snapshot, table, "domain");
    target->query = tg_reader_str(L, snapshot, table, "query");
    target->port = (uint16_t)tg_reader_count(L, table, "port", 0);
    target->refresh = tg_reader_time(L, table, "refresh", 0);
    target->weight = (uint32_t)tg_reader_count(L, table, "weight", 1);
    target->zone = tg_reader_str(L, snapshot, table, "zone");
    target->region = tg_reader_str(L, snapshot, table, "region");
}

void tg_build_targets(lua_State *L, struct tg_snapshot *snapshot, const char *path, int service,
                      struct tg_service_conf *out)
{
    out->target_count = tg_reader_list(L, service, "targets");
    int list = lua_gettop(L);
    struct tg_balance_target *targets =
        tg_reader_alloc(L, snapshot, out->target_count, sizeof(*targets));
    for (uint32_t i = 0; i < out->target_count; i++) {
        read_target(L, snapshot, path, tg_reader_item(L, list, i), &targets[i]);
        lua_pop(L, 1);
    }
    out->targets = targets;
    lua_pop(L, 1);
}

void tg_build_dns(lua_State *L, struct tg_snapshot *snapshot, int settings, struct tg_dns_conf *out)
{
    lua_getfield(L, settings, "dns");
    int table = lua_gettop(L);
    out->servers = tg_reader_str(L, snapshot, table, "servers");
    out->hosts = tg_reader_str(L, snapshot, table, "hosts");
    out->resolv_conf = tg_reader_str(L, snapshot, table, "resolv_conf");
    lua_pop(L, 1);
}
