/* sandbox.c: what a plugin may call, and what it may not find.
 *
 * Lua's own libraries are opened into a state that the plugin never sees; what is harmless is
 * copied by name from the lists below into tables of the sandbox, and the rest stays behind.
 * Missing on purpose, with what it would allow:
 *
 *   load, loadstring, loadfile, dofile, string.dump   bytecode, which LuaJIT does not verify
 *   debug, getfenv, setfenv                           the host's functions and registry
 *   ffi, jit, package, module, io, most of os         memory, native code, files, processes
 *   newproxy                                          finalisers: Lua code that no hook can stop
 *   collectgarbage but "count"                        a collector that is stopped or stalled
 *   coroutine.running in the outermost coroutine      a handle on the host's own coroutine
 *
 * Replaced: pcall, xpcall, print, coroutine.* and table.sort (sandbox.lua), getmetatable (tables
 * only), rawset (not on protected tables), require, os.time/date/clock (the gateway's clock),
 * table.new (bounded), table.insert (its loop ends with the CPU budget), find/match/gmatch/gsub
 * (bounded steps), tostring and string.char, lower, reverse, sub, upper (safe_text.h: a refusal
 * inside LuaJIT's own may crash).
 *
 * Tables have no finalisers in this Lua, so setmetatable needs no more than its own check of
 * __metatable.
 */
#include "base/banned.h"
#include "script/sandbox.h"

#include "base/assert.h"
#include "base/embed.h"
#include "script/coroutine.h"
#include "script/hook.h"
#include "script/pattern_lua.h"
#include "script/safe_text.h"
#include "script/state.h"

#include <lualib.h>

#define TABLE_NEW_MAX  65536
#define PRINT_LINE_MAX 2048
#define DATE_MAX       256
#define TIME_FIELD_MAX 1e9
#define MOVES_UNASKED  4096 /* items moved between two questions for the time */

static const char *const base_names[] = {
    "assert",       "error",    "ipairs",   "next", "pairs",  "rawequal", "rawget", "select",
    "setmetatable", "tonumber", "tostring", "type", "unpack", "_VERSION", NULL,
};
static const char *const kernel_names[] = {"pcall", "xpcall", "print", NULL};
static const char *const string_names[] = {
    "byte",  "char",  "find", "format",  "gmatch", "gsub",  "len",
    "lower", "match", "rep",  "reverse", "sub",    "upper", NULL,
};
static const char *const table_names[] = {"concat", "maxn", "move", "remove", NULL};

/* ---- Replacements of base functions ---------------------------------------------------------- */

static int sandbox_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (!luaL_getmetafield(L, 1, "__metatable") && !lua_getmetatable(L, 1))
        lua_pushnil(L);
    return 1;
}

static int sandbox_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    if (luaL_getmetafield(L, 1, "__metatable"))
        return luaL_error(L, "rawset: the table is protected");
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int sandbox_collectgarbage(lua_State *L)
{
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "count") != 0)
        return luaL_error(L, "collectgarbage(\"%s\") is not available; only \"count\" is", what);
    lua_pushnumber(L, (lua_Number)tg_alloc_used(tg_vm_inline(L)->alloc) / 1024);
    return 1;
}

/* What print() made of its arguments goes to the host as one line. */
static int print_line(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    struct tg_str line;
    line.p = luaL_checklstring(L, 1, &line.n);
    line.n = TG_MIN(line.n, (size_t)PRINT_LINE_MAX);
    if (vm->options.on_print != NULL)
        vm->options.on_print(vm->options.arg, vm->current, line);
    return 0;
}

static int sandbox_table_new(lua_State *L)
{
    lua_Number list = luaL_optnumber(L, 1, 0);
    lua_Number pairs = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, list >= 0, 1, "must not be negative");
    luaL_argcheck(L, pairs >= 0, 2, "must not be negative");
    lua_createtable(L, (int)TG_MIN(list, TABLE_NEW_MAX), (int)TG_MIN(pairs, TABLE_NEW_MAX));
    return 1;
}

/* Moves the items from `at` on up by one. There may be far more of them than the table holds: the
 * length of a table with holes is any of its ends, up to 2^31. */
static void make_place(lua_State *L, int at, int length)
{
    for (int i = length; i >= at; i--) {
        lua_rawgeti(L, 1, i);
        lua_rawseti(L, 1, i + 1);
        if (i % MOVES_UNASKED == 0)
            tg_run_end_if_spent(L);
    }
}

