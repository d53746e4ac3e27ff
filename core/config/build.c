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
#include "base/hash.h"
#include "config/build_target.h"
#include "config/build_tls.h"
#include "net/listen.h"
#include "config/build_traffic.h"
#include "config/policy.h"
#include "config/reader.h"
#include "consumer/declared.h"
#include "route/expr.h"
#include "script/marshal.h"

#include <lauxlib.h>

#define OUT_OF_MEMORY "not enough memory" /* the text of Lua's own error */

struct build {
    struct tg_scratch *scratch;
    struct tg_snapshot *snapshot;
    const char *path;
    /* Being filled; the snapshot's members of the same names are const. */
    struct tg_service_conf *services;
    struct tg_plugin_conf *plugins;
    struct tg_instance_conf *instances;
    struct tg_chains *chains;
    uint32_t chain_count;
};

/* ---- Reading fields -------------------------------------------------------------------------- */

static void *take(lua_State *L, struct build *b, size_t count, size_t size)
{
    void *p = tg_snapshot_alloc(b->snapshot, count, size);

    if (p == NULL)
        luaL_error(L, OUT_OF_MEMORY);
    return p;
}

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
        luaL_error(L, OUT_OF_MEMORY);
    return s;
}

/* Pushes the list in a field and tells its length; the caller pops it. */
static uint32_t push_list(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    tg_assert(lua_istable(L, -1));
    return (uint32_t)lua_objlen(L, -1);
}

/* Pushes item `i` (counted from 0) of the list at `list`; returns its absolute index. */
static int push_item(lua_State *L, int list, uint32_t i)
{
    lua_rawgeti(L, list, (int)i + 1);
    return lua_gettop(L);
}

