/* json_encode.c: Lua values as JSON text: see json.h.
 *
 * The writer of base/json wants room that does not move, and a Lua error may strike at any call, so
 * nothing here is allocated outside of Lua: a first pass writes into the C stack; when that is too
 * small it has counted what it takes, and the value is written again into a userdata of that size.
 *
 * Time. Values and bytes are bounded, but a table without values may have room for a million, and
 * lua_next() looks into every place; the same one may stand in a list many times. So values ask now
 * and then whether the plugin has CPU time left.
 */
#include "base/banned.h"
#include "bind/json.h"

#include "base/json.h"
#include "bind/object.h"

#define FIRST_ROOM 2048
#define ASK_EVERY  64 /* values between two questions for the time */

struct encoder {
    lua_State *L;
    struct tg_fmt f;
    struct tg_json j;
    uint32_t depth;
    uint32_t nodes;
};

static void encode_value(struct encoder *e, int index);

/* The list's length when the keys are 1..n and nothing else, else -1. The table is at `index`. */
static int list_length(lua_State *L, int index)
{
    size_t n = lua_objlen(L, index);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        lua_Number key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (!(key >= 1 && key <= (lua_Number)n) || key != (lua_Number)(size_t)key) {
            lua_pop(L, 2);
            return -1;
        }
        count++;
    }
    return count == n && n < INT32_MAX ? (int)n : -1;
}

static void encode_list(struct encoder *e, int index, int n)
{
    tg_json_begin_array(&e->j);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(e->L, index, i);
        encode_value(e, lua_gettop(e->L));
        lua_pop(e->L, 1);
    }
    tg_json_end_array(&e->j);
}

static void encode_object(struct encoder *e, int index)
{
    lua_State *L = e->L;
    tg_json_begin_object(&e->j);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        size_t n;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "JSON: a table has keys that are neither all strings nor 1..n");
        const char *p = lua_tolstring(L, -2, &n);
        tg_json_key(&e->j, tg_str(p, n));
        encode_value(e, lua_gettop(L));
    }
    tg_json_end_object(&e->j);
}

static void encode_table(struct encoder *e, int index)
{
    lua_State *L = e->L;
    luaL_checkstack(L, 8, NULL);
    if (++e->depth > TG_JSON_DEPTH)
        luaL_error(L, "JSON: nested more than %d levels deep", TG_JSON_DEPTH);
    bool marked = tg_bind_is_marked_list(L, index);
    int n = list_length(L, index);
    if (marked && n < 0)
        luaL_error(L, "JSON: a list of tg.json.array() has keys besides 1..n");
    if (n > 0 || marked)
        encode_list(e, index, n);
    else
        encode_object(e, index);
    e->depth--;
}

static void encode_number(struct encoder *e, lua_Number value)
{
    if (value != value || value - value != 0)
        luaL_error(e->L, "JSON: a number that is not finite");
    if (value > -1e15 && value < 1e15 && value == (lua_Number)(int64_t)value)
        tg_json_i64(&e->j, (int64_t)value);
    else
        tg_json_double(&e->j, value);
}

static void encode_value(struct encoder *e, int index)
{
    lua_State *L = e->L;
    size_t n;
    const char *p;
    if (++e->nodes > TG_JSON_NODES)
        luaL_error(L, "JSON: more than %d values", TG_JSON_NODES);
    if (e->nodes % ASK_EVERY == 0)
        tg_run_end_if_spent(L);
    if (e->f.n + e->f.missing > TG_JSON_BYTES)
        luaL_error(L, "JSON: the text would be longer than 8 MiB");
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        p = lua_tolstring(L, index, &n);
        tg_json_str(&e->j, tg_str(p, n));
        return;
    case LUA_TNUMBER:
        encode_number(e, lua_tonumber(L, index));
        return;
    case LUA_TBOOLEAN:
        tg_json_bool(&e->j, lua_toboolean(L, index) != 0);
        return;
    case LUA_TTABLE:
        encode_table(e, index);
        return;
    case LUA_TNIL:
        tg_json_null(&e->j);
        return;
    default:
        if (!tg_bind_is_null(L, index))
            luaL_error(L, "JSON: a %s cannot be written", luaL_typename(L, index));
        tg_json_null(&e->j);
    }
}

/* Writes into `size` bytes at `room`; how many it takes, which may be more. */
static size_t encode_into(struct encoder *e, int index, char *room, size_t size)
{
    tg_fmt_init(&e->f, room, size);
    tg_json_init(&e->j, &e->f);
    e->depth = 0;
    e->nodes = 0;
    encode_value(e, index);
    return e->f.n + e->f.missing;
}

void tg_json_push_encoded(lua_State *L, int index)
{
    struct encoder e = {.L = L};
    char first[FIRST_ROOM];
    luaL_checkstack(L, 8, NULL);
    size_t size = encode_into(&e, index, first, sizeof(first));
    if (size <= sizeof(first)) {
        lua_pushlstring(L, e.f.p, e.f.n);
        return;
    }
    if (size > TG_JSON_BYTES)
        luaL_error(L, "JSON: the text would be longer than 8 MiB");
    encode_into(&e, index, lua_newuserdata(L, size), size);
    lua_pushlstring(L, e.f.p, e.f.n);
    lua_replace(L, -2);
}
