/* text.c: tg.query, tg.cookie, tg.html, tg.url, and the codecs of text.h.
 *
 * Text is built in a userdata of the size that it comes to, measured by writing it into no room
 * beforehand, so nothing is lost when an allocation raises. Reading: the first of equal cookie
 * names counts, as in ctx.req:cookie(); query parameters keep all their values, as in
 * ctx.req:query_all().
 */
#include "base/banned.h"
#include "bind/text.h"

#include "bind/object.h"
#include "gateway/param.h"
#include "http/token.h"
#include "http/uri.h"

#define COOKIE_MAX     8192
#define PARAMETERS_MAX 10000 /* of a query that is encoded: one list may stand in it many times */
#define QUERY_MAX      ((size_t)8 << 20) /* bytes, as of JSON: one text may stand in it many times */
#define DECODED_MAX    4096 /* parameters of a query that is decoded, as in ctx.req:query_all() */
#define ASK_EVERY      64   /* cookies between two questions for the time */

/* Pushes what `write` makes of `in`. */
static int push_written(lua_State *L, struct tg_str in,
                        void (*write)(struct tg_fmt *, struct tg_str))
{
    struct tg_fmt f;
    tg_fmt_init(&f, NULL, 0);
    write(&f, in);
    size_t size = f.missing;
    tg_fmt_init(&f, lua_newuserdata(L, size), size);
    write(&f, in);
    lua_pushlstring(L, f.p, f.n);
    return 1;
}

/* ---- Percent-encoding ------------------------------------------------------------------------ */

int tg_bind_hex_value(char c)
{
    char low = (char)(c | 0x20);
    if (c >= '0' && c <= '9')
        return c - '0';
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

size_t tg_bind_percent_decode(struct tg_str in, bool plus, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        bool escape = in.p[i] == '%' && in.n - i > 2;
        int high = escape ? tg_bind_hex_value(in.p[i + 1]) : -1;
        int low = escape ? tg_bind_hex_value(in.p[i + 2]) : -1;
        char plain = plus && in.p[i] == '+' ? ' ' : in.p[i];
        out[n++] = high >= 0 && low >= 0 ? (char)(high << 4 | low) : plain;
        i += high >= 0 && low >= 0 ? 2 : 0;
    }
    return n;
}

static void write_url(struct tg_fmt *f, struct tg_str s)
{
    tg_uri_encode(f, s, "");
}

int tg_api_url_encode(lua_State *L)
{
    return push_written(L, tg_bind_arg_str(L, 1), write_url);
}

int tg_api_url_decode(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    char *out = lua_newuserdata(L, in.n);
    lua_pushlstring(L, out, tg_bind_percent_decode(in, false, out));
    return 1;
}

/* ---- Queries --------------------------------------------------------------------------------- */

/* Pushes `encoded` decoded, by way of `room`. */
static void push_decoded(lua_State *L, struct tg_str encoded, char *room)
{
    lua_pushlstring(L, room, tg_bind_percent_decode(encoded, true, room));
}

int tg_api_query_decode(lua_State *L)
{
    struct tg_str rest = tg_bind_arg_str(L, 1);
    struct tg_str name;
    struct tg_str value;
    char *room = lua_newuserdata(L, rest.n);
    unsigned count = 0;
    lua_newtable(L);
    int map = lua_gettop(L);
    while (tg_uri_next_param(&rest, &name, &value)) {
        if (++count > DECODED_MAX)
            tg_bind_raise(L, "limit", "more than 4096 parameters");
        push_decoded(L, name, room);
        lua_pushvalue(L, -1);
        lua_rawget(L, map);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_createtable(L, 1, 0);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, map);
        }
        push_decoded(L, value, room);
        lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
        lua_settop(L, map);
    }
    return 1;
}

/* A query string that is written. */
struct query {
    struct tg_fmt f;
    unsigned count; /* parameters so far */
};

