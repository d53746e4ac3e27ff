-- What plugins' metrics are called where they are read, so that no two are one.
--
-- Purpose    An instrument is exposed as tidegate_plugin_<plugin>_<name> with "-" as "_", a counter with
--            _total behind it, a histogram with its unit (core/observe/instrument.h). So "a-b" with the
--            metric c and "a" with b_c would be one family, which readers refuse, or add up.
-- Ownership  `taken` is the caller's: a set for each configuration.
-- Cost       A few look-ups for each instrument.

local sorted = require "tidegate.sorted"
local quote = require("tidegate.scalars").quote

local families = {}

local PREFIX = "tidegate_plugin_"
-- What the gateway itself counts under that prefix: metrics.def, and accounting.h.
families.OWN = { "collections_total", "churn_bytes", "cpu_seconds", "errors_total", "events_dropped_total",
                 "heap_bytes", "killed_total", "kills_total", "peak_bytes", "quarantines_total",
                 "queue_items_lost_total", "rebuilds_total" }
local PARTS = { "_bucket", "_sum", "_count" } -- of a histogram

local own = {}
for _, name in ipairs(families.OWN) do own[PREFIX .. name] = "one of the gateway's own" end

-- The family of an instrument and the names of its samples; the first is that of the family.
local function names_of(plugin, name, instrument)
  local family = PREFIX .. plugin:gsub("-", "_") .. "_" .. name
  if instrument.type == "counter" then return { family .. "_total" } end
  if instrument.type == "gauge" then return { family } end
  local names = { family .. "_" .. instrument.unit }
  for i, part in ipairs(PARTS) do names[i + 1] = names[1] .. part end
  return names
end

--- Takes the names for a plugin's instruments.
-- @tparam table taken name of a sample to whose it is, in words
-- @tparam string plugin
-- @tparam table metrics as checked: instruments by name
-- @treturn string|nil nil: all were free; else what is wrong, for the first that was not
function families.claim(taken, plugin, metrics)
  for _, name in ipairs(sorted(metrics)) do
    local names = names_of(plugin, name, metrics[name])
    local mine = ("metrics.%s of the plugin %s"):format(name, quote(plugin))
    for _, sample in ipairs(names) do
      local other = own[sample] or taken[sample]
      if other then return ("%s is counted as %s, which is %s"):format(mine, sample, other) end
      taken[sample] = mine
    end
  end
end

return families
