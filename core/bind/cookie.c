/* cookie.c: what goes into a Set-Cookie field, for ctx.resp:set_cookie and tg.cookie.encode.
 *
 * RFC 6265, 4.1.1 says which characters may stand where; Partitioned and the like are written as
 * browsers take them. Everything is checked before it is written, and what is wrong is named by its
 * option: a cookie that carries a ";" in its value would set another one's attributes.
 */
#include "base/banned.h"
#include "bind/text.h"

#include "bind/object.h"
#include "http/token.h"

/* The option `name` of argument 3: pushes it; false (and nothing pushed) when it is not there.
 */
static bool push_option(lua_State *L, const char *name)
{
    int options = tg_bind_arg_index(L, 3);
    if (!lua_istable(L, options))
        return false;
    lua_pushstring(L, name);
    lua_rawget(L, options);
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* Adds "; Name=value" for a text option: visible ASCII and spaces without ";". */
static void add_text(lua_State *L, struct tg_fmt *f, const char *option, const char *attribute)
{
    if (!push_option(L, option))
        return;
    size_t n = 0;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    bool valid = p != NULL && n > 0;
    for (size_t i = 0; valid && i < n; i++)
        valid = p[i] >= ' ' && p[i] < 0x7f && p[i] != ';';
    if (!valid) {
        char what[64];
        snprintf(what, sizeof(what), "%s: not valid in a cookie", option);
        tg_bind_arg_error(L, 3, what);
    }
    tg_fmt_printf(f, "; %s=", attribute);
    tg_fmt_bytes(f, p, n);
    lua_pop(L, 1);
}

static void add_flag(lua_State *L, struct tg_fmt *f, const char *option, const char *attribute)
{
    if (!push_option(L, option))
        return;
    if (lua_toboolean(L, -1))
        tg_fmt_printf(f, "; %s", attribute);
    lua_pop(L, 1);
}

static void add_max_age(lua_State *L, struct tg_fmt *f)
{
    if (!push_option(L, "max_age"))
        return;
    if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0 && lua_tonumber(L, -1) < 1e12))
        tg_bind_arg_error(L, 3, "max_age: expected seconds as a number");
    tg_fmt_printf(f, "; Max-Age=%.0f", lua_tonumber(L, -1));
    lua_pop(L, 1);
}

static void add_same_site(lua_State *L, struct tg_fmt *f)
{
    static const char *const known[] = {"Strict", "Lax", "None"};
    if (!push_option(L, "same_site"))
        return;
    size_t n = 0;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : "";
    const char *found = NULL;
    for (size_t i = 0; i < TG_COUNT_OF(known); i++) {
        if (tg_str_eq_nocase(tg_str(p, n), tg_str_c(known[i])))
            found = known[i];
    }
    if (found == NULL)
        tg_bind_arg_error(L, 3, "same_site: expected \"strict\", \"lax\" or \"none\"");
    tg_fmt_printf(f, "; SameSite=%s", found);
    lua_pop(L, 1);
}

/* An option that is misspelt would leave a cookie without its guard. */
static void refuse_unknown(lua_State *L)
{
    static const char *const known[] = {"path",      "domain",    "max_age",    "secure",
                                        "http_only", "same_site", "partitioned"};
    int options = tg_bind_arg_index(L, 3);
    if (!lua_istable(L, options))
        return;
    for (lua_pushnil(L); lua_next(L, options) != 0; lua_pop(L, 1)) {
        bool found = false;
        struct tg_str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        for (size_t i = 0; i < TG_COUNT_OF(known); i++)
            found = found || tg_str_eq(name, tg_str_c(known[i]));
        if (found)
            continue;
        char what[160];
        snprintf(what, sizeof(what),
                 "there is no option %.*s; there are path, domain, max_age, secure, http_only, "
                 "same_site and partitioned",
                 (int)TG_MIN(name.n, 32), name.p != NULL ? name.p : "");
        tg_bind_arg_error(L, 3, what);
    }
}

void tg_bind_write_cookie(lua_State *L, struct tg_fmt *f)
{
    struct tg_str name = tg_bind_arg_str(L, 1);
    struct tg_str value = tg_bind_arg_str(L, 2);
    tg_bind_arg_table(L, 3, true);
    refuse_unknown(L);
    if (!tg_str_is_token(name))
        tg_bind_arg_error(L, 1, "is not a token");
    if (!tg_str_all(value, TG_CHAR_COOKIE))
        tg_bind_arg_error(L, 2, "has a character that a cookie cannot hold; encode it first");
    tg_fmt_add(f, name);
    tg_fmt_char(f, '=');
    tg_fmt_add(f, value);
    add_text(L, f, "path", "Path");
    add_text(L, f, "domain", "Domain");
    add_max_age(L, f);
    add_flag(L, f, "secure", "Secure");
    add_flag(L, f, "http_only", "HttpOnly");
    add_same_site(L, f);
    add_flag(L, f, "partitioned", "Partitioned");
}