static int sandbox_table_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int count = lua_gettop(L);
    int length = (int)TG_MIN(lua_objlen(L, 1), (size_t)INT_MAX - 1);
    int at = length + 1;
    if (count == 3) {
        lua_Number place = luaL_checknumber(L, 2);
        luaL_argcheck(L, place >= 1 && place < INT_MAX, 2, "position out of bounds");
        at = (int)place;
        make_place(L, at, length);
    } else if (count != 2) {
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_rawseti(L, 1, at);
    return 0;
}

/* ---- Time ------------------------------------------------------------------------------------ */

static int64_t seconds_now(lua_State *L)
{
    uint64_t seconds = tg_vm_inline(L)->options.clock->real / TG_USEC_PER_SEC;
    return (int64_t)seconds;
}

static int optional_field(lua_State *L, const char *key, int fallback)
{
    lua_getfield(L, 1, key);
    if (lua_isnil(L, -1) && fallback < 0)
        return luaL_error(L, "os.time: field '%s' is missing", key);
    if (!lua_isnil(L, -1) && !lua_isnumber(L, -1))
        return luaL_error(L, "os.time: field '%s' must be a number", key);
    lua_Number value = lua_isnil(L, -1) ? fallback : lua_tonumber(L, -1);
    if (!(value > -TIME_FIELD_MAX && value < TIME_FIELD_MAX)) /* NaN too */
        return luaL_error(L, "os.time: field '%s' is out of range", key);
    lua_pop(L, 1);
    return (int)value;
}

/* Time is UTC here, in and out: what a plugin computes does not depend on the machine's zone. */
static int sandbox_time(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, (lua_Number)seconds_now(L));
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tm tm = {
        .tm_sec = optional_field(L, "sec", 0),
        .tm_min = optional_field(L, "min", 0),
        .tm_hour = optional_field(L, "hour", 12),
        .tm_mday = optional_field(L, "day", -1),
        .tm_mon = optional_field(L, "month", -1) - 1,
        .tm_year = optional_field(L, "year", -1) - 1900,
    };
    lua_pushnumber(L, (lua_Number)timegm(&tm));
    return 1;
}

static void set_field(lua_State *L, const char *key, int value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static void push_date_table(lua_State *L, const struct tm *tm)
{
    lua_createtable(L, 0, 9);
    set_field(L, "year", tm->tm_year + 1900);
    set_field(L, "month", tm->tm_mon + 1);
    set_field(L, "day", tm->tm_mday);
    set_field(L, "hour", tm->tm_hour);
    set_field(L, "min", tm->tm_min);
    set_field(L, "sec", tm->tm_sec);
    set_field(L, "wday", tm->tm_wday + 1);
    set_field(L, "yday", tm->tm_yday + 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "isdst");
}

static int sandbox_date(lua_State *L)
{
    const char *format = luaL_optstring(L, 1, "%c");
    lua_Number at = luaL_optnumber(L, 2, (lua_Number)seconds_now(L));
    luaL_argcheck(L, at > -1e11 && at < 1e11, 2, "time out of range");
    time_t seconds = (time_t)at;
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL)
        return luaL_error(L, "os.date: time out of range");
    if (*format == '!')
        format++;
    if (strcmp(format, "*t") == 0) {
        push_date_table(L, &tm);
        return 1;
    }
    luaL_argcheck(L, strlen(format) < DATE_MAX, 1, "format too long");
    char out[DATE_MAX * 16];
    size_t n = strftime(out, sizeof(out), format, &tm);
    if (n == 0 && *format != '\0')
        return luaL_error(L, "os.date: \"%s\" makes no text, or more than %d bytes", format,
                          (int)sizeof(out) - 1);
    lua_pushlstring(L, out, n);
    return 1;
}

static int sandbox_clock(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)tg_vm_inline(L)->options.clock->mono / (double)TG_USEC_PER_SEC);
    return 1;
}

/* ---- require --------------------------------------------------------------------------------- */

/* "a -> b -> a" for the message about a cycle. */
static int raise_cycle(lua_State *L, const struct tg_vm *vm, const char *name)
{
    luaL_Buffer chain;
    luaL_buffinit(L, &chain);
    for (unsigned i = 0; i < vm->require_depth; i++) {
        luaL_addstring(&chain, vm->requiring[i]);
        luaL_addstring(&chain, " -> ");
    }
    luaL_addstring(&chain, name);
    luaL_pushresult(&chain);
    return luaL_error(L, "require: modules need each other: %s", lua_tostring(L, -1));
}

