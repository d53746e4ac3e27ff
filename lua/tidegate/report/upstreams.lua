-- `tidegate upstreams [SERVICE]`: a line for each target, with what is known of it in all workers, and one
-- for each name that targets are declared by.
--
-- Purpose    From the answer of /upstreams to tables.
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
           ("%d/%d"):format(target.connections_idle, target.connections_open),
           target.connections_size or "-", target.streams, target.waiting, ("%.0f"):format(target.requests),
           ("%.0f"):format(failures_of(target)), latency, service.breaker }
end

local function name_row(service, name)
  local state = name.problem and ("%s: %s"):format(name.state, name.problem) or name.state
  local addresses = #name.addresses > 0 and table.concat(name.addresses, " ") or "-"
  local left = name.state ~= "pending" and columns.span(name.ttl_seconds) or "-"
  return { service.service, name.name, state, left, addresses }
end

return function(answers, wanted)
  local services, rows, names, known = answers[1].upstreams, {}, {}, {}
  table.sort(services, function(a, b) return a.service < b.service end)
  for _, service in ipairs(services) do
    known[#known + 1] = service.service
    if not wanted or wanted == service.service then
      for _, target in ipairs(service.targets) do rows[#rows + 1] = row_of(service, target) end
      for _, name in ipairs(service.names or {}) do names[#names + 1] = name_row(service, name) end
    end
  end
  if wanted and #rows == 0 and #names == 0 then
    local all = table.concat(known, ", ")
    return nil, ("no service %q with targets is in force; there are: %s"):format(wanted, all)
  end
  local text = columns.render({ "<SERVICE", "<TARGET", "<STATE", "ACTIVE", "IDLE/OPEN", "SIZE", "STREAMS",
                                "WAITING", "REQUESTS", "FAILED", "LATENCY", "<BREAKER" }, rows)
  if #names == 0 then return text end
  return text .. "\n" .. columns.render({ "<SERVICE", "<NAME", "<STATE", "AGAIN", "<ADDRESSES" }, names)
end
