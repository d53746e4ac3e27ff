-- Vectors: time. Loops that never end, wherever they hide; patterns; waits; and what neighbours feel.

local client = require("support.client")
local sandbox = require("support.sandbox")

local SPIN = "while true do end"

local function spin(what, code, phase)
  return { what, (code:gsub("SPIN", SPIN)), killed = "cpu", prompt = true, phase = phase }
end

local BRIEF = 'plugin = { cpu = "20ms", wall = "1m", churn = "64GiB" }'

sandbox.suite("a loop that never ends", { limits = BRIEF }, {
  spin("in the open", "SPIN"),
  spin("in pcall", "pcall(function() SPIN end) return 'survived'"),
  spin("in pcall, over and over", "while true do pcall(function() SPIN end) end"),
  spin("in xpcall, whose handler spins too", "xpcall(function() SPIN end, function() SPIN end) return 1"),
  spin("in a handler", "xpcall(error, function() SPIN end) return 'survived'"),
  spin("in a coroutine", "coroutine.resume(coroutine.create(function() SPIN end)) return 'survived'"),
  spin("in coroutine.wrap", "pcall(coroutine.wrap(function() pcall(function() SPIN end) end)) return 1"),
  spin("in coroutines that resume each other", [[
    local co = coroutine.wrap(function() while true do coroutine.yield() end end)
    while true do co() end]]),
  spin("in an iterator", "for v in function() SPIN end do return v end"),
  spin("in an iterator that always has more", "for i in function() return 1 end do end"),
  spin("in __index", "return setmetatable({}, { __index = function() SPIN end }).x"),
  spin("in __newindex", "setmetatable({}, { __newindex = function() SPIN end }).x = 1"),
  spin("in __call", "return setmetatable({}, { __call = function() SPIN end })()"),
  spin("in __len of a method chain", "return -setmetatable({}, { __unm = function() SPIN end })"),
  spin("in __tostring", "return tostring(setmetatable({}, { __tostring = function() SPIN end }))"),
  spin("in a comparator", "pcall(table.sort, { 3, 2, 1 }, function() SPIN end) return 1"),
  spin("in a comparator that is always of another mind", [[
    local t = {}
    for i = 1, 1e4 do t[i] = i end
    while true do pcall(table.sort, t, function(a, b) return a < b end) end]]),
  spin("in a callback of gsub", "return ('abc'):gsub('.', function() SPIN end)"),
  spin("by goto", "::again:: goto again"),
  spin("by tail calls", "local function f() return f() end return f()"),
  spin("by tail calls in pcall", "local function f() return pcall(f) end while true do f() end"),
  spin("in many short calls of C", "while true do local _ = ('x'):rep(10):upper() end"),
  spin("in table.insert, by a length that holes make", [[
    local t = table.new(0, 64)
    for i = 0, 29 do t[2 ^ i] = 1 end
    table.insert(t, 1, 0)]]),
  spin("in JSON, over and over", "local t = { { { 1, 2, 3 } } } while true do tg.json.encode(t) end"),
  spin("in header_filter", "SPIN", "header_filter"),
  { "in body_filter", SPIN, phase = "body_filter", breaks = "killed (cpu)", prompt = true },
  { "in log", SPIN, phase = "log", passes = true, log = "killed (cpu)", prompt = true },
})

sandbox.suite("a pattern that takes for ever", { limits = 'plugin = { cpu = "20s", wall = "1m" }' }, {
  { "in find", "return ('x'):rep(200):find('.-.-.-.-y')", killed = "pattern" },
  { "in match", "return ('x'):rep(300):match('(.*)(.*)(.*)(.*)(.*)y')", killed = "pattern" },
  { "in gmatch", "for _ in ('x'):rep(300):gmatch('.-.-.-.-y') do end", killed = "pattern" },
  { "in gsub", "return ('x'):rep(300):gsub('.-.-.-.-y', '')", killed = "pattern" },
  { "in pcall, over and over", [[
    while true do pcall(string.find, ('x'):rep(200), '.-.-.-.-y') end]], killed = "pattern" },
  { "in many matches, each within its bound", [[
    local s = ('x'):rep(50)
    for i = 1, 1e6 do s:find('.-.-y') end]], killed = "pattern" },
  { "in gmatch, over and over", "while true do for _ in ('abc'):gmatch '.' do end end", killed = "pattern" },
  { "of balanced text", "return ('('):rep(3000):find(('%b()'):rep(20)) ", killed = "pattern" },
  { "that is too deep", "return ('x'):rep(1e5):match(('(x'):rep(40) .. (')'):rep(40))",
    raises = "too many captures" },
  { "that does not end", "return ('x'):find('[a')", raises = "malformed pattern" },
  { "that ends in its escape", "return ('x'):find('%')", raises = "malformed pattern" },
  { "in the captures of a replacement, all empty",
    "return ('x'):rep(20000):gsub('(y-)x', ('%1'):rep(20000))", killed = "pattern" },
  { "with a capture that is not there", "return ('x'):gsub('x', '%9')", raises = "attacker/init.lua:" },
  { "whose callback recurses", [[
    local depth = 0
    local function f() depth = depth + 1 return (('x'):gsub('x', f)) end
    return f()]], killed = "memory" },
})

