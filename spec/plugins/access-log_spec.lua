-- access-log: one JSON line per request, its members, and sampling.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")

describe("access-log", function()
  local g

  local function start(conf, probe)
    g = gateway.start({
      files = { ["probe.lua"] = [[
        local P = { name = "probe", version = "1.0.0", api = 1, stage = "transform" }
        function P.access(_, ctx) ctx.log:field("user", "ann"):field("n", 2.5):field("ok", true) end
        return P
      ]] },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.global { tg.use "access-log" ]] .. conf .. [[ }
        tg.route "all" { paths = { "/a" }, service = "echo", plugins = { ]] ..
          (probe and 'tg.use "./probe.lua" {}' or "") .. [[ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  -- Lines of a file in the gateway's folder once there are `count` of them.
  local function lines_of(read, count)
    local lines
    clock.wait_until(function()
      lines = {}
      for line in read():gmatch("[^\n]+") do table.insert(lines, line) end
      return #lines >= count
    end, 5, count .. " lines of the access log")
    return lines
  end

  it("writes to stdout what the fields say", function()
    start([[{ fields = { "id", "client", "method", "path", "query", "protocol", "status", "bytes_sent",
      "route", "service", "user_agent", "source" } }]])
    client.get(g.port, "/a?b=1", { ["User-Agent"] = 'spec "1"' })
    client.get(g.port, "/none")
    local lines = lines_of(function() return g:stdout() end, 2)
    assert.matches('^{"id":"%x+","client":"127%.0%.0%.1","method":"GET","path":"/a","query":"b=1",'
      .. '"protocol":"HTTP/1%.1","status":200,"bytes_sent":%d+,"route":"all","service":"echo",'
      .. '"user_agent":"spec \\"1\\"","source":"upstream"}$', lines[1])
    assert.contains('"path":"/none"', lines[2])
    assert.contains('"status":404', lines[2])
    assert.contains('"source":"gateway"', lines[2])
  end)

  it("writes to a file, with what plugins add", function()
    start('{ path = "access.log" }', true)
    client.get(g.port, "/a")
    local line = lines_of(function() return g:read("access.log") or "" end, 1)[1]
    assert.matches('^{"time":"%d%d%d%d%-%d%d%-%d%dT.*"status":200.*"user":"ann","n":2%.5,"ok":true}$', line)
  end)

  it("takes a sample", function()
    start('{ sample = 0, fields = { "path" } }')
    client.get(g.port, "/a")
    g:stop()
    assert.is_nil(g:stdout():find("{", 1, true))
  end)
end)
