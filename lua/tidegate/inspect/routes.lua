-- `tidegate routes`: the routes of a configuration in the order in which they are tried.
--
-- Purpose    One line for each host and path of a route; what a route asks for besides comes from its
--            schema, so conditions that are added to it show up by themselves.
-- Request    path, json
-- Result     exit status, text for stdout, text for stderr

local columns = require "tidegate.report.columns"
local config = require "tidegate.config"
local json = require "tidegate.inspect.json"
local show = require "tidegate.inspect.show"
local sorted = require "tidegate.sorted"
local PHASES = require("tidegate.plugin").PHASES

local routes = {}

-- What has a column of its own.
local COLUMNS = { hosts = true, paths = true, methods = true, priority = true, service = true,
  plugins = true }

--- What a route asks of a request besides host, path and method, as plain data by field.
function routes.conditions(route)
  local asked = show.fields(route.type, route.value, COLUMNS)
  for field in pairs(asked) do
    if route.match[field] == nil then asked[field] = nil end
  end
  return asked
end

--- What a route does with a request, besides handing it to its service: the fields that do not decide a
-- match.
function routes.actions(route)
  local done = show.fields(route.type, route.value, COLUMNS)
  for field in pairs(done) do
    if route.match[field] ~= nil then done[field] = nil end
  end
  return done
end

--- The names of the plugins that run on a route, in request order; ids behind "#".
function routes.plugins(model, route)
  local names, seen = {}, {}
  local function add(index)
    if seen[index] then return end
    seen[index] = true
    local instance = model.instances[index]
    names[#names + 1] = instance.name .. (instance.id and "#" .. instance.id or "")
  end
  for _, way in ipairs(route.ways) do
    for _, chain in ipairs(way.chains) do
      for _, phase in ipairs(PHASES) do
        local list = model.chains[chain][phase]
        local reversed = phase == "header_filter" or phase == "body_filter"
        for i = 1, #list do add(reversed and list[#list + 1 - i] or list[i]) end
      end
    end
  end
  return names
end

--- Fields on one line: headers = { ["x-a"] = "b" }, scheme = "https".
function routes.line(fields)
  local parts = {}
  for i, name in ipairs(sorted(fields)) do
    parts[i] = ("%s = %s"):format(name, show.literal(fields[name]))
  end
  return table.concat(parts, ", ")
end

-- The services that may get a route's requests, by commas; "-" for none.
local function services_of(route)
  local names = {}
  for _, way in ipairs(route.ways) do names[#names + 1] = way.service end
  return #names > 0 and table.concat(names, ",") or "-"
end

-- Entries as they are shown: without those for an automatic HEAD.
local function shown(model)
  local list = {}
  for _, entry in ipairs(model.order) do
    if not entry.auto_head then
      list[#list + 1] = { route = model.objects.route[entry.route], host = entry.host, path = entry.path,
                          priority = entry.priority }
    end
  end
  return list
end

-- A column is left out where no row has anything in it.
local COLUMNS_SHOWN = {
  { "#", function(_, i) return i end },
  { "<ROUTE", function(entry) return entry.route.name end },
  { "PRIORITY", function(entry) return entry.priority ~= 0 and entry.priority or "" end },
  { "<HOST", function(entry) return entry.host end },
  { "<PATH", function(entry) return entry.path end },
  { "<METHODS", function(entry) return table.concat(entry.route.value.methods or { "any" }, ",") end },
  { "<SERVICE", function(entry) return services_of(entry.route) end },
  { "<PLUGINS", function(entry, _, model) return table.concat(routes.plugins(model, entry.route), ", ") end },
  { "<DECLARED", function(entry) return entry.route.where end },
  { "<CONDITIONS", function(entry) return routes.line(routes.conditions(entry.route)) end },
}

local function as_table(model)
  local heads, rows, entries = {}, {}, shown(model)
  for i in ipairs(entries) do rows[i] = {} end
  for _, column in ipairs(COLUMNS_SHOWN) do
    local cells, is_empty = {}, true
    for i, entry in ipairs(entries) do
      cells[i] = column[2](entry, i, model)
      is_empty = is_empty and cells[i] == ""
    end
    if not is_empty then
      heads[#heads + 1] = column[1]
      for i, cell in ipairs(cells) do rows[i][#heads] = cell end
    end
  end
  return columns.render(heads, rows)
end

local function as_json(model)
  local list = json.list()
  for i, entry in ipairs(shown(model)) do
    local route = entry.route
    list[i] = {
      route = route.name, priority = entry.priority, host = entry.host, path = entry.path,
      methods = route.value.methods and json.list { unpack(route.value.methods) } or nil,
      conditions = routes.conditions(route), service = route.value.service, actions = routes.actions(route),
      plugins = json.list(routes.plugins(model, route)), declared = route.where,
    }
  end
  return json.encode { routes = list }
end

--- Loads the configuration that is asked about.
-- @treturn table|nil its model; nil when it has mistakes, and they as text
function routes.load(request, host)
  local quiet = {}
  for name, value in pairs(host) do quiet[name] = value end
  quiet.print = nil
  local tree, reports = config.load { path = request.path, host = quiet, inspect = true }
  if not tree then return nil, reports:render "no routes to show" end
  return tree.model
end

--- The answer to `tidegate routes`.
function routes.answer(request, host)
  local model, mistakes = routes.load(request, host)
  if not model then return 1, "", mistakes end
  if request.json then return 0, as_json(model), "" end
  if #model.order == 0 then return 0, "no routes are declared\n", "" end
  return 0, as_table(model), ""
end

return routes
