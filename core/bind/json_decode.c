/* json_decode.c: JSON text to Lua values: see json.h.
 *
 * A recursive descent over the bytes; depth is bounded, so the C stack is too. Each function pushes
 * its value and returns true, or notes the first mistake and returns false, whatever is then on the
 * Lua stack: the caller drops it all. Strings without escapes are pushed from the input; others are
 * put together in one scratch userdata that is made at the first of them, as long as the rest of
 * the input and so long enough for every string in it.
 */
#include "base/banned.h"
#include "bind/json.h"

#include "base/utf8.h"
#include "bind/object.h"

#include <math.h>

#define ASK_EVERY 64 /* values between two questions for the time */

struct decoder {
    lua_State *L;
    const char *start;
    const char *p;
    const char *end;
    char *scratch; /* NULL until a string has an escape; lives at stack index scratch_index */
    int scratch_index;
    uint32_t depth;
    uint32_t nodes;
    const char *wrong; /* the first mistake; static text */
};

static bool decode_value(struct decoder *d);

static bool mistake(struct decoder *d, const char *what)
{
    if (d->wrong == NULL)
        d->wrong = what;
    return false;
}

static void skip_space(struct decoder *d)
{
    while (d->p < d->end && (*d->p == ' ' || *d->p == '\t' || *d->p == '\n' || *d->p == '\r'))
        d->p++;
}

/* Takes `c` after white space, if it is there. */
static bool take(struct decoder *d, char c)
{
    skip_space(d);
    if (d->p == d->end || *d->p != c)
        return false;
    d->p++;
    return true;
}

static bool decode_word(struct decoder *d, const char *word, size_t n)
{
    if ((size_t)(d->end - d->p) < n || memcmp(d->p, word, n) != 0)
        return mistake(d, "expected a value");
    d->p += n;
    return true;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* The end of the number at `p` (RFC 8259, 6), or NULL when it is none. */
static const char *number_end(const char *p, const char *end)
{
    const char *digits = p < end && *p == '-' ? p + 1 : p;
    p = skip_digits(digits, end);
    if (p == digits || (*digits == '0' && p > digits + 1))
        return NULL;
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction, end);
        if (p == fraction)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *exponent = p + 1;
        if (exponent < end && (*exponent == '+' || *exponent == '-'))
            exponent++;
        p = skip_digits(exponent, end);
        if (p == exponent)
            return NULL;
    }
    return p;
}

static bool decode_number(struct decoder *d)
{
    char room[320]; /* longer than any number that differs from a shorter one in its value */
    const char *end = number_end(d->p, d->end);
    if (end == NULL)
        return mistake(d, "not a number");
    size_t n = (size_t)(end - d->p);
    if (n >= sizeof(room))
        return mistake(d, "a number of more than 319 characters");
    memcpy(room, d->p, n);
    room[n] = '\0';
    double value = strtod(room, NULL);
    if (!isfinite(value))
        return mistake(d, "a number out of range");
    lua_pushnumber(d->L, value);
    d->p = end;
    return true;
}

/* ---- Strings ---- */

/* Four hex digits at `p`, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        char low = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            value = value * 16 + (low - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (c & 0x3f));
    return out;
}

/* The character of "\uXXXX" whose digits are at d->p, a surrogate pair included; NULL: a mistake.
 */
