/* marshal.c: plain Lua data to bytes and back. See marshal.h for the format.
 *
 * The encoder walks with lua_next() and raw access, which call no metamethod. The way to the value
 * in hand is kept as a chain of frames on the C stack, so that a message can name it without a cost
 * for data that is fine. List items are 1..n without a hole, where n is what lua_objlen() says, cut
 * at the first nil; everything else is a pair.
 *
 * The decoder trusts no count: a table is made with at most as many places as bytes are left.
 */
#include "base/banned.h"
#include "script/marshal.h"

#include "base/assert.h"
#include "base/hash.h"

#include <lauxlib.h>

#define FIRST_CAP     256
#define ASK_EVERY     64 /* tables between two questions for the time */
#define STACK_A_LEVEL 2  /* a key and its value */

/* The step from a table to one of its values. */
struct frame {
    const struct frame *up;
    int key; /* stack index of the key; 0: the list item `item` */
    uint32_t item;
};

struct encoder {
    lua_State *L;
    const struct tg_marshal_options *options;
    struct tg_blob *out;
    uint32_t nodes; /* left */
    uint32_t tables;
    char *error;
    size_t error_size;
};

/* ---- Writing --------------------------------------------------------------------------------- */

static enum tg_err put(struct encoder *e, const void *p, size_t n)
{
    struct tg_blob *out = e->out;
    if (e->options->bytes != 0 && n > e->options->bytes - TG_MIN(out->n, e->options->bytes))
        return TG_E_LIMIT;
    if (n > out->cap - out->n) {
        size_t cap = TG_MAX(out->cap * 2, TG_MAX(out->n + n, (size_t)FIRST_CAP));
        char *grown = tg_mem_realloc(out->tag, out->p, cap);
        if (grown == NULL)
            return TG_E_NOMEM;
        out->p = grown;
        out->cap = cap;
    }
    memcpy(out->p + out->n, p, n);
    out->n += n;
    return TG_OK;
}

static enum tg_err put_byte(struct encoder *e, char byte)
{
    return put(e, &byte, 1);
}

static size_t write_leb(char *out, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (char)(value | 0x80);
    out[n++] = (char)value;
    return n;
}

static enum tg_err put_head(struct encoder *e, char kind, uint64_t value)
{
    char head[11] = {kind};
    return put(e, head, 1 + write_leb(head + 1, value));
}

/* ---- Messages -------------------------------------------------------------------------------- */

static bool is_name(const char *p, size_t n)
{
    if (n == 0 || (p[0] >= '0' && p[0] <= '9'))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (!(c == '_' || (c >= '0' && c <= '9') ||
              (tg_char_lower(c) >= 'a' && tg_char_lower(c) <= 'z')))
            return false;
    }
    return true;
}

static size_t add(struct encoder *e, size_t at, const char *text, size_t n)
{
    n = TG_MIN(n, e->error_size - 1 - at);
    memcpy(e->error + at, text, n);
    return at + n;
}

static size_t write_key(struct encoder *e, size_t at, const struct frame *frame)
{
    char text[48];
    int n = 0;
    if (frame->key == 0) {
        n = snprintf(text, sizeof(text), "[%u]", frame->item);
    } else if (lua_type(e->L, frame->key) == LUA_TSTRING) {
        size_t len;
        const char *key = lua_tolstring(e->L, frame->key, &len);
        bool plain = is_name(key, len);
        at = add(e, at, plain ? "." : "[\"", plain ? 1 : 2);
        at = add(e, at, key, TG_MIN(len, (size_t)128));
        return add(e, at, "\"]", plain ? 0 : 2);
    } else if (lua_type(e->L, frame->key) == LUA_TNUMBER) {
        n = snprintf(text, sizeof(text), "[%.14g]", lua_tonumber(e->L, frame->key));
    } else {
        n = snprintf(text, sizeof(text), "[%s]", luaL_typename(e->L, frame->key));
    }
    return add(e, at, text, (size_t)n);
}

