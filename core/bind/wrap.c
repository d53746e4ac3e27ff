/* wrap.c: see wrap.h.
 *
 * The chunks are named "=lua/tidegate/...", by which messages know that a frame is not the plugin's
 * (object.c): an argument that is wrong is reported at the plugin's line, not at that of the loop.
 * Loaded once per VM, before any code of the plugin; cost: some 20 us and 1 KiB each.
 */
#include "base/banned.h"
#include "bind/wrap.h"

#include "base/assert.h"
#include "base/embed.h"
#include "bind/object.h"

void tg_bind_wrap(lua_State *L, const char *file, const char *name, const lua_CFunction *parts,
                  size_t count)
{
    const struct tg_embed *text = tg_embed_find(file);
    int names = lua_gettop(L);
    tg_assert(text != NULL);
    lua_pushfstring(L, "=%s", file);
    if (luaL_loadbuffer(L, text->data, text->size, lua_tostring(L, -1)) != 0)
        lua_error(L);
    lua_getfield(L, names, name);
    lua_getupvalue(L, -1, 1);
    int entry = lua_gettop(L);
    lua_pushvalue(L, entry - 2); /* the chunk, then its arguments */
    lua_pushvalue(L, entry - 1);
    for (size_t i = 0; i < count; i++) {
        lua_pushvalue(L, entry);
        lua_pushcclosure(L, parts[i], 1);
    }
    lua_call(L, 1 + (int)count, 1);
    lua_setfield(L, names, name);
    lua_settop(L, names);
}

void tg_bind_wrap_scope(lua_State *L, enum tg_api_scope scope)
{
    if (scope == TG_SCOPE_CRYPTO)
        tg_bind_wrap_crypto(L);
    else if (scope == TG_SCOPE_REGEX)
        tg_bind_wrap_regex(L);
    else if (scope == TG_SCOPE_TG)
        tg_bind_wrap_gzip(L);
    else if (scope == TG_SCOPE_REQ)
        tg_bind_wrap_req(L);
    else if (scope == TG_SCOPE_HTTP_RESPONSE)
        tg_bind_wrap_response(L);
}

void (*tg_bind_releaser(enum tg_api_scope scope))(void *value)
{
    switch (scope) {
    case TG_SCOPE_SINK:
        return tg_bind_close_sink;
    case TG_SCOPE_HTTP_RESPONSE:
        return tg_bind_close_response;
    case TG_SCOPE_KEY:
        return tg_bind_free_key;
    case TG_SCOPE_REGEX:
        return tg_bind_free_regex;
    default:
        return NULL;
    }
}
