-- `tidegate upstreams [SERVICE]`: a line for each target, with what is known of it in all workers.
--
-- Purpose    From the answer of /upstreams to a table.
-- Ownership  A pure function of the answer and the name.

local columns = require "tidegate.report.columns"

local function failures_of(target)
  local sum = 0
  for _, count in pairs(target.failures) do sum = sum + count end
  return sum
end

local function state_of(target)
  return target.check and ("%s: %s"):format(target.state, target.check) or target.state
end

local function row_of(service, target)
  local latency = target.latency_seconds > 0 and columns.span(target.latency_seconds) or "-"
  return { service.service, target.target, state_of(target), target.in_flight,
           ("%d/%d"):format(target.connections_idle, target.connections_open), target.streams,
           target.waiting,
           ("%.0f"):format(target.requests), ("%.0f"):format(failures_of(target)), latency, service.breaker }
end

return function(answers, name)
  local services, rows, names = answers[1].upstreams, {}, {}
  table.sort(services, function(a, b) return a.service < b.service end)
  for _, service in ipairs(services) do
    names[#names + 1] = service.service
    if not name or name == service.service then
      for _, target in ipairs(service.targets) do rows[#rows + 1] = row_of(service, target) end
    end
  end
  if name and #rows == 0 then
    local all = table.concat(names, ", ")
    return nil, ("no service %q with targets is in force; there are: %s"):format(name, all)
  end
  return columns.render({ "<SERVICE", "<TARGET", "<STATE", "ACTIVE", "IDLE/OPEN", "STREAMS", "WAITING",
                          "REQUESTS", "FAILED", "LATENCY", "<BREAKER" }, rows)
end
