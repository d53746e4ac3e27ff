-- Hedged requests over real sockets: what the access log and the metrics tell, and that nothing is left open.

local admin = require("admin.helper")
local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, admin = { listen = "unix:admin.sock" } }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" {
    targets = { { "127.0.0.1:@A@" }, { "127.0.0.1:@B@" } },
    hedge = { after = "50ms" },
  }
  tg.route "all" { service = "back",
    plugins = { tg.use "access-log" { fields = { "path", "status", "attempts" } } } }
]]

describe("a hedged request", function()
  local g, a, b, c

  before_each(function()
    a, b = origin.listen(), origin.listen()
    g = gateway.start({ config = CONFIG, vars = { A = a.port, B = b.port } })
    g:wait_for_log(" serves after ")
    c = client.connect(g.port)
  end)

  after_each(function()
    c:close()
    g:stop()
  end)

  -- Sends a request; the connections on which the two origins have it, the first one's first.
  local function both(path)
    c:send("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
    local first = a:accept()
    first:request()
    local second = b:accept()
    assert.equal(path, second:request().target)
    return first, second
  end

  local function logged(path)
    local line
    clock.wait_until(function()
      line = g:stdout():match('[^\n]*"path":"' .. path .. '"[^\n]*')
      return line ~= nil
    end, 5, "the line of the access log")
    return line
  end

  it("has both attempts in the access log, and the loser's connection is closed", function()
    local first, second = both("/won")
    second:reply({ status = 200, body = "b" })
    assert.equal("b", c:response().body)
    first:wait_end()
    local line = logged("/won")
    assert.is_truthy(line:find(('"target":"127.0.0.1:%d"[^}]*"error":"cancelled"'):format(a.port)))
    assert.is_truthy(line:find(('"target":"127.0.0.1:%d"[^}]*"status":200,"hedge":true'):format(b.port)))
  end)

  it("is counted by what became of it", function()
    local _, second = both("/metrics")
    second:reply({ status = 200 })
    c:response()
    local text
    clock.wait_until(function() -- the request ends just after its answer
      text = admin.get(admin.socket(g), "/metrics").body
      return text:find('tidegate_hedge_results_total{result="won"} 1', 1, true)
    end, 5, "the count")
    assert.contains("tidegate_hedges_total 1", text)
    assert.contains("tidegate_hedges_refused_total 0", text)
  end)

  it("streams the winner's answer, and the connection carries the next request", function()
    local first, second = both("/stream")
    first:send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
    second:wait_end()
    first:send(("x"):rep(200000))
    assert.equal(200000, #c:response().body)
    c:send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
    local third = b:accept() -- turns go on behind the hedge
    third:request()
    third:reply({ status = 204 })
    assert.status(204, c:response())
  end)

  for _, at in ipairs({ "first", "second" }) do
    it("goes on when the " .. at .. " one's origin resets at any byte of its head", function()
      local head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
      for n = 0, #head - 1, 6 do
        local first, second = both("/reset")
        local bad, good = first, second
        if at == "second" then bad, good = second, first end
        bad:send(head:sub(1, n))
        bad:reset()
        good:reply({ status = 200, body = "ok", headers = { Connection = "close" } })
        assert.equal("ok", c:response().body)
        good:close()
      end
    end)
  end
end)
