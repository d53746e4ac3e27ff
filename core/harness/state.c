/* state.c: see state.h. The walk is raw: no metamethod, and so no code of the plugin, runs. */
#include "base/banned.h"
#include "harness/state.h"

#include "base/hash.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16

static void visit(lua_State *L, struct tg_state *state, const char *name, int depth);

/* A number for the value at `index`. */
static uint64_t number_of(lua_State *L, int index)
{
    size_t n;
    const char *p;
    double number;
    const void *identity;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        p = lua_tolstring(L, index, &n);
        return tg_hash_bytes(p, n);
    case LUA_TNUMBER:
        number = lua_tonumber(L, index);
        return tg_hash_bytes(&number, sizeof(number));
    case LUA_TBOOLEAN:
        return lua_toboolean(L, index) ? 3 : 5;
    default:
        identity = lua_topointer(L, index);
        return tg_hash_bytes(&identity, sizeof(identity));
    }
}

/* False when it is known already, or one too many. */
static bool note(struct tg_state *state, const void *identity, const char *name)
{
    for (unsigned i = 0; i < state->count; i++) {
        if (state->tables[i].identity == identity)
            return false;
    }
    if (state->count == TG_STATE_TABLES)
        return false;
    struct tg_state_table *table = &state->tables[state->count++];
    table->identity = identity;
    table->sum = 0;
    (void)snprintf(table->name, sizeof(table->name), "%s", name);
    return true;
}

static void visit_table(lua_State *L, struct tg_state *state, const char *name, int depth)
{
    unsigned at = state->count;
    uint64_t sum = 0;
    char below[TG_STATE_NAME];
    if (!note(state, lua_topointer(L, -1), name))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        sum += (number_of(L, -2) | 1) * (number_of(L, -1) | 1);
        if (lua_type(L, -2) == LUA_TSTRING)
            (void)snprintf(below, sizeof(below), "%s.%s", name, lua_tostring(L, -2));
        else
            (void)snprintf(below, sizeof(below), "%s[…]", name);
        visit(L, state, below, depth);
        lua_pop(L, 1);
    }
    state->tables[at].sum = sum;
}

/* A function counts as a table of its upvalues, so that a changed one is seen too. */
static void visit_function(lua_State *L, struct tg_state *state, int depth)
{
    unsigned at = state->count;
    uint64_t sum = 0;
    if (lua_iscfunction(L, -1) || !note(state, lua_topointer(L, -1), ""))
        return;
    const char *name;
    for (int i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
        if (lua_type(L, -1) != LUA_TFUNCTION && lua_type(L, -1) != LUA_TTABLE) {
            sum += (uint64_t)i * (number_of(L, -1) | 1);
            (void)snprintf(state->tables[at].name, TG_STATE_NAME, "%s", name);
        }
        visit(L, state, name, depth);
        lua_pop(L, 1);
    }
    state->tables[at].sum = sum;
}

/* The value on top, which stays there. */
static void visit(lua_State *L, struct tg_state *state, const char *name, int depth)
{
    int type = lua_type(L, -1);
    if (depth == DEPTH_MAX || (type != LUA_TTABLE && type != LUA_TFUNCTION))
        return;
    luaL_checkstack(L, 8, NULL);
    if (type == LUA_TTABLE)
        visit_table(L, state, name, depth + 1);
    else
        visit_function(L, state, depth + 1);
}

struct taking {
    struct tg_vm *vm;
    struct tg_state *out;
};

static int take(lua_State *L)
{
    const struct taking *t = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_vm_plugin(t->vm));
    visit(L, t->out, "the plugin's table", 0);
    return 0;
}

void tg_state_take(struct tg_vm *vm, struct tg_state *out)
{
    struct tg_vm_error error;
    struct taking t = {vm, out};
    out->count = 0;
    if (tg_vm_call(vm, take, &t, &error) != TG_OK)
        out->count = 0;
}

const struct tg_state_table *tg_state_next_written(const struct tg_state *before,
                                                   const struct tg_state *after, unsigned *at)
{
    while (*at < after->count) {
        const struct tg_state_table *now = &after->tables[(*at)++];
        for (unsigned i = 0; i < before->count; i++) {
            const struct tg_state_table *was = &before->tables[i];
            if (was->identity == now->identity && was->sum != now->sum)
                return now;
        }
    }
    return NULL;
}
