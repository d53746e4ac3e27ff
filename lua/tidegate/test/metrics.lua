-- What plugins counted during a request: r.metrics.
--
-- Purpose    Reads the exposition that production scrapes, before and after, and tells the difference: an
--            entry for each series that moved, { family, kind, labels, value }.
-- Invariants Counters and histograms (how often they were recorded in) are differences, gauges what they are.
-- Ownership  Plain tables; the instruments themselves live as long as the process, as in production.
-- Cost       The text twice for each request; it is read when a spec asks.

local harness = require "tidegate.harness"

local metrics = {}

local PREFIX = "tidegate_plugin_"

local ESCAPES = { ["\\n"] = "\n", ['\\"'] = '"', ["\\\\"] = "\\" }

-- The labels of a series: name="value",… where a value may hold \" and \\.
local function read_labels(text)
  local labels, at = {}, 1
  while true do
    local name, start = text:match('^,?([%w_]+)="()', at)
    if not name then return labels end
    local stop = start
    while text:sub(stop, stop) ~= '"' do
      stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
    end
    labels[name] = text:sub(start, stop - 1):gsub("\\.", ESCAPES)
    at = stop + 1
  end
end

-- A line of a series: name, labels as text, value. Buckets of histograms are not looked at.
local function read_series(line)
  if line:find("_bucket{", 1, true) then return nil end
  local name, labels, value = line:match "^([%w_]+){(.*)} (%S+)$"
  if name then return name, labels, tonumber(value) end
  name, value = line:match "^([%w_]+) (%S+)$"
  return name, "", tonumber(value)
end

-- The series of an exposition by name and labels: { family, kind, labels, value }.
local function read(text)
  local kinds, all = {}, {}
  for line in text:gmatch "[^\n]+" do
    local family, kind = line:match "^# TYPE (%S+) (%S+)"
    if family then kinds[family] = kind end
    local name, labels, value = read_series(line)
    local base = name and (kinds[name] and name or name:match "^(.*)_count$")
    if base and kinds[base] and value then
      all[name .. labels] = { family = base, kind = kinds[base], labels = labels, value = value }
    end
  end
  return all
end

--- What is there now, to compare with later.
function metrics.now()
  return harness.metrics()
end

--- What moved from `before` to `now`, both from metrics.now().
function metrics.between(before, now)
  local list = {}
  if now == before then return list end
  local old = read(before)
  for key, series in pairs(read(now)) do
    local was = old[key] and old[key].value or 0
    if series.value ~= was then
      list[#list + 1] = { family = series.family, kind = series.kind, labels = read_labels(series.labels),
                          value = series.kind == "gauge" and series.value or series.value - was }
    end
  end
  return list
end

local SUFFIXES = { counter = { "_total" }, gauge = { "" }, histogram = { "_seconds", "_bytes" } }

-- Whether a series is of the instrument `name` of one of these plugins, or of the gateway's own of that name.
local function is_of(series, plugins, name)
  for _, suffix in ipairs(SUFFIXES[series.kind] or {}) do
    if series.family == PREFIX .. name .. suffix then return true end
    for _, plugin in ipairs(plugins) do
      local family = PREFIX .. plugin.name:gsub("-", "_") .. "_" .. name .. suffix
      if series.family == family then return true end
    end
  end
  return false
end

--- The sum over the series of an instrument that have these labels, and how many there are.
-- @tparam table list what between() gave
-- @tparam table plugins those of the snapshot
function metrics.sum(list, plugins, name, labels)
  local sum, count = 0, 0
  for _, series in ipairs(list) do
    local fits = is_of(series, plugins, name)
    for label, value in pairs(labels or {}) do fits = fits and series.labels[label] == tostring(value) end
    if fits then sum, count = sum + series.value, count + 1 end
  end
  return sum, count
end

--- Whether there could be an instrument of this name, as far as the texts of the plugins and what is counted
-- tell: who asks that it did not move means one that is there.
-- @tparam table files path to text
-- @tparam string now from metrics.now()
function metrics.is_known(files, now, name)
  for _, text in pairs(files) do
    if text:find("%f[%w_]" .. name:gsub("%W", "%%%0") .. "%f[^%w_]") then return true end
  end
  return now:find("# TYPE " .. PREFIX .. name, 1, true) ~= nil
end

return metrics