static void find_module(lua_State *L, struct tg_vm *vm, struct tg_str name,
                        struct tg_vm_module *module)
{
    if (vm->frozen)
        luaL_error(L, "require \"%s\": modules are loaded at start only; require it at file level",
                   name.p);
    if (vm->require_depth == TG_VM_REQUIRE_DEPTH)
        luaL_error(L, "require \"%s\": more than %d modules deep", name.p, TG_VM_REQUIRE_DEPTH);
    for (unsigned i = 0; i < vm->require_depth; i++)
        if (strcmp(vm->requiring[i], name.p) == 0)
            raise_cycle(L, vm, name.p);
    if (vm->options.resolve == NULL || !vm->options.resolve(vm->options.arg, name, module))
        luaL_error(L,
                   "require \"%s\": no such module; a plugin may require \"tidegate\", "
                   "\"tidegate.*\" and files in its own directory",
                   name.p);
}

/* Compiles and runs the module; its value is left on the stack. */
static void load_module(lua_State *L, struct tg_vm *vm, struct tg_str name)
{
    struct tg_vm_module module = {0};
    char file[TG_VM_FILE_MAX];
    find_module(L, vm, name, &module);
    snprintf(file, sizeof(file), "@%.*s", TG_STR_ARG(module.name));
    if (tg_sandbox_load(L, module.text.p, module.text.n, file) != 0)
        luaL_error(L, "require \"%s\": %s", name.p, lua_tostring(L, -1));
    vm->requiring[vm->require_depth++] = name.p;
    lua_pushvalue(L, 1);
    int status = lua_pcall(L, 1, 1, 0);
    vm->require_depth--;
    if (status != 0 && tg_vm_is_sticky(vm))
        tg_hook_raise_sticky(L);
    if (status != 0)
        lua_error(L);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
}

static int sandbox_require(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    struct tg_str name;
    name.p = luaL_checklstring(L, 1, &name.n);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->modules_ref);
    lua_pushvalue(L, 1);
    lua_rawget(L, 2);
    if (!lua_isnil(L, -1))
        return 1;
    lua_pop(L, 1);
    load_module(L, vm, name);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

/* ---- Globals --------------------------------------------------------------------------------- */

