-- `tidegate limits`: every bound of the gateway, the value in force, its use, and how often it was hit.
--
-- Purpose    From the answer of /limits to a table. A value that is not the default has a star. USE and MOST
--            are what is used now and the most that was, where something is counted against the bound.
-- Ownership  A pure function of the answer.

local columns = require "tidegate.report.columns"
local units = require "tidegate.units"

local WRITERS = {
  bytes = units.format_bytes,
  seconds = units.format_duration,
  count = function(value) return ("%.0f"):format(value) end,
}

local MIB, KIB = 2 ^ 20, 2 ^ 10

-- What is counted is seldom round: enough digits to compare.
local function amount(unit, value)
  if not value then return "" end
  if unit ~= "bytes" then return WRITERS[unit](value) end
  if value >= MIB then return ("%.1fMiB"):format(value / MIB) end
  return value >= KIB and ("%.1fKiB"):format(value / KIB) or ("%dB"):format(value)
end

local function limit_row(limit)
  local write = WRITERS[limit.unit]
  local mark = limit.value ~= limit.default and "*" or ""
  return { limit.path, write(limit.value) .. mark, write(limit.default), amount(limit.unit, limit.use),
           amount(limit.unit, limit.peak), ("%.0f"):format(limit.hits), limit.text }
end

local function bound_row(bound)
  return { bound.path, bound.value and amount(bound.unit, bound.value) or "none", "",
           amount(bound.unit, bound.use), amount(bound.unit, bound.peak), ("%.0f"):format(bound.hits),
           bound.text }
end

return function(answers)
  local rows = {}
  for _, limit in ipairs(answers[1].limits) do rows[#rows + 1] = limit_row(limit) end
  for _, bound in ipairs(answers[1].bounds) do rows[#rows + 1] = bound_row(bound) end
  return columns.render({ "<LIMIT", "VALUE", "DEFAULT", "USE", "MOST", "HITS", "<WHAT IT BOUNDS" }, rows)
end