static size_t write_path(struct encoder *e, const struct frame *frame)
{
    if (frame == NULL)
        return add(e, 0, e->options->root, strlen(e->options->root));
    return write_key(e, write_path(e, frame->up), frame);
}

/* Says that the value at the frame is refused: "path: a <type><why>", or "path: <why>". */
static enum tg_err refuse(struct encoder *e, const struct frame *frame, enum tg_err err,
                          const char *type, const char *why)
{
    if (e->error_size == 0)
        return err;
    size_t at = write_path(e, frame);
    at = add(e, at, ": ", 2);
    if (type != NULL) {
        at = add(e, at, "a ", 2);
        at = add(e, at, type, strlen(type));
    }
    at = add(e, at, why, strlen(why));
    e->error[at] = '\0';
    return err;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static enum tg_err encode_value(struct encoder *e, int index, const struct frame *frame, int depth);

static bool is_list_key(lua_State *L, int index, uint32_t count)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        return false;
    lua_Number key = lua_tonumber(L, index);
    return key >= 1 && key <= count && key == (lua_Number)(uint32_t)key;
}

/* How many items stand at 1..n without a hole. */
static uint32_t list_count(lua_State *L, int index)
{
    uint32_t count = (uint32_t)TG_MIN(lua_objlen(L, index), (size_t)INT32_MAX);
    for (uint32_t i = 1; i <= count; i++) {
        lua_rawgeti(L, index, (int)i);
        bool is_hole = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (is_hole)
            return i - 1;
    }
    return count;
}

static uint32_t pair_count(lua_State *L, int index, uint32_t list)
{
    uint32_t pairs = 0;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        pairs += !is_list_key(L, -2, list);
        lua_pop(L, 1);
    }
    return pairs;
}

static enum tg_err encode_pairs(struct encoder *e, int index, const struct frame *up, uint32_t list,
                                int depth)
{
    lua_State *L = e->L;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct frame frame = {up, lua_gettop(L) - 1, 0};
        int type = lua_type(L, frame.key);
        enum tg_err err = TG_OK;
        if (!is_list_key(L, frame.key, list)) {
            if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
                return refuse(e, up, TG_E_INVALID, luaL_typename(L, frame.key),
                              " as a key cannot cross");
            err = encode_value(e, frame.key, &frame, depth);
            if (err == TG_OK)
                err = encode_value(e, frame.key + 1, &frame, depth);
        }
        if (err != TG_OK)
            return err;
        lua_pop(L, 1);
    }
    return TG_OK;
}

static enum tg_err encode_table(struct encoder *e, int index, const struct frame *frame, int depth)
{
    lua_State *L = e->L;
    if (depth == TG_MARSHAL_DEPTH)
        return refuse(e, frame, TG_E_LIMIT, NULL, "nested too deeply, or in a cycle");
    if (++e->tables % ASK_EVERY == 0 && e->options->is_spent != NULL && e->options->is_spent(L))
        return refuse(e, frame, TG_E_LIMIT, NULL, "takes more CPU time than there is left");
    uint32_t list = list_count(L, index);
    enum tg_err err = put_head(e, '{', list);
    char pairs[10];
    if (err == TG_OK)
        err = put(e, pairs, write_leb(pairs, pair_count(L, index, list)));
    for (uint32_t i = 1; i <= list && err == TG_OK; i++) {
        struct frame item = {frame, 0, i};
        lua_rawgeti(L, index, (int)i);
        err = encode_value(e, lua_gettop(L), &item, depth + 1);
        if (err == TG_OK)
            lua_pop(L, 1);
    }
    return err != TG_OK ? err : encode_pairs(e, index, frame, list, depth + 1);
}

static enum tg_err encode_string(struct encoder *e, int index)
{
    size_t n;
    const char *p = lua_tolstring(e->L, index, &n);
    enum tg_err err = put_head(e, 's', n);
    return err != TG_OK ? err : put(e, p, n);
}

