-- The message phase of plugins: what they see of a WebSocket's messages, and what they may make of them.

local proxy = require("support.proxy")
local ws = require("support.websocket")

local HEAD = [[
local tg = require "tidegate"
local P = { name = "probe", version = "1", api = 1, stage = "transform" }
]]

describe("the message phase", function()
  local p

  -- A gateway with a plugin of this text on its route.
  local function start(body, options)
    options = options or {}
    options.files = { ["probe.lua"] = HEAD .. body .. "\nreturn P\n" }
    for name, text in pairs(options.more_files or {}) do options.files[name] = text end
    options.route = options.route or ""
    options.route = options.route .. ", plugins = { " ..
      (options.uses or ('tg.use("./probe.lua", { %s }) {}'):format(options.use or "")) .. " }"
    options.route = options.route:gsub("^, ", "")
    p = proxy.start(options)
    local started = p
    finally(function() started:stop() end)
    assert.is_true(p:serves())
  end

  it("sees each message, of both sides, and passes it", function()
    start([[
      function P.message(_, ctx, data, kind, from)
        ctx.log:info("seen", { data = data, kind = kind, from = from, phase = ctx.phase,
                               route = ctx.route.name })
      end]])
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "up", mask = true }))
    ws.expect(conn, { text = "up" })
    conn:send(ws.frame({ binary = "down" }))
    ws.expect(c, { binary = "down" })
    c:send(ws.frame({ text = "in ", mask = true, final = false }) .. ws.frame({ more = "two", mask = true }))
    ws.expect(conn, { text = "in two" })
    c:send(ws.frame({ text = "", mask = true }))
    ws.expect(conn, { text = "" })
    p.gateway:wait_for_log('data="in two"')
    local log = p.gateway:stderr()
    for _, words in ipairs({ "data=up", "from=client", "from=origin", "kind=text", "kind=binary",
                             "phase=message", "route=all" }) do
      assert.contains(words, log)
    end
  end)

  it("replaces and drops messages", function()
    start([[
      function P.message(_, _, data, _, from)
        if data == "drop" then return false end
        if data == "empty" then return "" end
        if data == "grow" then return ("x"):rep(100000) end
        return from .. ":" .. data
      end]])
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "drop", mask = true }) .. ws.frame({ text = "one", mask = true }))
    ws.expect(conn, { text = "client:one" })
    conn:send(ws.frame({ binary = "two" }))
    ws.expect(c, { binary = "origin:two" })
    c:send(ws.frame({ text = "empty", mask = true }))
    ws.expect(conn, { text = "" })
    c:send(ws.frame({ binary = "grow", mask = true }))
    ws.expect(conn, { binary = ("x"):rep(100000) })
  end)

  it("closes with a code and a reason", function()
    start([[
      function P.message(_, ctx, data)
        if data == "bad word" then ctx:close(4002, "mind your language") end
      end]])
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "bad word", mask = true }))
    assert.equal("mind your language", ws.expect_close(c, 4002).reason)
    assert.equal("mind your language", ws.expect_close(conn, 4002).reason)
  end)

  it("may wait, and keeps the order of what comes meanwhile", function()
    start([[
      function P.message(_, ctx, data)
        if data == "wait" then ctx:sleep("80ms") end
        return data .. "!"
      end]])
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "wait", mask = true }) .. ws.frame({ text = "after", mask = true }))
    conn:send(ws.frame({ text = "the other way" }))
    ws.expect(conn, { text = "wait!" })
    ws.expect(conn, { text = "after!" })
    ws.expect(c, { text = "the other way!" })
  end)

  it("keeps many messages in order, and lets others have their turn", function()
    start("function P.message(_, _, data) return data .. '!' end")
    local c, conn = ws.open(p)
    local frames = {}
    for i = 1, 1000 do frames[i] = ws.frame({ text = tostring(i), mask = true }) end
    c:send(table.concat(frames))
    for i = 1, 1000 do ws.expect(conn, { text = i .. "!" }) end
  end)

  it("nests plugins: what the origin sends passes them in reverse", function()
    local text = 'local P = { name = "%s", version = "1", api = 1, stage = "%s" }\n' ..
      'function P.message(_, _, data) return data .. "%s" end\nreturn P\n'
    start("function P.log() end", {
      more_files = { ["a.lua"] = text:format("a", "guard", "a"),
                     ["b.lua"] = text:format("b", "observe", "b") },
      uses = 'tg.use "./a.lua" {}, tg.use "./b.lua" {}',
    })
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "-", mask = true }))
    ws.expect(conn, { text = "-ab" })
    conn:send(ws.frame({ text = "-" }))
    ws.expect(c, { text = "-ba" })
  end)

  it("keeps ctx.state from message to message, and ends in the log phase", function()
    start([[
      function P.message(_, ctx, data)
        ctx.state.n = (ctx.state.n or 0) + 1
        return data .. ctx.state.n
      end
      function P.log(_, ctx) ctx.log:info("over", { n = ctx.state.n }) end]])
    local c, conn = ws.open(p)
    for i = 1, 3 do
      c:send(ws.frame({ text = "m", mask = true }))
      ws.expect(conn, { text = "m" .. i })
    end
    c:close()
    conn:close()
    p.gateway:wait_for_log("n=3")
  end)

  it("is closed with 1011 when a plugin fails, and passed where on_error says skip", function()
    local body = [[
      function P.message(_, _, data)
        if data == "raise" then error("no") end
        if data == "spin" then while true do end end
        if data == "eat" then
          local t = {}
          while true do t[#t + 1] = ("x"):rep(1000) .. #t end
        end
        if data == "wrong" then return 7 end
        if data == "latin" then return "\255" end
        return data .. "!"
      end]]
    for _, bad in ipairs({ "raise", "spin", "eat", "wrong", "latin" }) do
      start(body, { use = 'limits = { cpu = "20ms", memory = "128KiB" }' })
      local c, conn = ws.open(p)
      c:send(ws.frame({ text = bad, mask = true }))
      ws.expect_close(c, 1011)
      ws.expect_close(conn, 1011)
    end
    start(body, { use = 'on_error = "skip", limits = { cpu = "20ms", memory = "128KiB" }' })
    local c, conn = ws.open(p)
    for _, bad in ipairs({ "raise", "spin", "eat", "wrong", "latin" }) do
      c:send(ws.frame({ text = bad, mask = true }) .. ws.frame({ text = "next", mask = true }))
      ws.expect(conn, { text = bad })
      ws.expect(conn, { text = "next!" })
    end
    start(body, { use = 'on_error = "close"' })
    c, conn = ws.open(p)
    c:send(ws.frame({ text = "raise", mask = true }))
    c:receive_rest()
    conn:receive_rest()
  end)

  it("has what it may allocate anew with each message, but not what it may hold", function()
    start([[
      function P.message(_, ctx, data)
        if data == "keep" then ctx.state[#ctx.state + 1] = ("x"):rep(20000) .. #ctx.state
        else data = data .. #("x"):rep(50000) end
        return data
      end]], { use = 'limits = { memory = "200KiB", churn = "400KiB" }' })
    local c, conn = ws.open(p)
    for _ = 1, 50 do
      c:send(ws.frame({ text = "m", mask = true }))
      ws.expect(conn, { text = "m50000" })
    end
    for _ = 1, 4 do
      c:send(ws.frame({ text = "keep", mask = true }))
      ws.expect(conn, { text = "keep" })
    end
    for _ = 1, 30 do c:send(ws.frame({ text = "keep", mask = true })) end
    local f
    repeat f = ws.read(c) until f.opcode == 8
    assert.equal(1011, f.close)
    p.gateway:wait_for_log("memory")
  end)

  it("holds the bounds of a route that says nothing of WebSockets", function()
    start("function P.message() end")
    local c, conn = ws.open(p)
    c:send(ws.frame({ binary = "", mask = true, length = "\255\0\0\0\0\0\16\0\1" }))
    ws.expect_close(c, 1009)
    ws.expect_close(conn, 1001)
  end)

  it("knows what may be called in it", function()
    start([[
      function P.access(_, ctx)
        if ctx.req:header("upgrade") then ctx:close(1000) end
      end
      function P.message(_, ctx) ctx:exit(403) end]])
    local c = p:connect()
    c:send(ws.request())
    assert.status(500, c:response())
    p.gateway:wait_for_log("ctx:close() is not available in access (it belongs to a message of a WebSocket)")
  end)
end)
