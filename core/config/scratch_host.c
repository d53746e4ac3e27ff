/* scratch_host.c: files, environment, limits and routes for the trusted Lua code.
 *
 * Functions return results as lua/tidegate/config.lua describes them. Lua raises by longjmp; see
 * the header for how nothing is lost by that. While the route builder works, nothing here calls
 * Lua: conflicts are noted in C and pushed afterwards.
 */
#include "base/banned.h"
#include "config/scratch_host.h"

#include "base/embed.h"
#include "base/budget.h"
#include "base/limits.h"
#include "base/str.h"
#include "config/build_tls.h"
#include "config/digest.h"
#include "config/scratch.h"
#include "config/scratch_match.h"
#include "consumer/kind.h"
#include "config/traffic.h"
#include "config/sources.h"
#include "route/build.h"
#include "route/expr.h"
#include "route/order.h"
#include "route/regex.h"

#include <lauxlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define CONFLICTS_SHOWN 32 /* the rest is found again when these are gone */
#define PLUGIN_ROOT     "plugins/"
#define PRINTED_MAX     ((size_t)1 << 20) /* a reload keeps it in memory, for who asked for it */

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

/* The error of Lua's own. The script may catch it, so it is noted too. */
static int no_memory(lua_State *L)
{
    host_of(L)->starved = true;
    return luaL_error(L, "not enough memory");
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
        (void)no_memory(L);
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

/* glob(pattern) -> list of paths, or nil and why. */
static int glob_paths(lua_State *L)
{
    const struct tg_source_item *source = ask(L, TG_SOURCE_GLOB);
    struct tg_str rest = source->text;
    int count = 0;

    if (source->absent)
        return fail(L, source->text.p);
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

/* print(text): what the script prints goes where the diagnostics go, as far as PRINTED_MAX. */
static int print_line(lua_State *L)
{
    struct tg_scratch_host *host = host_of(L);
    struct tg_str text = checked_str(L, 1);

    if (host->printed > PRINTED_MAX)
        return 0;
    host->printed += text.n + 1;
    if (host->printed > PRINTED_MAX)
        text = TG_STR("(the configuration prints more than 1 MiB: the rest is left out)");
    (void)fwrite(text.p, 1, text.n, host->out);
    (void)fputc('\n', host->out);
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

static void push_budget(lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)TG_BUDGET_MIN);
    lua_setfield(L, -2, "min");
    lua_pushnumber(L, (lua_Number)TG_BUDGET_MAX);
    lua_setfield(L, -2, "max");
    lua_createtable(L, TG_BUDGET_PARTS, 0);
    for (int i = 0; i < TG_BUDGET_PARTS; i++) {
        const struct tg_budget_info *info = tg_budget_info((enum tg_budget_part)i);
        lua_createtable(L, 0, 3);
        lua_pushstring(L, info->field);
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, info->share);
        lua_setfield(L, -2, "share");
        lua_pushstring(L, info->text);
        lua_setfield(L, -2, "doc");
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "parts");
}

/* ---- Credentials ----------------------------------------------------------------------------- */

