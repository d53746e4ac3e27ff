-- The budget of the process as the config writes it: settings.memory.
--
-- Purpose    Its schema, and the shares that hold in the end.
--              memory = "512MiB"
--              memory = { total = "512MiB", shares = { cache = 30, plugins = 10 } }
--            Shares are percents of the whole. Those that are not given divide what the others leave, in
--            the proportion of their defaults; a fraction of a percent is nobody's.
-- Host       budget: { min, max, parts = list of { name, share, doc } }, from core/base/budget.def
-- Ownership  Pure functions.

local S = require "tidegate.schema"
local units = require "tidegate.units"

local memory = {}

-- Percents of all parts, or nil and why not.
local function settle(given, parts)
  local sum, rest = 0, 0
  for _, part in ipairs(parts) do
    sum = sum + (given[part.name] or 0)
    rest = rest + (given[part.name] and 0 or part.share)
  end
  if sum > 100 then return nil, ("the shares add up to %d %%, and there are 100"):format(sum) end
  local shares = {}
  for _, part in ipairs(parts) do
    shares[part.name] = given[part.name] or math.floor((100 - sum) * part.share / rest)
    if shares[part.name] == 0 then
      return nil, ("nothing is left for %s; every part needs a share of 1 at least"):format(part.name)
    end
  end
  return shares
end

--- The schema of settings.memory; its value is { total, shares = { name = percent, … } }.
function memory.schema(budget)
  local fields, least, most = {}, units.format_bytes(budget.min), units.format_bytes(budget.max)
  for _, part in ipairs(budget.parts) do
    fields[part.name] = S.int { min = 1, max = 100 }:optional()
      :doc(("percent, %d unless given: %s"):format(part.share, part.doc))
  end
  local function total() return S.bytes { min = least, max = most } end
  local shares = S.record(fields):default {}:check(function(given) return settle(given, budget.parts) end)
  return S.one_of {
    total = total(),
    split = S.record { total = total():doc "memory of the gateway process", shares = shares },
  }
end

--- The checked value as { total, shares }; nil for nil.
function memory.freeze(value, budget)
  if type(value) == "number" then return { total = value, shares = settle({}, budget.parts) } end
  return value
end

--- Bytes of one part of a frozen budget.
function memory.bytes(frozen, name)
  return math.floor(frozen.total / 100) * frozen.shares[name]
end

return memory
