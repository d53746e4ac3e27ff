/* build_plugin.c: see build_plugin.h. What is read has been checked by lua/tidegate/plugin.lua and
 * resolve.lua, and tg_assert() guards that.
 *
 * Conditions are compiled here, and freed with the snapshot: it knows of plugins and instances
 * before the first is made. */
#include "base/banned.h"
#include "config/build_plugin.h"

#include "base/assert.h"
#include "base/hash.h"
#include "config/reader.h"
#include "http/field.h"
#include "route/expr.h"
#include "script/marshal.h"

#include <lauxlib.h>

struct build {
    struct tg_snapshot *snapshot;
    /* Being filled; the snapshot's members of the same names are const. */
    struct tg_plugin_conf *plugins;
    struct tg_instance_conf *instances;
    struct tg_chains *chains;
    uint32_t chain_count;
};

/* ---- Plugins --------------------------------------------------------------------------------- */

static unsigned phase_mask(lua_State *L, int table)
{
    unsigned mask = 0;

    lua_getfield(L, table, "phases");
    for (unsigned phase = 0; phase < TG_PHASES; phase++) {
        if (tg_reader_bool(L, lua_gettop(L), tg_phase_name((enum tg_phase)phase)))
            mask |= 1u << phase;
    }
    lua_pop(L, 1);
    return mask;
}

static void build_modules(lua_State *L, struct build *b, int table, struct tg_plugin_conf *plugin)
{
    plugin->module_count = tg_reader_list(L, table, "modules");
    int list = lua_gettop(L);
    struct tg_module_conf *modules =
        tg_reader_alloc(L, b->snapshot, plugin->module_count, sizeof(*modules));
    for (uint32_t i = 0; i < plugin->module_count; i++) {
        int item = tg_reader_item(L, list, i);
        modules[i].name = tg_reader_str(L, b->snapshot, item, "name");
        modules[i].chunkname = tg_reader_str(L, b->snapshot, item, "chunkname");
        modules[i].source = tg_reader_str(L, b->snapshot, item, "source");
        lua_pop(L, 1);
    }
    plugin->modules = modules;
    lua_pop(L, 1);
}

/* Each text is hashed under the digest of those before it. */
static uint64_t digest_add(uint64_t digest, struct tg_str text)
{
    return tg_hash_keyed((struct tg_hash_key){digest, text.n}, text.p, text.n);
}

static uint64_t digest_of(const struct tg_plugin_conf *plugin)
{
    uint64_t digest = digest_add(digest_add(0, plugin->name), plugin->source);

    digest = digest_add(digest_add(digest, plugin->version), plugin->chunkname);

    for (uint32_t i = 0; i < plugin->module_count; i++)
        digest = digest_add(digest_add(digest, plugin->modules[i].name), plugin->modules[i].source);
    return digest;
}

/* The compiled condition at `key` of the table at `table`; NULL when there is none. */
static struct tg_expr *build_condition(lua_State *L, int table, const char *key)
{
    struct tg_expr *when = NULL;
    struct tg_expr_error error;

    lua_getfield(L, table, key);
    if (!lua_isnil(L, -1)) {
        struct tg_str text;
        text.p = lua_tolstring(L, -1, &text.n);
        enum tg_err err = tg_expr_new(text, tg_field_key, &when, &error);
        tg_assert(err != TG_E_INVALID);
        if (err != TG_OK)
            luaL_error(L, TG_READER_NO_MEMORY);
    }
    lua_pop(L, 1);
    return when;
}

static void build_conditions(lua_State *L, int table, struct tg_plugin_conf *plugin)
{
    lua_getfield(L, table, "when");
    for (unsigned phase = 0; phase < TG_PHASES; phase++)
        plugin->when[phase] =
            build_condition(L, lua_gettop(L), tg_phase_name((enum tg_phase)phase));
    lua_pop(L, 1);
}

