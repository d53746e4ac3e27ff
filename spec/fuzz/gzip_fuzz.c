/*
 * Any bytes through tg.gunzip and tg.gzip: gunzip gives text within max or an error table, never
 * more; what gzip makes is unpacked to the same.
 */
#include "base/banned.h"
#include "library_fuzz.h"

static const char calls[] =
    "local tg = ...\n"
    "return function(bytes)\n"
    "  local text, err = tg.gunzip(bytes, { max = 100000 })\n"
    "  assert(text and #text <= 100000 or err.code == 'bad_input' or err.code == 'too_large')\n"
    "  local level = #bytes % 9 + 1\n"
    "  return tg.gunzip(tg.gzip(bytes, { level = level }), { max = #bytes }) == bytes\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_State *L = library_open(calls);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 1, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    tg_assert(lua_toboolean(L, -1));
    return 0;
}