static const struct tg_str *str_list(lua_State *L, struct build *b, int table, const char *name,
                                     uint32_t *count)
{
    *count = push_list(L, table, name);
    int list = lua_gettop(L);
    struct tg_str *strings = take(L, b, *count, sizeof(*strings));
    for (uint32_t i = 0; i < *count; i++) {
        strings[i] = copy_at(L, b, push_item(L, list, i));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return strings;
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
    uint32_t count = push_list(L, tree, "zones");
    int list = lua_gettop(L);
    struct tg_zone_conf *zones = take(L, b, count, sizeof(*zones));

    for (uint32_t i = 0; i < count; i++) {
        int table = push_item(L, list, i);
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

/* ---- Plugins --------------------------------------------------------------------------------- */

static const char *const phase_names[TG_PHASES] = {
    [TG_PHASE_CERTIFICATE] = "certificate",
    [TG_PHASE_REWRITE] = "rewrite",
    [TG_PHASE_ACCESS] = "access",
    [TG_PHASE_HEADER_FILTER] = "header_filter",
    [TG_PHASE_BODY_FILTER] = "body_filter",
    [TG_PHASE_MESSAGE] = "message",
    [TG_PHASE_LOG] = "log",
};

static unsigned phase_mask(lua_State *L, int table)
{
    unsigned mask = 0;

    lua_getfield(L, table, "phases");
    for (unsigned phase = 0; phase < TG_PHASES; phase++) {
        if (tg_reader_bool(L, lua_gettop(L), phase_names[phase]))
            mask |= 1u << phase;
    }
    lua_pop(L, 1);
    return mask;
}

static void build_modules(lua_State *L, struct build *b, int table, struct tg_plugin_conf *plugin)
{
    plugin->module_count = push_list(L, table, "modules");
    int list = lua_gettop(L);
    struct tg_module_conf *modules = take(L, b, plugin->module_count, sizeof(*modules));
    for (uint32_t i = 0; i < plugin->module_count; i++) {
        int item = push_item(L, list, i);
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
        enum tg_err err = tg_expr_new(text, &when, &error);
        tg_assert(err != TG_E_INVALID);
        if (err != TG_OK)
            luaL_error(L, OUT_OF_MEMORY);
    }
    lua_pop(L, 1);
    return when;
}

static void build_conditions(lua_State *L, int table, struct tg_plugin_conf *plugin)
{
    lua_getfield(L, table, "when");
    for (unsigned phase = 0; phase < TG_PHASES; phase++)
        plugin->when[phase] = build_condition(L, lua_gettop(L), phase_names[phase]);
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
    plugin->exports = str_list(L, b, table, "exports", &plugin->export_count);
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
}

static void build_plugins(lua_State *L, struct build *b, int tree)
{
    uint32_t count = push_list(L, tree, "plugins");
    int list = lua_gettop(L);

    b->plugins = take(L, b, count, sizeof(*b->plugins));
    b->snapshot->plugins = b->plugins; /* now: conditions are freed with the snapshot */
    b->snapshot->plugin_count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->plugins[i].index = i;
        build_plugin(L, b, push_item(L, list, i), &b->plugins[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

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
        luaL_error(L, OUT_OF_MEMORY);
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
    const struct tg_instance_conf ***lists = take(L, b, b->snapshot->plugin_count, sizeof(*lists));

    for (uint32_t i = 0; i < b->snapshot->plugin_count; i++) {
        lists[i] = take(L, b, b->plugins[i].instance_count, sizeof(*lists[i]));
        b->plugins[i].instances = lists[i];
    }
    for (uint32_t i = 0; i < b->snapshot->instance_count; i++) {
        const struct tg_instance_conf *instance = &b->instances[i];
        lists[instance->plugin->index][instance->nth] = instance;
    }
}

static void build_instances(lua_State *L, struct build *b, int tree)
{
    uint32_t count = push_list(L, tree, "instances");
    int list = lua_gettop(L);

    b->instances = take(L, b, count, sizeof(*b->instances));
    b->snapshot->instances = b->instances; /* now: conditions are freed with the snapshot */
    b->snapshot->instance_count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->instances[i].index = i;
        build_instance(L, b, push_item(L, list, i), &b->instances[i]);
        lua_pop(L, 1);
    }
    list_instances(L, b);
    lua_pop(L, 1);
}

/* ---- Chains ---------------------------------------------------------------------------------- */

static struct tg_chain build_chain(lua_State *L, struct build *b, int table, const char *phase)
{
    uint32_t count = push_list(L, table, phase);
    int list = lua_gettop(L);
    const struct tg_instance_conf **v = take(L, b, count, sizeof(*v));

    for (uint32_t i = 0; i < count; i++) {
        int item = push_item(L, list, i);
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
    b->chain_count = push_list(L, tree, "chains");
    int list = lua_gettop(L);

    b->chains = take(L, b, b->chain_count, sizeof(*b->chains));
    for (uint32_t i = 0; i < b->chain_count; i++) {
        int item = push_item(L, list, i);
        for (unsigned phase = 0; phase < TG_PHASES; phase++)
            b->chains[i].phase[phase] = build_chain(L, b, item, phase_names[phase]);
        b->chains[i].decodes = chain_decodes(&b->chains[i].phase[TG_PHASE_BODY_FILTER]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static const struct tg_chains *chains_at(struct build *b, uint64_t index)
{
    tg_assert(index >= 1 && index <= b->chain_count);
    return &b->chains[index - 1];
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
    listener->trusted_count = push_list(L, table, "trusted");
    int list = lua_gettop(L);
    struct tg_cidr *networks = take(L, b, listener->trusted_count, sizeof(*networks));
    for (uint32_t i = 0; i < listener->trusted_count; i++) {
        int item = push_item(L, list, i);
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
        luaL_error(L, OUT_OF_MEMORY);
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
    uint32_t count = push_list(L, tree, "listeners");
    int list = lua_gettop(L);
    struct tg_listener_conf *listeners = take(L, b, count, sizeof(*listeners));

    b->snapshot->listeners = listeners; /* now: their TLS is freed with the snapshot */
    b->snapshot->listener_count = count;
    for (uint32_t i = 0; i < count; i++) {
        int table = push_item(L, list, i);
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
        listeners[i].chains = chains_at(b, tg_reader_count(L, table, "chain", 0));
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
    service->tags = str_list(L, b, table, "tags", &service->tag_count);
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
    uint32_t count = push_list(L, tree, "services");
    int list = lua_gettop(L);

    b->services = take(L, b, count, sizeof(*b->services));
    b->snapshot->services = b->services; /* now, as listeners */
    b->snapshot->service_count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->services[i].index = i;
        build_service(L, b, push_item(L, list, i), &b->services[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The importance that the table at `table` declares; `silent` where it does not. */
static int importance_field(lua_State *L, int table, int silent)
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

/* The chains of a route, one for each listener. */
static const struct tg_chains *const *route_chains(lua_State *L, struct build *b, int table)
{
    uint32_t count = push_list(L, table, "chains");
    int list = lua_gettop(L);
    const struct tg_chains **chains = take(L, b, count, sizeof(*chains));

    tg_assert(count == b->snapshot->listener_count);
    for (uint32_t i = 0; i < count; i++) {
        chains[i] = chains_at(b, (uint64_t)lua_tointeger(L, push_item(L, list, i)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return chains;
}

static void build_route(lua_State *L, struct build *b, int table, struct tg_route_conf *route)
{
    struct tg_build_traffic traffic = {b->snapshot, b->services, b->chains, b->chain_count};
    uint64_t service = tg_reader_count(L, table, "service", 0);

    tg_assert(service <= b->snapshot->service_count);
    route->name = tg_reader_str(L, b->snapshot, table, "name");
    route->service = service > 0 ? &b->services[service - 1] : NULL;
    route->strip_prefix = tg_reader_str(L, b->snapshot, table, "strip_prefix");
    route->preserve_host = tg_reader_bool(L, table, "preserve_host");
    route->client_cert = tg_reader_bool(L, table, "client_cert");
    route->queue_priority = (uint32_t)tg_reader_count(L, table, "queue_priority", 5);
    route->importance = (enum tg_importance)importance_field(L, table, TG_IMPORTANCE_NORMAL);
    route->tags = str_list(L, b, table, "tags", &route->tag_count);
    route->chains = route_chains(L, b, table);
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
    uint32_t count = push_list(L, tree, "routes");
    int list = lua_gettop(L);
    struct tg_route_conf *routes = take(L, b, count, sizeof(*routes));

    for (uint32_t i = 0; i < count; i++) {
        routes[i].index = i;
        build_route(L, b, push_item(L, list, i), &routes[i]);
        lua_pop(L, 1);
    }
    b->snapshot->routes = routes;
    b->snapshot->route_count = count;
    b->snapshot->table = tg_scratch_take_table(b->scratch);
    lua_pop(L, 1);
}

/* ---- Consumers ------------------------------------------------------------------------------- */

static void build_consumer_plugins(lua_State *L, struct build *b, int tree)
{
    uint32_t count = push_list(L, tree, "consumer_plugins");
    int list = lua_gettop(L);
    struct tg_consumer_plugins *plugins = take(L, b, count, sizeof(*plugins));

    for (uint32_t i = 0; i < count; i++) {
        int table = push_item(L, list, i);
        plugins[i].chains = chains_at(b, tg_reader_count(L, table, "chain", 0));
        plugins[i].route_count = push_list(L, table, "routes");
        struct tg_consumer_route *routes =
            take(L, b, plugins[i].route_count, sizeof(plugins[i].routes[0]));
        for (uint32_t r = 0; r < plugins[i].route_count; r++) {
            int item = push_item(L, table + 1, r);
            uint64_t route = tg_reader_count(L, item, "route", 0);
            tg_assert(route >= 1 && route <= b->snapshot->route_count);
            routes[r].route = (uint32_t)route - 1;
            routes[r].chains = chains_at(b, tg_reader_count(L, item, "chain", 0));
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
    *count = push_list(L, table, name);
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
        int table = push_item(L, list, i);
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
        luaL_error(L, OUT_OF_MEMORY);
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
    int importance = importance_field(L, table, -1);
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

static void build_consumers(lua_State *L, struct build *b, int tree)
{
    struct tg_declared_counts counts = {.consumers = push_list(L, tree, "consumers")};
    int list = lua_gettop(L);

    count_credentials(L, list, &counts);
    struct tg_declared *declared = tg_declared_new(&counts);
    if (declared == NULL)
        luaL_error(L, OUT_OF_MEMORY);
    b->snapshot->consumers = tg_declared_store(declared); /* now: it goes with the snapshot */
    b->snapshot->consumer_count = counts.consumers;
    for (uint32_t i = 0; i < counts.consumers; i++) {
        build_consumer(L, push_item(L, list, i), b, declared);
        lua_settop(L, list);
    }
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
        luaL_error(L, OUT_OF_MEMORY);
    build_settings(L, b, 2);
    build_zones(L, b, 2);
    build_plugins(L, b, 2);
    build_instances(L, b, 2);
    build_chains(L, b, 2);
    build_listeners(L, b, 2);
    build_services(L, b, 2);
    build_routes(L, b, 2);
    build_consumer_plugins(L, b, 2);
    build_consumers(L, b, 2);
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
    bool memory = why == NULL || strstr(why, OUT_OF_MEMORY) != NULL;
    if (!memory)
        (void)fprintf(diagnostics, "%s\n", why);
    lua_settop(L, 0);
    tg_snapshot_unref(&b.snapshot);
    return memory ? TG_E_NOMEM : TG_E_CONFIG;
}