static void push_credentials(lua_State *L)
{
    lua_createtable(L, TG_CREDENTIAL_KINDS, 0);
    for (int i = 0; i < TG_CREDENTIAL_KINDS; i++) {
        const struct tg_credential_kind_info *info =
            tg_credential_kind_info((enum tg_credential_kind)i);
        lua_createtable(L, 0, 3);
        lua_pushstring(L, info->name);
        lua_setfield(L, -2, "name");
        lua_pushboolean(L, info->secret);
        lua_setfield(L, -2, "secret");
        lua_pushstring(L, info->doc);
        lua_setfield(L, -2, "doc");
        lua_rawseti(L, -2, i + 1);
    }
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static int push_problem(lua_State *L, enum tg_err err, const struct tg_route_problem *problem)
{
    if (err == TG_OK)
        return 0;
    if (err == TG_E_NOMEM)
        return no_memory(L);
    lua_pushstring(L, problem->text);
    lua_pushstring(L, problem->hint);
    return 2;
}

/* The same for a regular expression, where the place within it counts. */
static int push_regex_problem(lua_State *L, enum tg_err err, const struct tg_route_problem *problem)
{
    int count = push_problem(L, err, problem);
    if (count == 0 || problem->at == 0)
        return count;
    lua_pop(L, 2);
    lua_pushfstring(L, "%s (at byte %d)", problem->text, (int)problem->at + 1);
    lua_pushstring(L, problem->hint);
    return 2;
}

/* Compiles it; `skipped` bytes of what was written stand in front. */
static int check_regex(lua_State *L, struct tg_str pattern, bool anchored, size_t skipped)
{
    struct tg_route_regex *regex = NULL;
    struct tg_route_problem problem;
    enum tg_err err = tg_route_regex_new(pattern, anchored, &regex, &problem);

    tg_route_regex_unref(&regex);
    if (err == TG_E_INVALID && problem.at > 0)
        problem.at += skipped;
    return push_regex_problem(L, err, &problem);
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
    struct tg_str pattern = checked_str(L, 1);
    enum tg_err err = tg_route_path_parse(pattern, &path, &problem);

    if (tg_str_starts(pattern, TG_STR("~")) && err != TG_OK)
        return push_regex_problem(L, err, &problem);
    if (err == TG_OK && path.regex.n > 0)
        return check_regex(L, path.regex, true, 1);
    return push_problem(L, err, &problem);
}

/* check_value_regex(pattern) -> why a value cannot be matched by it and a hint, or nothing. */
static int check_value_regex(lua_State *L)
{
    return check_regex(L, checked_str(L, 1), false, 1);
}

/* check_expr(text) -> why it is no expression and a hint, or nothing. */
static int check_expr(lua_State *L)
{
    struct tg_expr_error error;
    struct tg_expr *expr = NULL;
    enum tg_err err = tg_expr_new(checked_str(L, 1), NULL, &expr, &error);

    tg_expr_free(&expr);
    if (err == TG_OK)
        return 0;
    if (err != TG_E_INVALID)
        return no_memory(L);
    lua_pushfstring(L, "%s (at byte %d)", error.text, (int)error.column);
    lua_pushstring(L, error.hint);
    return 2;
}

/* Appends a name to the list at the top. */
static void append(lua_State *L, struct tg_str name)
{
    lua_pushlstring(L, name.p, name.n);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* The groups of a regular expression: those without a name go by their number. Nothing is pushed
 * while the expression is held. */
static void append_groups(lua_State *L, struct tg_str pattern)
{
    struct tg_route_regex *regex = NULL;
    struct tg_route_problem problem;
    char names[TG_ROUTE_CAPTURES_MAX][TG_ROUTE_NAME_MAX + 1];
    unsigned count = 0;

    enum tg_err err = tg_route_regex_new(pattern, true, &regex, &problem);
    if (err == TG_E_NOMEM)
        (void)no_memory(L);
    if (err != TG_OK)
        return; /* told where paths are checked */
    for (unsigned group = 1; group <= tg_route_regex_groups(regex); group++) {
        struct tg_str name = tg_route_regex_group_name(regex, group);
        if (name.n > 0)
            snprintf(names[count++], sizeof(names[0]), "%.*s", TG_STR_ARG(name));
        else
            snprintf(names[count++], sizeof(names[0]), "%u", group);
    }
    tg_route_regex_unref(&regex);
    for (unsigned i = 0; i < count; i++)
        append(L, tg_str_c(names[i]));
}

/* path_captures(pattern) -> list of the names that it captures, in order. */
static int path_captures(lua_State *L)
{
    struct tg_route_path path;
    struct tg_route_problem problem;
    size_t at = 0;

    lua_newtable(L);
    if (tg_route_path_parse(checked_str(L, 1), &path, &problem) != TG_OK)
        return 1;
    if (path.regex.n > 0)
        append_groups(L, path.regex);
    while (at < path.names_n) {
        size_t n = (unsigned char)path.names[at];
        append(L, tg_str(path.names + at + 1, n));
        at += 1 + n;
    }
    return 1;
}

/* read_template(text, "path", "query", "host" or "body") -> list of the names in it, or nil, why it
 * is none and a hint. */
static int read_template(lua_State *L)
{
    static const char *const kinds[] = {
        [TG_TEMPLATE_PATH] = "path",
        [TG_TEMPLATE_QUERY] = "query",
        [TG_TEMPLATE_HOST] = "host",
        [TG_TEMPLATE_BODY] = "body",
        NULL,
    };
    struct tg_template_parts parts;
    struct tg_template_problem problem;
    int kind = luaL_checkoption(L, 2, NULL, kinds);

    if (tg_template_parse((enum tg_template_kind)kind, checked_str(L, 1), &parts, &problem) !=
        TG_OK) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s (at byte %d)", problem.text, (int)problem.at + 1);
        lua_pushstring(L, problem.hint);
        return 3;
    }
    lua_newtable(L);
    for (uint32_t i = 0; i < parts.n; i++) {
        if (parts.v[i].is_name)
            append(L, parts.v[i].text);
    }
    return 1;
}

/* Adds the route at the top of the stack, whose handle is its index, counted from 0. False with
 * `*problem` set when it is refused. */
static bool add_route(lua_State *L, struct tg_scratch_host *host, uintptr_t index,
                      struct tg_route_problem *problem)
{
    struct tg_route_refusal refusal = {.what = {.text = NULL}};
    int table = lua_gettop(L);
    struct tg_route_spec spec = {.handle = (void *)index};

    lua_getfield(L, table, "name");
    spec.name.p = lua_tolstring(L, -1, &spec.name.n);
    spec.hosts = tg_scratch_string_list(L, table, "hosts", &spec.host_count);
    spec.paths = tg_scratch_string_list(L, table, "paths", &spec.path_count);
    spec.methods = tg_scratch_string_list(L, table, "methods", &spec.method_count);
    tg_scratch_read_match(L, table, &spec);
    enum tg_err err = tg_route_builder_add(host->builder, &spec, &refusal);
    if (err == TG_E_NOMEM)
        (void)no_memory(L);
    lua_settop(L, table);
    *problem = refusal.what;
    if (problem->text == NULL)
        problem->text = tg_err_text(err);
    return err == TG_OK;
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

/* build_routes(list) -> list of conflicts, or nil, why, the index of a route that is refused and a
 * hint or nil; keeps the table when there is none. */
static int build_routes(lua_State *L)
{
    struct tg_scratch_host *host = host_of(L);
    struct conflicts found = {.count = 0};

    luaL_checktype(L, 1, LUA_TTABLE);
    tg_route_builder_free(&host->builder);
    tg_route_table_free(&host->table);
    host->builder = tg_route_builder_new();
    if (host->builder == NULL)
        return no_memory(L);
    size_t count = lua_objlen(L, 1);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        struct tg_route_problem problem;
        bool added = add_route(L, host, i, &problem);
        lua_pop(L, 1);
        if (!added) {
            (void)fail(L, problem.text);
            lua_pushinteger(L, (lua_Integer)i + 1);
            lua_pushstring(L, problem.hint);
            return 4;
        }
    }
    enum tg_err err = tg_route_table_build(host->builder, on_conflict, &found, &host->table);
    if (err != TG_OK && err != TG_E_EXISTS)
        return no_memory(L);
    lua_createtable(L, (int)found.count, 0);
    for (unsigned i = 0; i < found.count; i++) {
        lua_createtable(L, 0, 4);
        set_str(L, "first", found.list[i].first);
        set_str(L, "second", found.list[i].second);
        set_str(L, "host", found.list[i].host);
        set_str(L, "path", found.list[i].path);
        lua_rawseti(L, -2, (int)i + 1);
    }
    if (!host->keeps_builder)
        tg_route_builder_free(&host->builder);
    return 1;
}

struct listings {
    struct tg_route_listing *list;
    size_t count;
};

static void on_listing(void *arg, const struct tg_route_listing *listing)
{
    struct listings *listings = arg;

    listings->list[listings->count++] = *listing;
}

static void count_listing(void *arg, const struct tg_route_listing *listing)
{
    (void)listing;
    ++*(size_t *)arg;
}

/* route_order() -> list of { route, host, path, priority, auto_head } in order of precedence. The
 * listings are a userdata, so that nothing is lost when Lua raises. */
static int route_order(lua_State *L)
{
    struct tg_scratch_host *host = host_of(L);
    struct listings all = {.count = 0};
    size_t count = 0;

    if (host->builder == NULL)
        return 0;
    if (tg_route_order(host->builder, count_listing, &count) != TG_OK)
        return no_memory(L);
    all.list = lua_newuserdata(L, (count + 1) * sizeof(*all.list));
    if (tg_route_order(host->builder, on_listing, &all) != TG_OK)
        return no_memory(L);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 5);
        lua_pushinteger(L, (lua_Integer)(uintptr_t)all.list[i].handle + 1);
        lua_setfield(L, -2, "route");
        lua_pushinteger(L, all.list[i].priority);
        lua_setfield(L, -2, "priority");
        lua_pushboolean(L, all.list[i].auto_head);
        lua_setfield(L, -2, "auto_head");
        set_str(L, "host", all.list[i].host);
        set_str(L, "path", all.list[i].path);
        lua_rawseti(L, -2, (int)i + 1);
    }
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
    {"check_value_regex", check_value_regex},
    {"check_expr", check_expr},
    {"path_captures", path_captures},
    {"read_template", read_template},
    {"build_routes", build_routes},
    {"check_tls", tg_build_tls_check},
    {"certificate_end", tg_build_tls_expiry},
    {"route_order", route_order},
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
    lua_createtable(L, 0, TG_COUNT_OF(functions) + 2);
    for (size_t i = 0; i < TG_COUNT_OF(functions); i++) {
        lua_pushlightuserdata(L, host);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    push_limits(L);
    lua_setfield(L, -2, "limits");
    push_budget(L);
    lua_setfield(L, -2, "budget");
    push_credentials(L);
    lua_setfield(L, -2, "credentials");
    lua_createtable(L, TG_FACTS, 0);
    for (int fact = 0; fact < TG_FACTS; fact++) {
        lua_pushstring(L, tg_answer_fact_names[fact]);
        lua_rawseti(L, -2, fact + 1);
    }
    lua_setfield(L, -2, "answer_facts");
}
