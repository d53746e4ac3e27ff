-- A name whose addresses change, one after the other, while 32 connections ask: no client sees an error, and
-- the origins of addresses that are gone may end.

local client = require("support.client")
local clock = require("support.clock")
local dns = require("support.dns")
local gateway = require("support.gateway")
local owned = require("support.owned")
local socket = require("support.socket")
local unistd = require("posix.unistd")

local CONNECTIONS = 32

local ORIGIN = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, server_name = "origin-@LAST@" }
  tg.listener "own" { address = "127.0.0.1:@PORT@" }
  tg.listener "http" { address = "127.0.0.@LAST@:@AT@" }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

local GATEWAY = [[
  local tg = require "tidegate"
  tg.settings {
    workers = 2, dns = { servers = { "127.0.0.1:@DNS@" } },
    limits = { connection = { per_address = 1000 }, dns = { ttl_min = "100ms" } },
  }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" {
    targets = { { dns = "back.test:@AT@" } },
    health = { active = { type = "tcp", every = "500ms", timeout = "500ms" } },
    retry = { attempts = 3, on = { "connect", "reset" }, budget = 1,
              backoff = { base = "5ms", max = "20ms" } },
  }
  tg.route "all" { service = "back" }
]]

describe("a rolling change of addresses under load #slow", function()
  local at, d, g, origins, clients

  before_each(function()
    local held
    held, at = socket.reserve_port()
    owned.add({ held }, function(one) unistd.close(one[1]) end)
    origins, clients = {}, {}
    for last = 2, 5 do origins[last] = gateway.start({ config = ORIGIN, vars = { LAST = last, AT = at } }) end
    d = dns.start({ ["back.test"] = { a = { "127.0.0.2", "127.0.0.3" }, ttl = 0 } })
    g = gateway.start({ config = GATEWAY, vars = { DNS = d.port, AT = at } })
    for i = 1, CONNECTIONS do clients[i] = client.connect(g.port) end
  end)

  it("fails not one request", function()
    local asked, failed = 0, 0
    local function round()
      for _, c in ipairs(clients) do c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n") end
      for _, c in ipairs(clients) do
        asked = asked + 1
        if c:response().status ~= 200 then failed = failed + 1 end
      end
    end
    for gone = 2, 3 do
      for _ = 1, 5 do round() end
      local now = { ("127.0.0.%d"):format(gone + 1), ("127.0.0.%d"):format(gone + 2) }
      d:set("back.test", { a = now, ttl = 0 })
      -- Both workers and the keeper have asked since: what they were told is in force a moment later.
      local before = d:asked("a", "back.test")
      clock.wait_until(function()
        round()
        return d:asked("a", "back.test") > before + 8
      end, 10, "the workers' queries")
      origins[gone]:signal("TERM")
      for _ = 1, 5 do round() end
      origins[gone]:stop()
      for _ = 1, 5 do round() end
    end
    assert.equal(0, failed)
    assert.is_true(asked >= 30 * CONNECTIONS)
    g:stop()
    for last = 4, 5 do origins[last]:stop() end
  end)
end)