static void build_plugin(lua_State *L, struct build *b, int table, struct tg_plugin_conf *plugin)
{
    plugin->name = tg_reader_str(L, b->snapshot, table, "name");
    plugin->version = tg_reader_str(L, b->snapshot, table, "version");
    plugin->stage = tg_reader_str(L, b->snapshot, table, "stage");
    plugin->place = (uint32_t)tg_reader_count(L, table, "place", 0);
    plugin->chunkname = tg_reader_str(L, b->snapshot, table, "chunkname");
    plugin->source = tg_reader_str(L, b->snapshot, table, "source");
    build_modules(L, b, table, plugin);
    plugin->exports = tg_reader_strs(L, b->snapshot, table, "exports", &plugin->export_count);
    plugin->digest = digest_of(plugin);
    plugin->phases = phase_mask(L, table);
    build_conditions(L, table, plugin);
    plugin->heap = tg_reader_count(L, table, "heap", b->snapshot->settings.limits.plugin_heap);
    struct tg_str body = tg_reader_str(L, b->snapshot, table, "body");
    bool both = tg_str_eq(body, TG_STR("both"));
    plugin->wants_request_body = both || tg_str_eq(body, TG_STR("request"));
    plugin->wants_response_body = both || tg_str_eq(body, TG_STR("response"));
    plugin->wants_decode = tg_reader_bool(L, table, "decode");
    plugin->dict = tg_reader_count(L, table, "dict", 0);
    plugin->limit = tg_reader_count(L, table, "limit", 0);
    plugin->cache = tg_reader_count(L, table, "cache", 0);
    plugin->wants_timers = tg_reader_bool(L, table, "timers");
    plugin->wants_events = tg_reader_bool(L, table, "events");
    plugin->wants_http = tg_reader_bool(L, table, "http");
    plugin->wants_sink = tg_reader_bool(L, table, "sink");
}

