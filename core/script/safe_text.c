/* safe_text.c: plain C functions, for which the VM keeps `top` right. See safe_text.h.
 *
 * tostring is Lua around LuaJIT's own: only numbers take its machine code as far as an allocation,
 * and a metamethod that it calls must be able to yield, which it is not below a C function.
 */
#include "base/banned.h"
#include "script/safe_text.h"

#include "base/defs.h"
#include "base/str.h"

#include <lauxlib.h>

#define ON_STACK 1024 /* longer texts are made in a block of the VM */

static const char tostring_text[] = "local tostring, type = tostring, type\n"
                                    "return function(...)\n"
                                    "  local value = ...\n"
                                    "  if type(value) == 'number' then return value .. '' end\n"
                                    "  return (tostring(...))\n"
                                    "end\n";

static struct tg_str check_text(lua_State *L, int arg)
{
    struct tg_str text;
    text.p = luaL_checklstring(L, arg, &text.n);
    return text;
}

/* An offset as string.sub takes it, turned into one from the start; `length` + 1 at most. */
static size_t offset_of(lua_Number offset, size_t length)
{
    if (offset < 0)
        offset += (lua_Number)length + 1;
    if (!(offset >= 1)) /* NaN too */
        return 0;
    return offset > (lua_Number)length ? length + 1 : (size_t)offset;
}

static int text_sub(lua_State *L)
{
    struct tg_str text = check_text(L, 1);
    size_t from = offset_of(luaL_checknumber(L, 2), text.n);
    size_t to = offset_of(luaL_optnumber(L, 3, -1), text.n);
    from = TG_MAX(from, (size_t)1);
    to = TG_MIN(to, text.n);
    lua_pushlstring(L, from <= to ? text.p + from - 1 : "", from <= to ? to - from + 1 : 0);
    return 1;
}

/* Room for `size` bytes: `small`, or a block that stays on the Lua stack. */
static char *room_for(lua_State *L, char *small, size_t size)
{
    return size <= ON_STACK ? small : lua_newuserdata(L, size);
}

static int text_char(lua_State *L)
{
    char small[ON_STACK];
    int count = lua_gettop(L);
    char *out = room_for(L, small, (size_t)count);
    for (int i = 0; i < count; i++) {
        lua_Integer value = luaL_checkinteger(L, i + 1);
        luaL_argcheck(L, value >= 0 && value <= 255, i + 1, "invalid value");
        out[i] = (char)value;
    }
    lua_pushlstring(L, out, (size_t)count);
    return 1;
}

static int text_reverse(lua_State *L)
{
    char small[ON_STACK];
    struct tg_str text = check_text(L, 1);
    char *out = room_for(L, small, text.n);
    for (size_t i = 0; i < text.n; i++)
        out[i] = text.p[text.n - 1 - i];
    lua_pushlstring(L, out, text.n);
    return 1;
}

/* The text with the letters from `first` on (26 of them, ASCII) in their other case. */
static int push_in_case(lua_State *L, char first)
{
    char small[ON_STACK];
    struct tg_str text = check_text(L, 1);
    char *out = room_for(L, small, text.n);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        out[i] = (char)((unsigned char)(c - (unsigned char)first) < 26 ? c ^ 0x20 : c);
    }
    lua_pushlstring(L, out, text.n);
    return 1;
}

static int text_lower(lua_State *L)
{
    return push_in_case(L, 'A');
}

static int text_upper(lua_State *L)
{
    return push_in_case(L, 'a');
}

void tg_safe_text_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"char", text_char}, {"lower", text_lower}, {"reverse", text_reverse},
        {"sub", text_sub},   {"upper", text_upper},
    };
    for (size_t i = 0; i < TG_COUNT_OF(functions); i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, -2, functions[i].name);
    }
    if (luaL_loadbuffer(L, tostring_text, sizeof(tostring_text) - 1, "=tostring") != 0)
        lua_error(L);
    lua_call(L, 0, 1);
}
