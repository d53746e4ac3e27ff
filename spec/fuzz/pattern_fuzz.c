/*
 * Fuzzes the pattern functions against LuaJIT's own: results, captures and errors must agree.
 *
 * Input: a byte with the length of the pattern, the pattern, a byte with the length of the
 * replacement, the replacement, and the subject. LuaJIT takes exponential time for some patterns,
 * so subjects are cut to 24 bytes and inputs with more than four quantifiers are skipped; so are
 * zero bytes in patterns, where we differ on purpose (core/script/pattern.h). spec/core/script/
 * pattern_oracle.lua makes the calls; the driver runs from the top of the repository.
 */

#include "base/banned.h"
#include "base/str.h"
#include "script/pattern_lua.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>

enum { SUBJECT_MAX = 24, PATTERN_MAX = 40, QUANTIFIERS_MAX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The comparing function, alone on the stack of the state; made at the first input. */
static lua_State *oracle(void)
{
    static lua_State *L;
    struct tg_pattern_hooks hooks = {0};

    if (L != NULL)
        return L;
    L = luaL_newstate();
    if (L == NULL)
        abort();
    luaL_openlibs(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (luaL_loadfile(L, "spec/core/script/pattern_oracle.lua") != 0) {
        fprintf(stderr, "pattern_fuzz: %s\n", lua_tostring(L, -1));
        abort();
    }
    lua_getglobal(L, "string");
    lua_newtable(L);
    tg_pattern_open(L, &hooks);
    lua_call(L, 2, 1);
    return L;
}

static bool is_cheap(struct tg_str pattern)
{
    int quantifiers = 0;

    for (size_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] == '\0')
            return false;
        quantifiers += strchr("*+-?", pattern.p[i]) != NULL;
    }
    return pattern.n <= PATTERN_MAX && quantifiers <= QUANTIFIERS_MAX;
}

/* Takes a string with its length in front off the input. */
static struct tg_str take(struct tg_str *input)
{
    size_t n = input->n > 0 ? (uint8_t)input->p[0] : 0;
    struct tg_str taken = tg_str_sub(*input, 1, 1 + n);

    *input = tg_str_sub(*input, 1 + n, input->n);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str input = tg_str((const char *)data, size);
    struct tg_str pattern = take(&input), repl = take(&input);
    struct tg_str subject = tg_str_sub(input, 0, SUBJECT_MAX);
    lua_State *L = oracle();

    if (!is_cheap(pattern))
        return 0;
    lua_pushvalue(L, 1);
    lua_pushlstring(L, subject.p, subject.n);
    lua_pushlstring(L, pattern.p, pattern.n);
    lua_pushlstring(L, repl.p, repl.n);
    lua_call(L, 3, 2);
    if (lua_isnil(L, -2)) {
        fprintf(stderr, "pattern_fuzz: %s\n", lua_tostring(L, -1));
        abort();
    }
    lua_settop(L, 1);
    return 0;
}
