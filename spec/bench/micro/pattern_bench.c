/*
 * What find, match, gmatch and gsub of core/script/pattern_lua.c cost beside LuaJIT's own.
 *
 * Each case is a line of Lua such as a plugin would have, run in a loop with JIT compilation off,
 * as in plugin VMs, once with LuaJIT's functions and once with ours, in turns. A case's figure is
 * the ratio of the shortest CPU times; standard output has the geometric mean of all cases as the
 * figure `pattern.vs_luajit` (below 1: ours are faster), and the cases as comments.
 *
 * One thread; some two seconds. No arguments.
 */
#include "script/pattern_lua.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 7 };

struct bench_case {
    const char *name;
    int loops;
    const char *code;
};

/* clang-format off */
static const struct bench_case cases[] = {
    {"find plain", 20000, "find(agent, 'Firefox')"},
    {"find prefix", 20000, "find(path, '^/api/')"},
    {"find class", 20000, "find(agent, '%d+')"},
    {"find set", 20000, "find(agent, '[%(%)]')"},
    {"match captures", 20000, "match(path, '^/(%w+)/(v%d+)/')"},
    {"match pair", 20000, "match('Content-Type: text/html', '^([%w%-]+):%s*(.*)$')"},
    {"match lazy", 20000, "match(agent, '%((.-)%)')"},
    {"match trim", 20000, "match('   some words here   ', '^%s*(.-)%s*$')"},
    {"match back reference", 20000, "match(\"x = 'quoted text' y\", '([\"\\'])(.-)%1')"},
    {"match balanced", 20000, "match('f(a(b)c)(d)', '%b()')"},
    {"match frontier", 5000, "match('THE (quick) fox', '%f[%a]%a+%f[%A]', 5)"},
    {"match date", 20000, "match('2024-03-15T10:20:30Z', '^(%d%d%d%d)-(%d%d)-(%d%d)T')"},
    {"gmatch split", 5000, "for _ in gmatch('a=1&bb=22&ccc=333&dddd=4444', '[^&]+') do end"},
    {"gmatch pairs", 5000, "for _, _ in gmatch('a=1&bb=22&ccc=333', '([^&=]+)=([^&]*)') do end"},
    {"gmatch words, 4 KiB", 100, "for _ in gmatch(page, '%a+') do end"},
    {"gsub none", 20000, "gsub(path, '%s+', '')"},
    {"gsub template", 5000, "gsub(path, '/(%w+)', '<%1>')"},
    {"gsub escape, 4 KiB", 100, "gsub(page, '[<>&]', '*')"},
    {"gsub table", 5000, "gsub('a $b c $d', '%$(%w)', values)"},
    {"gsub function", 5000, "gsub('a%20b%2Fc', '%%(%x%x)', decode)"},
};
/* clang-format on */

static const char frame[] =
    "local find, match, gmatch, gsub = ...\n"
    "local agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0'\n"
    "local path = '/api/v1/users/12345/orders'\n"
    "local page = ('<p>some words & more</p>\\n'):rep(164) .. 'needle '\n"
    "local values = { b = 'B', d = 'D' }\n"
    "local char = string.char\n"
    "local function decode(hex) return char(tonumber(hex, 16)) end\n"
    "return function(n) for _ = 1, n do %s end return page, values, decode, agent, path end\n";

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Pushes the loop of a case over the library at stack index `lib`. */
static void push_loop(lua_State *L, const struct bench_case *bench, int lib)
{
    const char *text = lua_pushfstring(L, frame, bench->code);

    if (luaL_loadstring(L, text) != 0)
        lua_error(L);
    lua_getfield(L, lib, "find");
    lua_getfield(L, lib, "match");
    lua_getfield(L, lib, "gmatch");
    lua_getfield(L, lib, "gsub");
    lua_call(L, 4, 1);
    lua_remove(L, -2);
}

static double run_loop(lua_State *L, int loop, int loops)
{
    double start;

    lua_gc(L, LUA_GCCOLLECT, 0);
    start = cpu_seconds();
    lua_pushvalue(L, loop);
    lua_pushinteger(L, loops);
    lua_call(L, 1, 0);
    return cpu_seconds() - start;
}

/* Stack: 1 LuaJIT's functions, 2 ours. */
static double measure(lua_State *L, const struct bench_case *bench)
{
    double theirs = INFINITY, ours = INFINITY;

    push_loop(L, bench, 1);
    push_loop(L, bench, 2);
    for (int round = 0; round < ROUNDS; round++) {
        theirs = fmin(theirs, run_loop(L, 3, bench->loops));
        ours = fmin(ours, run_loop(L, 4, bench->loops));
    }
    lua_settop(L, 2);
    printf("# %-24s %8.1f ns, LuaJIT's %8.1f ns, ratio %.2f\n", bench->name,
           ours / bench->loops * 1e9, theirs / bench->loops * 1e9, ours / theirs);
    return ours / theirs;
}

static int run(lua_State *L)
{
    struct tg_pattern_hooks hooks = {0};
    size_t count = sizeof(cases) / sizeof(cases[0]);
    double sum = 0;

    lua_settop(L, 0); /* lua_cpcall's argument */
    luaL_openlibs(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_getglobal(L, "string");
    lua_newtable(L);
    tg_pattern_open(L, &hooks);
    for (size_t i = 0; i < count; i++)
        sum += log(measure(L, &cases[i]));
    printf("bench pattern.vs_luajit %.3f x\n", exp(sum / (double)count));
    return 0;
}

int main(void)
{
    lua_State *L = luaL_newstate();
    int status = L != NULL ? lua_cpcall(L, run, NULL) : LUA_ERRMEM;

    if (status != 0)
        fprintf(stderr, "pattern_bench: %s\n", L != NULL ? lua_tostring(L, -1) : "out of memory");
    if (L != NULL)
        lua_close(L);
    return status != 0;
}
