/* pattern_lua.c: find, match and gmatch, and the opening of all four functions.
 *
 * find, match and the iterator of gmatch are C functions that run the matcher once; nothing calls
 * back into Lua. find looks for plain text where a pattern has no special character. gsub is in
 * pattern_gsub.c.
 */
#include "base/banned.h"
#include "script/pattern_lua.h"

#include "base/str.h"
#include "script/pattern.h"
#include "script/pattern_call.h"
#include "script/pattern_gsub.h"

#include <lauxlib.h>

/* Offset that argument 3 stands for: counted from 1, or back from the end when negative. */
static size_t check_init(lua_State *L, size_t n)
{
    lua_Number init = lua_isnoneornil(L, 3) ? 1 : luaL_checknumber(L, 3);

    if (init >= 1)
        return init - 1 >= (lua_Number)n ? n : (size_t)init - 1;
    if (init > -1 || -init >= (lua_Number)n || init != init)
        return 0;
    return n - (size_t)-init;
}

static int push_nil(lua_State *L)
{
    lua_pushnil(L);
    return 1;
}

static int push_range(lua_State *L, size_t from, size_t to)
{
    lua_pushinteger(L, (lua_Integer)from + 1);
    lua_pushinteger(L, (lua_Integer)to);
    return 2;
}

static bool match_once(lua_State *L, struct tg_pattern *m, struct tg_str s, struct tg_str p,
                       size_t init)
{
    tg_pattern_init(m, s, p, TG_PATTERN_CARET_ANCHORS, TG_PATTERN_STEPS_DEFAULT);
    return tg_pattern_find_charged(L, tg_pattern_hooks_of(L), TG_PATTERN_LEVEL_DIRECT, m, init);
}

static int l_find(lua_State *L)
{
    struct tg_pattern m;
    struct tg_str s = tg_pattern_check_str(L, 1), p = tg_pattern_check_str(L, 2);
    size_t at, init = check_init(L, s.n);

    if (tg_pattern_is_plain(p) || lua_toboolean(L, 4)) {
        at = tg_pattern_find_plain(s, p, init);
        return at == SIZE_MAX ? push_nil(L) : push_range(L, at, at + p.n);
    }
    if (!match_once(L, &m, s, p, init))
        return push_nil(L);
    return push_range(L, m.from, m.to) +
           tg_pattern_push_captures(L, TG_PATTERN_LEVEL_DIRECT, &m, 0);
}

static int l_match(lua_State *L)
{
    struct tg_pattern m;
    struct tg_str s = tg_pattern_check_str(L, 1), p = tg_pattern_check_str(L, 2);

    if (!match_once(L, &m, s, p, check_init(L, s.n)))
        return push_nil(L);
    return tg_pattern_push_captures(L, TG_PATTERN_LEVEL_DIRECT, &m, 1);
}

/* A loop over gmatch. The matcher is made anew in each round: it is several times the size. */
struct iterator {
    const struct tg_pattern_hooks *hooks; /* with the strings below kept alive by upvalues */
    struct tg_str s, p;
    size_t at; /* where to look from; beyond the subject when the loop is over */
};

/* Upvalues: iterator, and for the collector hooks, subject and pattern. */
static int gmatch_next(lua_State *L)
{
    struct iterator *it = lua_touserdata(L, lua_upvalueindex(1));
    struct tg_pattern m;
    size_t at = it->at;

    it->at = it->s.n + 1;
    if (at > it->s.n)
        return 0;
    tg_pattern_init(&m, it->s, it->p, TG_PATTERN_CARET_IS_CHAR, TG_PATTERN_STEPS_DEFAULT);
    if (!tg_pattern_find_charged(L, it->hooks, TG_PATTERN_LEVEL_DIRECT, &m, at))
        return 0;
    it->at = m.to + (m.to == m.from);
    return tg_pattern_push_captures(L, TG_PATTERN_LEVEL_DIRECT, &m, 1);
}

static int l_gmatch(lua_State *L)
{
    struct tg_str s = tg_pattern_check_str(L, 1), p = tg_pattern_check_str(L, 2);
    struct iterator *it = lua_newuserdata(L, sizeof(*it));

    *it = (struct iterator){tg_pattern_hooks_of(L), s, p, 0};
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* ---- Opening --------------------------------------------------------------------------------- */

void tg_pattern_open(lua_State *L, const struct tg_pattern_hooks *hooks)
{
    static const struct luaL_Reg functions[] = {
        {"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch}};
    int table = lua_gettop(L);

    luaL_checkstack(L, 16, "tg_pattern_open");
    memcpy(lua_newuserdata(L, sizeof(*hooks)), hooks, sizeof(*hooks));
    for (size_t i = 0; i < TG_COUNT_OF(functions); i++) {
        lua_pushvalue(L, table + 1);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, table, functions[i].name);
    }
    tg_pattern_push_gsub(L, table + 1);
    lua_setfield(L, table, "gsub");
    lua_settop(L, table);
}
