--- What `when` looks up costs a request no memory that stays, however often it is asked: a WebSocket
-- or a stream may outlive any number of questions, and who runs out of memory must not get by.

local t = require "tidegate.test"

local SETTINGS = { limits = { request = { memory = "64KiB" } } }
local LONG = ("v"):rep(250) .. " "

-- Sends so many messages that answers of `bytes` each would not fit into that memory.
local function fill(s, bytes, expected)
  local rounds = math.ceil(65536 / bytes)
  for _ = 1, rounds do s:send "m" end
  for i = 1, rounds do
    local message = s.origin:receive()
    assert(message and message.data == expected, ("message %d is another"):format(i))
  end
  s:finish()
end

describe("a condition that is asked for each message", function()
  before_each(t.reset)

  local SEES = [[
    local P = { name = "sees", version = "1.0.0", api = 1, stage = "guard" }
    function P.message(_, ctx, data) return data:upper() end
    return P]]

  local function start(when, request)
    return t.plugin(t.source(SEES), {}, { when = when, settings = SETTINGS }):websocket(request)
  end

  it("by the client's address", function()
    local ip = "2001:db8:1111:2222:3333:4444:5555:6666"
    fill(start(("client.ip == %q"):format(ip), { client = { ip = ip, port = 4000 } }), #ip, "M")
  end)

  it("by a query", function()
    local path = "/?x%20y=1&a%20b=" .. LONG:gsub(" ", "+")
    fill(start(('query["a b"] == %q'):format(LONG), { path = path }), #LONG, "M")
  end)
end)

describe("a look at the query from each message", function()
  before_each(t.reset)

  it("may be repeated for as long as the WebSocket lasts", function()
    local p = t.plugin(t.source [[
      local P = { name = "asks", version = "1.0.0", api = 1, stage = "guard" }
      function P.message(_, ctx)
        return ctx.req:query "a b" .. ctx.req:query_all()["a b"][1]
      end
      return P]], {}, { settings = SETTINGS })
    fill(p:websocket { path = "/?x%20y=1&a%20b=" .. LONG:gsub(" ", "+") }, #LONG, LONG .. LONG)
  end)
end)
