-- `tidegate plugins [NAME]`: the plugins in force, or all that is known of one.
--
-- Purpose    From the answer of /plugins to a table, or to lines.
-- Ownership  A pure function of the answer and the name.

local columns = require "tidegate.report.columns"
local figures = require "tidegate.report.figures"

local function list(plugins)
  local rows = {}
  for i, plugin in ipairs(plugins) do
    rows[i] = { plugin.name, plugin.version, plugin.stage, plugin.instances, #plugin.vms,
                columns.size(figures.sum(plugin, "heap_bytes")), plugin.errors, figures.kills(plugin),
                figures.quarantine(plugin) }
  end
  return columns.render({ "<PLUGIN", "<VERSION", "<STAGE", "USES", "VMS", "HEAP", "ERRORS", "KILLS",
                          "<QUARANTINE" }, rows)
end

local function kills_of(plugin)
  local reasons = {}
  for reason, count in pairs(plugin.kills) do
    if count > 0 then reasons[#reasons + 1] = ("%s %d"):format(reason, count) end
  end
  table.sort(reasons)
  return #reasons > 0 and table.concat(reasons, ", ") or "none"
end

-- A line for each route on which the plugin was measured; the three costs have the same routes.
local function costs_of(plugin)
  local churn, peak, rows = {}, {}, {}
  for _, cost in ipairs(plugin.churn_bytes) do churn[cost.route] = cost end
  for _, cost in ipairs(plugin.peak_bytes) do peak[cost.route] = cost end
  local none = { p50 = 0, p99 = 0 }
  for i, cpu in ipairs(plugin.cpu_seconds) do
    local bytes, held = churn[cpu.route] or none, peak[cpu.route] or none
    rows[i] = { cpu.route == "" and "(none)" or cpu.route, cpu.count, columns.span(cpu.p50),
                columns.span(cpu.p99), columns.size(bytes.p50), columns.size(bytes.p99),
                columns.size(held.p50), columns.size(held.p99) }
  end
  if #rows == 0 then return "" end
  return "\n" .. columns.render({ "<ROUTE", "MEASURED", "CPU P50", "P99", "ALLOCATED P50", "P99", "HELD P50",
                                  "P99" }, rows)
end

local function detail(plugin)
  local facts = {
    { "plugin", ("%s %s, stage %s"):format(plugin.name, plugin.version, plugin.stage) },
    { "phases", table.concat(plugin.phases, ", ") },
    { "uses", plugin.instances },
    { "heap limit", columns.size(plugin.heap_limit_bytes) .. " a VM" },
    { "errors", plugin.errors },
    { "kills", kills_of(plugin) },
    { "collections", plugin.forced_collections .. " forced" },
    { "rebuilds", plugin.rebuilds },
    { "quarantines", plugin.quarantines },
    { "background", plugin.background .. " activations now" },
  }
  for i, fact in ipairs(facts) do facts[i] = ("%-12s %s"):format(fact[1], fact[2]) end
  local rows = {}
  for i, vm in ipairs(plugin.vms) do
    local pause = vm.quarantine == "shut" and (" for %.1fs"):format(vm.pause_seconds) or ""
    rows[i] = { vm.worker, columns.size(vm.heap_bytes), columns.size(vm.held_bytes), vm.quarantine .. pause }
  end
  return table.concat(facts, "\n") .. "\n\n" ..
         columns.render({ "WORKER", "HEAP", "HELD", "<QUARANTINE" }, rows) .. costs_of(plugin)
end

return function(answers, name)
  local plugins = answers[1].plugins
  if not name then return list(plugins) end
  local names = {}
  for i, plugin in ipairs(plugins) do
    if plugin.name == name then return detail(plugin) end
    names[i] = plugin.name
  end
  return nil, ("no plugin %q is in force; there are: %s"):format(name, table.concat(names, ", "))
end
