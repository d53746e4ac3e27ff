/* client.c: ctx.client and ctx.listener: the two ends of the connection that a request came by. */
#include "base/banned.h"
#include "bind/crypto.h"
#include "bind/object.h"

#include "net/tls_conn.h"

#include <openssl/pem.h>

static int push_ip(lua_State *L, const struct tg_addr *addr)
{
    char room[TG_ADDR_TEXT_MAX];
    return tg_bind_push_str(L, tg_addr_ip_text(addr, room));
}

int tg_api_client_ip(lua_State *L, struct tg_bind_object *object)
{
    return push_ip(L, &object->r->client);
}

int tg_api_client_port(lua_State *L, struct tg_bind_object *object)
{
    lua_pushinteger(L, tg_addr_port(&object->r->client));
    return 1;
}

int tg_api_client_peer_ip(lua_State *L, struct tg_bind_object *object)
{
    return push_ip(L, &object->r->peer);
}

int tg_api_listener_name(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->listener->name);
}

int tg_api_listener_address(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->listener->address);
}

int tg_api_listener_tls(lua_State *L, struct tg_bind_object *object)
{
    lua_pushboolean(L, object->r->tls != NULL);
    return 1;
}

/* ---- The client's certificate ------------------------------------------------------------------
 */

/* pem() of what ctx.client.cert gave; the upvalue is the handle that gave it. */
static int push_pem(lua_State *L)
{
    const struct tg_bind_object *object = tg_bind_fresh(L, lua_upvalueindex(1));
    if (object == NULL || object->r->tls == NULL || object->r->tls->peer == NULL)
        return luaL_error(L, "pem() used after the request ended");
    BIO *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    bool written = bio != NULL && PEM_write_bio_X509(bio, object->r->tls->peer) == 1;
    long n = written ? BIO_get_mem_data(bio, &p) : 0;
    char *room = n > 0 ? tg_arena_alloc(&object->r->arena, (size_t)n) : NULL;
    if (room != NULL)
        memcpy(room, p, (size_t)n);
    BIO_free(bio);
    if (room == NULL)
        return luaL_error(L, "not enough memory");
    lua_pushlstring(L, room, (size_t)n);
    return 1;
}

int tg_api_client_cert(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_tls_facts *facts = object->r->tls;
    if (facts == NULL || facts->peer == NULL || !tg_crypto_push_x509(L, facts->peer)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushboolean(L, facts->verified);
    lua_setfield(L, -2, "verified");
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, push_pem, 1);
    lua_setfield(L, -2, "pem");
    return 1;
}
