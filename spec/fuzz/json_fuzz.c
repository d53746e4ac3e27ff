/*
 * Any bytes as JSON text: refused with an error table, or decoded; what was decoded can be written,
 * and what was written decodes and is written at the same length once more (the order of names is
 * that of a table's traversal). Encoding may refuse for size alone: the text that it makes of
 * control characters is up to six times as long.
 */
#include "base/banned.h"
#include "bind/json.h"

#include "library_fuzz.h"

static lua_State *state;

static int decode(lua_State *L)
{
    size_t n;
    const char *p = lua_tolstring(L, 1, &n);
    return tg_json_push_decoded(L, tg_str(p, n));
}

static int encode(lua_State *L)
{
    tg_json_push_encoded(L, 1);
    return 1;
}

/* Calls `fn` with the value on top of the stack; false when it raised. */
static bool call(lua_CFunction fn, int results)
{
    lua_pushcfunction(state, fn);
    lua_insert(state, -2);
    return lua_pcall(state, 1, results, 0) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    state = library_open("return true");
    lua_settop(state, 0);
    lua_pushlstring(state, (const char *)data, size);
    tg_assert(call(decode, 2));
    if (lua_istable(state, 2) && lua_isnil(state, 1)) {
        lua_getfield(state, 2, "message");
        tg_assert(lua_isstring(state, -1));
        return 0;
    }
    lua_settop(state, 1);
    if (!call(encode, 1)) {
        tg_assert(size > TG_JSON_BYTES / 8);
        return 0;
    }
    lua_pushvalue(state, 1);
    tg_assert(call(decode, 1) && call(encode, 1));
    tg_assert(lua_objlen(state, 1) == lua_objlen(state, 2));
    return 0;
}
