/* zone.c: see zone.h. */
#include "base/banned.h"
#include "bind/zone.h"

#include "gateway/wait.h"
#include "script/marshal.h"

#define VALUE_NODES 100000

struct tg_vm_entry *tg_bind_vm_entry(lua_State *L)
{
    struct tg_vm_host *host = tg_vm_arg(tg_vm_from(L));
    return TG_CONTAINER_OF(host, struct tg_vm_entry, host);
}

static TG_NORETURN void raise_no_zone(lua_State *L, int n, enum tg_zone_kind kind,
                                      struct tg_str name)
{
    char what[256];
    snprintf(what, sizeof(what),
             "no %s zone is called \"%.*s\"; declare it in the configuration: "
             "tg.zone.%s \"%.*s\" { size = \"1MiB\" }",
             tg_zone_kind_name(kind), (int)TG_MIN(name.n, (size_t)64), name.p,
             tg_zone_kind_name(kind), (int)TG_MIN(name.n, (size_t)64), name.p);
    tg_bind_arg_error(L, n, what);
}

static TG_NORETURN void raise_undeclared(lua_State *L, enum tg_zone_kind kind)
{
    char what[128];
    snprintf(what, sizeof(what), "the plugin does not declare needs = { %s = \"1MiB\" }",
             tg_zone_kind_name(kind));
    tg_bind_call_error(L, what);
}

void tg_bind_find_zone(lua_State *L, int n, enum tg_zone_kind kind, struct tg_bind_zone *out)
{
    const struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    const struct tg_vm_set *set = entry->host.set;
    out->stale = 0;
    if (lua_isnoneornil(L, tg_bind_arg_index(L, n))) {
        out->zone = kind == TG_ZONE_DICT    ? entry->dict
                    : kind == TG_ZONE_CACHE ? entry->cache
                                            : entry->limit;
        if (out->zone == NULL)
            raise_undeclared(L, kind);
        return;
    }
    struct tg_str name = tg_bind_arg_str(L, n);
    for (uint32_t i = 0; i < set->snapshot->zone_count; i++) {
        const struct tg_zone_conf *conf = &set->snapshot->zones[i];
        if (conf->kind != kind || !tg_str_eq(conf->name, name))
            continue;
        out->zone = set->zones[i];
        out->stale = conf->stale;
        return;
    }
    raise_no_zone(L, n, kind, name);
}

int tg_bind_push_zone(lua_State *L, enum tg_zone_kind kind, enum tg_api_scope scope)
{
    struct tg_bind_zone found = {0};
    tg_bind_find_zone(L, 1, kind, &found);
    struct tg_bind_zone *object = tg_bind_new_value(L, scope, sizeof(*object));
    object->zone = found.zone;
    object->stale = found.stale;
    return 1;
}

struct tg_bind_zone *tg_bind_check_zone(lua_State *L, struct tg_str *key)
{
    struct tg_bind_zone *object = tg_bind_check_value(L);
    *key = tg_bind_arg_str(L, 1);
    return object;
}

/* ---- Values ---- */

/* Plain data of the table at `index`. */
static const char *take_table(lua_State *L, int index, const char *name, struct tg_zone_value *out,
                              char *room, size_t size)
{
    const struct tg_marshal_options options = {.root = name,
                                               .nodes = VALUE_NODES,
                                               .bytes = TG_BIND_VALUE_MAX,
                                               .is_spent = tg_run_is_spent,
                                               .tag = TG_MEM_COUNTER};
    struct tg_blob blob = {0};
    enum tg_err err = tg_marshal_encode(L, index, &options, &blob, room, size);
    if (err != TG_OK)
        return err == TG_E_NOMEM ? tg_err_text(err) : room;
    out->text = tg_zone_text_new(blob.p, blob.n);
    tg_blob_release(&blob);
    if (out->text == NULL)
        return tg_err_text(TG_E_NOMEM);
    out->type = TG_ZONE_DATA;
    return NULL;
}

static const char *take_string(lua_State *L, int index, struct tg_zone_value *out)
{
    size_t n;
    const char *p = lua_tolstring(L, index, &n);
    if (n > TG_BIND_VALUE_MAX)
        return "a value has at most 16 MiB";
    out->text = tg_zone_text_new(p, n);
    if (out->text == NULL)
        return tg_err_text(TG_E_NOMEM);
    out->type = TG_ZONE_STRING;
    return NULL;
}

