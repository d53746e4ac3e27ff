/* build_consumer.c: see build_consumer.h. What is read has been checked by
 * lua/tidegate/consumers.lua, and tg_assert() guards that. Strings are borrowed from the tree: the
 * store of declared consumers (consumer/declared.h) copies what it keeps. */
#include "base/banned.h"
#include "config/build_consumer.h"

#include "base/assert.h"
#include "config/reader.h"
#include "consumer/declared.h"
#include "script/marshal.h"

#include <lauxlib.h>

struct build {
    struct tg_snapshot *snapshot;
    const struct tg_build_chains *chains;
};

int tg_build_importance(lua_State *L, int table, int silent)
{
    int found = TG_IMPORTANCE_NORMAL;
    lua_getfield(L, table, "importance");
    struct tg_str name = tg_str_c(lua_isnil(L, -1) ? "" : lua_tostring(L, -1));
    if (name.n == 0)
        found = silent;
    else if (tg_str_eq(name, TG_STR("low")))
        found = TG_IMPORTANCE_LOW;
    else if (tg_str_eq(name, TG_STR("high")))
        found = TG_IMPORTANCE_HIGH;
    lua_pop(L, 1);
    return found;
}

static void build_consumer_plugins(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "consumer_plugins");
    int list = lua_gettop(L);
    struct tg_consumer_plugins *plugins = tg_reader_alloc(L, b->snapshot, count, sizeof(*plugins));

    for (uint32_t i = 0; i < count; i++) {
        int table = tg_reader_item(L, list, i);
        plugins[i].chains = tg_build_chains_at(b->chains, tg_reader_count(L, table, "chain", 0));
        plugins[i].route_count = tg_reader_list(L, table, "routes");
        struct tg_consumer_route *routes =
            tg_reader_alloc(L, b->snapshot, plugins[i].route_count, sizeof(plugins[i].routes[0]));
        for (uint32_t r = 0; r < plugins[i].route_count; r++) {
            int item = tg_reader_item(L, table + 1, r);
            uint64_t route = tg_reader_count(L, item, "route", 0);
            tg_assert(route >= 1 && route <= b->snapshot->route_count);
            routes[r].route = (uint32_t)route - 1;
            routes[r].chains = tg_build_chains_at(b->chains, tg_reader_count(L, item, "chain", 0));
            lua_pop(L, 1);
        }
        plugins[i].routes = routes;
        lua_settop(L, list);
    }
    b->snapshot->consumer_plugins = plugins;
    lua_pop(L, 1);
}

/* The string in a field, borrowed from the table; empty for nil. */
static struct tg_str peek_field(lua_State *L, int table, const char *name)
{
    struct tg_str s = {"", 0};

    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1))
        s.p = lua_tolstring(L, -1, &s.n);
    lua_pop(L, 1);
    return s;
}

/* The list of strings in a field. The array is a userdata that is left on the stack. */
static const struct tg_str *peek_list(lua_State *L, int table, const char *name, uint32_t *count)
{
    *count = tg_reader_list(L, table, name);
    int list = lua_gettop(L);
    struct tg_str *strings = lua_newuserdata(L, (*count + 1) * sizeof(*strings));

    for (uint32_t i = 0; i < *count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        strings[i].p = lua_tolstring(L, -1, &strings[i].n);
        lua_pop(L, 1);
    }
    return strings;
}

/* Pushes the consumer's credentials of a kind: a list, or nil; returns how many. */
static uint32_t push_credentials(lua_State *L, int table, int kind)
{
    lua_getfield(L, table, "credentials");
    lua_getfield(L, -1, tg_credential_kind_info((enum tg_credential_kind)kind)->name);
    lua_remove(L, -2);
    return lua_isnil(L, -1) ? 0 : (uint32_t)lua_objlen(L, -1);
}

