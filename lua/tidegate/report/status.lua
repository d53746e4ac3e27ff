-- `tidegate status`: whether the gateway serves, what, and for how long.
--
-- Purpose    From the answers of /status and /config to a few lines.
-- Ownership  A pure function of the answers.

local columns = require "tidegate.report.columns"

local function names_of(list)
  local names = {}
  for i, object in ipairs(list) do
    names[i] = object.address and ("%s (%s)"):format(object.name, object.address) or object.name
  end
  return #names > 0 and table.concat(names, ", ") or "none"
end

local function short(digest)
  return digest:sub(1, 12)
end

-- One line for each revision, the newest first.
local function revision_lines(status)
  local lines = {}
  for i, revision in ipairs(status.revisions) do
    lines[i] = ("%-14s %6d  %s  sha256 %s%s"):format(i == 1 and "revisions" or "", revision.revision,
      revision.since, short(revision.digest),
      revision.restores and ("  restores %d"):format(revision.restores) or "")
  end
  return lines
end

local function counted(n, noun)
  return ("%d %s%s"):format(n, noun, n == 1 and "" or "s")
end

-- How many processes ended unasked before it is told where there were any.
local function process(status)
  local line = ("%d, version %s, %s"):format(status.pid, status.version, counted(status.workers, "worker"))
  return status.restarts > 0 and ("%s, %s"):format(line, counted(status.restarts, "restart")) or line
end

local function last_reload(last)
  if not last then return "none" end
  return ("%s at %s%s"):format(last.result, last.at, last.result == "refused" and ": " .. last.reason or "")
end

return function(answers)
  local status, config = answers[1], answers[2]
  local lines = {
    { "state", ("%s for %s"):format(status.state, columns.age(status.uptime_seconds)) },
    { "process", process(status) },
    { "configuration", ("%s, revision %d (%s, %d refused)"):format(status.file, status.revision,
      counted(status.reloads, "reload"), status.reloads_refused) },
    { "last reload", last_reload(status.last_reload) },
    { "listeners", names_of(config.listeners) },
    { "services", names_of(config.services) },
    { "routes", ("%d, with %d plugins in %d uses"):format(config.routes, config.plugins, config.instances) },
    { "connections", ("%d open"):format(status.connections_open) },
    { "requests", ("%d open, %.0f answered"):format(status.requests_open, status.requests_total) },
    { "memory", columns.size(status.memory_bytes) },
  }
  for i, line in ipairs(lines) do lines[i] = ("%-14s %s"):format(line[1], line[2]) end
  for _, line in ipairs(revision_lines(status)) do lines[#lines + 1] = line end
  return table.concat(lines, "\n") .. "\n"
end
