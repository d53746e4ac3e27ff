/* lib.c: the small functions of `tg`: time, identifiers, text codecs, the entry points of JSON.
 *
 * They work in init and configure too, so none needs a request: clock and randomness come from the
 * worker that the VM runs on. Results are built in userdata or luaL_Buffer, never in memory that an
 * error would leak.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "bind/json.h"
#include "bind/text.h"

#define HEX_DIGITS "0123456789abcdef"

static struct tg_worker *worker_of(lua_State *L)
{
    const struct tg_vm_host *host = tg_vm_arg(tg_vm_from(L));
    return tg_gate_worker(host->gate);
}

const struct tg_clock *tg_bind_clock(lua_State *L)
{
    return &worker_of(L)->loop.clock;
}

/* ---- tg.json ---- */

int tg_api_json_encode(lua_State *L)
{
    tg_bind_arg_any(L, 1);
    lua_settop(L, 1);
    tg_json_push_encoded(L, 1);
    return 1;
}

int tg_api_json_decode(lua_State *L)
{
    return tg_json_push_decoded(L, tg_bind_arg_str(L, 1));
}

int tg_api_json_array(lua_State *L)
{
    if (!tg_bind_arg_table(L, 1, true)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    lua_settop(L, 1);
    if (!tg_bind_is_marked_list(L, 1) && luaL_getmetafield(L, 1, "__metatable"))
        tg_bind_arg_error(L, 1, "has a protected metatable, which the mark would replace");
    tg_bind_push_list_mark(L);
    lua_setmetatable(L, 1);
    return 1;
}

/* ---- tg.time, tg.uuid ---- */

int tg_api_time_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)tg_bind_clock(L)->real / 1e6);
    return 1;
}

int tg_api_time_monotonic(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)tg_bind_clock(L)->mono / 1e6);
    return 1;
}

int tg_api_time_http_date(lua_State *L)
{
    char date[TG_CLOCK_HTTP_DATE_LEN];
    uint64_t real = tg_bind_clock(L)->real;
    if (!lua_isnoneornil(L, 1)) {
        lua_Number seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : -1;
        if (!(seconds >= 0 && seconds < 253402300800.0))
            tg_bind_arg_error(L, 1, "expected seconds since 1970, before the year 10000");
        real = (uint64_t)(seconds * 1e6);
    }
    tg_clock_http_date(real, date);
    lua_pushlstring(L, date, sizeof(date));
    return 1;
}

/* Pushes the 128 bits with version and variant (RFC 9562, 4.1 and 4.2) put in. */
static int push_uuid(lua_State *L, uint64_t high, uint64_t low, unsigned version)
{
    char text[40];
    high = (high & ~UINT64_C(0xf000)) | (uint64_t)version << 12;
    low = (low & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;
    int n = snprintf(text, sizeof(text), "%08llx-%04llx-%04llx-%04llx-%012llx",
                     (unsigned long long)(high >> 32), (unsigned long long)(high >> 16 & 0xffff),
                     (unsigned long long)(high & 0xffff), (unsigned long long)(low >> 48),
                     (unsigned long long)(low & UINT64_C(0xffffffffffff)));
    lua_pushlstring(L, text, (size_t)n);
    return 1;
}

int tg_api_uuid_v4(lua_State *L)
{
    struct tg_rand *rand = &worker_of(L)->rand;
    uint64_t high = tg_rand_u64(rand);
    return push_uuid(L, high, tg_rand_u64(rand), 4);
}

/* RFC 9562, 6.2, method 3: 12 bits below the millisecond; where the clock stands still, as it does
 * within a round of the loop, the number is counted on, so a worker's identifiers ascend. */
int tg_api_uuid_v7(lua_State *L)
{
    static _Thread_local uint64_t last; /* 48 bits of ms, 12 bits below */
    uint64_t us = tg_bind_clock(L)->real;
    uint64_t now = (us / 1000) << 12 | (us % 1000) * 4096 / 1000;
    last = TG_MAX(now, last + 1);
    return push_uuid(L, (last >> 12) << 16 | (last & 0xfff), tg_rand_u64(&worker_of(L)->rand), 7);
}

/* ---- tg.hex ---- */

int tg_api_hex_encode(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    char *out = lua_newuserdata(L, 2 * in.n);
    for (size_t i = 0; i < in.n; i++) {
        out[2 * i] = HEX_DIGITS[(unsigned char)in.p[i] >> 4];
        out[2 * i + 1] = HEX_DIGITS[(unsigned char)in.p[i] & 15];
    }
    lua_pushlstring(L, out, 2 * in.n);
    return 1;
}

int tg_api_hex_decode(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    char *out = lua_newuserdata(L, in.n / 2);
    if (in.n % 2 != 0)
        return tg_bind_fail(L, "bad_input", "an odd number of hexadecimal digits");
    for (size_t i = 0; i < in.n; i += 2) {
        int high = tg_bind_hex_value(in.p[i]);
        int low = tg_bind_hex_value(in.p[i + 1]);
        if (high < 0 || low < 0)
            return tg_bind_fail(L, "bad_input", "something else than hexadecimal digits");
        out[i / 2] = (char)(high << 4 | low);
    }
    lua_pushlstring(L, out, in.n / 2);
    return 1;
}

/* ---- tg.base64: RFC 4648, 4 and 5 ---- */

static const char *alphabet(bool url)
{
    return url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
               : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

/* The option `url` of argument 2. */
static bool wants_url(lua_State *L)
{
    if (!tg_bind_arg_table(L, 2, true))
        return false;
    lua_pushliteral(L, "url");
    lua_rawget(L, 2);
    bool url = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return url;
}

int tg_api_base64_encode(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    bool url = wants_url(L);
    const char *digits = alphabet(url);
    char *out = lua_newuserdata(L, (in.n + 2) / 3 * 4);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i += 3) {
        uint32_t bits = (uint32_t)(unsigned char)in.p[i] << 16;
        size_t left = in.n - i;
        bits |= left > 1 ? (uint32_t)(unsigned char)in.p[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(unsigned char)in.p[i + 2] : 0;
        out[n++] = digits[bits >> 18];
        out[n++] = digits[bits >> 12 & 63];
        if (left > 1 || !url)
            out[n++] = left > 1 ? digits[bits >> 6 & 63] : '=';
        if (left > 2 || !url)
            out[n++] = left > 2 ? digits[bits & 63] : '=';
    }
    lua_pushlstring(L, out, n);
    return 1;
}

/* What the digit stands for, or -1. */
static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

int tg_api_base64_decode(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    bool url = wants_url(L);
    char *out = lua_newuserdata(L, in.n / 4 * 3 + 3);
    uint32_t bits = 0;
    unsigned have = 0; /* bits that wait in `bits` */
    size_t n = 0;
    size_t padding = 0;
    while (in.n > 0 && padding < 2 && in.p[in.n - 1] == '=') {
        in.n--;
        padding++;
    }
    for (size_t i = 0; i < in.n; i++) {
        int value = base64_value(in.p[i], url);
        if (value < 0)
            return tg_bind_fail(L, "bad_input", "a character outside of the alphabet");
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
        }
    }
    bool whole = in.n % 4 != 1 && (padding == 0 || (in.n + padding) % 4 == 0);
    if (!whole || (bits & ((1u << have) - 1)) != 0)
        return tg_bind_fail(L, "bad_input", "the text ends within a byte");
    lua_pushlstring(L, out, n);
    return 1;
}
