--- What the admin listener shows: figures that are true, and nothing secret.

local client = require("support.client")
local clock = require("support.clock")
local helper = require("admin.helper")

describe("the admin listener shows", function()
  local g, where

  setup(function()
    g = helper.start()
    where = helper.socket(g)
    local c = client.connect(g.port)
    assert.status(200, c:get("/"))
    assert.status(500, c:get("/raise"))
    assert.status(503, c:get("/wait"))
    c:close()
    -- A request is counted when it is over, which may be after its answer has come.
    clock.wait_until(function()
      return helper.get(where, "/status").json.requests_total == 3
    end, 5, "three requests")
  end)

  teardown(function()
    g:stop()
  end)

  it("metrics in Prometheus' format", function()
    local response = helper.get(where, "/metrics")
    assert.header("content-type", "text/plain; version=0.0.4; charset=utf-8", response)
    assert.contains('\ntidegate_requests_total{status="2xx"} 1\n', response.body)
    assert.contains('\ntidegate_plugin_kills_total{reason="wall"} 1\n', response.body)
    assert.contains('\ntidegate_limit_hits_total{limit="admin.connections"} 0\n', response.body)
  end)

  it("how the process is", function()
    local status = helper.get(where, "/status").json
    assert.same({ "ready", 2, "gateway.lua", 1, 3 }, { status.state, status.workers, status.file,
      status.revision, status.requests_total })
    assert.is_true(status.uptime_seconds >= 0 and status.memory_bytes > 0)
    assert.equal(status.pid, g:pids()[2])
  end)

  it("what the configuration declares", function()
    local config = helper.get(where, "/config").json
    assert.same({ { name = "http", address = "127.0.0.1:" .. g.port } }, config.listeners)
    assert.same({ { name = "echo", builtin = "echo", targets = {} } }, config.services)
    assert.same({ 1, 1, 1, 0, 0 },
      { config.routes, config.plugins, config.instances, config.zones, config.consumers })
  end)

  it("every limit: in force, by default, and how often it was hit", function()
    local by_path = {}
    for _, limit in ipairs(helper.get(where, "/limits").json.limits) do
      by_path[limit.path] = limit
    end
    assert.same({ path = "plugin.cpu", unit = "seconds", value = 1, default = 0.02, hits = 0,
      text = by_path["plugin.cpu"].text }, by_path["plugin.cpu"])
    assert.same({ "bytes", 32768 }, { by_path["request.headers"].unit, by_path["request.headers"].value })
    local count = 0
    for _ in io.open("core/base/limits.def"):read("*a"):gmatch("\nTG_LIMIT%(") do
      count = count + 1
    end
    assert.equal(count, #helper.get(where, "/limits").json.limits)
  end)

  it("every plugin in all workers, with what it did", function()
    local plugins = helper.get(where, "/plugins").json.plugins
    assert.equal(1, #plugins)
    local probe = plugins[1]
    assert.same({ "probe", "1.2.3", "guard", 1 }, { probe.name, probe.version, probe.stage, probe.instances })
    assert.same({ "access" }, probe.phases)
    assert.equal(1, probe.errors)
    assert.same({ cpu = 0, wall = 1, memory = 0, churn = 0, pattern = 0, depth = 0, quota = 0 }, probe.kills)
    assert.same({ 0, 1 }, { probe.vms[1].worker, probe.vms[2].worker })
    for _, vm in ipairs(probe.vms) do
      assert.equal("free", vm.quarantine)
      assert.is_true(vm.heap_bytes > 0 and vm.heap_bytes <= vm.held_bytes)
    end
  end)

  it("what a plugin costs, by route", function()
    local answer = helper.get(where, "/plugins").json
    assert.equal(16, answer.measured_every)
    local probe = answer.plugins[1]
    for _, name in ipairs({ "cpu_seconds", "churn_bytes", "peak_bytes" }) do
      local cost = probe[name]
      assert.equal(1, #cost, name)
      assert.equal("all", cost[1].route)
      assert.is_true(cost[1].count >= 1)
      assert.is_true(cost[1].p50 <= cost[1].max and cost[1].max <= cost[1].sum)
    end
    assert.is_true(probe.cpu_seconds[1].max < 1, "seconds, not microseconds")
  end)

  it("the same to many who ask at once", function()
    local askers = {}
    for i = 1, 16 do
      askers[i] = client.connect(where)
    end
    for _, c in ipairs(askers) do
      c:send("GET /plugins HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    for _, c in ipairs(askers) do
      assert.contains('"name":"probe"', c:response().body)
      c:close()
    end
  end)
end)
