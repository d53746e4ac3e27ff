-- `tidegate check`: what is wrong with a configuration, what is probably not meant, and what it would change.
--
-- Purpose    Renders the outcome for people or as JSON. Whether the configuration loads has been decided
--            before, by the load itself; here its mistakes are found again as data.
-- Request    path, old (to compare with), strict, json; loads, evaluates, starts: how the load and the
--            rehearsal of the plugins ended; said: what was written about an end that only C knows; counts
--            of what was loaded
-- Result     exit status, text for stdout, text for stderr

local config = require "tidegate.config"
local diagnostics = require "tidegate.diagnostics"
local diff = require "tidegate.inspect.diff"
local json = require "tidegate.inspect.json"

local check = {}

local NOT_LOADED = "configuration not loaded"

-- "file:12: what happened [TG1407]", and hints below, as C writes them.
local function read_failure(text)
  local first = text:match "^[^\n]*"
  local message, code = first:match "^(.*) %[(TG%d+)%]$"
  local file, line, rest = (message or first):match "^(.-):(%d+): (.*)$"
  return { severity = "error", code = code, file = file, line = tonumber(line),
           message = rest or message or first,
           hint = text:match "\n      = ([^\n]*)" }
end

local function message_of(report)
  return { severity = report.severity, code = report.code, file = report.file, line = report.line,
           column = report.column, width = report.width, path = report.path ~= "" and report.path or nil,
           message = report.message, hint = report.hint }
end

-- Loads a configuration to be looked at; `host` without its print where nothing but JSON may be written.
local function look_at(path, request, host)
  local quiet = {}
  for name, value in pairs(host) do quiet[name] = value end
  if request.json then quiet.print = nil end
  return config.load { path = path, host = quiet, inspect = true }
end

local function counts_text(request)
  local parts = {}
  for _, entry in ipairs(request.counts) do
    -- Most configurations have no consumers.
    if entry.count > 0 or entry.noun ~= "consumer" then
      parts[#parts + 1] = ("%d %s%s"):format(entry.count, entry.noun, entry.count == 1 and "" or "s")
    end
  end
  return table.concat(parts, ", ")
end

-- The changes from the old configuration; or nil and its mistakes.
local function changes_from_old(request, tree, host)
  if not request.old or not tree then return nil end
  local old, reports = look_at(request.old, request, host)
  if not old then return nil, reports end
  return diff.compare(old.model, tree.model)
end

-- All that was found: { ok, reports, failure, changes, old_reports }
local function judge(request, host)
  local found = {}
  if not request.evaluates then
    found.reports, found.failure = diagnostics.new(), request.said
    return found
  end
  local tree
  tree, found.reports = look_at(request.path, request, host)
  local errors = found.reports.errors
  -- A load that failed without a mistake of the script: the last thing it said is why.
  if not request.loads and errors == 0 then found.failure = request.said:match "([^\n]+)\n*$" end
  if not request.starts then found.failure = request.said end
  found.changes, found.old_reports = changes_from_old(request, tree, host)
  found.ok = request.loads and request.starts and errors == 0 and not found.old_reports and
             not (request.strict and found.reports.warnings > 0)
  return found
end

local function as_json(request, found)
  local messages, reports = json.list(), found.reports
  for i, report in ipairs(reports:sorted()) do messages[i] = message_of(report) end
  if found.failure then messages[#messages + 1] = read_failure(found.failure) end
  for _, report in ipairs(found.old_reports and found.old_reports:sorted() or {}) do
    messages[#messages + 1] = message_of(report)
  end
  local counts = {}
  for _, entry in ipairs(request.counts) do counts[entry.noun .. "s"] = entry.count end
  return json.encode {
    ok = found.ok or false, file = request.path, messages = messages, warnings = reports.warnings,
    errors = reports.errors + (found.failure and 1 or 0) +
             (found.old_reports and found.old_reports.errors or 0),
    counts = request.loads and counts or nil, changes = found.changes and diff.plain(found.changes) or nil,
  }
end

local function as_text(request, found)
  local refused = found.reports.errors > 0 or (request.strict and found.reports.warnings > 0)
  local parts = { found.reports:render(refused and NOT_LOADED or nil) }
  if found.failure then parts[#parts + 1] = found.failure:gsub("\n*$", "\n") end
  if found.old_reports then
    parts[#parts + 1] = found.old_reports:render("nothing to compare with: " .. request.old ..
      " does not load")
  end
  if found.changes then parts[#parts + 1] = diff.text(found.changes, request.old) end
  if found.ok and not found.changes then
    parts[#parts + 1] = ("%s is valid: %s\n"):format(request.path, counts_text(request))
  end
  return table.concat(parts)
end

--- The answer to `tidegate check`.
function check.answer(request, host)
  local found = judge(request, host)
  return found.ok and 0 or 1, (request.json and as_json or as_text)(request, found), ""
end

return check
