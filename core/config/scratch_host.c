/* scratch_host.c: files, environment, limits and routes for the trusted Lua code.
 *
 * Functions return results as lua/tidegate/config.lua describes them. Lua raises by longjmp; see
 * the header for how nothing is lost by that. While the route builder works, nothing here calls
 * Lua: conflicts are noted in C and pushed afterwards.
 */
#include "base/banned.h"
#include "config/scratch_host.h"

#include "base/embed.h"
#include "base/limits.h"
#include "base/str.h"
#include "config/digest.h"
#include "config/scratch.h"
#include "config/sources.h"
#include "route/build.h"
#include "route/expr.h"

#include <lauxlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define CONFLICTS_SHOWN 32 /* the rest is found again when these are gone */
#define PLUGIN_ROOT     "plugins/"

static struct tg_scratch_host *host_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct tg_str checked_str(lua_State *L, int index)
{
    size_t n;
    const char *p = luaL_checklstring(L, index, &n);

    return tg_str(p, n);
}

/* nil and why not. */
static int fail(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* ---- The world ------------------------------------------------------------------------------- */

/* What the sources say of the thing that argument 1 names; argument 2 tells that it is a secret. */
static const struct tg_source_item *ask(lua_State *L, enum tg_source_kind kind)
{
    const struct tg_source_item *source = NULL;
    bool secret = lua_toboolean(L, 2);
    enum tg_err err = tg_sources_get(host_of(L)->sources, kind, checked_str(L, 1), secret, &source);

    if (err == TG_E_LIMIT)
        luaL_error(L, "the configuration reads more than 64 MiB, or more than 65536 files and "
                      "variables");
    if (err != TG_OK)
        luaL_error(L, "not enough memory");
    return source;
}

/* read_file(path, secret) -> text, or nil and why. */
static int read_file(lua_State *L)
{
    struct tg_scratch_host *host = host_of(L);
    const char *path = luaL_checkstring(L, 1);
    struct tg_str text;

    if (host->files != NULL && host->files->find(host->files->arg, tg_str_c(path), &text)) {
        lua_pushlstring(L, text.p, text.n);
        return 1;
    }
    const struct tg_source_item *source = ask(L, TG_SOURCE_FILE);
    if (source->absent)
        return fail(L, source->text.p);
    lua_pushlstring(L, source->text.p, source->text.n);
    return 1;
}

/* glob(pattern) -> list of paths. */
static int glob_paths(lua_State *L)
{
    const struct tg_source_item *source = ask(L, TG_SOURCE_GLOB);
    struct tg_str rest = source->absent ? TG_STR("") : source->text;
    int count = 0;

    lua_newtable(L);
    while (rest.n > 0) {
        struct tg_str path = tg_str_c(rest.p);
        lua_pushlstring(L, path.p, path.n);
        lua_rawseti(L, -2, ++count);
        rest = tg_str_sub(rest, path.n + 1, rest.n);
    }
    return 1;
}

/* getenv(name, secret) -> value or nil. */
static int get_env(lua_State *L)
{
    const struct tg_source_item *source = ask(L, TG_SOURCE_ENV);

    if (source->absent)
        return 0;
    lua_pushlstring(L, source->text.p, source->text.n);
    return 1;
}

/* bundled("cors" or "cors/module") -> text and path, or nothing. */
static int bundled(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *format =
        strchr(name, '/') != NULL ? PLUGIN_ROOT "%s.lua" : PLUGIN_ROOT "%s/init.lua";
    const struct tg_embed *file = tg_embed_find(lua_pushfstring(L, format, name));

    if (file == NULL)
        return 0;
    lua_pushlstring(L, file->data, file->size);
    lua_pushstring(L, file->name);
    return 2;
}

/* bundled_names() -> list of the plugins in the binary. */
static int bundled_names(lua_State *L)
{
    const struct tg_str suffix = TG_STR("/init.lua");
    int count = 0;

    lua_newtable(L);
    for (const struct tg_embed *file = tg_embed_table; file->name != NULL; file++) {
        struct tg_str name = tg_str_c(file->name);
        if (!tg_str_starts(name, TG_STR(PLUGIN_ROOT)))
            continue;
        name = tg_str_sub(name, sizeof(PLUGIN_ROOT) - 1, name.n);
        size_t slash = tg_str_find(name, '/', 0);
        if (!tg_str_eq(tg_str_sub(name, slash, name.n), suffix))
            continue;
        lua_pushlstring(L, name.p, slash);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* print(text): what the script prints goes where the diagnostics go. */
static int print_line(lua_State *L)
{
    struct tg_str text = checked_str(L, 1);

    (void)fwrite(text.p, 1, text.n, host_of(L)->out);
    (void)fputc('\n', host_of(L)->out);
    return 0;
}

/* compile_regex(pattern) -> why it does not compile, or nothing. */
static int compile_regex(lua_State *L)
{
    struct tg_str pattern = checked_str(L, 1);
    PCRE2_UCHAR text[128];
    PCRE2_SIZE at;
    int number;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_UTF, &number, &at, NULL);

    if (code != NULL) {
        pcre2_code_free(code);
        return 0;
    }
    (void)pcre2_get_error_message(number, text, sizeof(text));
    lua_pushfstring(L, "%s (at byte %d)", (const char *)text, (int)at + 1);
    return 1;
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static void set_limit_number(lua_State *L, const struct tg_limit_info *info, const char *name,
                             uint64_t value)
{
    double scale = info->unit == TG_LIMIT_UNIT_TIME ? (double)TG_USEC_PER_SEC : 1.0;

    lua_pushnumber(L, (double)value / scale);
    lua_setfield(L, -2, name);
}

static void push_limit(lua_State *L, const struct tg_limit_info *info)
{
    static const char *const units[] = {
        [TG_LIMIT_UNIT_BYTES] = "bytes",
        [TG_LIMIT_UNIT_TIME] = "seconds",
        [TG_LIMIT_UNIT_COUNT] = "count",
    };

    lua_createtable(L, 0, 6);
    lua_pushstring(L, info->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, units[info->unit]);
    lua_setfield(L, -2, "unit");
    lua_pushstring(L, info->text);
    lua_setfield(L, -2, "doc");
    set_limit_number(L, info, "default", info->value);
    set_limit_number(L, info, "min", info->min);
    set_limit_number(L, info, "max", info->max);
}

static void push_limits(lua_State *L)
{
    lua_createtable(L, TG_LIMIT_COUNT, 0);
    for (int id = 0; id < TG_LIMIT_COUNT; id++) {
        push_limit(L, tg_limit_info((enum tg_limit_id)id));
        lua_rawseti(L, -2, id + 1);
    }
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static int push_problem(lua_State *L, enum tg_err err, const struct tg_route_problem *problem)
{
    if (err == TG_OK)
        return 0;
    lua_pushstring(L, problem->text);
    lua_pushstring(L, problem->hint);
    return 2;
}

/* check_host(pattern) -> why it is none and a hint, or nothing. */
static int check_host(lua_State *L)
{
    struct tg_route_host host;
    struct tg_route_problem problem;

    return push_problem(L, tg_route_host_parse(checked_str(L, 1), &host, &problem), &problem);
}

/* check_path(pattern) -> why it is none and a hint, or nothing. */
static int check_path(lua_State *L)
{
    struct tg_route_path path;
    struct tg_route_problem problem;

    return push_problem(L, tg_route_path_parse(checked_str(L, 1), &path, &problem), &problem);
}

/* check_expr(text) -> why it is no expression and a hint, or nothing. */
static int check_expr(lua_State *L)
{
    struct tg_expr_error error;
    struct tg_expr *expr = NULL;
    enum tg_err err = tg_expr_new(checked_str(L, 1), &expr, &error);

    tg_expr_free(&expr);
    if (err == TG_OK)
        return 0;
    if (err != TG_E_INVALID)
        return luaL_error(L, "not enough memory");
    lua_pushfstring(L, "%s (at byte %d)", error.text, (int)error.column);
    lua_pushstring(L, error.hint);
    return 2;
}

/* The list of strings in field `name` of the table at the top. The array is a userdata left on the
 * stack, the strings stay in the table. */
static const struct tg_str *string_list(lua_State *L, int table, const char *name, size_t *count)
{
    lua_getfield(L, table, name);
    int list = lua_gettop(L);
    *count = lua_objlen(L, list);
    struct tg_str *strings = lua_newuserdata(L, (*count + 1) * sizeof(*strings));
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        strings[i].p = lua_tolstring(L, -1, &strings[i].n);
        lua_pop(L, 1);
    }
    return strings;
}

/* Adds the route at the top of the stack, whose handle is its index, counted from 0. NULL when all
 * is well, else why it is refused. */
static const char *add_route(lua_State *L, struct tg_scratch_host *host, uintptr_t index)
{
    struct tg_route_refusal refusal = {.what = {.text = NULL}};
    int table = lua_gettop(L);
    struct tg_route_spec spec = {.handle = (void *)index};

    lua_getfield(L, table, "name");
    spec.name.p = lua_tolstring(L, -1, &spec.name.n);
    spec.hosts = string_list(L, table, "hosts", &spec.host_count);
    spec.paths = string_list(L, table, "paths", &spec.path_count);
    spec.methods = string_list(L, table, "methods", &spec.method_count);
    enum tg_err err = tg_route_builder_add(host->builder, &spec, &refusal);
    if (err == TG_E_NOMEM)
        luaL_error(L, "not enough memory");
    lua_settop(L, table);
    if (err == TG_OK)
        return NULL;
    return refusal.what.text != NULL ? refusal.what.text : tg_err_text(err);
}

struct conflicts {
    struct tg_route_conflict list[CONFLICTS_SHOWN];
    unsigned count;
};

static void on_conflict(void *arg, const struct tg_route_conflict *conflict)
{
    struct conflicts *conflicts = arg;

    if (conflicts->count < CONFLICTS_SHOWN)
        conflicts->list[conflicts->count++] = *conflict;
}

static void set_str(lua_State *L, const char *name, struct tg_str value)
{
    lua_pushlstring(L, value.p, value.n);
    lua_setfield(L, -2, name);
}

/* build_routes(list) -> list of conflicts, or nil, why and the index of a route that is refused;
 * keeps the table when there is none. */
static int build_routes(lua_State *L)
{
    struct tg_scratch_host *host = host_of(L);
    struct conflicts found = {.count = 0};

    luaL_checktype(L, 1, LUA_TTABLE);
    tg_route_builder_free(&host->builder);
    tg_route_table_free(&host->table);
    host->builder = tg_route_builder_new();
    if (host->builder == NULL)
        return luaL_error(L, "not enough memory");
    size_t count = lua_objlen(L, 1);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        const char *why = add_route(L, host, i);
        lua_pop(L, 1);
        if (why != NULL) {
            (void)fail(L, why);
            lua_pushinteger(L, (lua_Integer)i + 1);
            return 3;
        }
    }
    enum tg_err err = tg_route_table_build(host->builder, on_conflict, &found, &host->table);
    if (err != TG_OK && err != TG_E_EXISTS)
        return luaL_error(L, "not enough memory");
    lua_createtable(L, (int)found.count, 0);
    for (unsigned i = 0; i < found.count; i++) {
        lua_createtable(L, 0, 4);
        set_str(L, "first", found.list[i].first);
        set_str(L, "second", found.list[i].second);
        set_str(L, "host", found.list[i].host);
        set_str(L, "path", found.list[i].path);
        lua_rawseti(L, -2, (int)i + 1);
    }
    tg_route_builder_free(&host->builder);
    return 1;
}

/* ---- The script ------------------------------------------------------------------------------ */

/* script_line() -> file and line of the innermost function of a file on the stack, or nothing.
 * Trusted chunks are named "=...". */
static int script_line(lua_State *L)
{
    lua_Debug frame;

    for (int level = 1; lua_getstack(L, level, &frame) == 1; level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.source[0] != '@')
            continue;
        lua_pushstring(L, frame.source + 1);
        lua_pushinteger(L, frame.currentline);
        return 2;
    }
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"read_file", read_file},
    {"glob", glob_paths},
    {"getenv", get_env},
    {"bundled", bundled},
    {"bundled_names", bundled_names},
    {"print", print_line},
    {"compile_regex", compile_regex},
    {"check_host", check_host},
    {"check_path", check_path},
    {"check_expr", check_expr},
    {"build_routes", build_routes},
    {"script_line", script_line},
    {"digest", tg_digest_values},
};

void tg_scratch_host_init(struct tg_scratch_host *host)
{
    *host = (struct tg_scratch_host){.out = NULL};
}

void tg_scratch_host_release(struct tg_scratch_host *host)
{
    tg_sources_unref(&host->sources);
    tg_route_builder_free(&host->builder);
    tg_route_table_free(&host->table);
}

void tg_scratch_host_push(lua_State *L, struct tg_scratch_host *host)
{
    lua_createtable(L, 0, TG_COUNT_OF(functions) + 1);
    for (size_t i = 0; i < TG_COUNT_OF(functions); i++) {
        lua_pushlightuserdata(L, host);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    push_limits(L);
    lua_setfield(L, -2, "limits");
}
