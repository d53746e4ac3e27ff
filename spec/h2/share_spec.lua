-- How streams share what there is: the connection's window by priority, the gateway's bounds with all others.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, admin = { listen = "unix:admin.sock" }, limits = {
    request = { in_flight = 10 }, connection = { per_address = 3 } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, pool = { max_idle = 0 } }
  tg.route "high" { paths = { "/high" }, service = "back", importance = "high" }
  tg.route "all" { service = "back" }
]]

local SIZE = 200000
local g, o

before_each(function()
  o = origin.listen()
  g = gateway.start({ config = CONFIG, vars = { ORIGIN = o.port } })
end)

after_each(function()
  g:stop()
end)

local function metrics()
  return client.get({ unix = g.dir .. "/admin.sock" }, "/metrics").body
end

-- A large answer, of which the gateway has as much as it takes.
local function ask_large(c, stream, more)
  c:headers(stream, h2.get("/large", more), { end_stream = true })
  local conn = o:accept()
  conn:request()
  conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(SIZE, ("x"):rep(SIZE)))
  c:expect("HEADERS", stream)
end

-- Opens the connection's window bit by bit; in which order streams end, and bytes of `watched` before that.
local function drain(c, watched)
  local ended, seen = {}, 0
  while #ended < 2 do
    c:window(0, 10000)
    local got = 0
    while got < 10000 and #ended < 2 do
      local frame = c:expect("DATA")
      got = got + #frame.payload
      if #ended == 0 and frame.stream == watched then seen = seen + #frame.payload end
      if frame.flags % 2 == 1 then ended[#ended + 1] = frame.stream end
    end
  end
  return ended, seen
end

-- Takes what the first window of the connection let through.
local function take_window(c)
  local got = 0
  while got < 65535 do
    got = got + #c:expect("DATA").payload
  end
end

describe("the window of a connection", function()
  local function connect()
    return h2.connect(g.port, { settings = { [4] = 1048576 } })
  end

  it("goes to the more urgent stream first", function()
    local c = connect()
    ask_large(c, 1, { { "priority", "u=5" } })
    take_window(c)
    ask_large(c, 3, { { "priority", "u=1" } })
    local ended, seen = drain(c, 1)
    assert.same({ 3, 1 }, ended)
    assert.is_true(seen < 40000, seen) -- what had left the stream before the other came
  end)

  it("goes where PRIORITY_UPDATE says, while answers are under way", function()
    local c = connect()
    ask_large(c, 1)
    take_window(c)
    ask_large(c, 3)
    c:frame("PRIORITY_UPDATE", 0, 0, h2.number(3, 4) .. "u=0")
    assert.same({ 3, 1 }, (drain(c, 1)))
  end)
end)

describe("the gateway's bounds", function()
  it("count streams as requests", function()
    local c = h2.connect(g.port)
    local conns = {}
    for i = 1, 10 do
      c:headers(2 * i - 1, h2.get("/high"), { end_stream = true })
      conns[i] = o:accept()
      conns[i]:request()
    end
    c:headers(21, h2.get("/high"), { end_stream = true })
    local r = c:response(21)
    assert.equal("503", r.status)
    assert.is_truthy(r.headers["retry-after"])
    assert.contains('tidegate_limit_use{limit="request.in_flight"} 10', metrics())
    for i = 1, 10 do
      conns[i]:reply({ body = "ok" })
      assert.equal("ok", c:response(2 * i - 1).body)
    end
    clock.wait_until(function() -- the last one ends just after its answer
      return metrics():find('tidegate_limit_use{limit="request.in_flight"} 0', 1, true)
    end, 5, "no request to be in flight")
    assert.contains("tidegate_h2_streams_total 11", metrics())
    assert.contains("tidegate_h2_connections_open 1", metrics())
  end)

  it("count connections of a client, whatever they speak", function()
    for _ = 1, 3 do
      local c = h2.connect(g.port)
      c:frame("PING", 0, 0, "12345678")
      c:expect("PING")
    end
    assert.equal("closed", client.connect(g.port):wait_end())
  end)
end)
