/* build_tls.c: see build_tls.h. Slices point into strings that the tables hold; arrays are Lua's,
 * so that a raise loses nothing. */
#include "base/banned.h"
#include "config/build_tls.h"

#include "base/assert.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <time.h>

#define PIN_PREFIX 7  /* "sha256/" */
#define PIN_DIGITS 44 /* base64 of 32 bytes */

/* The string in a field; empty where there is none. Lives as long as the table holds it. */
static struct tg_str text_field(lua_State *L, int table, const char *name)
{
    size_t n = 0;
    lua_getfield(L, table, name);
    const char *p = lua_tolstring(L, -1, &n);
    lua_pop(L, 1);
    return p != NULL ? tg_str(p, n) : TG_STR("");
}

static bool flag_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static int version_of(struct tg_str text)
{
    if (text.n == 0)
        return 0;
    return tg_str_eq(text, TG_STR("1.3")) ? TLS1_3_VERSION : TLS1_2_VERSION;
}

/* Pushes the list in a field, and an array of as many elements of `size` bytes, which it returns.
 */
static void *push_array(lua_State *L, int table, const char *name, size_t size, uint32_t *count)
{
    lua_getfield(L, table, name);
    *count = lua_istable(L, -1) ? (uint32_t)lua_objlen(L, -1) : 0;
    return lua_newuserdata(L, TG_MAX(*count, 1u) * size);
}

/* ---- Listeners ---------------------------------------------------------------------------------
 */

/* Reads certificates[i], the table on top, and leaves the array of its hosts there instead. */
static void read_certificate(lua_State *L, struct tg_tls_certificate *out)
{
    int table = lua_gettop(L);
    struct tg_str *hosts = push_array(L, table, "hosts", sizeof(*hosts), &out->host_count);
    for (uint32_t i = 0; i < out->host_count; i++) {
        lua_rawgeti(L, -2, (int)i + 1);
        hosts[i].p = lua_tolstring(L, -1, &hosts[i].n);
        lua_pop(L, 1);
    }
    out->hosts = hosts;
    out->cert = text_field(L, table, "cert");
    out->key = text_field(L, table, "key");
    lua_getfield(L, table, "ocsp"); /* its strings live as long as the configuration's tables */
    if (lua_istable(L, -1)) {
        int ocsp = lua_gettop(L);
        out->staple = (struct tg_tls_staple_options){.wanted = true,
                                                     .url = text_field(L, ocsp, "url"),
                                                     .response = text_field(L, ocsp, "file")};
    } else {
        out->staple = (struct tg_tls_staple_options){.wanted = false};
    }
    lua_pop(L, 1);
    lua_replace(L, table);
    lua_settop(L, table);
}

static void read_client_auth(lua_State *L, int table, struct tg_tls_server_options *o)
{
    lua_getfield(L, table, "client_auth");
    if (lua_istable(L, -1)) {
        int auth = lua_gettop(L);
        struct tg_str mode = text_field(L, auth, "mode");
        if (tg_str_eq(mode, TG_STR("required")))
            o->client_auth = TG_TLS_AUTH_REQUIRED;
        else if (tg_str_eq(mode, TG_STR("optional")))
            o->client_auth = TG_TLS_AUTH_OPTIONAL;
        o->ca = text_field(L, auth, "ca");
    }
    lua_pop(L, 1);
}

enum tg_err tg_build_tls_server(lua_State *L, int index, const struct tg_build_tls *rest,
                                struct tg_tls_context **out, struct tg_tls_problem *why)
{
    int top = lua_gettop(L);
    struct tg_tls_server_options o = {
        .name = rest->listener,
        .min_version = version_of(text_field(L, index, "min_version")),
        .profile = tg_str_eq(text_field(L, index, "profile"), TG_STR("modern"))
                       ? TG_TLS_MODERN
                       : TG_TLS_INTERMEDIATE,
        .reject_unknown = tg_str_eq(text_field(L, index, "unknown_sni"), TG_STR("reject")),
        .tickets = flag_field(L, index, "tickets"),
        .fingerprint = flag_field(L, index, "fingerprint"),
        .ticket_life = rest->ticket_life,
        .sessions = rest->sessions,
        .asks_plugins = rest->asks_plugins,
        .http2 = rest->http2,
    };
    read_client_auth(L, index, &o);
    struct tg_tls_certificate *certificates =
        push_array(L, index, "certificates", sizeof(*certificates), &o.certificate_count);
    int list = lua_gettop(L) - 1;
    for (uint32_t i = 0; i < o.certificate_count; i++) {
        luaL_checkstack(L, 8, "too many certificates");
        lua_rawgeti(L, list, (int)i + 1);
        read_certificate(L, &certificates[i]); /* stays on the stack until all are read */
    }
    o.certificates = certificates;
    enum tg_err err = tg_tls_server_new(&o, out, why);
    lua_settop(L, top);
    return err;
}

