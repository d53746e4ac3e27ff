--- Reloads under load: no request is lost, no connection closed, a tunnel and bodies under way go on. The
-- figure over 200 of them is spec/bench/scenarios/reload.lua's.

local client = require("support.client")
local clock = require("support.clock")
local helper = require("reload.helper")
local http = require("support.http")
local origin = require("support.origin")

local CONNECTIONS, RELOADS = 16, 10

local function config(step)
  local plugins = 'tg.use "request-id" {}'
  if step % 4 >= 2 then plugins = plugins .. ', tg.use "./counter.lua" {}' end
  return helper.config(([[
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "all" { paths = { "/*" }, service = echo, tags = { "v%d" }, plugins = { %s } }
tg.route "through" { paths = { "/through/*" }, service = "origin" }
]]):format(step, plugins)):gsub("workers = 1", "workers = 2")
end

describe("reloads under load", function()
  local g, o

  before_each(function()
    o = origin.listen()
    g = helper.start({ config = config(0), files = { ["counter.lua"] = helper.counter() },
                       vars = { ORIGIN = o.port } })
  end)

  after_each(function()
    g:stop()
    o:close()
  end)

  -- One request on each connection, and its answer; the number of answers that are what they should be.
  local function round(connections)
    local good = 0
    for _, c in ipairs(connections) do c:send(http.request({ target = "/x" })) end
    for _, c in ipairs(connections) do
      if c:response().status == 200 then good = good + 1 end
    end
    return good
  end

  it("lose nothing, and keep connections, tunnels and bodies under way", function()
    local connections = {}
    for i = 1, CONNECTIONS do connections[i] = client.connect(g.port) end
    local tunnel = client.connect(g.port)
    tunnel:send("GET /through/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    local far = o:accept()
    far:request_head()
    far:send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert.status(101, tunnel:response())
    local upload = client.connect(g.port)
    upload:send(("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(RELOADS))
    for step = 1, RELOADS do
      g:write("gateway.lua", config(step))
      g:signal("HUP")
      local told = ("(revision %d)"):format(step + 1)
      repeat
        assert.equal(CONNECTIONS, round(connections))
      until g:stderr():find(told, 1, true)
      tunnel:send("ping " .. step)
      assert.equal("ping " .. step, far:receive(5 + #tostring(step)))
      far:send("pong " .. step)
      assert.equal("pong " .. step, tunnel:receive(5 + #tostring(step)))
      upload:send("x")
    end
    assert.status(200, upload:response())
    assert.equal(CONNECTIONS, round(connections))
    assert.equal(RELOADS + 1, helper.status(g).revision)
  end)

  it("keep the connections to origins whose service stays", function()
    local c = client.connect(g.port)
    local conn
    for step = 1, 3 do
      c:send(http.request({ target = "/through/x" }))
      conn = conn or o:accept()
      conn:request()
      conn:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      assert.equal("ok", c:response().body)
      helper.reload(g, config(step))
    end
    assert.contains("tidegate_upstream_connections_open 1\n", helper.get(helper.socket(g), "/metrics").body)
  end)

  it("end on the plugins they began with, in the middle of a request", function()
    local sleeper = [[
      local P = { name = "sleeper", version = "1.0.0", api = 1, stage = "guard" }
      function P.access(_, ctx) ctx:sleep "@SLEEP@" ctx.resp:set_header("x-word", "@WORD@") end
      function P.stop() print "sleeper stopped" end
      return P
    ]]
    local text = helper.config('tg.route "all" { service = echo, plugins = { tg.use "./sleeper.lua" {} } }\n')
    g.vars.SLEEP, g.vars.WORD = "700ms", "old"
    g:write("sleeper.lua", sleeper)
    helper.reload(g, text)
    local slow = client.connect(g.port)
    slow:send(http.request({ target = "/" }))
    clock.wait_until(function() return helper.status(g).requests_open == 1 end, 5, "the open request")
    g.vars.SLEEP, g.vars.WORD = "0s", "new"
    g:write("sleeper.lua", sleeper)
    helper.reload(g)
    assert.equal("new", client.get(g.port, "/").headers["x-word"])
    assert.equal("old", slow:response().headers["x-word"])
    g:wait_for_log("sleeper stopped") -- the old VM goes with its last request
  end)
end)
