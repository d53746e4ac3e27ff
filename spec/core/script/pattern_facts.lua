-- What find, match, gmatch and gsub must do, as the manual of Lua 5.1 (5.4 and 5.4.1) says it, with
-- LuaJIT's answers where the manual is silent. pattern_lua_test.c runs each group as a test, once with
-- our functions and once with LuaJIT's: a fact that LuaJIT does not share is not a fact.
--
-- Groups are functions of the library; is(pack(call), expected, …) compares all results.

local groups = {}

local function pack(...)
  return { n = select("#", ...), ... }
end

local function show(list)
  local out = {}
  for i = 1, list.n do
    out[i] = type(list[i]) == "string" and ("%q"):format(list[i]) or tostring(list[i])
  end
  return "(" .. table.concat(out, ", ") .. ")"
end

-- Checks that a list of results is as expected.
local function same(got, expected)
  local equal = got.n == expected.n
  for i = 1, got.n do
    equal = equal and got[i] == expected[i]
  end
  if not equal then
    error(("got %s, expected %s"):format(show(got), show(expected)), 3)
  end
end

-- is(results of a call packed, expected...)
local function is(got, ...)
  same(got, pack(...))
end

-- Checks that a call raises a text that contains `text`.
local function raises(text, f, ...)
  local ok, message = pcall(f, ...)
  if ok then
    error("no error; expected: " .. text, 2)
  end
  if not tostring(message):find(text, 1, true) then
    error(("error %q, expected %q"):format(tostring(message), text), 2)
  end
end