/* ---- Services ----------------------------------------------------------------------------------
 */

/* "sha256/" and the base64 of 32 bytes, as the schema has seen. */
static bool read_pin(struct tg_str text, unsigned char out[32])
{
    unsigned char room[48];
    if (text.n != PIN_PREFIX + PIN_DIGITS ||
        EVP_DecodeBlock(room, (const unsigned char *)text.p + PIN_PREFIX, PIN_DIGITS) != 33)
        return false;
    memcpy(out, room, 32);
    return true;
}

enum tg_err tg_build_tls_client(lua_State *L, int index, struct tg_tls_context **out,
                                struct tg_tls_problem *why)
{
    int top = lua_gettop(L);
    struct tg_tls_client_options o = {
        .verify = flag_field(L, index, "verify"),
        .ca = text_field(L, index, "ca"),
        .name = text_field(L, index, "sni"),
        .cert = text_field(L, index, "cert"),
        .key = text_field(L, index, "key"),
        .min_version = version_of(text_field(L, index, "min_version")),
    };
    enum tg_err err = TG_OK;
    unsigned char(*pins)[32] = push_array(L, index, "pins", sizeof(*pins), &o.pin_count);
    for (uint32_t i = 0; i < o.pin_count; i++) {
        struct tg_str pin;
        lua_rawgeti(L, -2, (int)i + 1);
        pin.p = lua_tolstring(L, -1, &pin.n);
        if (!read_pin(pin, pins[i])) {
            why->field = "pins";
            snprintf(why->text, sizeof(why->text),
                     "pins[%u] is not sha256/ and the base64 of 32 bytes", i + 1);
            err = TG_E_INVALID;
        }
        lua_pop(L, 1);
    }
    o.pins = (const unsigned char(*)[32])pins;
    if (err == TG_OK)
        err = tg_tls_client_new(&o, out, why);
    lua_settop(L, top);
    return err;
}

/* ---- The check ---------------------------------------------------------------------------------
 */

int tg_build_tls_check(lua_State *L)
{
    static const struct tg_build_tls rest = {
        .listener = {"check", 5}, .ticket_life = TG_USEC_PER_SEC, .sessions = 1};
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    bool server = strcmp(luaL_checkstring(L, 1), "server") == 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    enum tg_err err = server ? tg_build_tls_server(L, 2, &rest, &context, &why)
                             : tg_build_tls_client(L, 2, &context, &why);
    tg_tls_context_unref(&context);
    if (err == TG_OK)
        return 0;
    if (err != TG_E_INVALID)
        return luaL_error(L, "not enough memory");
    lua_pushstring(L, why.text);
    lua_pushstring(L, why.field);
    lua_pushinteger(L, (lua_Integer)why.certificate);
    return 3;
}

int tg_build_tls_expiry(lua_State *L)
{
    struct tg_tls_problem why;
    STACK_OF(X509) *list = NULL;
    struct tg_str text;
    text.p = luaL_checklstring(L, 1, &text.n);
    if (tg_tls_certificates_read(text, &list, &why) != TG_OK)
        return 0;
    lua_Number ends = (lua_Number)tg_tls_not_after(sk_X509_value(list, 0));
    sk_X509_pop_free(list, X509_free);
    lua_pushnumber(L, ends);
    lua_pushnumber(L, (lua_Number)time(NULL));
    return 2;
}