static int on_undeclared(lua_State *L)
{
    return luaL_error(L, "undeclared global \"%s\"",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static int on_global_write(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    if (vm->frozen)
        return luaL_error(
            L,
            "global \"%s\" written after the plugin was loaded; keep state in a local "
            "or in ctx.state",
            lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals_ref);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    return 0;
}

/* Copies the named fields of the table at `from` into the one on top. */
static void copy_fields(lua_State *L, int from, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_getfield(L, from, *names);
        lua_setfield(L, -2, *names);
    }
}

/* The same for all fields with string keys. */
static void copy_all(lua_State *L, int from)
{
    lua_pushnil(L);
    while (lua_next(L, from) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

static void set_function(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_pushcfunction(L, fn);
    lua_setfield(L, -2, name);
}

/* A pattern took more steps than the activation may take in all. */
static void on_pattern_exceeded(lua_State *L, void *arg)
{
    (void)arg;
    tg_run_raise_kill(L, TG_KILL_PATTERN);
}

/* string, with the metatable of all strings pointing at it. */
static void add_string(lua_State *L, int globals, int host)
{
    lua_getfield(L, host, "string");
    lua_newtable(L);
    copy_fields(L, lua_gettop(L) - 1, string_names);
    struct tg_pattern_hooks hooks = {&tg_vm_inline(L)->pattern_steps, on_pattern_exceeded, NULL};
    tg_pattern_open(L, &hooks);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
    lua_setfield(L, globals, "string");
    lua_pop(L, 1);
}

static void add_table(lua_State *L, int globals, int host, int kernel)
{
    lua_getfield(L, host, "table");
    lua_newtable(L);
    copy_fields(L, lua_gettop(L) - 1, table_names);
    set_function(L, "new", sandbox_table_new);
    set_function(L, "insert", sandbox_table_insert);
    lua_getfield(L, kernel, "sort");
    lua_setfield(L, -2, "sort");
    lua_setfield(L, globals, "table");
    lua_pop(L, 1);
}

static void add_plain_library(lua_State *L, int globals, int host, const char *name)
{
    lua_getfield(L, host, name);
    lua_newtable(L);
    copy_all(L, lua_gettop(L) - 1);
    lua_setfield(L, globals, name);
    lua_pop(L, 1);
}

static int on_missing_os(lua_State *L)
{
    return luaL_error(L, "a plugin has no os.%s, only os.time, os.date and os.clock",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static void add_os(lua_State *L, int globals)
{
    lua_newtable(L);
    set_function(L, "time", sandbox_time);
    set_function(L, "date", sandbox_date);
    set_function(L, "clock", sandbox_clock);
    lua_createtable(L, 0, 2);
    set_function(L, "__index", on_missing_os);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setfield(L, globals, "os");
}

static void add_coroutine(lua_State *L, int globals, int kernel)
{
    lua_newtable(L);
    tg_coroutine_register(L);
    lua_getfield(L, kernel, "resume");
    lua_setfield(L, -2, "resume");
    lua_getfield(L, kernel, "wrap");
    lua_setfield(L, -2, "wrap");
    lua_setfield(L, globals, "coroutine");
}

static void add_base(lua_State *L, int globals, int host, int kernel)
{
    lua_pushvalue(L, globals);
    copy_fields(L, host, base_names);
    set_function(L, "getmetatable", sandbox_getmetatable);
    set_function(L, "rawset", sandbox_rawset);
    set_function(L, "collectgarbage", sandbox_collectgarbage);
    set_function(L, "require", sandbox_require);
    copy_fields(L, kernel, kernel_names);
    lua_pop(L, 1);
}

/* Runs sandbox.lua with the raw functions; its table is left on the stack. */
static void push_kernel(lua_State *L, int host)
{
    static const char *const raw_names[] = {"pcall", "error", "select", "tostring", "type", NULL};
    static const char *const raw_table_names[] = {"sort", "concat", NULL};
    const struct tg_embed *file = tg_embed_find(TG_SANDBOX_FILE);
    tg_assert(file != NULL);
    if (luaL_loadbuffer(L, file->data, file->size, "=" TG_SANDBOX_FILE) != 0)
        lua_error(L);
    lua_newtable(L);
    copy_fields(L, host, raw_names);
    lua_getfield(L, host, "coroutine");
    lua_getfield(L, -1, "yield");
    lua_setfield(L, -3, "yield");
    lua_pop(L, 1);
    lua_getfield(L, host, "table");
    lua_insert(L, -2);
    copy_fields(L, lua_gettop(L) - 1, raw_table_names);
    lua_remove(L, -2);
    lua_newtable(L);
    tg_coroutine_register_kernel(L);
    set_function(L, "print_line", print_line);
    lua_call(L, 2, 1);
}

/* The empty table in front of the globals, on which reads and writes are seen. */
static void make_environment(lua_State *L, int globals)
{
    struct tg_vm *vm = tg_vm_inline(L);
    lua_newtable(L);
    lua_newtable(L);
    set_function(L, "__index", on_undeclared);
    lua_setmetatable(L, globals);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, globals);
    lua_setfield(L, -2, "__index");
    set_function(L, "__newindex", on_global_write);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "_G");
    vm->env_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, globals);
    vm->globals_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void open_host_libraries(lua_State *L)
{
    static const luaL_Reg libraries[] = {
        {"", luaopen_base},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_BITLIBNAME, luaopen_bit},
    };
    for (unsigned i = 0; i < TG_COUNT_OF(libraries); i++) {
        lua_pushcfunction(L, libraries[i].func);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    lua_getglobal(L, LUA_STRLIBNAME);
    tg_safe_text_open(L);
    lua_setglobal(L, "tostring");
    lua_pop(L, 1);
}

void tg_sandbox_open(lua_State *L)
{
    struct tg_vm *vm = tg_vm_inline(L);
    int top = lua_gettop(L);
    open_host_libraries(L);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    int host = lua_gettop(L);
    tg_coroutine_open(L);
    push_kernel(L, host);
    int kernel = lua_gettop(L);
    lua_newtable(L);
    int globals = lua_gettop(L);
    add_base(L, globals, host, kernel);
    add_string(L, globals, host);
    add_table(L, globals, host, kernel);
    add_plain_library(L, globals, host, "math");
    add_plain_library(L, globals, host, "bit");
    add_os(L, globals);
    add_coroutine(L, globals, kernel);
    make_environment(L, globals);
    lua_newtable(L);
    vm->modules_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, top);
}

void tg_sandbox_push_env(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_vm_inline(L)->env_ref);
}

void tg_sandbox_freeze(lua_State *L)
{
    tg_vm_inline(L)->frozen = true;
}

struct chunk {
    const char *text;
    size_t n;
};

static const char *read_chunk(lua_State *L, void *arg, size_t *n)
{
    struct chunk *chunk = arg;
    (void)L;
    *n = chunk->n;
    chunk->n = 0;
    return *n > 0 ? chunk->text : NULL;
}

int tg_sandbox_load(lua_State *L, const char *text, size_t n, const char *name)
{
    struct chunk chunk = {text, n};
    int status = lua_loadx(L, read_chunk, &chunk, name, "t");
    if (status != 0)
        return status;
    tg_sandbox_push_env(L);
    lua_setfenv(L, -2);
    return 0;
}