static enum tg_err encode_number(struct encoder *e, int index)
{
    lua_Number number = lua_tonumber(e->L, index);
    enum tg_err err = put_byte(e, 'd');
    return err != TG_OK ? err : put(e, &number, sizeof(number));
}

static enum tg_err encode_value(struct encoder *e, int index, const struct frame *frame, int depth)
{
    if (e->nodes-- == 0)
        return refuse(e, frame, TG_E_LIMIT, NULL, "more values than may cross");
    switch (lua_type(e->L, index)) {
    case LUA_TNIL:
        return put_byte(e, 'z');
    case LUA_TBOOLEAN:
        return put_byte(e, lua_toboolean(e->L, index) ? 't' : 'f');
    case LUA_TNUMBER:
        return encode_number(e, index);
    case LUA_TSTRING:
        return encode_string(e, index);
    case LUA_TTABLE:
        return encode_table(e, index, frame, depth);
    default:
        return refuse(e, frame, TG_E_INVALID, luaL_typename(e->L, index), " cannot cross");
    }
}

enum tg_err tg_marshal_encode(lua_State *L, int index, const struct tg_marshal_options *options,
                              struct tg_blob *out, char *error, size_t size)
{
    int top = lua_gettop(L);
    struct encoder e = {
        .L = L,
        .options = options,
        .out = out,
        .nodes = options->nodes != 0 ? options->nodes : TG_MARSHAL_NODES,
        .error = error,
        .error_size = size,
    };
    if (size > 0)
        error[0] = '\0';
    *out = (struct tg_blob){.tag = options->tag};
    if (!lua_checkstack(L, STACK_A_LEVEL * TG_MARSHAL_DEPTH + LUA_MINSTACK))
        return refuse(&e, NULL, TG_E_NOMEM, NULL, tg_err_text(TG_E_NOMEM));
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index += top + 1;
    enum tg_err err = encode_value(&e, index, NULL, 0);
    lua_settop(L, top);
    if (err == TG_OK)
        return TG_OK;
    if (size > 0 && error[0] == '\0')
        refuse(&e, NULL, err, NULL, tg_err_text(err));
    tg_blob_release(out);
    return err;
}

void tg_blob_release(struct tg_blob *blob)
{
    tg_mem_free(blob->tag, blob->p);
    *blob = (struct tg_blob){.tag = blob->tag};
}

/* ---- Decoding -------------------------------------------------------------------------------- */

struct decoder {
    lua_State *L;
    const char *at;
    const char *end;
};

static bool decode_value(struct decoder *d, int depth);

static bool take_leb(struct decoder *d, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 63 && d->at < d->end; shift += 7) {
        uint8_t byte = (uint8_t)*d->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool decode_string(struct decoder *d)
{
    uint64_t n;
    if (!take_leb(d, &n) || n > (uint64_t)(d->end - d->at))
        return false;
    lua_pushlstring(d->L, d->at, (size_t)n);
    d->at += n;
    return true;
}

static bool decode_number(struct decoder *d)
{
    lua_Number number;
    if ((size_t)(d->end - d->at) < sizeof(number))
        return false;
    memcpy(&number, d->at, sizeof(number));
    d->at += sizeof(number);
    lua_pushnumber(d->L, number);
    return true;
}

static bool is_key(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TNUMBER)
        return lua_tonumber(L, index) == lua_tonumber(L, index);
    return type == LUA_TSTRING || type == LUA_TBOOLEAN;
}

