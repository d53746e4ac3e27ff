-- Vectors: values that leave the VM. Errors with metamethods, deep and endless structures, numbers out of
-- range, floods of the log, headers that would split or reframe a message.

local client = require("support.client")
local sandbox = require("support.sandbox")

local TRAP = "local trap = function() kept.sprung = true return 'sprung' end "
local DEEP = "local t = {} for i = 1, %d do t = { %s } end "

sandbox.suite("an error", { limits = 'plugin = { cpu = "1s" }' }, {
  { "that is a table", "error({})", raises = "table" },
  { "that is a table with a code", "error({ code = 'mine', message = 'of my own' })", raises = "of my own" },
  { "with metamethods", TRAP .. [[
    local metamethods = { __tostring = trap, __index = trap, __concat = trap, __name = trap, __call = trap }
    error(setmetatable({}, metamethods))]],
    raises = "table" },
  { "ran none of them", "return kept.sprung", answers = "nil" },
  { "that is nil", "error(nil)", raises = "nil" },
  { "that is a function", "error(print)", raises = "function" },
  { "that is a coroutine", "error(coroutine.create(print))", raises = "thread" },
  { "that is ctx", "error(ctx)", raises = "userdata" },
  { "of 100 KB", "error(('x'):rep(100000))", raises = ("x"):rep(400) },
  { "with line breaks and control characters", "error('a\\r\\nerror plugin: forged\\27[2J\\0end')",
    raises = "forged" },
  { "given to ctx:fail()", "ctx:fail(setmetatable({}, { __tostring = function() while true do end end }))",
    log = "a plugin failed", fails = 503 },
  { "given to ctx:fail() that is nothing", "ctx:fail()", fails = 503 },
})

sandbox.suite("a structure", { limits = 'plugin = { cpu = "1s", memory = "16MiB" }' }, {
  { "that is deep, to JSON", DEEP:format(100, "t") .. "return tg.json.encode(t)", raises = "64" },
  { "as deep as may be, to JSON", DEEP:format(60, "t") .. "return #tg.json.encode(t)", answers = "122" },
  { "that holds itself, to JSON", "local t = {} t.t = t return tg.json.encode(t)", raises = "64" },
  { "with too many values, to JSON", "local t = {} for i = 1, 2e5 do t[i] = i end return tg.json.encode(t)",
    raises = "100000" },
  { "with a function, to JSON", "return tg.json.encode({ a = { b = print } })", raises = "function" },
  { "with numbers that are none, to JSON", "return tg.json.encode({ 0/0 })", raises = "attacker/init.lua:" },
  { "with an endless number, to JSON", "return tg.json.encode({ 1/0 })", raises = "attacker/init.lua:" },
  { "sparse, to JSON", "return tg.json.encode({ [1] = 1, [2^40] = 2 })", raises = "attacker/init.lua:" },
  { "with metamethods, to JSON", [[
    return tg.json.encode(setmetatable({ 1 }, { __index = error, __len = error, __pairs = error }))]],
    answers = "[1]" },
  { "that is deep, from JSON", [[
    local value, err = tg.json.decode(("["):rep(100000))
    return tostring(value) .. " " .. err.code]], answers = "nil bad_input" },
  { "that is deep, in an answer", DEEP:format(100, "t") .. "ctx:exit(200, t)", raises = "64" },
  { "that is deep, in a log line", DEEP:format(100, "t") .. "ctx.log:info('x', { a = t })",
    raises = "ctx.log:info" },
  { "that is deep, shared", DEEP:format(100, "t") .. "ctx.shared:set('nobody', t)",
    raises = "ctx.shared:set" },
  { "that is deep, printed", DEEP:format(1000, "t") .. "print(t) return 'printed'", answers = "printed" },
})

sandbox.suite("a value shown to other plugins", {}, {
  { "that is plain", [[
    ctx.shared:set("value", { a = { 1, true, "x" } })
    return ctx.shared:get("attacker.value").a[3] ]], answers = "x" },
  { "that is a copy", [[
    local value = { a = 1 }
    ctx.shared:set("value", value)
    value.a = 2
    return ctx.shared:get("attacker.value").a]], answers = "1" },
  { "with a function", "ctx.shared:set('value', { a = { b = { print } } })", raises = "a.b[1]" },
  { "with a coroutine", "ctx.shared:set('value', { a = coroutine.create(print) })", raises = ".a" },
  { "with ctx", "ctx.shared:set('value', { list = { 1, 2, ctx } })", raises = "list[3]" },
  { "with a table as key", "ctx.shared:set('value', { a = { [{}] = 1 } })", raises = ".a" },
  { "that holds itself", "local t = {} t.t = t ctx.shared:set('value', t)", raises = "ctx.shared:set" },
  { "that is deep", DEEP:format(1000, "t") .. "ctx.shared:set('value', t)", raises = "ctx.shared:set" },
  { "that is large", "ctx.shared:set('value', ('x'):rep(9e5)) return 'kept'", killed = "memory" },
  { "under a name that it does not export", "ctx.shared:set('other', 1)", raises = "ctx.shared:set" },
})