static char *decode_unicode(struct decoder *d, char *out)
{
    int32_t c = hex4(d->p, d->end);
    if (c < 0)
        return mistake(d, "\\u without four hex digits") ? out : NULL;
    d->p += 4;
    if (c < 0xd800 || c > 0xdfff)
        return put_utf8(out, (uint32_t)c);
    bool pair = c < 0xdc00 && d->end - d->p >= 6 && d->p[0] == '\\' && d->p[1] == 'u';
    int32_t low = pair ? hex4(d->p + 2, d->end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return mistake(d, "half of a surrogate pair") ? out : NULL;
    d->p += 6;
    return put_utf8(out, 0x10000u + ((uint32_t)(c - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

static char *decode_escape(struct decoder *d, char *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (d->p == d->end)
        return mistake(d, "a string without an end") ? out : NULL;
    char c = *d->p++;
    if (c == 'u')
        return decode_unicode(d, out);
    const char *at = c != '\0' ? strchr(names, c) : NULL;
    if (at == NULL)
        return mistake(d, "an unknown escape") ? out : NULL;
    *out++ = values[at - names];
    return out;
}

/* Moves d->p over characters that stand for themselves; false at something that may not stand. */
static bool skip_plain(struct decoder *d)
{
    while (d->p < d->end) {
        unsigned char c = (unsigned char)*d->p;
        if (c == '"' || c == '\\')
            return true;
        if (c < 0x20)
            return mistake(d, "a control character in a string");
        size_t n = c < 0x80 ? 1 : tg_utf8_len(d->p, (size_t)(d->end - d->p));
        if (n == 0)
            return mistake(d, "not valid UTF-8");
        d->p += n;
    }
    return mistake(d, "a string without an end");
}

static void make_scratch(struct decoder *d, const char *from)
{
    if (d->scratch != NULL)
        return;
    d->scratch = lua_newuserdata(d->L, (size_t)(d->end - from));
    lua_replace(d->L, d->scratch_index);
}

/* A string with escapes: `from` is its first byte, d->p at the first escape. */
static bool decode_escaped(struct decoder *d, const char *from)
{
    make_scratch(d, from);
    char *out = d->scratch;
    for (;;) {
        memcpy(out, from, (size_t)(d->p - from));
        out += d->p - from;
        if (*d->p++ == '"')
            break;
        out = decode_escape(d, out);
        from = d->p;
        if (out == NULL || !skip_plain(d))
            return false;
    }
    lua_pushlstring(d->L, d->scratch, (size_t)(out - d->scratch));
    return true;
}

/* d->p is behind the opening quote. */
static bool decode_string(struct decoder *d)
{
    const char *from = d->p;
    if (!skip_plain(d))
        return false;
    if (*d->p == '\\')
        return decode_escaped(d, from);
    lua_pushlstring(d->L, from, (size_t)(d->p - from));
    d->p++;
    return true;
}

/* ---- Lists and objects ---- */

static bool decode_list(struct decoder *d)
{
    lua_State *L = d->L;
    lua_newtable(L);
    tg_bind_push_list_mark(L);
    lua_setmetatable(L, -2);
    if (take(d, ']'))
        return true;
    for (int i = 1;; i++) {
        if (!decode_value(d))
            return false;
        lua_rawseti(L, -2, i);
        if (take(d, ']'))
            return true;
        if (!take(d, ','))
            return mistake(d, "expected \",\" or \"]\"");
    }
}

static bool decode_object(struct decoder *d)
{
    lua_State *L = d->L;
    lua_newtable(L);
    if (take(d, '}'))
        return true;
    for (;;) {
        if (!take(d, '"'))
            return mistake(d, "expected a name in quotes");
        if (!decode_string(d))
            return false;
        if (!take(d, ':'))
            return mistake(d, "expected \":\"");
        if (!decode_value(d))
            return false;
        lua_rawset(L, -3);
        if (take(d, '}'))
            return true;
        if (!take(d, ','))
            return mistake(d, "expected \",\" or \"}\"");
    }
}

static bool decode_nested(struct decoder *d, bool (*decode)(struct decoder *d))
{
    if (++d->depth > TG_JSON_DEPTH)
        return mistake(d, "nested more than 64 levels deep");
    luaL_checkstack(d->L, 4, NULL);
    bool ok = decode(d);
    d->depth--;
    return ok;
}

static bool decode_value(struct decoder *d)
{
    skip_space(d);
    if (d->p == d->end)
        return mistake(d, "expected a value");
    if (++d->nodes > TG_JSON_NODES)
        return mistake(d, "more than 100000 values");
    if (d->nodes % ASK_EVERY == 0)
        tg_run_end_if_spent(d->L);
    switch (*d->p) {
    case '{':
        d->p++;
        return decode_nested(d, decode_object);
    case '[':
        d->p++;
        return decode_nested(d, decode_list);
    case '"':
        d->p++;
        return decode_string(d);
    case 't':
        lua_pushboolean(d->L, 1);
        return decode_word(d, "true", 4);
    case 'f':
        lua_pushboolean(d->L, 0);
        return decode_word(d, "false", 5);
    case 'n':
        tg_bind_push_null(d->L);
        return decode_word(d, "null", 4);
    default:
        return decode_number(d);
    }
}

int tg_json_push_decoded(lua_State *L, struct tg_str text)
{
    struct decoder d = {.L = L, .start = text.p, .p = text.p, .end = text.p + text.n};
    if (text.n > TG_JSON_BYTES)
        return tg_bind_fail(L, "too_large", "JSON text of more than 8 MiB");
    luaL_checkstack(L, 8, NULL);
    lua_pushnil(L);
    d.scratch_index = lua_gettop(L);
    if (decode_value(&d)) {
        skip_space(&d);
        if (d.p == d.end)
            return 1;
        mistake(&d, "something follows the value");
    }
    char message[128];
    lua_settop(L, d.scratch_index - 1);
    snprintf(message, sizeof(message), "not valid JSON at byte %zu: %s",
             (size_t)(d.p - d.start) + 1, d.wrong);
    return tg_bind_fail(L, "bad_input", message);
}