static bool decode_table(struct decoder *d, int depth)
{
    lua_State *L = d->L;
    uint64_t list, pairs;
    if (depth == TG_MARSHAL_DEPTH || !take_leb(d, &list) || !take_leb(d, &pairs))
        return false;
    uint64_t left = (uint64_t)(d->end - d->at);
    if (list > left || pairs > left / 2 || list > INT32_MAX || pairs > INT32_MAX)
        return false;
    luaL_checkstack(L, 4, "marshalled data");
    lua_createtable(L, (int)list, (int)pairs);
    for (uint64_t i = 1; i <= list; i++) {
        if (!decode_value(d, depth + 1))
            return false;
        lua_rawseti(L, -2, (int)i);
    }
    for (uint64_t i = 0; i < pairs; i++) {
        if (!decode_value(d, depth + 1) || !is_key(L, -1) || !decode_value(d, depth + 1))
            return false;
        lua_rawset(L, -3);
    }
    return true;
}

static bool decode_value(struct decoder *d, int depth)
{
    if (d->at == d->end)
        return false;
    switch (*d->at++) {
    case 'z':
        lua_pushnil(d->L);
        return true;
    case 't':
    case 'f':
        lua_pushboolean(d->L, d->at[-1] == 't');
        return true;
    case 'd':
        return decode_number(d);
    case 's':
        return decode_string(d);
    case '{':
        return decode_table(d, depth);
    default:
        return false;
    }
}

enum tg_err tg_marshal_decode(lua_State *L, struct tg_str blob)
{
    struct decoder d = {L, blob.p, blob.p + blob.n};
    int top = lua_gettop(L);
    if (decode_value(&d, 0) && d.at == d.end)
        return TG_OK;
    lua_settop(L, top);
    return TG_E_INVALID;
}

struct tg_str tg_marshal_scalar(struct tg_str blob, char *room, size_t size)
{
    static const struct tg_str none = {NULL, 0};
    struct decoder d = {NULL, blob.p, blob.p + blob.n};
    lua_Number number;
    uint64_t n;
    char kind = d.at < d.end ? *d.at++ : 'z';
    if ((kind == 't' || kind == 'f') && d.at == d.end)
        return kind == 't' ? TG_STR("true") : TG_STR("false");
    if (kind == 's' && take_leb(&d, &n) && n == (uint64_t)(d.end - d.at))
        return tg_str(d.at, (size_t)n);
    if (kind != 'd' || (size_t)(d.end - d.at) != sizeof(number))
        return none;
    memcpy(&number, d.at, sizeof(number));
    int written = snprintf(room, size, "%.14g", number);
    return tg_str(room, (size_t)written);
}

/* ---- Digests --------------------------------------------------------------------------------- */

/* What two digests make together, in this order. */
static uint64_t join(uint64_t a, uint64_t b)
{
    return tg_hash_keyed((struct tg_hash_key){a, b}, "", 0);
}

static uint64_t digest_value(struct decoder *d);

/* The order of pairs is chance, so they are added up. */
static uint64_t digest_table(struct decoder *d)
{
    uint64_t list = 0, pairs = 0, sum = 0;
    bool whole = take_leb(d, &list) && take_leb(d, &pairs);
    uint64_t digest = join('{', list);
    tg_assert(whole);
    for (uint64_t i = 0; i < list; i++)
        digest = join(digest, digest_value(d));
    for (uint64_t i = 0; i < pairs; i++) {
        uint64_t key = digest_value(d);
        sum += join(key, digest_value(d));
    }
    return join(digest, sum);
}

static uint64_t digest_value(struct decoder *d)
{
    uint64_t n = 0;
    tg_assert(d->at < d->end);
    char kind = *d->at++;
    if (kind == '{')
        return digest_table(d);
    if (kind == 'd')
        n = sizeof(lua_Number);
    else if (kind == 's' && !take_leb(d, &n))
        n = UINT64_MAX;
    tg_assert(n <= (uint64_t)(d->end - d->at));
    const char *bytes = d->at;
    d->at += n;
    return tg_hash_keyed((struct tg_hash_key){(unsigned char)kind, n}, bytes, (size_t)n);
}

uint64_t tg_marshal_digest(struct tg_str blob)
{
    struct decoder d = {NULL, blob.p, blob.p + blob.n};
    return digest_value(&d);
}
