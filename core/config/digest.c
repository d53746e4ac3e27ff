/* digest.c: see digest.h.
 *
 * The walk is raw: it calls nothing of the script. It ends at a depth and at a number of values,
 * which is what ends it in tables that hold themselves; two evaluations meet these bounds alike, or
 * differ and are then compared one by one.
 */
#include "base/banned.h"
#include "config/digest.h"

#include "base/hash.h"

#include <lauxlib.h>

#define DEPTH_MAX  64
#define VALUES_MAX 1000000

struct walk {
    lua_State *L;
    uint32_t left; /* values that may still be looked at */
};

static uint64_t join(uint64_t a, uint64_t b)
{
    return tg_hash_keyed((struct tg_hash_key){a, b}, "", 0);
}

static uint64_t of_bytes(int type, const void *p, size_t n)
{
    return tg_hash_keyed((struct tg_hash_key){(uint64_t)type, n}, p, n);
}

static uint64_t of_value(struct walk *w, int index, int depth);

static uint64_t of_field(struct walk *w, int table, const char *name)
{
    lua_getfield(w->L, table, name);
    uint64_t digest = of_value(w, lua_gettop(w->L), DEPTH_MAX);
    lua_pop(w->L, 1);
    return digest;
}

/* The object at the top, which a handle stands for. */
static uint64_t of_object(struct walk *w)
{
    int object = lua_gettop(w->L);
    return join(of_field(w, object, "kind"),
                join(of_field(w, object, "secret"), of_field(w, object, "name")));
}

static uint64_t of_table(struct walk *w, int index, int depth)
{
    lua_State *L = w->L;
    uint64_t sum = 0;
    if (depth >= DEPTH_MAX)
        return LUA_TTABLE;
    luaL_checkstack(L, 4, "a digest");
    lua_pushvalue(L, index);
    lua_rawget(L, 1);
    bool is_handle = lua_istable(L, -1);
    uint64_t digest = is_handle ? of_object(w) : LUA_TTABLE;
    lua_pop(L, 1);
    if (is_handle)
        return digest;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        int key = lua_gettop(L) - 1;
        sum += join(of_value(w, key, depth + 1), of_value(w, key + 1, depth + 1));
    }
    return join(digest, sum);
}

static uint64_t of_value(struct walk *w, int index, int depth)
{
    int type = lua_type(w->L, index);
    size_t n;
    if (w->left == 0)
        return 0;
    w->left--;
    if (type == LUA_TSTRING) {
        const char *p = lua_tolstring(w->L, index, &n);
        return of_bytes(type, p, n);
    }
    if (type == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(w->L, index);
        return of_bytes(type, &number, sizeof(number));
    }
    if (type == LUA_TTABLE)
        return of_table(w, index, depth);
    return join((uint64_t)type, (uint64_t)lua_toboolean(w->L, index));
}

int tg_digest_values(lua_State *L)
{
    struct walk w = {L, VALUES_MAX};
    uint64_t digest = 0;
    int count = lua_gettop(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    for (int i = 2; i <= count; i++)
        digest = join(digest, of_value(&w, i, 0));
    lua_pushnumber(L, (lua_Number)(digest >> 11)); /* as many bits as a number holds */
    return 1;
}
