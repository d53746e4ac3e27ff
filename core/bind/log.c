/* log.c: ctx.log: lines that name plugin and request, and members of the access record; tg.log: the
 * same lines where there is no request.
 *
 * A plugin that logs without end would fill the log of the others: all plugins of the process
 * together write at most LINES_PER_SECOND lines of each level, the rest is counted.
 */
#include "base/banned.h"
#include "bind/prepared.h"
#include "bind/zone.h"

#include "base/json.h"
#include "observe/log.h"

#define LINES_PER_SECOND 500
#define FIELDS_MAX       16 /* of one line */

/* As logfmt and JSON tools like them. */
bool tg_bind_is_log_key(struct tg_str key)
{
    bool valid = key.n > 0 && key.n <= 64;
    for (size_t i = 0; valid && i < key.n; i++) {
        char c = tg_char_lower(key.p[i]);
        valid = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    }
    return valid;
}

/* A member that cannot be logged: says which. */
static TG_NORETURN void raise_field(lua_State *L, struct tg_str key)
{
    char what[160];
    snprintf(what, sizeof(what), "%.*s: values are strings, numbers or booleans, not a %s",
             TG_STR_ARG(key), luaL_typename(L, -2));
    tg_bind_arg_error(L, 2, what);
}

/* Takes the fields of argument 2 into `out`; their text stays on the stack. */
static size_t take_fields(lua_State *L, struct tg_log_field *out)
{
    size_t count = 0;
    int table = tg_bind_arg_index(L, 2);
    luaL_checkstack(L, 2 * FIELDS_MAX + 4, NULL);
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        struct tg_str key = {"", 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            key.p = lua_tolstring(L, -2, &key.n);
        if (!tg_bind_is_log_key(key))
            tg_bind_arg_error(L, 2, "keys are letters, digits and \"_\"");
        if (count == FIELDS_MAX)
            tg_bind_arg_error(L, 2, "more than 16 fields");
        if (lua_type(L, -1) == LUA_TBOOLEAN)
            lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        else
            lua_pushvalue(L, -1);
        struct tg_str text;
        text.p = lua_tolstring(L, -1, &text.n);
        if (text.p == NULL)
            raise_field(L, key);
        out[count++] = (struct tg_log_field){.key = key.p, .text = text};
        lua_replace(L, -2); /* the text in place of the value */
        lua_pushvalue(L, -2);
    }
    return count;
}

/* A line of the plugin `name`, about `r` where there is one. */
static int write_line(lua_State *L, enum tg_log_level level, struct tg_log_gate *gate,
                      struct tg_str name, const struct tg_request *r)
{
    struct tg_str message = tg_bind_arg_str(L, 1);
    struct tg_log_field fields[FIELDS_MAX + 3];
    uint64_t missed;
    bool with_fields = tg_bind_arg_table(L, 2, true);
    if (!tg_log_is_on(level))
        return 0;
    size_t count = with_fields ? take_fields(L, fields) : 0;
    if (!tg_log_gate_pass(gate, LINES_PER_SECOND, tg_clock_mono_now(), &missed))
        return 0;
    fields[count++] = tg_log_str("plugin", name);
    if (r != NULL)
        fields[count++] = tg_log_str("request", tg_str(r->id, sizeof(r->id)));
    if (missed > 0)
        fields[count++] = tg_log_u64("suppressed", missed);
    tg_log_fields(level, "plugin", message.p, fields, count);
    return 0;
}

static struct tg_log_gate gates[TG_LOG_ERROR + 1]; /* of each level */

static int write_of_request(lua_State *L, enum tg_log_level level)
{
    const struct tg_request *r = tg_bind_request(L);
    struct tg_str name = tg_vm_name(tg_bind_object(L)->slot->vm);
    return write_line(L, level, &gates[level], name, r);
}

static int write_of_plugin(lua_State *L, enum tg_log_level level)
{
    return write_line(L, level, &gates[level], tg_bind_vm_entry(L)->host.plugin->name, NULL);
}

int tg_api_log_debug(lua_State *L)
{
    return write_of_request(L, TG_LOG_DEBUG);
}

int tg_api_log_info(lua_State *L)
{
    return write_of_request(L, TG_LOG_INFO);
}

int tg_api_log_warn(lua_State *L)
{
    return write_of_request(L, TG_LOG_WARN);
}

int tg_api_log_error(lua_State *L)
{
    return write_of_request(L, TG_LOG_ERROR);
}

int tg_api_library_log_debug(lua_State *L)
{
    return write_of_plugin(L, TG_LOG_DEBUG);
}

int tg_api_library_log_info(lua_State *L)
{
    return write_of_plugin(L, TG_LOG_INFO);
}

int tg_api_library_log_warn(lua_State *L)
{
    return write_of_plugin(L, TG_LOG_WARN);
}

int tg_api_library_log_error(lua_State *L)
{
    return write_of_plugin(L, TG_LOG_ERROR);
}

int tg_api_log_field(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str key = tg_bind_arg_str(L, 1);
    struct tg_fmt f;
    struct tg_json j;
    if (!tg_bind_is_log_key(key))
        tg_bind_arg_error(L, 1, "a key is letters, digits and \"_\", 64 at most");
    tg_request_begin_log_field(r, key, &f, &j);
    if (lua_type(L, 3) == LUA_TBOOLEAN)
        tg_json_bool(&j, lua_toboolean(L, 3) != 0);
    else if (lua_type(L, 3) == LUA_TNUMBER)
        tg_json_double(&j, lua_tonumber(L, 3));
    else
        tg_json_str(&j, tg_bind_arg_str(L, 2));
    enum tg_err err = tg_request_end_log_field(r, &f);
    if (err == TG_E_LIMIT)
        tg_bind_call_error(L, "plugins add at most 8 KiB to one access record");
    tg_bind_check(L, err, 0);
    lua_settop(L, 1);
    return 1;
}
