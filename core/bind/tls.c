/* tls.c: ctx.tls: what was agreed on when the client's connection was encrypted, and what plugins
 * may do while it is: the certificate phase.
 *
 * Always an object, so that a plugin asks `ctx.tls.sni` without looking first; on a clear-text
 * connection its fields are nil.
 *
 * Threads: the VM's. Cost: a handle for the object, a look at the connection's facts for a field.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "net/tls_hello.h"

#define PEM_MAX ((size_t)256 << 10)

int tg_api_ctx_tls(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_TLS);
}

static int push_text(lua_State *L, const char *text)
{
    if (text != NULL && text[0] != '\0')
        lua_pushstring(L, text);
    else
        lua_pushnil(L);
    return 1;
}

int tg_api_tls_sni(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    return tg_bind_push_str(L, facts != NULL ? facts->sni : tg_str(NULL, 0));
}

int tg_api_tls_alpn(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    return tg_bind_push_str(L, facts != NULL ? facts->alpn : tg_str(NULL, 0));
}

int tg_api_tls_version(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    return push_text(L, facts != NULL ? facts->version : NULL);
}

int tg_api_tls_cipher(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    return push_text(L, facts != NULL ? facts->cipher : NULL);
}

int tg_api_tls_resumed(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    if (facts != NULL)
        lua_pushboolean(L, facts->resumed);
    else
        lua_pushnil(L);
    return 1;
}

int tg_api_tls_ja4(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    return push_text(L, facts != NULL ? facts->ja4 : NULL);
}

/* ---- The certificate phase ---------------------------------------------------------------------
 */

/* The handshake of the phase that runs; raises when the client has gone meanwhile. */
static struct tg_transport *transport_of(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    if (r->handshake == NULL)
        tg_bind_call_error(L, "the handshake is over");
    return r->handshake->transport;
}

/* The text in field `name` of the table at 2; empty where it has none. What is no text is an error:
 * a client would be measured by other roots than were meant. */
static struct tg_str option(lua_State *L, const char *name)
{
    struct tg_str text = {"", 0};
    lua_getfield(L, 2, name); /* stays on the stack, and so does the text */
    if (lua_type(L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    else if (!lua_isnil(L, -1))
        tg_bind_arg_error(L, 1, "cert, key and ca are PEM, as text");
    if (text.n > PEM_MAX)
        tg_bind_arg_error(L, 1, "PEM of at most 256 KiB");
    return text;
}

static void check_pem(lua_State *L, enum tg_err err, const struct tg_tls_problem *why)
{
    if (err != TG_E_INVALID) {
        tg_bind_check(L, err, 1);
        return;
    }
    lua_pushfstring(L, "%s: %s", why->field, why->text);
    tg_bind_arg_error(L, 1, lua_tostring(L, -1));
}

int tg_api_tls_certificate(lua_State *L)
{
    struct tg_transport *t = transport_of(L);
    struct tg_tls_problem why = {0};
    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        struct tg_str cert = option(L, "cert");
        struct tg_str key = option(L, "key");
        check_pem(L, tg_tls_show(t, cert, key, &why), &why);
    } else if (tg_tls_choose(t, tg_bind_arg_str(L, 1)) != TG_OK) {
        tg_bind_arg_error(L, 1, "the listener has no certificate for that name");
    }
    lua_settop(L, 1);
    return 1;
}

int tg_api_tls_request_client_cert(lua_State *L)
{
    struct tg_transport *t = transport_of(L);
    struct tg_tls_problem why = {0};
    struct tg_str ca = {"", 0};
    lua_Integer depth = 0;
    lua_settop(L, 2);
    if (tg_bind_arg_table(L, 1, true)) {
        ca = option(L, "ca");
        lua_getfield(L, 2, "depth");
        depth = lua_tointeger(L, -1);
        if (depth < 0 || depth > 10 || !(lua_isnil(L, -1) || lua_type(L, -1) == LUA_TNUMBER))
            tg_bind_arg_error(L, 1, "depth is 1 to 10");
    }
    check_pem(L, tg_tls_ask(t, ca, (unsigned)depth, &why), &why);
    lua_settop(L, 1);
    return 1;
}

int tg_api_tls_reject(lua_State *L)
{
    (void)transport_of(L);
    struct tg_request *r = tg_bind_request(L);
    struct tg_str name = lua_isnoneornil(L, 2) ? TG_STR("access_denied") : tg_bind_arg_str(L, 1);
    int alert = tg_tls_alert(name);
    if (alert < 0)
        tg_bind_arg_error(L, 1,
                          "expected access_denied, bad_certificate, certificate_required, "
                          "handshake_failure, insufficient_security, internal_error or "
                          "unrecognized_name");
    r->handshake->alert = alert;
    return tg_run_exit(L);
}
