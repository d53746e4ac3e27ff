--- The bounds of a plugin, as specs see them: memory, CPU, wall time, and what it costs.

local t = require "tidegate.test"

local function probe(text)
  return t.source(([[
local P = { name = "probe", version = "1.0.0", api = 1, stage = "guard" }
%s
return P]]):format(text))
end

describe("limits of a plugin under test", function()
  before_each(function() t.reset() end)

  local HOARD = probe [[
    function P.access(conf, ctx)
      local body = ctx.req:body { max = "4MiB" } or ""
      if #body > 1000 then
        local list = {}
        for i = 1, 1e6 do list[i] = body .. i end
      end
      ctx.upstream:set_header("x-length", tostring(#body))
    end]]

  it("memory: the request is killed, the VM lives on and is empty again", function()
    local p = t.plugin(HOARD, {}, { limits = { memory = "256KiB" } })
    local r = p:run { method = "POST", body = ("x"):rep(100000) }
    assert.killed(r, "memory")
    assert.response(r).has.status(503)
    assert.error_code(r, "plugin_killed")
    assert.is_true(p:alive())
    assert.same({ memory = 1 }, p:usage().kills)

    local small = { method = "POST", body = "small" }
    local ok = p:run(small)
    assert.request(ok.upstream).has.header("x-length", "5")
    assert.memory(ok).peak_below "64KiB"
    assert.memory(p).no_growth(function() p:run(small) end, { rounds = 200 })
  end)

  it("memory: a leak is found", function()
    local p = t.plugin(probe [[
      local kept = {}
      function P.access(conf, ctx) kept[#kept + 1] = ("x"):rep(100) .. #kept end]])
    assert.error_matches(function()
      assert.memory(p).no_growth(function() p:run() end, { rounds = 50 })
    end, "expected no growth over 50 rounds")
  end)

  it("memory: figures are exact, and the same each time", function()
    local source = probe [[function P.access(conf, ctx) ctx.state.kept = ("y"):rep(ctx.req:query "n") end]]
    local function usage(n)
      return t.plugin(source):run { path = "/?n=" .. n }.usage
    end
    assert.equal(usage(5000).alloc_total, usage(5000).alloc_total)
    assert.equal(1000, usage(6000).alloc_total - usage(5000).alloc_total)
    -- At the peak a small object of the request may be collected already, or not yet.
    assert.near(usage(5000).alloc_peak, usage(5000).alloc_peak, 128)
    assert.near(1000, usage(6000).alloc_peak - usage(5000).alloc_peak, 128)
  end)

  it("CPU: an endless loop is killed, even one that catches errors", function()
    local p = t.plugin(probe [[
      function P.access(conf, ctx)
        while ctx.req.path == "/spin" do pcall(function() while true do end end) end
      end]], {}, { limits = { cpu = "50ms" } })
    local r = p:run { path = "/spin" }
    assert.killed(r, "cpu")
    assert.matches("^%S+/source%-%d+%.lua:%d: killed %(cpu%)", r.error)
    assert.is_true(r.usage.cpu >= 0.05)
    local ok = p:run { path = "/calm" }
    assert.response(ok).has.status(200)
    assert.cpu(ok).below "50ms"
  end)

  it("wall time: it is the gateway's clock that counts", function()
    local p = t.plugin(probe [[function P.access(conf, ctx) ctx:sleep(ctx.req:query "for") end]],
      {}, { limits = { wall = "3s" } })
    local r = p:run { path = "/?for=2s" }
    assert.response(r).has.status(200)
    assert.equal(2, r.elapsed)
    assert.equal(2, r.usage.suspended)

    r = p:run { path = "/?for=60s" }
    assert.killed(r, "wall")
    assert.elapsed(r).at_most "3s"
    assert.elapsed(r).at_least "3s"
  end)

  it("on_error says what a failure does to the request", function()
    local broken = probe [[function P.access() error "no" end]]
    assert.response(t.plugin(broken, {}, { on_error = "skip" }):run()).has.status(200)
    local closed = t.plugin(broken, {}, { on_error = "close" }):run()
    assert.is_nil(closed.status)
    assert.is_true(closed.aborted)
  end)
end)
