/* dict.c: tg.dict: values that plugins share across workers and reloads: store/dict.h for Lua.
 *
 * Arguments are checked and values built first, the step on the zone comes last, so that an error
 * leaves the zone as it was.
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "store/dict.h"

#include <math.h>

static const char *const set_options[] = {"ttl", NULL};
static const char *const incr_options[] = {"init", "ttl", NULL};

static uint64_t now_of(lua_State *L)
{
    return tg_bind_clock(L)->mono;
}

static uint64_t ttl_of(lua_State *L, int n)
{
    uint64_t ttl = 0;
    tg_bind_option_duration(L, n, "ttl", &ttl);
    return ttl;
}

int tg_api_tg_dict(lua_State *L)
{
    return tg_bind_push_zone(L, TG_ZONE_DICT, TG_SCOPE_DICT);
}

int tg_api_dict_get(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    struct tg_zone_value value;
    tg_dict_get(dict->zone, key, now_of(L), &value);
    return tg_bind_push_value(L, &value);
}

/* A value that is none is a mistake: a key is removed by delete(). */
static void take_some_value(lua_State *L, int n, struct tg_zone_value *value)
{
    if (lua_isnoneornil(L, tg_bind_arg_index(L, n)))
        tg_bind_arg_error(L, n, "expected a value, got nil; delete() removes a key");
    tg_bind_take_value(L, n, value);
}

int tg_api_dict_set(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    struct tg_zone_value value;
    tg_bind_check_options(L, 3, set_options);
    uint64_t ttl = ttl_of(L, 3);
    take_some_value(L, 2, &value);
    return tg_bind_push_stored(L, tg_dict_set(dict->zone, key, &value, ttl, now_of(L)));
}

int tg_api_dict_add(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    struct tg_zone_value value;
    tg_bind_check_options(L, 3, set_options);
    uint64_t ttl = ttl_of(L, 3);
    take_some_value(L, 2, &value);
    enum tg_err err = tg_dict_add(dict->zone, key, &value, ttl, now_of(L));
    if (err != TG_E_EXISTS)
        return tg_bind_push_stored(L, err);
    lua_pushboolean(L, 0);
    return 1;
}

static double finite_number(lua_State *L, int index, int n, const char *what)
{
    if (lua_type(L, index) != LUA_TNUMBER || !isfinite(lua_tonumber(L, index)))
        tg_bind_arg_error(L, n, what);
    return lua_tonumber(L, index);
}

/* The option `init`: false when it is not given. */
static bool init_of(lua_State *L, double *init)
{
    if (!tg_bind_arg_table(L, 3, true))
        return false;
    lua_pushliteral(L, "init");
    lua_rawget(L, tg_bind_arg_index(L, 3));
    bool given = !lua_isnil(L, -1);
    if (given)
        *init = finite_number(L, -1, 3, "init: expected a finite number");
    lua_pop(L, 1);
    return given;
}

int tg_api_dict_incr(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    double by = 1;
    double init = 0;
    double sum = 0;
    if (!lua_isnoneornil(L, 3))
        by = finite_number(L, 3, 2, "expected a finite number");
    tg_bind_check_options(L, 3, incr_options);
    bool with_init = init_of(L, &init);
    uint64_t ttl = ttl_of(L, 3);
    enum tg_err err =
        tg_dict_incr(dict->zone, key, by, with_init ? &init : NULL, ttl, now_of(L), &sum);
    if (err == TG_E_NOT_FOUND)
        return tg_bind_fail(L, "not_found", "there is no such key; init says where to begin");
    if (err == TG_E_INVALID)
        return tg_bind_fail(L, "bad_input", "the value under the key is not a number");
    if (err != TG_OK)
        return tg_bind_push_stored(L, err);
    lua_pushnumber(L, sum);
    return 1;
}

int tg_api_dict_cas(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    struct tg_zone_value expected;
    struct tg_zone_value value;
    char room[192];
    uint64_t ttl = 0;
    bool swapped;
    tg_bind_check_options(L, 4, set_options);
    bool with_ttl = tg_bind_option_duration(L, 4, "ttl", &ttl);
    if (lua_istable(L, 3))
        tg_bind_arg_error(L, 2, "expected a string, a number, a boolean or nil, got a table");
    tg_bind_take_value(L, 3, &value);
    const char *why = tg_bind_take_at(L, 3, "expected", &expected, room, sizeof(room));
    if (why != NULL) {
        tg_zone_value_release(&value);
        tg_bind_arg_error(L, 2, why);
    }
    enum tg_err err = tg_dict_cas(dict->zone, key, &expected, &value, with_ttl ? &ttl : NULL,
                                  now_of(L), &swapped);
    tg_zone_value_release(&expected);
    if (err != TG_OK)
        return tg_bind_push_stored(L, err);
    lua_pushboolean(L, swapped);
    return 1;
}

int tg_api_dict_delete(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    lua_pushboolean(L, tg_dict_delete(dict->zone, key, now_of(L)));
    return 1;
}

int tg_api_dict_ttl(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *dict = tg_bind_check_zone(L, &key);
    uint64_t left;
    if (!tg_dict_ttl(dict->zone, key, now_of(L), &left))
        lua_pushnil(L);
    else
        lua_pushnumber(L, left == 0 ? HUGE_VAL : (double)left / (double)TG_USEC_PER_SEC);
    return 1;
}
