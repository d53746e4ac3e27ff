-- What plugins' metrics are called where they are read: no two are one.

local families = require "tidegate.families"
local host = require "support.config_host"

-- What is wrong with plugins that declare these metrics: a list of { name, text of `metrics` }.
local function complaint(plugins)
  local uses, files = {}, {}
  for i, plugin in ipairs(plugins) do
    local file = ("p%d.lua"):format(i)
    files[file] = host.plugin(plugin[1], "observe", { "log" }, ("  metrics = { %s },\n"):format(plugin[2]))
    uses[i] = ('tg.use "./%s" {}'):format(file)
  end
  return host.errors(([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "e" { builtin = "echo" }
tg.route "r" { service = "e" }
tg.global { %s }
]]):format(table.concat(uses, ", ")), { files = files })
end

describe("metrics", function()
  for _, case in ipairs {
    { "of two plugins that read as one",
      { { "a-b", 'c = { type = "counter" }' }, { "a", 'b_c = { type = "counter" }' } },
      'global[2] (./p2.lua): metrics.b_c of the plugin "a" is counted as tidegate_plugin_a_b_c_total, ' ..
      'which is metrics.c of the plugin "a-b"' },
    { "of plugins whose names differ by a hyphen",
      { { "a-b", 'c = { type = "gauge" }' }, { "a_b", 'c = { type = "gauge" }' } },
      "is counted as tidegate_plugin_a_b_c, which" },
    { "of one plugin", { { "a", 'hits = { type = "counter" }, hits_total = { type = "gauge" }' } },
      'metrics.hits_total of the plugin "a" is counted as tidegate_plugin_a_hits_total, ' ..
      "which is metrics.hits" },
    { "of which one is a part of a histogram",
      { { "a", 'size = { type = "histogram", unit = "bytes" }, size_bytes_sum = { type = "gauge" }' } },
      "is counted as tidegate_plugin_a_size_bytes_sum, which is metrics.size of" },
    { "that the gateway counts itself", { { "events", 'dropped = { type = "counter" }' } },
      "is counted as tidegate_plugin_events_dropped_total, which is one of the gateway's own" },
  } do
    it("are refused: " .. case[1], function() assert.contains(case[3], complaint(case[2])) end)
  end

  it("of one name in two plugins are two", function()
    assert.is_nil(families.claim({}, "a", { hits = { type = "counter" },
                                            hits_by_route = { type = "counter" } }))
    local taken = {}
    for _, plugin in ipairs { "a", "b", "a-b" } do
      assert.is_nil(families.claim(taken, plugin, { hits = { type = "counter" },
                                                    time = { type = "histogram", unit = "seconds" } }))
    end
  end)

  it("of the gateway are all listed", function()
    local listed, found = {}, {}
    for _, name in ipairs(families.OWN) do listed[name] = true end
    for _, path in ipairs { "core/observe/metrics.def", "core/gateway/accounting.h" } do
      local file = assert(io.open(path))
      for name in file:read("*a"):gmatch "tidegate_plugin_([%w_]+)" do found[name] = true end
      file:close()
    end
    assert.same(found, listed)
  end)
end)
