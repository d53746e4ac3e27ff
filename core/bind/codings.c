/* codings.c: what tg.edits{} is told of bodies: `compress` for the response, `decompress` for the
 * request.
 *
 *   compress   = { codings = { "br", "gzip" }, levels = { gzip = 5 }, min = 1024,
 *                  types = { "text/html", "image/svg+xml" } }
 *   decompress = { codings = { "gzip" }, max = 1048576 }
 *
 * Each becomes a userdata that is anchored in the registry: requests refer to it, and it lives as
 * long as its VM, as edits do. */
#include "base/banned.h"
#include "bind/fields.h"
#include "gateway/encode.h"
#include "gateway/unpack.h"

#define DEPTH     6   /* places of the stack that a reader takes */
#define TYPES_MAX 256 /* a response is compared with each of them */

/* Pushes the member of the table at `table`: of Lua's `type`, or nil where it may be absent. */
static bool push_member(lua_State *L, int table, const char *name, int type, bool optional)
{
    lua_pushstring(L, name);
    lua_rawget(L, table);
    if (lua_type(L, -1) != type && !(optional && lua_isnil(L, -1)))
        tg_bind_arg_error(L, 1,
                          "compress is { codings, levels?, min?, types }, decompress { codings, "
                          "max? }; lists of strings, numbers");
    return !lua_isnil(L, -1);
}

/* The list at the top: its codings, each once, into `out`. Pops it. */
static uint32_t read_codings(lua_State *L, bool encodes, enum tg_coding out[TG_CODINGS])
{
    uint32_t n = 0;
    size_t count = lua_objlen(L, -1);
    for (size_t i = 1; i <= count; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, -1, (int)i);
        size_t size = 0;
        const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : "";
        enum tg_coding coding = tg_coding_of(tg_str(p, size));
        bool known = coding != TG_CODING_OTHER && (!encodes || tg_encoder_knows(coding));
        for (uint32_t k = 0; k < n; k++)
            known = known && out[k] != coding;
        if (!known)
            tg_bind_arg_error(L, 1,
                              encodes ? "codings: expected \"gzip\", \"br\" and \"zstd\", each once"
                                      : "codings: expected \"gzip\", \"deflate\", \"br\" and "
                                        "\"zstd\", each once");
        out[n++] = coding;
    }
    lua_pop(L, 1);
    if (n == 0)
        tg_bind_arg_error(L, 1, "codings: expected one at least");
    return n;
}

static uint64_t read_number(lua_State *L, int table, const char *name, uint64_t standard)
{
    uint64_t value = standard;
    if (push_member(L, table, name, LUA_TNUMBER, true)) {
        lua_Number number = lua_tonumber(L, -1);
        if (!(number >= 0 && number <= 1e15))
            tg_bind_arg_error(L, 1, "min and max are numbers of bytes");
        value = (uint64_t)number;
    }
    lua_pop(L, 1);
    return value;
}

static void read_levels(lua_State *L, int table, int levels[TG_CODINGS])
{
    bool given = push_member(L, table, "levels", LUA_TTABLE, true);
    for (int i = TG_CODING_OTHER + 1; i < TG_CODINGS; i++) {
        levels[i] = tg_encoder_level((enum tg_coding)i);
        if (!given)
            continue;
        struct tg_str name = tg_coding_name((enum tg_coding)i);
        lua_pushlstring(L, name.p, name.n);
        lua_rawget(L, -2);
        if (!lua_isnil(L, -1)) {
            lua_Number level = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
            if (!(level >= 1 && level <= TG_ENCODER_LEVEL_MAX))
                tg_bind_arg_error(L, 1, "levels: expected 1 (fast) to 9 (small)");
            levels[i] = (int)level;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Bytes of the strings in the list at the top. */
static size_t measure(lua_State *L, uint32_t *count)
{
    size_t bytes = 0;
    if (lua_objlen(L, -1) > TYPES_MAX)
        tg_bind_arg_error(L, 1, "types: at most 256");
    *count = (uint32_t)lua_objlen(L, -1);
    for (uint32_t i = 1; i <= *count; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, -1, (int)i);
        if (lua_type(L, -1) != LUA_TSTRING)
            tg_bind_arg_error(L, 1, "types: expected content types");
        bytes += lua_objlen(L, -1);
    }
    return bytes;
}

/* The userdata on top lives as long as the VM from here on; pops it. */
static void anchor(lua_State *L)
{
    luaL_ref(L, LUA_REGISTRYINDEX);
}

static const struct tg_compression *read_compress(lua_State *L, int table)
{
    uint32_t count;
    push_member(L, table, "types", LUA_TTABLE, false);
    size_t bytes = measure(L, &count);
    size_t head = sizeof(struct tg_compression) + count * sizeof(struct tg_str);
    struct tg_compression *c = lua_newuserdata(L, head + bytes);
    char *to = (char *)c + head;
    memset(c, 0, sizeof(*c));
    c->type_count = count;
    for (uint32_t i = 0; i < count; i++, lua_pop(L, 1)) {
        size_t n;
        lua_rawgeti(L, -2, (int)i + 1);
        const char *p = lua_tolstring(L, -1, &n);
        memcpy(to, p, n);
        c->types[i] = tg_str(to, n);
        to += n;
    }
    c->min_size = read_number(L, table, "min", 0);
    read_levels(L, table, c->levels);
    push_member(L, table, "codings", LUA_TTABLE, false);
    c->coding_count = read_codings(L, true, c->codings);
    anchor(L);
    lua_pop(L, 1);
    return c;
}

static const struct tg_decompression *read_decompress(lua_State *L, int table)
{
    struct tg_decompression *d = lua_newuserdata(L, sizeof(*d));
    memset(d, 0, sizeof(*d));
    d->max = read_number(L, table, "max", UINT64_MAX);
    push_member(L, table, "codings", LUA_TTABLE, false);
    d->coding_count = read_codings(L, false, d->codings);
    anchor(L);
    return d;
}

void tg_bind_read_codings(lua_State *L, struct tg_edits *edits)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, DEPTH, NULL);
    if (push_member(L, 1, "compress", LUA_TTABLE, true))
        edits->compression = read_compress(L, top + 1);
    lua_settop(L, top);
    if (push_member(L, 1, "decompress", LUA_TTABLE, true))
        edits->decompression = read_decompress(L, top + 1);
    lua_settop(L, top);
}
