-- `tidegate routes --explain`: what becomes of one request.
--
-- Purpose    The core has matched it; here the outcome is told: the route that takes it and what it
--            captures, why the others do not, the plugins of each phase and where each was attached, and
--            what goes to the origin.
-- Request    path, json; request (method, url, scheme, host, port, raw_path, path, query, client, sni);
--            verdict ("found", "not_found", "wrong_method", "undecided"), allow, captures, left_out; origins
--            ({ service, role, target }), host, location, refused: what becomes of it; and
--            candidates in order: { route (index), outcome ("wins", "loses", "fails"), criterion, check,
--            name, gave_up, host, path, priority }
-- Result     exit status, text for stdout, text for stderr

local json = require "tidegate.inspect.json"
local model = require "tidegate.inspect.model"
local routes = require "tidegate.inspect.routes"
local show = require "tidegate.inspect.show"
local sorted = require "tidegate.sorted"
local PHASES = require("tidegate.plugin").PHASES
local columns = require "tidegate.report.columns"

local explain = {}

-- ---- Why -------------------------------------------------------------------------------------

-- The field of a route that a check (core/route/explain.h) is about.
local FIELDS = { header = "headers", ["query parameter"] = "query", cookie = "cookies",
                 ["client network"] = "networks", scheme = "scheme", sni = "sni" }

-- What a route asks where a check failed.
local function asked(route, candidate)
  if candidate.check == "host" or candidate.check == "port" then return candidate.host end
  if candidate.check == "path" then return candidate.path end
  if candidate.check == "method" then return table.concat(route.value.methods or {}, ", ") end
  local value = routes.conditions(route)[FIELDS[candidate.check]]
  if value and candidate.name ~= "" then value = value[candidate.name] end
  return value and show.literal(value)
end

local function why(candidate, route, winner)
  if candidate.gave_up then return "its regular expression takes too long for this path" end
  if candidate.outcome == "loses" then
    return ("%s comes first: %s"):format(winner or "another route", candidate.criterion)
  end
  local text = candidate.check .. (candidate.name ~= "" and " " .. candidate.name or "")
  local value = asked(route, candidate)
  return ("%s does not match%s"):format(text, value and value ~= "" and ": it asks for " .. value or "")
end

-- ---- Chains ----------------------------------------------------------------------------------

-- Where an instance was attached, in words.
local function scope_text(instance)
  local kind, name = (instance.scope or ""):match "^(%l+)s%.(.*)$"
  return kind and kind .. " " .. name or instance.scope
end

-- What runs before a route is known.
local EARLY = { certificate = true, rewrite = true }

local function chain_of(self, listener, way)
  local phases, before = json.list(), self.chains[listener.chains[1]]
  local after = way.chains and self.chains[way.chains[listener.index]]
  for _, phase in ipairs(PHASES) do
    local list = (EARLY[phase] or not after) and before[phase] or after[phase]
    for i, index in ipairs(list) do
      local instance = self.instances[index]
      phases[#phases + 1] = { phase = phase, order = i, plugin = instance.name, id = instance.id,
                              stage = instance.stage, scope = scope_text(instance), attached = instance.where,
                              when = instance.when, on_error = instance.on_error }
    end
  end
  return phases
end