const char *tg_bind_take_at(lua_State *L, int index, const char *name, struct tg_zone_value *out,
                            char *room, size_t size)
{
    *out = (struct tg_zone_value){.type = TG_ZONE_ABSENT};
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TNONE:
        return NULL;
    case LUA_TNUMBER:
        out->type = TG_ZONE_NUMBER;
        out->number = lua_tonumber(L, index);
        return NULL;
    case LUA_TBOOLEAN:
        out->type = TG_ZONE_BOOLEAN;
        out->number = lua_toboolean(L, index);
        return NULL;
    case LUA_TSTRING:
        return take_string(L, index, out);
    case LUA_TTABLE:
        return take_table(L, index, name, out, room, size);
    default:
        snprintf(room, size, "expected a string, a number, a boolean or a table of these, got a %s",
                 luaL_typename(L, index));
        return room;
    }
}

void tg_bind_take_value(lua_State *L, int n, struct tg_zone_value *out)
{
    char room[192];
    struct tg_str name = tg_api_arg_name(tg_bind_entry(L), n);
    char root[32];
    snprintf(root, sizeof(root), "%.*s", TG_STR_ARG(name));
    const char *why = tg_bind_take_at(L, tg_bind_arg_index(L, n), root, out, room, sizeof(room));
    if (why != NULL)
        tg_bind_arg_error(L, n, why);
}

int tg_bind_push_value(lua_State *L, struct tg_zone_value *value)
{
    struct tg_zone_value *hand = &tg_bind_vm_entry(L)->host.gate->in_hand;
    tg_zone_value_release(hand);
    *hand = *value;
    switch (value->type) {
    case TG_ZONE_NUMBER:
        lua_pushnumber(L, value->number);
        break;
    case TG_ZONE_BOOLEAN:
        lua_pushboolean(L, value->number != 0);
        break;
    case TG_ZONE_STRING:
        lua_pushlstring(L, value->text->bytes, value->text->n);
        break;
    case TG_ZONE_DATA:
        if (tg_marshal_decode(L, tg_str(value->text->bytes, value->text->n)) != TG_OK)
            lua_pushnil(L);
        break;
    case TG_ZONE_ABSENT:
        lua_pushnil(L);
        break;
    }
    tg_zone_value_release(hand);
    *value = (struct tg_zone_value){.type = TG_ZONE_ABSENT};
    return 1;
}

/* ---- Options ---- */

bool tg_bind_option_duration(lua_State *L, int n, const char *name, uint64_t *us)
{
    if (!tg_bind_arg_table(L, n, true))
        return false;
    lua_pushstring(L, name);
    lua_rawget(L, tg_bind_arg_index(L, n));
    bool given = !lua_isnil(L, -1);
    if (given && !tg_bind_to_duration(L, -1, us)) {
        char what[96];
        snprintf(what, sizeof(what), "%s: expected seconds or a text such as \"250ms\"", name);
        tg_bind_arg_error(L, n, what);
    }
    lua_pop(L, 1);
    return given;
}

static bool is_listed(const char *const *names, const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

void tg_bind_check_options(lua_State *L, int n, const char *const *names)
{
    if (!tg_bind_arg_table(L, n, true))
        return;
    int index = tg_bind_arg_index(L, n);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && is_listed(names, lua_tostring(L, -2)))
            continue;
        char what[128];
        snprintf(what, sizeof(what), "there is no option %.48s",
                 lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2));
        tg_bind_arg_error(L, n, what);
    }
}

void tg_bind_check_set_up(lua_State *L)
{
    if (tg_run_is_hosted(tg_run_current(L)))
        tg_bind_call_error(L, "is for init and configure; keep what it makes");
}

int tg_bind_push_stored(lua_State *L, enum tg_err err)
{
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "too_large", "the value does not fit into the zone");
    if (err != TG_OK)
        return tg_bind_fail(L, "unavailable", tg_err_text(err));
    lua_pushboolean(L, 1);
    return 1;
}
