-- tg.zone.dict and tg.zone.cache in a configuration, and what plugins need of their own.

local host = require "support.config_host"

local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n' ..
             'tg.route "all" { plugins = { tg.use "store" %s } }\n'
local STORE = '  schema = S.record { zone = S.ref "zone.dict":optional() }, needs = %s,\n'

local function load(text, conf, needs)
  local bundled = { store = host.plugin("store", "traffic", { "access" }, STORE:format(needs or "{}")) }
  return host.load(HEAD:format(conf or "{}") .. text, { bundled = bundled })
end

local function complaint(...)
  local tree, reports = load(...)
  assert.is_nil(tree)
  return reports:render()
end

describe("zones in a configuration", function()
  it("become a list", function()
    local tree, reports = load([==[
tg.zone.cache "pages" { size = "64MiB", stale = "5m" }
tg.zone.dict "quota" { size = "64KiB" }
tg.zone.dict("pages") { size = "1GiB" }
]==], '{ zone = "quota" }')
    assert(tree, reports:render())
    assert.same({ { kind = "dict", name = "quota", size = 65536 },
                  { kind = "dict", name = "pages", size = 2 ^ 30 },
                  { kind = "cache", name = "pages", size = 2 ^ 26, stale = 300 } }, tree.zones)
    assert.same({ zone = "quota" }, tree.instances[1].conf)
  end)

  it("may be a plugin's own", function()
    local tree = load("", nil, '{ dict = "1MiB", cache = "128KiB", timers = true, events = true }')
    local plugin = tree.plugins[1]
    assert.same({ 2 ^ 20, 2 ^ 17, true, true }, { plugin.dict, plugin.cache, plugin.timers, plugin.events })
  end)

  for what, case in pairs({
    ["too small"] = { 'tg.zone.dict "q" { size = "1KiB" }', "gateway.lua:4:20: zones.q.size: " },
    ["without a size"] = { 'tg.zone.cache "q" {}', "gateway.lua:4:1: zones.q.size: missing" },
    ["twice"] = { 'tg.zone.dict "q" { size = "1MiB" }\ntg.zone.dict "q" { size = "1MiB" }',
                  'gateway.lua:5:1: zone.dict "q" is declared twice' },
    ["with an unknown field"] = { 'tg.zone.dict "q" { size = "1MiB", stale = "1s" }',
                                  "gateway.lua:4:35: zones.q.stale: unknown field" },
    ["of an unknown kind"] = { 'tg.zone.dicts "q" { size = "1MiB" }',
                               'tg.zone has no function "dicts"' },
    ["unfinished"] = { 'tg.zone.dict "q"', 'tg.zone.dict "q" has no table' },
    ["with a name that is none"] = { 'tg.zone.dict "a/b" { size = "1MiB" }',
                                     '"a/b" is not a name for a dict zone' },
    ["not declared"] = { 'tg.zone.dict "quota" { size = "1MiB" }', 'no zone.dict is called "quot"',
                         '{ zone = "quot" }' },
    ["needed with a bad size"] = { "", "needs.dict", "{}", '{ dict = 5 }' },
  }) do
    it("are refused " .. what, function()
      assert.contains(case[2], complaint(case[1], case[3], case[4]))
    end)
  end
end)
