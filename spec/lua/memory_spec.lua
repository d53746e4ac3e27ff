-- settings.memory: what may be written, the shares that hold in the end, and what is refused.

local host = require("support.config_host")

local function load(memory, more)
  return host.load(([[
local tg = require "tidegate"
tg.settings { memory = %s }
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "a" { builtin = "echo" }
tg.route "a" { service = "a" }
%s]]):format(memory, more or ""))
end

local function refused(memory, more)
  local tree, reports = load(memory, more)
  assert.is_nil(tree)
  return reports:render "configuration not loaded"
end

describe("settings.memory", function()
  it("is a size, shared as the host says", function()
    assert.same({ total = 96 * 2 ^ 20, shares = { cache = 40, connections = 50, reserve = 10 } },
      assert(load '"96MiB"').settings.memory)
  end)

  it("gives what the given shares leave to the others, in proportion", function()
    assert.same({ total = 2 ^ 30, shares = { cache = 10, connections = 75, reserve = 15 } },
      assert(load '{ total = "1GiB", shares = { cache = 10 } }').settings.memory)
  end)

  it("is absent unless it is set", function()
    assert.is_nil(assert(load "nil").settings.memory)
  end)

  it("refuses shares of more than there is, at their place", function()
    local text = refused '{ total = "1GiB", shares = { cache = 80, connections = 30 } }'
    assert.contains("settings.memory.shares: the shares add up to 110 %, and there are 100", text)
    assert.contains("gateway.lua:2:", text)
  end)

  it("refuses shares that leave nothing to another part", function()
    assert.contains("nothing is left for reserve",
      refused '{ total = "1GiB", shares = { cache = 50, connections = 50 } }')
  end)

  it("refuses nonsense", function()
    assert.contains("settings.memory", refused '"1MiB"')
    assert.contains("settings.memory", refused "-1")
    assert.contains("shares.cache", refused '{ total = "1GiB", shares = { cache = 0 } }')
    assert.contains("sandwiches", refused '{ total = "1GiB", shares = { sandwiches = 5 } }')
  end)

  it("refuses zones that do not fit into the share of cache", function()
    local text = refused('"32MiB"', 'tg.zone.cache "z" { size = "20MiB" }')
    assert.contains("zones are declared with 20.0 MiB in all, and the share of cache is 12.8 MiB", text)
  end)
end)

describe("settings.overload and importance", function()
  it("have a bound on what is read", function()
    local tree = assert(host.load [[
local tg = require "tidegate"
tg.settings { overload = { adaptive = { latency = "250ms" } } }
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "a" { builtin = "echo" }
tg.route "a" { service = "a", importance = "low" }
tg.route "b" { paths = { "/b" }, service = "a" }
]])
    assert.same({ latency = 0.25, min = 16 }, tree.settings.adaptive)
    assert.equal("low", tree.routes[1].importance)
    assert.equal("normal", tree.routes[2].importance)
  end)
end)
