-- Vectors: metatables of strings and of the host's objects, raw access, frozen globals, stale objects.

local client = require("support.client")
local sandbox = require("support.sandbox")

sandbox.suite("a plugin that changes what it shares", {}, {
  { "reads the metatable of strings", "return getmetatable ''", answers = "false" },
  { "replaces the metatable of strings", "setmetatable('', {})", raises = "bad argument #1 to" },
  { "poisons string for itself alone", [[
      string.upper = function() return "poisoned" end
      return ("a"):upper()]], answers = "poisoned" },
  { "reads the metatable of ctx", "return getmetatable(ctx)", answers = "false" },
  { "reads the metatable of ctx.req", "return getmetatable(ctx.req)", answers = "false" },
  { "reads the metatable of a function", "return getmetatable(print)", answers = "false" },
  { "replaces the metatable of ctx", "setmetatable(ctx, {})", raises = "bad argument #1 to" },
  { "reads ctx with rawget", "return rawget(ctx, 'req')", raises = "bad argument #1 to" },
  { "writes ctx with rawset", "rawset(ctx, 'req', 1)", raises = "bad argument #1 to" },
  { "walks ctx with next", "return next(ctx)", raises = "bad argument #1 to" },
  { "assigns to a field of ctx", "ctx.phase = 'log'", raises = "ctx cannot be written to" },
  { "adds a field to ctx", "ctx.mine = 1", raises = "ctx cannot be written to" },
  { "misspells a field of ctx", "return ctx.reqest",
    raises = 'ctx has no field or method "reqest"; did you mean "req"?' },
  { "asks the library for what it has not", "return tg.json.parse '1'",
    raises = 'tg.json has no function "parse"; `tidegate doc tg.json` tells what it has' },
  { "misspells a library", "return tg.htpp", raises = 'tg has no function "htpp"; did you mean "http"?' },
  { "replaces the metatable of the library", "setmetatable(tg.json, {})", raises = "protected metatable" },
  { "replaces the metatable of os", "setmetatable(os, {})", raises = "protected metatable" },
  { "makes a list of os", "return tg.json.array(os)",
    raises = "tg.json.array(): argument 1 (list): has a protected metatable" },
  { "calls a method with another object", "return ctx.req.header(ctx.resp, 'host')", raises = "ctx.req" },
  { "calls a method with a table", "return ctx.req.header({}, 'host')", raises = "ctx.req" },
  { "calls a method without an object", "return ctx.req.header()", raises = "ctx.req" },
  { "keeps a method and calls it with rubbish", "local f = ctx.exit return f(f)", raises = "ctx" },
  { "changes the library for itself alone", "tg.json.encode = nil return rawget(tg.json, 'encode')",
    answers = "nil" },
})

describe("a request context that is kept", function()
  local g, pids

  setup(function()
    g, pids = sandbox.start({}, {
      { "keep", "kept.ctx, kept.req, kept.log, kept.state = ctx, ctx.req, ctx.log, ctx.state return 'kept'" },
      { "field", "return kept.ctx.id" },
      { "method", "return kept.req:header 'host'" },
      { "part", "return kept.req.path" },
      { "exit", "kept.ctx:exit(204)" },
      { "log", "kept.log:info 'x'" },
      { "state", "return kept.state == ctx.state" },
      { "generator", "kept.next = ctx.req:headers() return kept.next()" },
      { "stale generator", "return kept.next()" },
    })
  end)

  teardown(function()
    g:stop()
  end)

  local function call(row)
    return client.get(g.port, "/attacker?row=" .. row)
  end

  for i, what in ipairs { "field", "method", "field of a part", "exit", "log line" } do
    local row = i + 1
    it("raises when a later request asks for a " .. what, function()
      assert.equal("kept", call(1).body)
      local from = #g:stderr()
      assert.status(500, call(row))
      sandbox.await_log(g, "attacker/init.lua:", from)
      sandbox.await_log(g, "request context used after the request ended", from)
      sandbox.assert_alive(g, pids)
    end)
  end

  it("has no part in the state of another request", function()
    assert.equal("kept", call(1).body)
    assert.equal("false", call(7).body)
  end)

  it("raises in an iterator that outlived its request", function()
    assert.equal("host", call(8).body)
    assert.status(500, call(9))
    sandbox.assert_alive(g, pids)
  end)
end)
