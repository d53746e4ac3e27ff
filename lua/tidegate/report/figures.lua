-- What the reports on plugins make of one plugin in the answer of /plugins.
--
-- Purpose    Sums over workers and kinds, so that a plugin fits into a line.
-- Invariants The quarantine shown is the worst of the workers': shut, then trial, then free.
-- Ownership  Pure functions.

local figures = {}

local RANKS = { free = 0, trial = 1, shut = 2 }

--- Sum of a field over a plugin's VMs.
function figures.sum(plugin, field)
  local sum = 0
  for _, vm in ipairs(plugin.vms) do sum = sum + vm[field] end
  return sum
end

--- Kills of all reasons.
function figures.kills(plugin)
  local sum = 0
  for _, count in pairs(plugin.kills) do sum = sum + count end
  return sum
end

--- "free", or "shut 1 of 2" workers.
function figures.quarantine(plugin)
  local worst, count = "free", 0
  for _, vm in ipairs(plugin.vms) do
    if RANKS[vm.quarantine] > RANKS[worst] then worst, count = vm.quarantine, 0 end
    if vm.quarantine == worst then count = count + 1 end
  end
  return worst == "free" and worst or ("%s %d of %d"):format(worst, count, #plugin.vms)
end

--- Sum of `field` over the routes of a cost ("cpu_seconds").
function figures.total(plugin, cost, field)
  local sum = 0
  for _, route in ipairs(plugin[cost]) do sum = sum + route[field] end
  return sum
end

--- The largest of `field` over the routes of a cost.
function figures.worst(plugin, cost, field)
  local worst = 0
  for _, route in ipairs(plugin[cost]) do worst = math.max(worst, route[field]) end
  return worst
end

return figures
