-- Origins that are killed, brought back and restarted while 64 connections ask: no client sees an error.

local client = require("support.client")
local gateway = require("support.gateway")
local owned = require("support.owned")
local signal = require("posix.signal")
local socket = require("support.socket")
local unistd = require("posix.unistd")

local CONNECTIONS = 64

local ORIGIN = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "own" { address = "127.0.0.1:@PORT@" }
  tg.listener "http" { address = "127.0.0.1:@AT@" }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

local GATEWAY = [[
  local tg = require "tidegate"
  tg.settings { workers = 2, limits = { connection = { per_address = 1000 } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" {
    targets = { { "127.0.0.1:@A@" }, { "127.0.0.1:@B@" }, { "127.0.0.1:@C@" } },
    balance = { "least-requests" },
    health = { passive = { failures = 3, eject = "200ms" } },
    retry = { attempts = 3, on = { "connect", "reset" }, budget = 1,
              backoff = { base = "5ms", max = "20ms" } },
  }
  tg.route "all" { service = "back" }
]]

-- A port that stays ours while nobody listens on it.
local function reserve()
  local held, port = socket.reserve_port()
  owned.add({ held }, function(one) unistd.close(one[1]) end)
  return port
end

describe("under load #slow", function()
  local ports, origins, g, clients

  local function start_origin(i)
    origins[i] = gateway.start({ config = ORIGIN, vars = { AT = ports[i] } })
  end

  before_each(function()
    ports, origins, clients = { reserve(), reserve(), reserve() }, {}, {}
    for i = 1, 3 do start_origin(i) end
    g = gateway.start({ config = GATEWAY, vars = { A = ports[1], B = ports[2], C = ports[3] } })
    for i = 1, CONNECTIONS do clients[i] = client.connect(g.port) end
  end)

  after_each(function()
    g:stop()
  end)

  local failed, asked

  -- Every connection asks once; `meanwhile` happens while the requests are under way.
  local function round(meanwhile)
    for _, c in ipairs(clients) do
      c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    if meanwhile then meanwhile() end
    for _, c in ipairs(clients) do
      local response = c:response()
      asked = asked + 1
      if response.status ~= 200 then failed = failed + 1 end
    end
  end

  it("targets that are killed and brought back cost no client an error", function()
    failed, asked = 0, 0
    for i = 1, 3 do
      for _ = 1, 5 do round() end
      round(function()
        for _, pid in ipairs(origins[i]:pids()) do signal.kill(pid, signal.SIGKILL) end
      end)
      for _ = 1, 10 do round() end
      start_origin(i)
    end
    assert.equal(0, failed)
    assert.is_true(asked >= 45 * CONNECTIONS)
  end)

  it("a rolling restart of all origins fails not one request", function()
    failed, asked = 0, 0
    for i = 1, 3 do
      for _ = 1, 5 do round() end
      round(function() origins[i]:signal("TERM") end)
      for _ = 1, 10 do round() end
      origins[i]:stop()
      start_origin(i)
      for _ = 1, 5 do round() end
    end
    assert.equal(0, failed)
    for i = 1, 3 do origins[i]:stop() end
  end)
end)
