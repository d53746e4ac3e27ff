/* plugins_chunk.c: the bytes that go along a chain of body filters: see plugins.h.
 *
 * `chunk` (the caller's bytes) or `chunk_buf` (ours) is what the next filter gets; each filter
 * leaves it alone or replaces it, and what is left after the last goes to `out`. Chunks that a
 * filter returns as a list reach the next filter as one.
 */
#include "base/banned.h"
#include "gateway/plugins_internal.h"

size_t tg_plugins_chunk_size(const struct tg_plugin_run *p)
{
    return p->chunk.p != NULL ? p->chunk.n : p->chunk_buf.size;
}

void tg_plugins_drop_chunk(struct tg_plugin_run *p)
{
    p->chunk = tg_str(NULL, 0);
    if (p->chunk_buf.slab != NULL)
        tg_buf_release(&p->chunk_buf);
}

bool tg_plugins_keep_chunk(struct tg_plugin_run *p)
{
    if (p->chunk.p == NULL)
        return true;
    struct tg_str chunk = p->chunk;
    p->chunk = tg_str(NULL, 0);
    return tg_buf_append(&p->chunk_buf, chunk.p, chunk.n) == TG_OK;
}

bool tg_plugins_hand_out_chunk(struct tg_plugin_run *p)
{
    enum tg_err err = TG_OK;
    if (p->chunk.p != NULL) {
        err = tg_buf_append(p->out, p->chunk.p, p->chunk.n);
    } else if (p->out->size == 0 && p->out->slab == p->chunk_buf.slab) {
        struct tg_buf empty = *p->out;
        *p->out = p->chunk_buf;
        p->chunk_buf = empty;
    }
    while (err == TG_OK && p->chunk.p == NULL && p->chunk_buf.size > 0) {
        struct iovec piece;
        tg_buf_iov(&p->chunk_buf, &piece, 1);
        err = tg_buf_append(p->out, piece.iov_base, piece.iov_len);
        tg_buf_consume(&p->chunk_buf, piece.iov_len);
    }
    tg_plugins_drop_chunk(p);
    return err == TG_OK;
}

void tg_plugins_push_chunk(lua_State *L, const struct tg_plugin_run *p)
{
    struct iovec piece;
    if (p->chunk.p != NULL) {
        lua_pushlstring(L, p->chunk.p, p->chunk.n);
        return;
    }
    if (tg_buf_iov(&p->chunk_buf, &piece, 1) == 1 && piece.iov_len == p->chunk_buf.size) {
        lua_pushlstring(L, piece.iov_base, piece.iov_len);
        return;
    }
    char *whole = lua_newuserdata(L, p->chunk_buf.size);
    tg_buf_copy_out(&p->chunk_buf, whole);
    lua_pushlstring(L, whole, p->chunk_buf.size);
    lua_remove(L, -2); /* no plugin sees a userdata that is none of ours */
}

int tg_plugins_take_chunk(lua_State *L)
{
    const struct tg_request *r = tg_run_current(L)->host;
    tg_plugins_push_chunk(L, &r->plugins);
    lua_pushboolean(L, r->plugins.chunk_eof);
    return 2;
}

static bool add_string(struct tg_buf *buf, lua_State *L, int index)
{
    size_t n;
    const char *p = lua_tolstring(L, index, &n);
    return tg_buf_append(buf, p, n) == TG_OK;
}

/* Bytes that the strings of one list may come to: as many as different ones can have, since one
 * string may stand in the list at every place. */
static size_t list_max(const struct tg_plugin_run *p)
{
    size_t memory = p->slot->account.memory_limit;
    return memory <= SIZE_MAX / 2 ? 2 * memory : SIZE_MAX;
}

#define RETURNED(what)                                                                             \
    "body_filter returned " what                                                                   \
    "; it returns nothing (the chunk passes), a string or a list of strings"

/* Whether the table on top of the stack has members and no first item: no list of strings, and not
 * the empty one either. */
static bool is_map(lua_State *L)
{
    int table = lua_gettop(L);
    lua_rawgeti(L, table, 1);
    bool list = !lua_isnil(L, -1);
    lua_pushnil(L);
    bool filled = lua_next(L, table) != 0;
    lua_settop(L, table);
    return filled && !list;
}

const char *tg_plugins_take_results(struct tg_plugin_run *p)
{
    static const char no_memory[] = "no memory for what body_filter returned";
    lua_State *L = p->run.L;
    size_t left = list_max(p);
    int type = p->run.nresults > 0 ? lua_type(L, -p->run.nresults) : LUA_TNIL;
    if (type == LUA_TNIL)
        return NULL;
    if (type != LUA_TSTRING && type != LUA_TTABLE)
        return type == LUA_TNUMBER    ? RETURNED("a number")
               : type == LUA_TBOOLEAN ? RETURNED("a boolean")
                                      : RETURNED("neither text nor a table");
    lua_settop(L, -p->run.nresults);
    if (type == LUA_TTABLE && is_map(L))
        return RETURNED("a table with names (tg.json.encode() makes text of it)");
    p->run.nresults = 1;
    tg_plugins_drop_chunk(p);
    if (type == LUA_TSTRING)
        return add_string(&p->chunk_buf, L, -1) ? NULL : no_memory;
    for (int i = 1;; i++) {
        lua_rawgeti(L, -1, i);
        type = lua_type(L, -1);
        size_t n = type == LUA_TSTRING ? lua_objlen(L, -1) : 0;
        bool fits = n <= left;
        left -= fits ? n : 0;
        bool added = type == LUA_TSTRING && fits && add_string(&p->chunk_buf, L, -1);
        lua_pop(L, 1);
        if (type == LUA_TNIL)
            return NULL;
        if (type != LUA_TSTRING)
            return "the list that body_filter returned has something else than strings in it";
        if (!fits)
            return "the strings in the list that body_filter returned have more bytes in all than "
                   "twice limits.plugin.memory";
        if (!added)
            return no_memory;
    }
}
