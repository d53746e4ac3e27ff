-- `tidegate limits`: every bound of the gateway, the value in force, and how often it was hit.
--
-- Purpose    From the answer of /limits to a table. A value that is not the default has a star.
-- Ownership  A pure function of the answer.

local columns = require "tidegate.report.columns"
local units = require "tidegate.units"

local WRITERS = {
  bytes = units.format_bytes,
  seconds = units.format_duration,
  count = function(value) return ("%.0f"):format(value) end,
}

return function(answers)
  local rows = {}
  for i, limit in ipairs(answers[1].limits) do
    local write = WRITERS[limit.unit]
    local mark = limit.value ~= limit.default and "*" or ""
    rows[i] = { limit.path, write(limit.value) .. mark, write(limit.default), ("%.0f"):format(limit.hits),
                limit.text }
  end
  return columns.render({ "<LIMIT", "VALUE", "DEFAULT", "HITS", "<WHAT IT BOUNDS" }, rows)
end
