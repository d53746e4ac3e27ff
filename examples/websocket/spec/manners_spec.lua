local t = require "tidegate.test"

describe("examples/websocket", function()
  local gw

  before_each(function()
    t.reset()
    gw = t.gateway "examples/websocket/gateway.lua"
    gw:upstream("chat", t.websocket { on = function(message, peer)
      if message.kind == "text" then peer:send(message.data) end
    end })
  end)

  it("masks words of the client, whatever their case", function()
    local s = gw:websocket "/chat"
    s:send "hello"
    assert.equal("hello", s:receive().data)
    s:send "you FOOL, no foolery"
    assert.equal("you ****, no foolery", s:receive().data)
    s:finish()
  end)

  it("closes on who goes on", function()
    local s = gw:websocket "/chat"
    s:send "fool":send "knave":send "fool"
    assert.equal("****", s:receive().data)
    assert.equal("****", s:receive().data)
    local told = s:receive()
    assert.equal(4003, told.code)
    assert.equal("mind your language", told.reason)
    local r = s:finish()
    assert.metric(r, "masked").equals(3)
    assert.equal(4003, r.fields.websocket.close)
  end)

  it("leaves what the origin says alone, and binary messages", function()
    local s = gw:websocket "/chat"
    s.origin:send "fool"
    assert.equal("fool", s:receive().data)
    s:send_binary "fool"
    assert.same({ kind = "binary", data = "fool" }, s.origin:receive())
    s:finish()
  end)

  it("holds its bounds", function()
    local s = gw:websocket "/chat"
    s:send(("x"):rep(16385))
    assert.equal(1009, s:receive().code)
    s:finish()
  end)

  it("comes back to an origin that was away", function()
    local s = gw:websocket "/chat"
    s.origin.connection.pipe:reset()
    t.clock:advance "1s"
    s:send "still there?"
    assert.equal("still there?", s:receive().data)
    s:finish()
  end)
end)
