/*
 * Any pattern, subject and replacement for tg.re, through Lua as a plugin calls it: compiling is
 * refused or the searches end, within their bounds, by results or an error; groups lie inside the
 * subject (the sanitizer sees reads beyond); gsub with "$0" gives the subject again.
 *
 * Input: flags (a byte), length of the pattern (a byte), pattern, length of the replacement (a
 * byte), replacement, subject.
 */
#include "base/banned.h"
#include "library_fuzz.h"

static lua_State *state;

static const char calls[] =
    "local library = ...\n"
    "return function(pattern, flags, replacement, subject)\n"
    "  local re = library.re.compile(pattern, flags)\n"
    "  if not re then return true end\n"
    "  local ok, from, to = pcall(re.find, re, subject)\n"
    "  if ok and from then assert(from >= 1 and to >= from - 1 and to <= #subject) end\n"
    "  pcall(re.gsub, re, subject, replacement)\n"
    "  pcall(function() for a in re:gmatch(subject) do assert(a == nil or #a <= #subject) end "
    "end)\n"
    "  local same, text = pcall(re.gsub, re, subject, '$0')\n"
    "  return not same or text == subject or pattern:find '\\\\K'\n"
    "end\n";

/* Pushes what a byte of length announces. */
static void push_part(const uint8_t **data, size_t *size)
{
    size_t n = *size > 0 ? TG_MIN((size_t) * *data, *size - 1) : 0;
    lua_pushlstring(state, (const char *)*data + (*size > 0), n);
    *data += n + (*size > 0);
    *size -= n + (*size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char letters[] = "imsxu";
    char flags[8];
    size_t n = 0;
    state = library_open(calls);
    if (size == 0)
        return 0;
    for (unsigned i = 0; i < sizeof(letters) - 1; i++) {
        if ((data[0] & 1u << i) != 0)
            flags[n++] = letters[i];
    }
    data++;
    size--;
    lua_settop(state, 1);
    lua_pushvalue(state, 1);
    push_part(&data, &size);
    lua_pushlstring(state, flags, n);
    push_part(&data, &size);
    lua_pushlstring(state, (const char *)data, TG_MIN(size, 256));
    if (lua_pcall(state, 4, 1, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(state, -1));
        abort();
    }
    tg_assert(lua_toboolean(state, -1));
    return 0;
}
