/* reader.c: see reader.h. */
#include "base/banned.h"
#include "config/reader.h"

#include "base/assert.h"

#include <lauxlib.h>
#include <math.h>

void *tg_reader_alloc(lua_State *L, struct tg_snapshot *snapshot, size_t count, size_t size)
{
    void *p = tg_snapshot_alloc(snapshot, count, size);
    if (p == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
    return p;
}

uint32_t tg_reader_list(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    tg_assert(lua_istable(L, -1));
    return (uint32_t)lua_objlen(L, -1);
}

int tg_reader_item(lua_State *L, int list, uint32_t i)
{
    lua_rawgeti(L, list, (int)i + 1);
    return lua_gettop(L);
}

static struct tg_str copy(lua_State *L, struct tg_snapshot *snapshot, int index)
{
    struct tg_str s = {NULL, 0};
    s.p = lua_tolstring(L, index, &s.n);
    tg_assert(s.p != NULL);
    s = tg_snapshot_copy(snapshot, s);
    if (s.p == NULL)
        luaL_error(L, TG_READER_NO_MEMORY);
    return s;
}

const struct tg_str *tg_reader_strs(lua_State *L, struct tg_snapshot *snapshot, int table,
                                    const char *name, uint32_t *count)
{
    *count = tg_reader_list(L, table, name);
    int list = lua_gettop(L);
    struct tg_str *strings = tg_reader_alloc(L, snapshot, *count, sizeof(*strings));
    for (uint32_t i = 0; i < *count; i++) {
        strings[i] = copy(L, snapshot, tg_reader_item(L, list, i));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return strings;
}

struct tg_str tg_reader_str(lua_State *L, struct tg_snapshot *snapshot, int table, const char *name)
{
    struct tg_str s = {"", 0};
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1))
        s = copy(L, snapshot, -1);
    lua_pop(L, 1);
    return s;
}

bool tg_reader_bool(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

double tg_reader_number(lua_State *L, int table, const char *name, double absent)
{
    lua_getfield(L, table, name);
    double value = lua_isnil(L, -1) ? absent : lua_tonumber(L, -1);
    lua_pop(L, 1);
    tg_assert(value >= 0 && value < 0x1p63);
    return value;
}

uint64_t tg_reader_count(lua_State *L, int table, const char *name, uint64_t absent)
{
    return (uint64_t)llround(tg_reader_number(L, table, name, (double)absent));
}

uint64_t tg_reader_time(lua_State *L, int table, const char *name, uint64_t absent)
{
    double scale = (double)TG_USEC_PER_SEC;
    return (uint64_t)llround(tg_reader_number(L, table, name, (double)absent / scale) * scale);
}

unsigned tg_reader_word(lua_State *L, const char *const *words, size_t count)
{
    struct tg_str word = tg_str_c(lua_tostring(L, -1));
    for (unsigned i = 0; i < count; i++) {
        if (tg_str_eq(word, tg_str_c(words[i])))
            return i;
    }
    tg_assert(false);
    return 0;
}
