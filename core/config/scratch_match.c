/* scratch_match.c: see scratch_match.h. The tables have been checked by the schema; tg_assert()
 * guards their shape.
 */
#include "base/banned.h"
#include "config/scratch_match.h"

#include "base/assert.h"
#include "net/addr.h"

#include <lauxlib.h>

const struct tg_str *tg_scratch_string_list(lua_State *L, int table, const char *name,
                                            size_t *count)
{
    luaL_checkstack(L, 8, "too many conditions");
    lua_getfield(L, table, name);
    int list = lua_gettop(L);
    *count = lua_objlen(L, list);
    struct tg_str *strings = lua_newuserdata(L, (*count + 1) * sizeof(*strings));
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        strings[i].p = lua_tolstring(L, -1, &strings[i].n);
        lua_pop(L, 1);
    }
    return strings;
}

static struct tg_str string_field(lua_State *L, int table, const char *name)
{
    struct tg_str s = {"", 0};
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1))
        s.p = lua_tolstring(L, -1, &s.n);
    lua_pop(L, 1); /* the table holds it */
    return s;
}

/* Index of the field's word in `words`. */
static unsigned word_field(lua_State *L, int table, const char *name, const char *const *words,
                           unsigned count)
{
    struct tg_str word = string_field(L, table, name);
    unsigned i = 0;
    while (i < count && !tg_str_eq(word, tg_str_c(words[i])))
        i++;
    tg_assert(i < count);
    return i;
}

static void read_conditions(lua_State *L, int table, struct tg_route_spec *spec)
{
    static const char *const sources[] = {"header", "query", "cookie"};
    static const char *const kinds[] = {"present", "value", "regex"};
    lua_getfield(L, table, "conditions");
    if (lua_isnil(L, -1))
        return;
    int list = lua_gettop(L);
    spec->condition_count = lua_objlen(L, list);
    struct tg_route_condition *conditions =
        lua_newuserdata(L, (spec->condition_count + 1) * sizeof(*conditions));
    for (size_t i = 0; i < spec->condition_count; i++) {
        struct tg_route_condition *c = &conditions[i];
        lua_rawgeti(L, list, (int)i + 1);
        int item = lua_gettop(L);
        c->source = (enum tg_route_source)word_field(L, item, "source", sources, 3);
        c->kind = (enum tg_route_test_kind)word_field(L, item, "kind", kinds, 3);
        c->name = string_field(L, item, "name");
        c->values = tg_scratch_string_list(L, item, "values", &c->value_count);
    }
    spec->conditions = conditions;
}

/* As 16 bytes, IPv4 as the addresses that it is mapped to. */
static struct tg_route_network network_from(struct tg_str text)
{
    struct tg_route_network network = {.bytes = {[10] = 0xff, [11] = 0xff}};
    struct tg_cidr cidr;
    enum tg_err err = tg_cidr_parse(text, &cidr);
    tg_assert(err == TG_OK);
    memcpy(network.bytes + 16 - cidr.size, cidr.bytes, cidr.size);
    network.bits = (uint8_t)(cidr.bits + 8 * (16 - cidr.size));
    return network;
}

static void read_networks(lua_State *L, int table, struct tg_route_spec *spec)
{
    const struct tg_str *texts = tg_scratch_string_list(L, table, "networks", &spec->network_count);
    struct tg_route_network *networks =
        lua_newuserdata(L, (spec->network_count + 1) * sizeof(*networks));
    for (size_t i = 0; i < spec->network_count; i++)
        networks[i] = network_from(texts[i]);
    spec->networks = networks;
}

void tg_scratch_read_match(lua_State *L, int table, struct tg_route_spec *spec)
{
    lua_getfield(L, table, "priority");
    spec->priority = (int32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    spec->scheme = string_field(L, table, "scheme");
    read_conditions(L, table, spec);
    lua_getfield(L, table, "networks");
    if (!lua_isnil(L, -1))
        read_networks(L, table, spec);
    lua_getfield(L, table, "sni");
    if (!lua_isnil(L, -1))
        spec->snis = tg_scratch_string_list(L, table, "sni", &spec->sni_count);
}