local function add_name(list, name)
  for _, known in ipairs(list) do
    if known == name then return end
  end
  list[#list + 1] = name
end

-- The chains of all listeners, to all services that the request may go to; those that are alike together.
local function chains_of(self, route)
  local found, seen = json.list(), {}
  for i, listener in ipairs(model.list(self, "listener")) do
    listener.index = i
    for _, way in ipairs(route and route.ways or { {} }) do
      local key = listener.chains[1] .. ":" .. (way.chains and way.chains[i] or "")
      if not seen[key] then
        seen[key] = { listeners = json.list(), services = json.list(),
                      plugins = chain_of(self, listener, way) }
        found[#found + 1] = seen[key]
      end
      add_name(seen[key].listeners, listener.name)
      if way.service then add_name(seen[key].services, way.service) end
    end
  end
  return found
end

-- ---- The origin ------------------------------------------------------------------------------

-- Where the request may go, with the addresses of each service.
local function origins_of(self, request)
  local addresses = {}
  for _, service in ipairs(model.list(self, "service")) do
    local plain, list = show.plain(service.type, service.value), json.list()
    for i, item in ipairs(plain.targets or {}) do list[i] = item[1] or item.dns or item.srv end
    if plain.builtin then list[1] = "builtin " .. plain.builtin end
    addresses[service.name] = list
  end
  local list = json.list()
  for i, origin in ipairs(request.origins) do
    list[i] = { service = origin.service, role = origin.role, target = origin.target,
                targets = addresses[origin.service] }
  end
  return list
end

-- ---- Telling ---------------------------------------------------------------------------------

-- All that is told, as plain data.
local function findings(self, request)
  local list, winner = json.list(), nil
  for i, candidate in ipairs(request.candidates) do
    local route = self.objects.route[candidate.route]
    if candidate.outcome == "wins" then winner = route end
    list[i] = { route = route.name, outcome = candidate.outcome, host = candidate.host, path = candidate.path,
                priority = candidate.priority, declared = route.where }
  end
  for i, candidate in ipairs(request.candidates) do
    if candidate.outcome ~= "wins" then
      list[i].why = why(candidate, self.objects.route[candidate.route], winner and winner.name)
    end
  end
  local found = { request = request.request, verdict = request.verdict, allow = request.allow,
                  candidates = list, left_out = request.left_out, chains = chains_of(self, winner) }
  if winner then
    found.route = { name = winner.name, declared = winner.where, conditions = routes.conditions(winner),
                    actions = routes.actions(winner), methods = winner.value.methods }
    found.captures = json.list(request.captures)
    found.origins, found.host = origins_of(self, request), request.host
    found.redirect, found.refused = request.location, request.refused
  end
  return found
end

local VERDICTS = {
  not_found = "no route takes it: 404",
  undecided = "a regular expression takes too long for this path, so no route may take it",
}

local function request_lines(lines, request)
  local port = request.port and ":" .. request.port or ""
  local authority = request.host ~= "" and ("%s://%s%s"):format(request.scheme, request.host, port) or ""
  lines[#lines + 1] = ("%s %s%s%s"):format(request.method, authority, request.path,
                                           request.query and "?" .. request.query or "")
  if request.path ~= request.raw_path then
    lines[#lines + 1] = ("  path       %s, as %s is normalised"):format(request.path, request.raw_path)
  end
end

local function fact(lines, name, text)
  if text and text ~= "" then lines[#lines + 1] = ("  %-10s %s"):format(name, text) end
end

local function winner_lines(lines, found)
  local route, won = found.route, found.candidates[1]
  lines[#lines + 1] = ("route %s takes it (%s)"):format(route.name, route.declared)
  fact(lines, "matched", ("host %s, path %s, methods %s"):format(won.host, won.path,
    route.methods and table.concat(route.methods, ", ") or "any"))
  fact(lines, "conditions", routes.line(route.conditions))
  if won.priority ~= 0 then fact(lines, "priority", tostring(won.priority)) end
  for _, capture in ipairs(found.captures) do
    fact(lines, "captures", ("%s = %s"):format(capture.name, show.literal(capture.value)))
  end
  local label = "also"
  for _, name in ipairs(sorted(route.actions)) do
    fact(lines, label, ("%s = %s"):format(name, show.literal(route.actions[name])))
    label = ""
  end
  for _, origin in ipairs(found.origins) do
    fact(lines, origin.role, ("%s (%s)"):format(origin.service, table.concat(origin.targets, ", ")))
    fact(lines, "request", ("%s %s"):format(found.request.method, origin.target))
  end
  fact(lines, "host", found.host)
  fact(lines, "redirect", found.redirect)
  if found.refused then fact(lines, "refused", "its captures make no path or host: 400") end
  if #found.origins == 0 and not found.redirect and not found.refused then
    fact(lines, "service", "none: a plugin answers")
  end
end

local function table_of(list, outcome)
  local rows = {}
  for _, candidate in ipairs(list) do
    if candidate.outcome == outcome then
      rows[#rows + 1] = { "  " .. candidate.route, candidate.host, candidate.path, candidate.why,
        candidate.declared }
    end
  end
  if #rows == 0 then return nil end
  return columns.render({ "<  ROUTE", "<HOST", "<PATH", "<WHY NOT", "<DECLARED" }, rows)
end

local function chain_lines(lines, chains)
  for _, chain in ipairs(chains) do
    local rows = {}
    for i, plugin in ipairs(chain.plugins) do
      rows[i] = { "  " .. plugin.phase, plugin.order, plugin.plugin .. (plugin.id and "#" .. plugin.id or ""),
                  plugin.stage, plugin.scope, plugin.attached, plugin.when and "when " .. plugin.when or "" }
    end
    local where = #chains > 1 and " on listener " .. table.concat(chain.listeners, ", ") or ""
    if #chains > 1 and #chain.services > 0 then
      where = where .. ", to " .. table.concat(chain.services, ", ")
    end
    lines[#lines + 1] = (#rows == 0 and "\nno plugins run" or "\nplugins that run") .. where
    if #rows > 0 then
      local heads = { "<  PHASE", "#", "<PLUGIN", "<STAGE", "<SCOPE", "<ATTACHED", "<" }
      lines[#lines + 1] = columns.render(heads, rows):gsub("\n$", "")
    end
  end
end

local function as_text(found)
  local lines = {}
  request_lines(lines, found.request)
  lines[#lines + 1] = ""
  if found.route then
    winner_lines(lines, found)
  else
    lines[#lines + 1] = VERDICTS[found.verdict] or
                        ("no route takes this method: 405, Allow: %s"):format(found.allow)
  end
  local titles = { loses = "routes that match as well", fails = "routes that do not match" }
  for _, outcome in ipairs { "loses", "fails" } do
    local rows = table_of(found.candidates, outcome)
    if rows then lines[#lines + 1] = ("\n%s\n%s"):format(titles[outcome], (rows:gsub("\n$", ""))) end
  end
  if found.left_out > 0 then
    lines[#lines + 1] = ("  and %d more that came less far"):format(found.left_out)
  end
  chain_lines(lines, found.chains)
  return table.concat(lines, "\n") .. "\n"
end

--- The answer to `tidegate routes --explain`.
function explain.answer(request, host)
  local self, mistakes = routes.load(request, host)
  if not self then return 1, "", mistakes end
  local found = findings(self, request)
  return 0, request.json and json.encode(found) or as_text(found), ""
end

return explain