-- What C does for a plugin it does in one go: it has bounds of its own, or asks how much time is left. Each
-- of these takes minutes otherwise.
sandbox.suite("work in C that has no end", {
  limits = 'plugin = { cpu = "200ms", wall = "1m", memory = "24MiB", churn = "64GiB" }',
  prelude = [[
    local function roomy() -- a list of one empty table that once had many items
      local t, list = {}, {}
      for i = 1, 5e5 do t[i] = true end
      for i = 1, 5e5 do t[i] = nil end
      for i = 1, 9e4 do list[i] = t end
      return list
    end
  ]],
}, {
  { "in JSON of tables that only look empty", "return tg.json.encode(roomy())", killed = "cpu",
    prompt = true },
  { "in JSON of one long text, many times", [[
    local text, t = ('x'):rep(2 ^ 20), {}
    for i = 1, 5e4 do t['k' .. i] = text end
    return tg.json.encode(t)]], raises = "longer than 8 MiB" },
  { "in a query of one long list, many times", [[
    local list, map = {}, {}
    for i = 1, 1e5 do list[i] = 1 end
    for i = 1, 1e4 do map['k' .. i] = list end
    return tg.query.encode(map)]], raises = "more than 10000 parameters" },
  { "in a query of one long text, many times", [[
    local list, text = {}, ('x'):rep(2 ^ 23)
    for i = 1, 1e4 do list[i] = text end
    return tg.query.encode { k = list }]], raises = "longer than 8 MiB" },
  { "in a query for a service, of such a text", [[
    local query, text = {}, ('x'):rep(2 ^ 20)
    for i = 1, 256 do query['k' .. i] = text end
    local _, err = tg.http.get('echo', '/', { query = query })
    return err.code]], answers = "unavailable" },
  { "in headers of one long text, many times", [[
    local list, text = {}, ('x'):rep(2 ^ 23)
    for i = 1, 1e4 do list[i] = text end
    ctx:exit(200, '', { k = list })]], raises = "as much as limits.request.memory allows" },
  { "in an expression with many classes of either case",
    "return select(2, tg.re.compile(('[^\\\\x{100}-\\\\x{ffff}]'):rep(170), 'ui')).code",
    answers = "bad_input" },
  { "in a query for the origin, of such a list", [[
    local list, map = {}, {}
    for i = 1, 1e5 do list[i] = 1 end
    for i = 1, 1e4 do map['k' .. i] = list end
    ctx.upstream:set_query(map)]], raises = "as much as limits.request.memory allows" },
  { "in headers of one long list, many times", [[
    local list, map = {}, {}
    for i = 1, 1e5 do list[i] = 'x' end
    for i = 1, 1e4 do map['k' .. i] = list end
    ctx:exit(200, '', map)]], raises = "more than 10000 headers" },
  { "in a replacement of many empty groups", [[
    local re = tg.re.compile '(?<n>)a'
    return re:gsub(('a'):rep(64), ('${n}'):rep(2 ^ 20))]], raises = "a text of more than 64 KiB" },
})

sandbox.suite("a wait that is too long", { limits = 'plugin = { wall = "100ms" }' }, {
  { "in the open", "ctx:sleep '1h'", killed = "wall" },
  { "in pcall", "pcall(ctx.sleep, ctx, '1h') return 'survived'", killed = "wall" },
  { "in a coroutine", "coroutine.wrap(function() ctx:sleep '1h' end)() return 'survived'", killed = "wall" },
  { "in pieces", "while true do pcall(ctx.sleep, ctx, '20ms') end", killed = "wall" },
  { "in coroutines in coroutines", [[
    coroutine.wrap(function() pcall(coroutine.wrap(function() ctx:sleep '1h' end)) end)()
    return 'survived']], killed = "wall" },
  { "of infinite length", "ctx:sleep(math.huge)", raises = "ctx:sleep" },
  { "of no length", "ctx:sleep(0/0)", raises = "ctx:sleep" },
  { "of negative length", "ctx:sleep(-1)", raises = "ctx:sleep" },
  { "in log", "ctx:sleep '1h'", phase = "log", passes = true, log = "killed (wall)" },
})

sandbox.suite("a wait", {}, {
  { "that is short", "ctx:sleep '1ms' return 'waited'", answers = "waited" },
})

describe("a loop that never ends", function()
  (sandbox.is_prompt and it or pending)("leaves its neighbours their turn", function()
    local g, pids = sandbox.start({ limits = 'plugin = { cpu = "1m", wall = "10m" }' }, {
      { "spins until it is let go", "while not kept.free do end return 'let go'" },
      { "lets it go", "kept.free = true return 'done'" },
    })
    local spinning, other = client.connect(g.port), client.connect(g.port)
    spinning:send("GET /attacker?row=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ = 1, 20 do
      assert.equal("served 234", other:get("/neighbour").body)
    end
    assert.is_true(spinning:silent(0))
    assert.equal("done", other:get("/attacker?row=2").body) -- and so does the plugin itself
    assert.equal("let go", spinning:response().body)
    sandbox.assert_alive(g, pids)
    g:stop()
  end)
end)