/* Adds the name at -2 and the value at -1, both of which stay. */
static void write_param(lua_State *L, struct query *query)
{
    size_t n;
    int type = lua_type(L, -1);
    if (lua_type(L, -2) != LUA_TSTRING || (type != LUA_TSTRING && type != LUA_TNUMBER))
        tg_bind_arg_error(L, 1, "expected names with a string, a number or a list of those");
    if (query->count++ == PARAMETERS_MAX)
        tg_bind_arg_error(L, 1, "more than 10000 parameters");
    if (query->count > 1)
        tg_fmt_char(&query->f, '&');
    const char *p = lua_tolstring(L, -2, &n);
    tg_uri_encode(&query->f, tg_str(p, n), "");
    tg_fmt_char(&query->f, '=');
    lua_pushvalue(L, -1); /* a number must not become a string in the map's own slot */
    p = lua_tolstring(L, -1, &n);
    tg_uri_encode(&query->f, tg_str(p, n), "");
    lua_pop(L, 1);
    if (query->f.n + query->f.missing > QUERY_MAX)
        tg_bind_arg_error(L, 1, "the query would be longer than 8 MiB");
}

/* Writes the map at index 1, whose values may be lists, into `size` bytes at `room`; how many it
 * takes, which may be more. */
static size_t write_query(lua_State *L, struct query *query, char *room, size_t size)
{
    query->count = 0;
    tg_fmt_init(&query->f, room, size);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        int value = lua_gettop(L);
        int count = lua_istable(L, value) ? (int)lua_objlen(L, value) : 0;
        if (!lua_istable(L, value))
            write_param(L, query);
        for (int i = 1; i <= count; i++) {
            lua_pushvalue(L, value - 1);
            lua_rawgeti(L, value, i);
            write_param(L, query);
            lua_settop(L, value);
        }
    }
    return query->f.n + query->f.missing;
}

int tg_api_query_encode(lua_State *L)
{
    struct query query;
    tg_bind_arg_table(L, 1, false);
    lua_settop(L, 1);
    size_t size = write_query(L, &query, NULL, 0);
    write_query(L, &query, lua_newuserdata(L, size), size);
    lua_pushlstring(L, query.f.p, query.f.n);
    return 1;
}

/* ---- Cookies --------------------------------------------------------------------------------- */

int tg_api_cookie_decode(lua_State *L)
{
    struct tg_str rest = tg_bind_arg_str(L, 1);
    struct tg_str name;
    struct tg_str value;
    unsigned count = 0;
    lua_newtable(L);
    int map = lua_gettop(L);
    while (tg_param_next_cookie(&rest, &name, &value)) {
        if (++count % ASK_EVERY == 0)
            tg_run_end_if_spent(L);
        tg_bind_push_str(L, name);
        lua_pushvalue(L, -1);
        lua_rawget(L, map);
        if (lua_isnil(L, -1)) {
            lua_pushvalue(L, -2);
            tg_bind_push_str(L, value);
            lua_rawset(L, map);
        }
        lua_settop(L, map);
    }
    return 1;
}

int tg_api_cookie_encode(lua_State *L)
{
    char room[COOKIE_MAX];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_bind_write_cookie(L, &f);
    struct tg_str cookie = tg_fmt_str(&f);
    if (cookie.p == NULL)
        tg_bind_call_error(L, "the cookie would be longer than 8 KiB");
    return tg_bind_push_str(L, cookie);
}

/* ---- HTML ------------------------------------------------------------------------------------ */

void tg_bind_write_html(struct tg_fmt *f, struct tg_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '<':
            tg_fmt_lit(f, "&lt;");
            break;
        case '>':
            tg_fmt_lit(f, "&gt;");
            break;
        case '&':
            tg_fmt_lit(f, "&amp;");
            break;
        case '"':
            tg_fmt_lit(f, "&quot;");
            break;
        case '\'':
            tg_fmt_lit(f, "&#39;");
            break;
        default:
            tg_fmt_char(f, s.p[i]);
        }
    }
}

int tg_api_html_encode(lua_State *L)
{
    return push_written(L, tg_bind_arg_str(L, 1), tg_bind_write_html);
}
