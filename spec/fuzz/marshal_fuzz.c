/*
 * Any bytes as a marshalled value: refused, with nothing on the stack, or decoded; what was decoded
 * encodes, and comes back equal. Memory of blobs is all given back.
 */
#include "base/banned.h"
#include "script/marshal.h"

#include "base/assert.h"

#include <lauxlib.h>
#include <lualib.h>

static const char compare[] =
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    return a == b or (a ~= a and b ~= b)\n"
    "  end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "return same\n";

static lua_State *state;

static void open_state(void)
{
    state = luaL_newstate();
    luaL_openlibs(state);
    tg_assert(luaL_dostring(state, compare) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_marshal_options options = {.root = "v", .tag = TG_MEM_CONFIG};
    struct tg_blob blob;
    if (state == NULL)
        open_state();
    lua_settop(state, 1);
    if (tg_marshal_decode(state, tg_str((const char *)data, size)) != TG_OK) {
        tg_assert(lua_gettop(state) == 1);
        return 0;
    }
    tg_assert(lua_gettop(state) == 2);
    tg_assert(tg_marshal_encode(state, 2, &options, &blob, NULL, 0) == TG_OK);
    lua_pushvalue(state, 1);
    lua_insert(state, 2);
    tg_assert(tg_marshal_decode(state, tg_str(blob.p, blob.n)) == TG_OK);
    lua_call(state, 2, 1);
    tg_assert(lua_toboolean(state, -1));
    tg_blob_release(&blob);
    tg_assert(tg_mem_used(TG_MEM_CONFIG) == 0);
    return 0;
}
