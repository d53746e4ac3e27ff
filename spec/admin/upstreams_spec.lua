--- `tidegate upstreams`, /upstreams and the metrics of targets, of a gateway that runs.

local cjson = require("cjson")
local clock = require("support.clock")
local helper = require("admin.helper")
local origin = require("support.origin")
local socket = require("support.socket")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 2, @ADMIN@ }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" {
    targets = { { "127.0.0.1:%d" }, { "127.0.0.1:%d" } },
    health = { active = { type = "tcp", every = "1s", timeout = "1s" } },
    breaker = {},
  }
  tg.route "all" { service = "back" }
]]

describe("what is known of origins", function()
  local g, o, refusing

  setup(function()
    o = origin.listen({ backlog = 4096 }) -- nobody takes the connections of the checks
    refusing = socket.refusing_port()
    g = helper.start({ config = CONFIG:format(o.port, refusing) })
    clock.wait_until(function()
      return g:stderr():find("a target is down", 1, true)
    end, 20, "the verdict of the check")
  end)

  teardown(function()
    g:stop()
    o:close()
  end)

  it("is a table for people", function()
    local code, out = helper.run(g, "upstreams")
    assert.equal(0, code)
    assert.matches("^SERVICE +TARGET +STATE +ACTIVE +IDLE/OPEN +SIZE +STREAMS +WAITING +REQUESTS +FAILED " ..
      "+LATENCY +BREAKER\n", out)
    assert.matches(("\nback +127%%.0%%.0%%.1:%d +up +0 "):format(o.port), out)
    assert.matches(("\nback +127%%.0%%.0%%.1:%d +down: connection refused "):format(refusing), out)
    assert.equal(out, select(2, helper.run(g, "upstreams", "back")))
    local _, err
    code, _, err = helper.run(g, "upstreams", "front")
    assert.same({ 2, 'tidegate: no service "front" with targets is in force; there are: back\n' },
                { code, err })
  end)

  it("is JSON for programs, and metrics", function()
    local _, text = helper.run(g, "upstreams", "--json")
    local json = cjson.decode(text)
    assert.equal("back", json.upstreams[1].service)
    assert.equal("closed", json.upstreams[1].breaker)
    assert.equal(2, #json.upstreams[1].targets)
    local _, metrics = helper.run(g, "metrics")
    local up = 'tidegate_target_up{service="back",target="127.0.0.1:%d"} %d\n'
    assert.contains(up:format(refusing, 0), metrics)
    assert.contains(up:format(o.port, 1), metrics)
  end)
end)
