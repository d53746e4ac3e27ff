/*
 * The schema checker: a schema and a value, both made from the input, meet. Whatever they are,
 * checking ends with a value or with mistakes and never raises; what is sensitive is in no message;
 * what was accepted can be shown again, as Lua and as JSON. The rules stand in the Lua text below.
 */
#include "base/banned.h"

#include "base/assert.h"
#include "harness/host.h"

#include <lauxlib.h>
#include <lualib.h>

/* Lua tags its pointers, so the leak detector takes what the state holds for lost. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static const char rules[] =
    "local S = require 'tidegate.schema'\n"
    "local codes = require 'tidegate.codes'\n"
    "local docs = require 'tidegate.schema_docs'\n"
    "local json = require 'tidegate.inspect.json'\n"
    "local show = require 'tidegate.inspect.show'\n"
    "local MARK = 'hunter2'\n"
    "local input, at\n"
    "local function byte()\n"
    "  at = at + 1\n"
    "  return input:byte(at) or 0\n"
    "end\n"
    "local SIMPLE = { 'string', 'int', 'number', 'bool', 'duration', 'bytes', 'url', 'host', "
    "'port', 'cidr',\n"
    "  'header_name', 'header_value', 'method', 'status', 'regex', 'template', 'expr', 'any' }\n"
    "local NAMES = { 'a', 'b', 'attempts', 'x-y' }\n"
    "local function name() return NAMES[byte() % #NAMES + 1] end\n"
    "local make\n"
    "local makers = {\n"
    "  function() return S[SIMPLE[byte() % #SIMPLE + 1]]() end,\n"
    "  function() return S.string { min = byte() % 4, max = 4 + byte() % 8, pattern = '^%l' } "
    "end,\n"
    "  function() return S.int { min = byte() - 128, max = byte() } end,\n"
    "  function() return S.enum { name(), 'auto' } end,\n"
    "  function() return S.ref 'service' end,\n"
    "  function(d) return S.list(make(d), { min = byte() % 2, max = 1 + byte() % 4, unique = "
    "byte() % 2 == 0 }) end,\n"
    "  function(d) return S.map(S.string { min = 1 }, make(d)) end,\n"
    "  function(d) return S.one_of { one = make(d), two = make(d), three = S.enum { 'auto' } } "
    "end,\n"
    "  function(d)\n"
    "    local fields = { [1] = byte() % 8 == 0 and make(d) or nil, a = make(d), b = "
    "make(d):optional() }\n"
    "    fields.attempts = S.int { max = 9 }:default(1)\n"
    "    local rules = { S.exactly_one('a', 'b'), S.requires('a', 'b'), S.distinct('a', 'b'), "
    "S.when('attempts', 1, S.need 'b') }\n"
    "    local chosen = {}\n"
    "    for i, rule in ipairs(rules) do if byte() % 4 == i % 4 then chosen[#chosen + 1] = rule "
    "end end\n"
    "    return S.record(fields):rules(chosen)\n"
    "  end,\n"
    "}\n"
    "local function modified(t)\n"
    "  local how = byte() % 8\n"
    "  if how == 1 then t = t:check(function(v) if byte() % 2 == 0 then return true end return "
    "nil, tostring(v) end) end\n"
    "  if how == 2 then t = t:check(function(v) error(v) end) end\n"
    "  if how == 3 then t = t:deprecated 'use b' end\n"
    "  return t\n"
    "end\n"
    "function make(d) return modified(makers[d > 0 and byte() % #makers + 1 or byte() % 5 + 1](d - "
    "1)) end\n"
    "local WORDS = { '', 'a', '1s', '32KiB', 'GET', '10.0.0.0/8', 'https://a.test/', 'auto', "
    "'${x}', '\\255\\0' }\n"
    "local value\n"
    "local kinds = {\n"
    "  function() return WORDS[byte() % #WORDS + 1] end, function() return byte() - 100 end,\n"
    "  function() return byte() % 2 == 0 end, function() return 0 / 0 end, function() return print "
    "end,\n"
    "  function(d) local l = {} for i = 1, byte() % 4 do l[i] = value(d) end return l end,\n"
    "  function(d) local m = {} for _ = 1, byte() % 5 do m[name()] = value(d) end return m end,\n"
    "  function(d) local m = { value(d), atempts = 2 } m[name()] = value(d) return m end,\n"
    "  function() local m = {} m.a = m return m end,\n"
    "  function() return setmetatable({}, { __index = function() error 'no' end }) end,\n"
    "}\n"
    "function value(d) return kinds[d > 0 and byte() % #kinds + 1 or byte() % 5 + 1](d - 1) end\n"
    "local function marked(v, depth)\n"
    "  if type(v) == 'string' then return v .. MARK end\n"
    "  if type(v) ~= 'table' or depth > 8 or getmetatable(v) then return v end\n"
    "  local new = {}\n"
    "  for k, item in pairs(v) do new[k] = marked(item, depth + 1) end\n"
    "  return new\n"
    "end\n"
    "local host = { resolve = function(_, v) if v == 'a' then return 'a' end return nil, 'not ' .. "
    "tostring(v), 'or ' .. tostring(v), tostring(v) end }\n"
    "local function look(t, v, secret)\n"
    "  local normal, problems = S.validate(t, v, host)\n"
    "  local errors = 0\n"
    "  for _, p in ipairs(problems) do\n"
    "    codes.number(p.code)\n"
    "    if p.severity == 'error' then errors = errors + 1 end\n"
    "    local said = table.concat({ p.path, p.message, p.hint or '', p.suggestion or '' }, ' ')\n"
    "    assert(not secret or (p.sensitive and not said:find(MARK, 1, true)), said)\n"
    "  end\n"
    "  assert((normal == nil) == (errors > 0), 'a value or mistakes')\n"
    "  if normal == nil then return end\n"
    "  local shown = show.plain(t, normal)\n"
    "  local text = show.literal(shown) .. json.encode(shown)\n"
    "  assert(not secret or not text:find(MARK, 1, true), text)\n"
    "end\n"
    "return function(bytes)\n"
    "  input, at = bytes, 0\n"
    "  local t = make(3)\n"
    "  local v = value(3)\n"
    "  json.encode(docs.json_schema(t))\n"
    "  look(t, v, false)\n"
    "  look(t:sensitive(), marked(v, 0), true)\n"
    "end\n";

static lua_State *open_rules(void)
{
    static lua_State *L;
    if (L != NULL)
        return L;
    L = luaL_newstate();
    tg_assert(L != NULL);
    luaL_openlibs(L);
    tg_host_install(L);
    if (luaL_loadstring(L, rules) != 0 || lua_pcall(L, 0, 1, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_State *L = open_rules();
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_settop(L, 1);
    return 0;
}
