-- Vectors: memory. One call that wants gigabytes, many small ones, bombs that are caught, garbage that
-- outruns the collector, tables with hints, unique keys, and a heap that grows from request to request.

local client = require("support.client")
local sandbox = require("support.sandbox")

local LIMITS = 'plugin = { memory = "256KiB", churn = "32MiB", cpu = "20s", wall = "1m" }'

local function bomb(what, code)
  return { what, code, killed = "memory" }
end

sandbox.suite("a memory bomb", { limits = LIMITS }, {
  bomb("by rep", "return ('x'):rep(1e9)"),
  { "by rep of more than a string may have", "return ('x'):rep(2^31 - 1)",
    raises = "not enough memory" },
  bomb("by doubling", "local s = 'x' while true do s = s .. s end"),
  bomb("by concat", "local t = {} for i = 1, 1e6 do t[i] = ('x'):rep(100) end return table.concat(t)"),
  bomb("by concat of one string many times", [[
    local t, s = {}, ('x'):rep(50000)
    for i = 1, 1000 do t[i] = s end
    return table.concat(t)]]),
  bomb("by format", "local s = ('x'):rep(1e5) return ('%s%s%s%s%s'):format(s, s, s, s, s)"),
  { "by a wide format", "return #('%99.99f'):format(1)", answers = "101" },
  { "by a format wider than allowed", "return ('%999d'):format(1)", raises = "attacker/init.lua:" },
  bomb("by gsub", "return (('x'):rep(2e4):gsub('x', ('y'):rep(1000)))"),
  bomb("by a list", "local t = {} for i = 1, 1e9 do t[i] = i end"),
  bomb("by unique keys", "local t = {} for i = 1, 1e9 do t['key ' .. i] = true end"),
  bomb("by nested tables", "local t = {} while true do t = { t } end"),
  bomb("by closures", "local t = {} for i = 1, 1e9 do t[i] = function() return t end end"),
  bomb("by a deep stack", "local function f(...) return f(1, ...) end return f()"),
  bomb("by recursion", "local function f() return 1 + f() end return f()"),
  bomb("by unpacking", [[
    local t = {}
    for i = 1, 7000 do t[i] = i end
    return { (function(...) return { ... }, { ... }, { ... }, { ... }, { ... }, { ... } end)(unpack(t)) }]]),
  { "by unpacking a range that does not end", "return unpack({}, 1, 2^31 - 1)",
    raises = "attacker/init.lua:" },
  { "by unpacking a range that wraps", "return unpack({}, -2^31, 2^31 - 1)",
    raises = "attacker/init.lua:" },
  bomb("by a hint for a list", "local t = {} for i = 1, 1e3 do t[i] = table.new(1e9, 0) end"),
  bomb("by a hint for keys", "local t = {} for i = 1, 1e3 do t[i] = table.new(0, 1e9) end"),
  { "by one sparse write", "local t = {} t[2^26] = 1 t[2^52] = 2 return next(t) ~= nil", answers = "true" },
  bomb("by coroutines that hold strings", [[
    local t = {}
    for i = 1, 200 do
      t[i] = coroutine.create(function() local s = ('x'):rep(10000) .. i coroutine.yield() return s end)
      coroutine.resume(t[i])
    end]]),
  bomb("by the library's encoders", "local s = ('x'):rep(1e5) return tg.base64.encode(s .. s)"),
  bomb("by JSON", "local t = {} for i = 1, 900 do t[i] = ('\\0'):rep(200) end return tg.json.encode(t)"),
  bomb("by decoding JSON", "return #tg.json.decode('[' .. ('[],'):rep(20000) .. '1]')"),
  { "by one string many times in what body_filter returns", [[
    local t, s = {}, ('x'):rep(50000)
    for i = 1, 2000 do t[i] = s end
    return t]],
    phase = "body_filter", breaks = "more bytes in all than twice limits.plugin.memory" },
  bomb("in ctx.state", "for i = 1, 1e9 do ctx.state[i] = { i } end"),
  { "in garbage", "for i = 1, 1e9 do local t = { i } end", killed = "churn" },
  { "in garbage strings, each caught", "for i = 1, 1e9 do pcall(string.rep, i, 500) end", killed = "churn" },
  { "of garbage that fits", "for i = 1, 20000 do local t = ('x'):rep(100) .. i end return 'fine'",
    answers = "fine" },
})

-- A bomb in something that would catch its end.
local function wrapped(what, code)
  return bomb(what, code:gsub("BOMB", "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end"))
end

sandbox.suite("a memory bomb that is caught", { limits = LIMITS }, {
  wrapped("50 times", "for i = 1, 50 do pcall(function() BOMB end) end return 'survived'"),
  wrapped("50 times at once, by rep", "for i = 1, 50 do pcall(string.rep, 'x', 1e9) end return 'survived'"),
  wrapped("in a pcall in a pcall", "pcall(pcall, pcall, function() BOMB end) return 'survived'"),
  wrapped("by a handler that goes on", [[
    xpcall(function() BOMB end, function() BOMB end)
    return 'survived']]),
  wrapped("by a coroutine", "coroutine.resume(coroutine.create(function() BOMB end)) return 'survived'"),
  wrapped("by coroutine.wrap", "pcall(coroutine.wrap(function() BOMB end)) return 'survived'"),
  wrapped("in a comparator", "pcall(table.sort, { 3, 2, 1 }, function() BOMB end) return 'survived'"),
  wrapped("in __index", [[
    local t = setmetatable({}, { __index = function() BOMB end })
    pcall(function() return t.x end)
    return 'survived']]),
  wrapped("in __tostring", [[
    pcall(tostring, setmetatable({}, { __tostring = function() BOMB end }))
    return "survived"]]),
  wrapped("in __concat", [[
    pcall(function() return "" .. setmetatable({}, { __concat = function() BOMB end }) end)
    return "survived"]]),
  wrapped("in __eq", [[
    local mt = { __eq = function() BOMB end }
    pcall(function() return setmetatable({}, mt) == setmetatable({}, mt) end)
    return 'survived']]),
  wrapped("in an iterator", "pcall(function() for v in function() BOMB end do return v end end) return 1"),
  wrapped("in a callback of gsub", "pcall(string.gsub, 'abc', '.', function() BOMB end) return 'survived'"),
  wrapped("in print", "pcall(print, setmetatable({}, { __tostring = function() BOMB end })) return 1"),
})

describe("a plugin that keeps more with each request", function()
  it("is stopped at the bound of its VM, and the process stays small", function()
    local g, pids = sandbox.start({
      limits = 'plugin = { memory = "1MiB", cpu = "5s" }', vm = ', heap = "4MiB"',
    }, {
      { "leaks", "kept[#kept + 1] = ('x'):rep(100000) .. #kept return 'kept'" },
    })
    local before = g:rss()
    local from, failed = #g:stderr(), nil
    for _ = 1, 100 do
      local response = client.get(g.port, "/attacker?row=1")
      failed = response.status ~= 200 and response or failed
    end
    assert.status(503, failed)
    sandbox.await_log(g, "plugin=attacker", from)
    if os.getenv("TIDEGATE_BUILD") ~= "asan" then -- which keeps what is freed for a while
      assert.is_true(g:rss() - before < 16 * 2 ^ 20)
    end
    assert.equal("served 234", client.get(g.port, "/neighbour").body)
    assert.same(pids, g:pids())
    g:stop()
  end)
end)
