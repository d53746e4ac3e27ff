--- What `when` looks up costs a request no memory that stays, however often it is asked: a WebSocket
-- or a stream may outlive any number of questions, and who runs out of memory must not get by.

local t = require "tidegate.test"

local ROUNDS = 4000 -- of at least 16 bytes each: as much as limits.request.memory below

describe("a condition that is asked for each message", function()
  before_each(t.reset)

  local SEES = [[
    local P = { name = "sees", version = "1.0.0", api = 1, stage = "guard" }
    function P.message(_, ctx, data) return data:upper() end
    return P]]

  local function stays(when, path)
    local p = t.plugin(t.source(SEES), {},
      { when = when, settings = { limits = { request = { memory = "64KiB" } } } })
    local s = p:websocket { path = path }
    for _ = 1, ROUNDS do s:send "m" end
    for i = 1, ROUNDS do
      local message = s.origin:receive()
      assert(message and message.data == "M", ("message %d got by"):format(i))
    end
    s:finish()
  end

  it("by the client's address", function() stays('client.ip == "192.0.2.99" or client.ip', "/") end)

  it("by a query", function() stays('query["a b"] == "c d"', "/?x%20y=1&a%20b=c+d") end)
end)

describe("a look at the query from each message", function()
  before_each(t.reset)

  it("may be repeated for as long as the WebSocket lasts", function()
    local p = t.plugin(t.source [[
      local P = { name = "asks", version = "1.0.0", api = 1, stage = "guard" }
      function P.message(_, ctx)
        return ctx.req:query "a b" .. ctx.req:query_all()["a b"][1]
      end
      return P]], {}, { settings = { limits = { request = { memory = "64KiB" } } } })
    local s = p:websocket { path = "/?x%20y=1&a%20b=c+d" }
    for _ = 1, ROUNDS do s:send "m" end
    for i = 1, ROUNDS do
      local message = s.origin:receive()
      assert(message and message.data == "c dc d", ("message %d is %s"):format(i, message and message.kind))
    end
    s:finish()
  end)
end)