local function all(lib, s, p)
  local out = {}
  for a, b in lib.gmatch(s, p) do
    out[#out + 1] = tostring(a) .. (b and "=" .. tostring(b) or "")
  end
  return table.concat(out, "|")
end

local any_byte = {}
for c = 0, 255 do
  any_byte[#any_byte + 1] = string.char(c)
end
any_byte = table.concat(any_byte)

function groups.find(lib)
  local find = lib.find
  is(pack(find("", "")), 1, 0)
  is(pack(find("alo", "")), 1, 0)
  is(pack(find("gate", "at")), 2, 3)
  is(pack(find("gate", "gates")), nil)
  is(pack(find("a\0b\0c", "b\0")), 3, 4)
  is(pack(find("a\0b\0c", "\0", 3)), 4, 4)
  is(pack(find("aXbX", "X", 3)), 4, 4)
  is(pack(find("key = value", "(%w+)%s*=%s*(%w+)")), 1, 11, "key", "value")
  is(pack(find("abc", "()b()")), 2, 2, 2, 3)
  is(pack(find(12345, 34)), 3, 4)
  is(pack(find("aaaaaaaaaaaaaaaaaaab", "ab")), 19, 20)
  is(pack(find("aaaaaaaaaaaaaaaaaaab", "ac")), nil)
  is(pack(find(("ab"):rep(12) .. "abc", "abc")), 25, 27)
end

function groups.init(lib)
  local find, match = lib.find, lib.match
  is(pack(find("banana", "a", 3)), 4, 4)
  is(pack(find("banana", "a", -1)), 6, 6)
  is(pack(find("banana", "a", -100)), 2, 2)
  is(pack(find("banana", "a", 0)), 2, 2)
  is(pack(find("banana", "b", 2)), nil)
  is(pack(find("banana", "", 7)), 7, 6)
  is(pack(find("banana", "", 70)), 7, 6)
  is(pack(find("banana", "a", "3")), 4, 4)
  is(pack(find("banana", "a", nil)), 2, 2)
  is(pack(find("banana", "a", 2.9)), 2, 2)
  is(pack(match("banana", ".", -2)), "n")
  is(pack(match("banana", "^n", 3)), "n")
  is(pack(match("banana", "^a", 3)), nil)
end

function groups.plain(lib)
  local find = lib.find
  is(pack(find("a.b", ".", 1, true)), 2, 2)
  is(pack(find("a.b", "%.", 1, true)), nil)
  is(pack(find("a[b", "[", 1, true)), 2, 2)
  is(pack(find("a.b.c", ".", 3, true)), 4, 4)
  is(pack(find("x(y)", "(y)", 1, true)), 2, 4)
  is(pack(find("abc", "", 1, true)), 1, 0)
  is(pack(find("abc", "", 10, true)), 4, 3)
  is(pack(find("a.b", ".", 1, false)), 1, 1)
  is(pack(find("a)b", ")")), 2, 2)
  is(pack(find("a]b", "]")), 2, 2)
end

function groups.match(lib)
  local match = lib.match
  is(pack(match("2024-05-06", "(%d+)-(%d+)-(%d+)")), "2024", "05", "06")
  is(pack(match("  trim me ", "^%s*(.-)%s*$")), "trim me")
  is(pack(match("aaab", ".*b")), "aaab")
  is(pack(match("aaa", ".*a")), "aaa")
  is(pack(match("b", ".*b")), "b")
  is(pack(match("aaab", ".+b")), "aaab")
  is(pack(match("b", ".+b")), nil)
  is(pack(match("aaab", ".?b")), "ab")
  is(pack(match("b", ".?b")), "b")
  is(pack(match("aXb", "a.-b")), "aXb")
  is(pack(match("abab", "a.-b")), "ab")
  is(pack(match("abab", "a.*b")), "abab")
  is(pack(match("a1", "a-1")), "a1")
  is(pack(match("$5", "$5")), "$5")
  is(pack(match("a$", "a$$")), "a$")
  is(pack(match("a^b", "a^b")), "a^b")
  is(pack(match("^", "^^")), "^")
  is(pack(match("", "^$")), "")
  is(pack(match("x", "^$")), nil)
  is(pack(match("x", "$")), "")
  is(pack(match("a*", "*", 2)), "*")
  is(pack(match("**", "^**")), "**")
  is(pack(match("0123456789", "(.+(.?)())")), "0123456789", "", 11)
  is(pack(match("alo xyzK", "(%w+)K")), "xyz")
  is(pack(match("254 K", "(%d*)K")), "")
  is(pack(match("alo ", "(%w*)$")), "")
  is(pack(match("-----", "%-+")), "-----")
end

function groups.classes(lib)
  local gsub = lib.gsub
  local function members(p)
    local rest = gsub(any_byte, "[^" .. p .. "]", "")
    return rest
  end
  local upper, lower, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
  is(pack(members("%a")), upper .. lower)
  is(pack(members("%d")), digits)
  is(pack(members("%l")), lower)
  is(pack(members("%u")), upper)
  is(pack(members("%w")), digits .. upper .. lower)
  is(pack(members("%x")), digits .. "ABCDEFabcdef")
  is(pack(members("%s")), "\t\n\v\f\r ")
  is(pack(members("%p")), "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
  is(pack(members("%z")), "\0")
  is(pack(#members("%c")), 33)
  is(pack(members("%g")), any_byte:sub(34, 127))
  for class in ("adlupswxcgz"):gmatch(".") do
    local complement = gsub(any_byte, "%" .. class, "")
    is(pack(members("%" .. class:upper())), complement)
    is(pack(#members("%" .. class) + #complement), 256)
    is(pack((gsub(any_byte, "[%" .. class .. "%" .. class:upper() .. "]", ""))), "")
  end
  is(pack(members(".")), ".")
  is(pack(#gsub(any_byte, ".", "")), 0)
  is(pack(members("%q%-%%")), "%-q")
end

function groups.sets(lib)
  local match, gsub = lib.match, lib.gsub
  is(pack(match("f00", "[a-f0]+")), "f00")
  is(pack(match("a-c", "[a-]+")), "a-")
  is(pack(match("-ab", "[-a]+")), "-a")
  is(pack(match("]]x", "[]]+")), "]]")
  is(pack(match("xy]", "[^]]+")), "xy")
  is(pack(match("a]b", "[%]a]+")), "a]")
  is(pack(match("^a", "[a^]+")), "^a")
  is(pack(match("abc", "[c-a]")), nil)
  is(pack(match("a%z-", "[!-%z]+")), "%z")
  is(pack(match("5+", "[%d+]+")), "5+")
  is(pack(match("a\0b", "[%z]")), "\0")
  is(pack(match("a\0b", "[^%z]+", 2)), "b")
  is(pack(match("\200\255", "[\128-\255]+")), "\200\255")
  is(pack(match("x=[]", "%[%]")), "[]")
  is(pack((gsub("hello world", "[aeiou]", "_"))), "h_ll_ w_rld")
  is(pack((gsub("some, list; here", "[^%w]+", "."))), "some.list.here")
  is(pack(match("aXbYcZdWe", "[a][X][b][Y][c][Z][d][W][e]")), "aXbYcZdWe")
  is(pack(match("line\nnext", "[^\n]*")), "line")
end

function groups.captures(lib)
  local match, find = lib.match, lib.find
  is(pack(match("abc", "((a)(b)(c))")), "abc", "a", "b", "c")
  is(pack(match("abc", "()a()b()c()")), 1, 2, 3, 4)
  is(pack(match("abc", "(a*(.)%w(%s*))")), "abc", "b", "")
  is(pack(match("say 'hi' now", "([\"'])(.-)%1")), "'", "hi")
  is(pack(match("abab", "(ab)%1")), "ab")
  is(pack(match("abac", "(ab)%1")), nil)
  is(pack(find("alo alo", "^(%w+) %1$")), 1, 7, "alo")
  is(pack(match("aa", "()%1")), nil)
  is(pack(select("#", match(("x"):rep(32), ("(x)"):rep(32)))), 32)
  is(pack(match("=foo=bar=", "(=(%w+))%1")), nil)
  is(pack(match("a=b b=a", "(%w)=(%w) %2=%1")), "a", "b")
end

function groups.balance(lib)
  local match, gsub = lib.match, lib.gsub
  is(pack(match("f(a(b)c) (d)", "%b()")), "(a(b)c)")
  is(pack(match("((unclosed)", "%b()")), "(unclosed)")
  is(pack(match("(unclosed", "%b()")), nil)
  is(pack(match("'a'b'", "%b''")), "'a'")
  is(pack(match("", "%b()")), nil)
  is(pack(match("{x{y}}z", "%b{}z")), "{x{y}}z")
  is(pack((gsub("alo (oi (tudo) bem) x (y)", "%b()", ""))), "alo  x ")
end

function groups.frontier(lib)
  local match, gsub, find = lib.match, lib.gsub, lib.find
  is(pack((gsub("aaa aa a aaa a", "%f[%w]%a", "x"))), "xaa xa x xaa x")
  is(pack((gsub("[[]] [][] [[[[", "%f[[].", "x"))), "x[]] x]x] x[[[")
  is(pack((gsub("01abc45de3", "%f[%d]", "."))), ".01abc.45de.3")
  is(pack((gsub("01abc45 de3x", "%f[%D]%w", "."))), "01.bc45 de3.")
  is(pack((gsub("function", "%f[%z]%w", "."))), "function")
  is(pack(find("a", "%f[a]")), 1, 0)
  is(pack(find("a", "%f[^%z]")), 1, 0)
  is(pack(find("a", "%f[^%l]")), 2, 1)
  is(pack(find("aba", "%f[a%z]")), 3, 2)
  is(pack(match("THE (quick) fox", "%f[%a]%a+%f[%A]", 2)), "quick")
end

function groups.gmatch(lib)
  is(pack(all(lib, "one two", "%a+")), "one|two")
  is(pack(all(lib, "a=1, b=2", "(%w)=(%w)")), "a=1|b=2")
  is(pack(all(lib, "abc", "()")), "1|2|3|4")
  is(pack(all(lib, "abc", "")), "|||")
  is(pack(all(lib, "xaax", "a*")), "|aa||")
  is(pack(all(lib, "^a a", "^a")), "^a")
  is(pack(all(lib, "", "x")), "")
  is(pack(all(lib, "a\0b\0", "%Z+")), "a|b")
  is(pack(all(lib, 1221, 2)), "2|2")
  local iterate = lib.gmatch("ab", ".")
  is(pack(iterate()), "a")
  is(pack(iterate()), "b")
  is(pack(iterate()))
  is(pack(iterate()))
end

function groups.gsub_string(lib)
  local gsub = lib.gsub
  is(pack(gsub("", "", "-")), "-", 1)
  is(pack(gsub("abc", "", "-")), "-a-b-c-", 4)
  is(pack(gsub("abc", "b*", "-")), "-a--c-", 4)
  is(pack(gsub("hello", "l", "L")), "heLLo", 2)
  is(pack(gsub("hello", "l", "L", 1)), "heLlo", 1)
  is(pack(gsub("hello", "l", "L", 0)), "hello", 0)
  is(pack(gsub("hello", "l", "L", -1)), "hello", 0)
  is(pack(gsub("hello", "l", "L", "1")), "heLlo", 1)
  is(pack(gsub("hello", "^h", "J")), "Jello", 1)
  is(pack(gsub("hhh", "^h", "J")), "Jhh", 1)
  is(pack(gsub("hhh", "^x*", "J")), "Jhhh", 1)
  is(pack(gsub("h", "h$", "")), "", 1)
  is(pack(gsub("a b", "(%w) (%w)", "%2 %1")), "b a", 1)
  is(pack(gsub("abc", "%w", "%0%0")), "aabbcc", 3)
  is(pack(gsub("abc", "%w", "%1")), "abc", 3)
  is(pack(gsub("abc", "b", "%%")), "a%c", 1)
  is(pack(gsub("abc", "b", "%x")), "axc", 1)
  is(pack(gsub("abc", "b", "%")), "a\0c", 1)
  is(pack(gsub("abc", "()b()", "%1,%2")), "a2,3c", 1)
  is(pack(gsub("a.b", "%.", 5)), "a5b", 1)
  is(pack(gsub(1010, 1, 2)), "2020", 2)
  is(pack(gsub("abc", "(b", "x")), "axc", 1)
  is(pack(gsub("abc", "x", "%9")), "abc", 0)
  is(pack(#gsub(("x"):rep(10000), "x", "yyy")), 30000)
  is(pack((gsub(("ab "):rep(2000), "%s", ""))), ("ab"):rep(2000))
end

function groups.gsub_table(lib)
  local gsub = lib.gsub
  is(pack(gsub("$a $b $c", "%$(%w)", { a = "A", b = false })), "A $b $c", 3)
  is(pack(gsub("abc", ".", { a = 1, b = 2.5 })), "12.5c", 3)
  is(pack(gsub("abc", "()", { "x", [3] = "y" })), "xabyc", 4)
  is(pack(gsub("abc", ".", setmetatable({}, { __index = function(_, k) return k .. k end }))), "aabbcc", 3)
  is(pack(gsub("abc", ".", setmetatable({ a = "!" }, { __index = { b = "?" } }))), "!?c", 3)
  is(pack(gsub("abc", ".", setmetatable({ a = "!" }, {}))), "!bc", 3)
  is(pack(gsub("abc", "x", { x = 1 })), "abc", 0)
  raises("invalid replacement value (a table)", gsub, "abc", "b", { b = {} })
  raises("invalid replacement value (a boolean)", gsub, "abc", "b", { b = true })
end

function groups.gsub_function(lib)
  local gsub = lib.gsub
  is(pack(gsub("abc", "%w", string.upper)), "ABC", 3)
  is(pack(gsub("abc", "%w", function() end)), "abc", 3)
  is(pack(gsub("abc", "%w", function() return false end)), "abc", 3)
  is(pack(gsub("abc", "b", function() return 7, "ignored" end)), "a7c", 1)
  is(pack(gsub("k=v", "(%w)=(%w)", function(a, b) return b .. "=" .. a end)), "v=k", 1)
  is(pack(gsub("abc", "()", function(at) return at end)), "1a2b3c4", 4)
  is(pack(gsub("abc", "%w", function(c) return c .. c end, 2)), "aabbc", 2)
  is(pack(gsub("aaa", "^a", function() return "b" end)), "baa", 1)
  is(pack(gsub("abc", "x", error)), "abc", 0)
  is(pack(gsub(1221, 2, function() return "-" end)), "1--1", 2)
  is(pack(#gsub(("x"):rep(3000), "x", function() return "0123456789" end)), 30000)
  is(pack((gsub("a(b(c))", "%b()", function(s) return (gsub(s, "%w", string.upper)) end))), "a(B(C))")
  raises("invalid replacement value (a table)", gsub, "abc", "b", function() return {} end)
  raises("mine", gsub, "abc", "b", function() error("mine", 0) end)
end

function groups.malformed(lib)
  local match, find, gsub = lib.match, lib.find, lib.gsub
  raises("malformed pattern (ends with '%')", find, "a", "%")
  raises("malformed pattern (ends with '%')", match, "a", "a%")
  raises("malformed pattern (missing ']')", find, "a", "[a")
  raises("malformed pattern (missing ']')", find, "a", "[]")
  raises("malformed pattern (missing ']')", find, "a", "[^]")
  raises("malformed pattern (missing ']')", find, "a", "[a%]")
  raises("malformed pattern (missing ']')", find, "a", "[a%")
  raises("missing '[' after '%f' in pattern", find, "a", "%f")
  raises("missing '[' after '%f' in pattern", find, "a", "%fa")
  raises("malformed pattern (missing ']')", find, "a", "%f[a")
  raises("unbalanced pattern", find, "a", "%b")
  raises("unbalanced pattern", find, "a", "%b(")
  raises("invalid pattern capture", match, "a", ")")
  raises("invalid pattern capture", match, "a", "(a))")
  raises("unfinished capture", match, "a", "(a")
  raises("unfinished capture", gsub, "a", "(a", "%1")
  raises("invalid capture index", match, "a", "%1")
  raises("invalid capture index", match, "aa", "(a%1)")
  raises("invalid capture index", match, "a", "%0")
  raises("invalid capture index", gsub, "a", "(a)", "%2")
  raises("too many captures", match, ("x"):rep(33), ("(x)"):rep(33))
  raises("pattern too complex", match, ("x"):rep(300), ("x?"):rep(250))
  is(pack(match("b", "a[")), nil)
  is(pack(match("b", "a%")), nil)
  is(pack(match("b", "a)")), nil)
  is(pack(match(("x"):rep(300), ("x?"):rep(199))), ("x"):rep(199))
  is(pack(match(("x"):rep(5000), "^x*x*x*$")), ("x"):rep(5000))
end

function groups.arguments(lib)
  local s = "x"
  -- `call` is made from a function, so that there is a name to report.
  local function bad(text, call)
    raises("bad argument #" .. text, call)
  end
  bad("1 to 'find' (string expected, got nil)", function() local _ = lib.find(nil, "a") end)
  bad("2 to 'find' (string expected, got table)", function() local _ = lib.find(s, {}) end)
  bad("3 to 'find' (number expected, got string)", function() local _ = lib.find(s, "", "y") end)
  bad("2 to 'match' (string expected, got no value)", function() local _ = lib.match(s) end)
  bad("1 to 'gmatch' (string expected, got no value)", function() local _ = lib.gmatch() end)
  bad("1 to 'gsub' (string expected, got no value)", function() local _ = lib.gsub() end)
  bad("1 to 'gsub' (string expected, got nil)", function() local _ = lib.gsub(nil, s, error) end)
  bad("2 to 'gsub' (string expected, got boolean)", function() local _ = lib.gsub(s, true, error) end)
  bad("3 to 'gsub' (string/function/table expected", function() local _ = lib.gsub(s, s, nil) end)
  bad("3 to 'gsub' (string/function/table expected", function() local _ = lib.gsub(s, s, true) end)
  bad("4 to 'gsub' (number expected, got table)", function() local _ = lib.gsub(s, s, error, {}) end)
  bad("4 to 'gsub' (number expected, got string)", function() local _ = lib.gsub(s, s, s, "y") end)
  bad("1 to 'match' (string expected, got no value)", function()
    debug.getmetatable("").__index = lib
    local ok, message = pcall(function() local _ = s:match() end)
    debug.getmetatable("").__index = string
    error(message, ok and 1 or 0)
  end)
  raises("calling 'gsub' on bad self", function() local _ = ({ gsub = lib.gsub }):gsub("a", "b") end)
end

-- Errors carry the line of the code that called, and of the callback where it raised.
function groups.positions(lib)
  local function line_of(f)
    local _, message = pcall(f)
    return tonumber(message:match("^[^:]*pattern_facts%.lua:(%d+): "))
  end
  local here = debug.getinfo(1, "l").currentline
  is(pack(line_of(function() local _ = lib.find("a", "[") end)), here + 1)
  is(pack(line_of(function() local _ = lib.gsub("a", "[", "") end)), here + 2)
  is(pack(line_of(function() local _ = lib.gsub("a", "[", error) end)), here + 3)
  is(pack(line_of(function() local _ = lib.gsub("a", "(a", type) end)), here + 4)
  is(pack(line_of(function() local _ = lib.gsub("ab", "a", function() return {} end) end)), here + 5)
  is(pack(line_of(function() local _ = lib.gsub(nil, "a", error) end)), here + 6)
  is(pack(line_of(function() local _ = lib.gsub("a", "a", function() error("x") end) end)), here + 7)
  is(pack(line_of(function() local _ = lib.gmatch("a", "[")() end)), here + 8)
end

return groups
