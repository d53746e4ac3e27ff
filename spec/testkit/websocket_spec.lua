--- WebSockets in tidegate.test: p:websocket, gw:websocket, and origins that speak it.

local t = require "tidegate.test"

local function probe(text)
  return t.source(([[
local P = { name = "probe", version = "1.0.0", api = 1, stage = "guard" }
%s
return P]]):format(text))
end

local CENSOR = probe [[
  function P.message(_, ctx, data, kind, from)
    ctx.log:info("saw", { kind = kind, from = from })
    if data == "drop" then return false end
    if data == "stop" then ctx:close(4001, "enough") end
    if data == "spin" then while true do end end
    if data == "wait" then ctx:sleep "10s" end
    if from == "client" then return data:upper() end
  end
  function P.log(_, ctx) ctx.log:field("seen", true) end]]

describe("a WebSocket under test", function()
  before_each(function() t.reset() end)

  it("goes through the message phase, both ways", function()
    local p = t.plugin(CENSOR)
    local s = p:websocket()
    assert.equal(101, s.status)
    s:send "hello"
    assert.same({ kind = "text", data = "HELLO" }, s.origin:receive())
    s.origin:send_binary "down"
    assert.same({ kind = "binary", data = "down" }, s:receive())
    s:send "drop"
    assert.is_nil(s.origin:receive())
    local large = ("x"):rep(70000)
    s:send(large)
    assert.equal(large:upper(), s.origin:receive().data)
    s:ping "there"
    assert.same({ kind = "ping", data = "there" }, s.origin:receive())
    assert.same({ kind = "pong", data = "there" }, s:receive())
    local r = s:finish()
    assert.is_true(r.fields.seen)
    assert.equal(1000, r.fields.websocket.close)
    assert.equal(3, r.fields.websocket.client_messages)
    assert.logged(r, "info", "saw")
    assert.equal("message probe", r.trace:phases()[1])
  end)

  it("shows what a plugin closes, and with which code", function()
    local s = t.plugin(CENSOR):websocket()
    s:send "stop"
    local told = s:receive()
    assert.equal("close", told.kind)
    assert.equal(4001, told.code)
    assert.equal("enough", told.reason)
    assert.equal(4001, s.origin:receive().code)
    s:finish()
  end)

  it("turns the clock for a plugin that waits", function()
    local s = t.plugin(CENSOR, nil, { limits = { wall = "20s" } }):websocket()
    local before = t.clock:now()
    s:send "wait"
    assert.equal("WAIT", s.origin:receive().data)
    assert.is_true(t.clock:now() - before >= 10)
    s:finish()
  end)

  it("is closed with 1011 for a plugin that is killed, and goes on where on_error says skip", function()
    local s = t.plugin(CENSOR):websocket()
    s:send "spin"
    assert.equal(1011, s:receive().code)
    assert.killed(s:finish(), "cpu")
    s = t.plugin(CENSOR, nil, { on_error = "skip" }):websocket()
    s:send "spin"
    assert.equal("spin", s.origin:receive().data)
    s:send "and on"
    assert.equal("AND ON", s.origin:receive().data)
    assert.killed(s:finish(), "cpu")
  end)

  it("has an origin that answers by itself", function()
    local p = t.plugin(CENSOR)
    local s = p:websocket { upstream = t.websocket { protocol = nil, on = function(message, peer)
      if message.kind == "text" then peer:send("echo " .. message.data) end
    end } }
    s:send "a"
    assert.equal("echo A", s:receive().data)
    s:finish()
  end)

  it("may be declined", function()
    local s = t.plugin(CENSOR):websocket { upstream = { 403, body = "no" } }
    assert.equal(403, s.status)
    s:finish()
  end)

  it("runs through a whole gateway, whose clock ends what is idle", function()
    local gw = t.gateway("gateway.lua", { files = { ["gateway.lua"] = [[
      local tg = require "tidegate"
      tg.listener "http" { address = "127.0.0.1:80" }
      tg.service "chat" { targets = { { "192.0.2.1:80" } } }
      tg.route "chat" { service = "chat",
        websocket = { from_client = { max_message = "8B", rate = 2 }, ping = "30s", idle_timeout = "10m",
                      reconnect = { deadline = "1s" } } }
    ]] } })
    gw:upstream("chat", t.websocket { protocol = "v1" })
    local s = gw:websocket { path = "/room", headers = { ["Sec-WebSocket-Protocol"] = "v1, v2" } }
    assert.equal("v1", s.result.headers["sec-websocket-protocol"])
    assert.equal("/room", gw:calls "chat"[1].path)
    t.clock:advance "31s"
    assert.equal("ping", s:receive().kind)
    s.origin.connection.pipe:reset()
    t.clock:advance "500ms"
    assert.equal(2, #gw:calls "chat")
    s.origin:send "back"
    assert.equal("back", s:receive().data)
    s:send "one":send "two":send "three"
    assert.equal(1008, s:receive().code)
    assert.equal(1008, s:finish().fields.websocket.close)
    s = gw:websocket { path = "/room", headers = { ["Sec-WebSocket-Protocol"] = "v1" } }
    t.clock:advance "11m"
    local last
    repeat
      local message = s:receive()
      last = message or last
    until not message
    assert.equal(1001, last.code)
    s:finish()
    gw:close()
  end)
end)
