--- What goes on across a reload: VMs of plugins that did not change, state that a plugin saves, quarantine.

local client = require("support.client")
local clock = require("support.clock")
local helper = require("reload.helper")

local function with(uses, rest)
  local all = 'tg.route "all" { paths = { "/*" }, service = echo, plugins = { %s } }\n%s'
  return helper.config(all:format(uses, rest or ""))
end

local COUNTER = 'tg.use "./counter.lua" {}'

describe("across a reload", function()
  local g

  local function start(uses, more, files)
    files = files or {}
    files["counter.lua"] = files["counter.lua"] or helper.counter(more)
    g = helper.start({ config = with(uses or COUNTER), files = files })
    local started = g
    finally(function() started:stop() end)
  end

  it("a plugin whose code and configuration did not change goes on in its VM", function()
    start()
    assert.equal(1, helper.count(g))
    helper.reload(g, with(COUNTER, 'tg.route "more" { paths = { "/more" }, service = echo }'))
    assert.equal(2, helper.count(g))
    assert.is_nil(helper.count(g, "/more"))
    helper.reload(g, with('tg.use "request-id" {}, ' .. COUNTER))
    assert.equal(3, helper.count(g))
    assert.equal(1, #helper.get(helper.socket(g), "/plugins").json.plugins[2].vms)
  end)

  it("what its uses say beside its configuration changes with the VM kept", function()
    start()
    assert.equal(1, helper.count(g))
    helper.reload(g, with [[tg.use("./counter.lua", { when = 'path == "/a"' }) {}]])
    assert.is_nil(helper.count(g))
    assert.equal(2, helper.count(g, "/a"))
  end)

  it("uses are told apart by their configurations, whatever their order", function()
    local one = 'tg.use("./counter.lua", { id = "one" }) { step = 1 }'
    local ten = 'tg.use("./counter.lua", { id = "ten" }) { step = 10 }'
    local a = 'tg.route "a" { paths = { "/a" }, service = echo, plugins = { %s } }\n'
    local b = 'tg.route "b" { paths = { "/b" }, service = echo, plugins = { %s } }\n'
    start()
    helper.reload(g, helper.config(a:format(one) .. b:format(ten)))
    assert.equal(1, helper.count(g, "/a"))
    assert.equal(11, helper.count(g, "/b"))
    for round = 1, 3 do -- kept three times, with the order turned each time
      helper.reload(g, helper.config(round % 2 == 1 and b:format(ten) .. a:format(one) or
        a:format(one) .. b:format(ten)))
      local before = 11 * round
      assert.equal(before + 1, helper.count(g, "/a"))
      assert.equal(before + 11, helper.count(g, "/b"))
    end
  end)

  for what, change in pairs({
    ["its code"] = function() g:write("counter.lua", helper.counter("-- another")) end,
    ["a module of its"] = function() g:write("helping.lua", "return { 2 }") end,
    ["its configuration"] = function() return with 'tg.use "./counter.lua" { step = 2 }' end,
    ["the number of its uses"] = function() return with(COUNTER ..
      ', tg.use("./counter.lua", { id = "b" }) { step = 2 }') end,
    ["a limit of plugins"] = function()
      return (with(COUNTER):gsub("workers = 1", 'workers = 1, limits = { plugin = { cpu = "15ms" } }'))
    end,
  }) do
    it("its VM is made anew when it changes: " .. what, function()
      start(COUNTER, 'require "helping"', { ["helping.lua"] = "return { 1 }" })
      for _ = 1, 5 do helper.count(g) end
      helper.reload(g, change() or with(COUNTER .. ""))
      assert.is_true(helper.count(g) <= 3)
    end)
  end

  it("idle connections outlive the configuration that they began with", function()
    local function timeout(idle)
      local limits = ("workers = 1, limits = { connection = { idle_timeout = %q } }"):format(idle)
      return (with(COUNTER):gsub("workers = 1", limits))
    end
    start()
    helper.reload(g, timeout("1500ms"))
    local c = client.connect(g.port)
    assert.status(200, c:get("/"))
    helper.reload(g, timeout("1h"))
    helper.reload(g, timeout("2s"))
    assert.equal("closed", c:wait_end(20))
  end)

  it("a VM of changed code gets what the old one saved, and the old one is stopped", function()
    local carry = [[
      function P.save() return { count = count } end
      function P.restore(t) count = t.count end
      function P.stop() print("stopped at " .. count) end
    ]]
    start(COUNTER, carry)
    for _ = 1, 3 do helper.count(g) end
    g:write("counter.lua", helper.counter(carry .. "-- another"))
    helper.reload(g)
    g:wait_for_log("stopped at 3")
    assert.equal(4, helper.count(g))
  end)

  for what, broken in pairs({
    ["save() failed"] = { "function P.save() error 'no' end function P.restore(t) count = 50 end", "no" },
    ["save() failed "] = { "function P.save() return { f = print } end function P.restore(t) count = 50 end",
                           "state.f: a function cannot cross" },
    ["save() failed  "] = { "function P.save() return { ('x'):rep(2 ^ 20 + 1) } end " ..
                            "function P.restore(t) count = 50 end", "limit" },
    ["restore() failed"] = { "function P.save() return { 1 } end " ..
                             "function P.restore(t) count = 50 error 'no' end",
                             "no" },
  }) do
    it("what goes wrong with the state is logged, and the VM starts fresh: " .. broken[2] .. " in " .. what,
      function()
        start(COUNTER, broken[1])
        helper.count(g)
        g:write("counter.lua", helper.counter(broken[1] .. "-- another"))
        helper.reload(g)
        g:wait_for_log((what:gsub(" +$", "")))
        assert.contains(broken[2], g:stderr())
        assert.equal(1, helper.count(g))
      end)
  end

  it("timers of a kept VM go on, those of others end", function()
    local ticker = [[
local tg = require "tidegate"
local P = { name = "ticker", version = "1.0.0", api = 1, stage = "observe", needs = { timers = true } }
local ticks = 0
function P.init() tg.timer.every("5ms", function() ticks = ticks + 1 end) end
function P.access(_, ctx) ctx.resp:set_header("x-count", tostring(ticks)) end
return P
]]
    start('tg.use "./ticker.lua" {}', nil, { ["ticker.lua"] = ticker })
    clock.wait_until(function() return helper.count(g) > 3 end, 5, "the first ticks")
    helper.reload(g, with('tg.use "./ticker.lua" {}, tg.use "request-id" {}'))
    local at = helper.count(g)
    assert.is_true(at > 3)
    clock.wait_until(function() return helper.count(g) > at + 3 end, 5, "more ticks")
  end)

  it("quarantine goes on when the plugin did not change, and ends when it did", function()
    local grow = "P.access = function() local t = {} for i = 1, 1e9 do t[i] = { i } end end"
    local function long(text) -- the pause outlasts the spec
      return (text:gsub("workers = 1", 'workers = 1, limits = { plugin_vm = { pause = "1h" } }'))
    end
    start(COUNTER, grow)
    helper.reload(g, long(with(COUNTER)))
    for _ = 1, 20 do client.get(g.port, "/") end
    g:wait_for_log("a plugin is in quarantine")
    helper.reload(g, long(with(COUNTER, 'tg.route "more" { paths = { "/more" }, service = echo }')))
    local plugin = helper.get(helper.socket(g), "/plugins").json.plugins[1]
    assert.equal("shut", plugin.vms[1].quarantine)
    assert.is_true(plugin.kills.memory > 0)
    g:write("counter.lua", helper.counter())
    helper.reload(g)
    plugin = helper.get(helper.socket(g), "/plugins").json.plugins[1]
    assert.equal("free", plugin.vms[1].quarantine)
    assert.is_true(plugin.kills.memory > 0) -- counts go on
    assert.equal(1, helper.count(g))
  end)
end)
