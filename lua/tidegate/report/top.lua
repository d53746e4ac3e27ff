-- `tidegate top`: the gateway and its plugins, once a second.
--
-- Purpose    From the answers of /status and /plugins to a screen. Rates are over the time since the call
--            before; the first one has none.
-- Invariants A counter that went back (a reload, another process) begins anew and gives no rate.
-- Ownership  Keeps the last answers.

local columns = require "tidegate.report.columns"
local figures = require "tidegate.report.figures"

local last -- { pid, at, requests, plugins = { [name] = { cpu, errors, kills } } }

local function rate(now, before, seconds)
  if not before or seconds <= 0 or now < before then return "-" end
  return ("%.1f"):format((now - before) / seconds)
end

-- Those that cost most first.
local function by_cost(a, b)
  local x, y = figures.total(a, "cpu_seconds", "sum"), figures.total(b, "cpu_seconds", "sum")
  if x ~= y then return x > y end
  return a.name < b.name
end

-- Share of one processor, from the requests that were measured: one in `every`.
local function load_of(now, before, seconds, every)
  if not before or seconds <= 0 or now < before then return "-" end
  return ("%.1f%%"):format((now - before) * every / seconds * 100)
end

return function(answers)
  local status, plugins, every = answers[1], answers[2].plugins, answers[2].measured_every
  local before = last and last.pid == status.pid and last or { plugins = {} }
  local seconds = before.at and status.uptime_seconds - before.at or 0
  local seen, rows = {}, {}
  table.sort(plugins, by_cost)
  for i, plugin in ipairs(plugins) do
    local kills, cpu = figures.kills(plugin), figures.total(plugin, "cpu_seconds", "sum")
    local old = before.plugins[plugin.name] or {}
    seen[plugin.name] = { cpu = cpu, errors = plugin.errors, kills = kills }
    rows[i] = { plugin.name, load_of(cpu, old.cpu, seconds, every),
                columns.span(figures.worst(plugin, "cpu_seconds", "p99")),
                columns.size(figures.worst(plugin, "peak_bytes", "p99")),
                columns.size(figures.sum(plugin, "heap_bytes")), plugin.background, plugin.errors,
                rate(plugin.errors, old.errors, seconds), kills, rate(kills, old.kills, seconds),
                plugin.forced_collections, figures.quarantine(plugin) }
  end
  local head = ("%s for %s, revision %d, %d connections, %d requests open, %s requests/s, %s\n\n"):format(
    status.state, columns.age(status.uptime_seconds), status.revision, status.connections_open,
    status.requests_open, rate(status.requests_total, before.requests, seconds),
    columns.size(status.memory_bytes))
  last = { pid = status.pid, at = status.uptime_seconds, requests = status.requests_total, plugins = seen }
  return head .. columns.render({ "<PLUGIN", "CPU", "CPU P99", "HELD P99", "HEAP", "RUNNING", "ERRORS", "/S",
                                  "KILLS", "/S", "COLLECTIONS", "<QUARANTINE" }, rows)
end