static void build_list(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "plugins");
    int list = lua_gettop(L);

    b->plugins = tg_reader_alloc(L, b->snapshot, count, sizeof(*b->plugins));
    b->snapshot->plugins = b->plugins; /* now: conditions are freed with the snapshot */
    b->snapshot->plugin_count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->plugins[i].index = i;
        build_plugin(L, b, tg_reader_item(L, list, i), &b->plugins[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* ---- Instances ------------------------------------------------------------------------------- */

/* Encodes the configuration of the instance at `table` for the plugin VMs. */
static void encode_conf(lua_State *L, struct build *b, int table, struct tg_instance_conf *instance)
{
    const struct tg_marshal_options options = {.root = "conf", .tag = TG_MEM_CONFIG};
    struct tg_blob blob;
    char why[256];

    lua_getfield(L, table, "conf");
    enum tg_err err = tg_marshal_encode(L, lua_gettop(L), &options, &blob, why, sizeof(why));
    lua_pop(L, 1);
    if (err != TG_OK)
        luaL_error(L, "%s: %s [TG1408]", instance->where.p, why);
    instance->conf = tg_snapshot_copy(b->snapshot, tg_str(blob.p, blob.n));
    instance->digest = tg_marshal_digest(tg_str(blob.p, blob.n));
    tg_blob_release(&blob);
    if (instance->conf.p == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
}

static enum tg_on_error on_error_of(struct tg_str name)
{
    if (tg_str_eq(name, TG_STR("skip")))
        return TG_ON_ERROR_SKIP;
    return tg_str_eq(name, TG_STR("close")) ? TG_ON_ERROR_CLOSE : TG_ON_ERROR_FAIL;
}

static void build_instance(lua_State *L, struct build *b, int table,
                           struct tg_instance_conf *instance)
{
    const struct tg_limits *limits = &b->snapshot->settings.limits;
    uint64_t plugin = tg_reader_count(L, table, "plugin", 0);

    tg_assert(plugin >= 1 && plugin <= b->snapshot->plugin_count);
    instance->plugin = &b->plugins[plugin - 1];
    instance->nth = b->plugins[plugin - 1].instance_count++;
    instance->id = tg_reader_str(L, b->snapshot, table, "id");
    instance->where = tg_reader_str(L, b->snapshot, table, "where");
    instance->scope = tg_reader_str(L, b->snapshot, table, "identity");
    instance->when = build_condition(L, table, "when");
    encode_conf(L, b, table, instance);
    instance->digest = digest_add(instance->digest, instance->scope);
    instance->on_error = on_error_of(tg_reader_str(L, b->snapshot, table, "on_error"));
    lua_getfield(L, table, "limits");
    int own = lua_gettop(L);
    instance->memory = tg_reader_count(L, own, "memory", limits->plugin_memory);
    instance->churn = tg_reader_count(L, own, "churn", limits->plugin_churn);
    instance->body = tg_reader_count(L, own, "body", limits->plugin_body);
    instance->cpu = tg_reader_time(L, own, "cpu", limits->plugin_cpu);
    instance->wall = tg_reader_time(L, own, "wall", limits->plugin_wall);
    lua_pop(L, 1);
}

/* Lists each plugin's instances. */
static void list_instances(lua_State *L, struct build *b)
{
    const struct tg_instance_conf ***lists =
        tg_reader_alloc(L, b->snapshot, b->snapshot->plugin_count, sizeof(*lists));

    for (uint32_t i = 0; i < b->snapshot->plugin_count; i++) {
        lists[i] = tg_reader_alloc(L, b->snapshot, b->plugins[i].instance_count, sizeof(*lists[i]));
        b->plugins[i].instances = lists[i];
    }
    for (uint32_t i = 0; i < b->snapshot->instance_count; i++) {
        const struct tg_instance_conf *instance = &b->instances[i];
        lists[instance->plugin->index][instance->nth] = instance;
    }
}

static void build_instances(lua_State *L, struct build *b, int tree)
{
    uint32_t count = tg_reader_list(L, tree, "instances");
    int list = lua_gettop(L);

    b->instances = tg_reader_alloc(L, b->snapshot, count, sizeof(*b->instances));
    b->snapshot->instances = b->instances; /* now: conditions are freed with the snapshot */
    b->snapshot->instance_count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->instances[i].index = i;
        build_instance(L, b, tg_reader_item(L, list, i), &b->instances[i]);
        lua_pop(L, 1);
    }
    list_instances(L, b);
    lua_pop(L, 1);
}

/* ---- Chains ---------------------------------------------------------------------------------- */

static struct tg_chain build_chain(lua_State *L, struct build *b, int table, const char *phase)
{
    uint32_t count = tg_reader_list(L, table, phase);
    int list = lua_gettop(L);
    const struct tg_instance_conf **v = tg_reader_alloc(L, b->snapshot, count, sizeof(*v));

    for (uint32_t i = 0; i < count; i++) {
        int item = tg_reader_item(L, list, i);
        lua_Integer index = lua_tointeger(L, item);
        tg_assert(index >= 1 && index <= (lua_Integer)b->snapshot->instance_count);
        v[i] = &b->instances[index - 1];
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return (struct tg_chain){v, count};
}

static bool chain_decodes(const struct tg_chain *filters)
{
    for (uint32_t i = 0; i < filters->n; i++) {
        if (filters->v[i]->plugin->wants_decode)
            return true;
    }
    return false;
}

static void build_chains(lua_State *L, struct build *b, int tree)
{
    b->chain_count = tg_reader_list(L, tree, "chains");
    int list = lua_gettop(L);

    b->chains = tg_reader_alloc(L, b->snapshot, b->chain_count, sizeof(*b->chains));
    for (uint32_t i = 0; i < b->chain_count; i++) {
        int item = tg_reader_item(L, list, i);
        for (unsigned phase = 0; phase < TG_PHASES; phase++)
            b->chains[i].phase[phase] =
                build_chain(L, b, item, tg_phase_name((enum tg_phase)phase));
        b->chains[i].decodes = chain_decodes(&b->chains[i].phase[TG_PHASE_BODY_FILTER]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* ---- The whole ------------------------------------------------------------------------------- */

void tg_build_plugins(lua_State *L, struct tg_snapshot *snapshot, int tree,
                      struct tg_build_chains *out)
{
    struct build b = {.snapshot = snapshot};
    build_list(L, &b, tree);
    build_instances(L, &b, tree);
    build_chains(L, &b, tree);
    *out = (struct tg_build_chains){b.chains, b.chain_count};
}

const struct tg_chains *tg_build_chains_at(const struct tg_build_chains *chains, uint64_t index)
{
    tg_assert(index >= 1 && index <= chains->n);
    return &chains->v[index - 1];
}

const struct tg_chains *const *tg_build_listener_chains(lua_State *L, struct tg_snapshot *snapshot,
                                                        int table,
                                                        const struct tg_build_chains *chains)
{
    uint32_t count = tg_reader_list(L, table, "chains");
    int list = lua_gettop(L);
    const struct tg_chains **found = tg_reader_alloc(L, snapshot, count, sizeof(*found));

    tg_assert(count == snapshot->listener_count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t index = (uint64_t)lua_tointeger(L, tg_reader_item(L, list, i));
        found[i] = tg_build_chains_at(chains, index);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return found;
}
