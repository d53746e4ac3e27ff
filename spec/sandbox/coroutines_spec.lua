-- Vectors: coroutines. Recursion, counts, handles on the host's own, waits that cross them and C, ends
-- that they would swallow.

local sandbox = require("support.sandbox")

sandbox.suite("coroutines", { limits = 'plugin = { cpu = "20s", wall = "1m" }' }, {
  { "that wrap themselves", "local function f() return coroutine.wrap(f)() end return f()",
    killed = "depth" },
  { "that wrap themselves and catch it", [[
    local function f() return pcall(coroutine.wrap(f)) end
    f()
    return "survived"]], killed = "depth" },
  { "that resume themselves", [[
    local function f() return coroutine.resume(coroutine.create(f)) end
    return f()]], killed = "depth" },
  { "nested by iterators", [[
    local function f() for _ in coroutine.wrap(f) do end end
    f()]], killed = "depth" },
  { "nested 60 deep", [[
    local function f(n) return n == 0 and "bottom" or coroutine.wrap(f)(n - 1) end
    return f(60)]], answers = "bottom" },
  { "in great number", "local t = {} for i = 1, 1e6 do t[i] = coroutine.create(print) end",
    killed = "quota" },
  { "in great number, each caught", [[
    local t = {}
    for i = 1, 300 do pcall(function() t[i] = coroutine.wrap(print) end) end
    return "survived"]], killed = "quota" },
  { "in great number, one after the other", [[
    for i = 1, 2000 do coroutine.wrap(function() coroutine.yield(i) end)() end
    return "fine"]], answers = "fine" },
  { "that are kept from one request for the next", [[
    kept.co = coroutine.wrap(function() coroutine.yield "first" return "second" end)
    return kept.co()]], answers = "first" },
  { "kept by an earlier request", "return kept.co()", answers = "second" },
  { "that yield to the host", "return coroutine.yield(1)", raises = "coroutine.yield outside a coroutine" },
  { "that yield to the host in pcall", [[
    local ok, message = pcall(coroutine.yield, 1)
    return message]], answers = "coroutine.yield outside a coroutine" },
  { "that ask which one runs", "return coroutine.running()", answers = "nil" },
  { "that resume the one that runs", [[
    local co
    co = coroutine.create(function() return coroutine.resume(co) end)
    return select(3, coroutine.resume(co))]], answers = "cannot resume non-suspended coroutine" },
  { "that resume what waits for the host", [[
    local co = coroutine.create(function() ctx:sleep "1ms" return "slept" end)
    local first = coroutine.wrap(function() return coroutine.resume(co) end)
    local ok, value = first()
    return tostring(ok) .. value]], answers = "trueslept" },
  { "with rubbish", "return coroutine.resume(1)", raises = "coroutine expected" },
  { "with too many arguments", "return coroutine.wrap(print)(unpack({}, 1, 1e6))",
    raises = "attacker/init.lua:" },
  { "with too many results", [[
    return select("#", coroutine.wrap(function() return unpack({}, 1, 7000) end)())]], answers = "7000" },
  { "that exit for all", [[
    coroutine.wrap(function() pcall(function() ctx:exit(200, "from within") end) end)()
    return "not reached"]], answers = "from within" },
  { "that fail for all", [[
    pcall(coroutine.wrap(function() error "inside" end))
    return "went on"]], answers = "went on" },
})

sandbox.suite("a wait", {}, {
  { "in a coroutine", "return coroutine.wrap(function() ctx:sleep '2ms' return 'slept' end)()",
    answers = "slept" },
  { "in a coroutine that yields as well", [[
    local co = coroutine.wrap(function() coroutine.yield "one" ctx:sleep "2ms" coroutine.yield "two" end)
    return co() .. co()]], answers = "onetwo" },
  { "in pcall and xpcall", [[
    local ok, value = pcall(xpcall, function() ctx:sleep "2ms" return "slept" end, print)
    return tostring(ok and value)]], answers = "true" },
  { "in an iterator and a metamethod", [[
    local t = setmetatable({}, { __index = function(_, key) ctx:sleep "2ms" return key end })
    local function step(_, last) ctx:sleep "1ms" if not last then return t.slept end end
    for value in step do return value end]],
    answers = "slept" },
  { "in a callback of gsub", [[return (("ab"):gsub(".", function(c) ctx:sleep "1ms" return c:upper() end))]],
    answers = "AB" },
  { "in a comparator", "table.sort({ 2, 1 }, function(a, b) ctx:sleep '1ms' return a < b end)",
    raises = "attacker/init.lua:" },
  { "in __tostring", [[
    return tostring(setmetatable({}, { __tostring = function() ctx:sleep "1ms" return "slept" end }))]],
    answers = "slept" },
})