sandbox.suite("an argument", {}, {
  { "of the wrong type", "ctx.resp:set_header({}, 'x')", raises = "ctx.resp:set_header" },
  { "that is missing", "ctx.resp:set_header 'x'", raises = "ctx.resp:set_header" },
  { "status out of range", "ctx:exit(99)", raises = "ctx:exit" },
  { "status far out of range", "ctx:exit(2^53)", raises = "ctx:exit" },
  { "status that is no whole number", "ctx:exit(200.5)", raises = "ctx:exit" },
  { "status of an interim answer", "ctx:exit(101)", raises = "ctx:exit" },
  { "size out of range", "ctx.req:body { max = -1 }", raises = "ctx.req:body" },
  { "size in wrong words", "ctx.req:body { max = '1 parsec' }", raises = "ctx.req:body" },
  { "name of a service that is not there", "ctx:set_service 'nobody'", raises = "ctx:set_service" },
  { "address that is none", "ctx.upstream:set_target('localhost', 80)", raises = "ctx.upstream:set_target" },
  { "port out of range", "ctx.upstream:set_target('127.0.0.1', 65536)", raises = "ctx.upstream:set_target" },
  { "in the wrong phase", "ctx.resp:set_header('a', 'b')", phase = "body_filter",
    breaks = "ctx.resp:set_header() is not available in body_filter" },
})

local function header(what, code)
  return { what, code, raises = code:match "^(ctx[%w_.:]+)" }
end

sandbox.suite("a header", {}, {
  header("with CR and LF in its value", "ctx.resp:set_header('x-a', 'b\\r\\nSet-Cookie: c=d')"),
  header("with LF in its value", "ctx.resp:add_header('x-a', 'b\\nx: y')"),
  header("with NUL in its value", "ctx.resp:set_header('x-a', 'b\\0c')"),
  header("with a space in its name", "ctx.resp:set_header('x a', 'b')"),
  header("with a colon in its name", "ctx.resp:set_header('x:a', 'b')"),
  header("with CR and LF in its name", "ctx.resp:set_header('x\\r\\ny', 'b')"),
  header("without a name", "ctx.resp:set_header('', 'b')"),
  header("that says where the answer ends", "ctx.resp:set_header('Content-Length', '0')"),
  header("that says how it is framed", "ctx.resp:set_header('Transfer-Encoding', 'chunked')"),
  header("of the connection", "ctx.resp:add_header('connection', 'upgrade')"),
  header("that is kept from being framed", "ctx.resp:remove_header('transfer-encoding')"),
  header("to the origin that says where the request ends", "ctx.upstream:set_header('content-length', '5')"),
  header("to the origin that says how it is framed",
    "ctx.upstream:add_header('transfer-encoding', 'identity')"),
  header("to the origin with CR and LF", "ctx.upstream:set_header('x', 'a\\r\\n\\r\\nGET /admin HTTP/1.1')"),
  header("in a path with a line break", "ctx.upstream:set_path('/a\\r\\nx: y')"),
  header("in a path with a space", "ctx.upstream:set_path('/a HTTP/1.1')"),
  header("in a query with a line break", "ctx.upstream:set_query('a\\r\\nb')"),
  header("in a method with a space", "ctx.upstream:set_method('GET /x')"),
  header("in a redirect", "ctx:redirect('/x\\r\\nSet-Cookie: a=b')"),
  header("in a cookie", "ctx.resp:set_cookie('a', 'b; domain=other\\r\\n')"),
  header("in the headers of ctx:exit()", "ctx:exit(200, 'x', { ['x-a'] = 'b\\r\\nc: d' })"),
  header("in a list without a name in ctx:exit()", "ctx:exit(200, 'x', { [1] = {} })"),
  header("of framing in ctx:exit()", "ctx:exit(200, 'x', { ['content-length'] = '100' })"),
  { "to the origin that is large, often",
    "for i = 1, 128 do ctx.upstream:add_header('x', ('y'):rep(5e4)) end",
    raises = "ctx.upstream:add_header" },
  { "too often", "for i = 1, 1e6 do ctx.resp:add_header('x-' .. i, 'y') end",
    raises = "ctx.resp:add_header" },
})

describe("a flood of log lines", function()
  it("is cut, and what is missing is counted", function()
    local g, pids = sandbox.start({ limits = 'plugin = { cpu = "2s" }' }, {
      { "floods", "for i = 1, 20000 do ctx.log:warn('flood ' .. i) end return 'flooded'" },
      { "prints", "for i = 1, 20000 do print('print ' .. i) end return 'printed'" },
      { "one line", "ctx.log:warn 'one line more' return 'one'" },
    })
    assert.equal("flooded", client.get(g.port, "/attacker?row=1").body)
    assert.equal("printed", client.get(g.port, "/attacker?row=2").body)
    local _, lines = g:stderr():gsub("\n", "")
    assert.is_true(lines < 4000)
    require("support.clock").wait_until(function()
      assert.equal("one", client.get(g.port, "/attacker?row=3").body)
      return g:stderr():find("one line more.-suppressed=%d+")
    end, 5, "a line that tells how many were suppressed")
    sandbox.assert_alive(g, pids)
    g:stop()
  end)
end)