static void count_credentials(lua_State *L, int list, struct tg_declared_counts *counts)
{
    for (uint32_t i = 0; i < counts->consumers; i++) {
        int table = tg_reader_item(L, list, i);
        for (int kind = 0; kind < TG_CREDENTIAL_KINDS; kind++) {
            counts->credentials[kind] += push_credentials(L, table, kind);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

static void must_add(lua_State *L, enum tg_err err)
{
    tg_assert(err == TG_OK || err == TG_E_NOMEM); /* the configuration has been checked */
    if (err != TG_OK)
        luaL_error(L, TG_READER_NO_MEMORY);
}

/* Raises when what the consumer at `table` knows of itself cannot cross to plugins. */
static void encode_metadata(lua_State *L, int table, struct tg_str name, struct tg_blob *blob)
{
    static const struct tg_marshal_options options = {
        .root = "metadata", .nodes = 4096, .bytes = (size_t)64 << 10, .tag = TG_MEM_CONFIG};
    char why[256];

    lua_getfield(L, table, "metadata");
    if (!lua_isnil(L, -1) &&
        tg_marshal_encode(L, lua_gettop(L), &options, blob, why, sizeof(why)) != TG_OK)
        luaL_error(L, "consumers.%s.%s", name.p, why);
    lua_pop(L, 1);
}

/* What the consumer at `table` declares in place of its requests' routes. */
static void take_importance(lua_State *L, int table, struct build *b, struct tg_consumer_spec *spec)
{
    int importance = tg_build_importance(L, table, -1);
    spec->importance = (uint8_t)(importance + 1);
    /* Absent is 255, and one more than that nothing. */
    spec->queue_priority = (uint8_t)(tg_reader_count(L, table, "queue_priority", UINT8_MAX) + 1);
    if (importance > (int)b->snapshot->consumers_importance)
        b->snapshot->consumers_importance = (enum tg_importance)importance;
}

static void build_consumer(lua_State *L, int table, struct build *b, struct tg_declared *declared)
{
    struct tg_consumer_spec spec = {.name = peek_field(L, table, "name")};
    struct tg_blob metadata = {0};

    spec.id = peek_field(L, table, "id");
    spec.custom_id = peek_field(L, table, "custom_id");
    spec.plugins = (uint32_t)tg_reader_count(L, table, "plugins", 0);
    take_importance(L, table, b, &spec);
    spec.groups = peek_list(L, table, "groups", &spec.group_count);
    spec.tags = peek_list(L, table, "tags", &spec.tag_count);
    encode_metadata(L, table, spec.name, &metadata);
    spec.metadata = tg_str(metadata.p, metadata.n);
    enum tg_err err = tg_declared_add(declared, &spec);
    tg_blob_release(&metadata);
    must_add(L, err);
    for (int kind = 0; kind < TG_CREDENTIAL_KINDS; kind++) {
        uint32_t count = push_credentials(L, table, kind);
        int list = lua_gettop(L);
        for (uint32_t i = 0; i < count; i++) {
            struct tg_str value;
            lua_rawgeti(L, list, (int)i + 1);
            value.p = lua_tolstring(L, -1, &value.n);
            must_add(L, tg_declared_add_credential(declared, (enum tg_credential_kind)kind, value));
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

static void build_list(lua_State *L, struct build *b, int tree)
{
    struct tg_declared_counts counts = {.consumers = tg_reader_list(L, tree, "consumers")};
    int list = lua_gettop(L);

    count_credentials(L, list, &counts);
    struct tg_declared *declared = tg_declared_new(&counts);
    if (declared == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
    b->snapshot->consumers = tg_declared_store(declared); /* now: it goes with the snapshot */
    b->snapshot->consumer_count = counts.consumers;
    for (uint32_t i = 0; i < counts.consumers; i++) {
        build_consumer(L, tg_reader_item(L, list, i), b, declared);
        lua_settop(L, list);
    }
    lua_pop(L, 1);
}

void tg_build_consumers(lua_State *L, struct tg_snapshot *snapshot, int tree,
                        const struct tg_build_chains *chains)
{
    struct build b = {snapshot, chains};
    build_consumer_plugins(L, &b, tree);
    build_list(L, &b, tree);
}
