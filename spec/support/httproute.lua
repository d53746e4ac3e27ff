--- HTTPRoute suites (spec/routing/cases/gateway_api.json) as configurations, and their cases as requests.
--
--   local suite = httproute.suites()["httproute-matching"]
--   local o = httproute.origin()
--   local g = gateway.start({ config = httproute.config(httproute.routes(suite), o) })
--   local got = httproute.play(g, o, suite.cases[1])       -- backend, request, response
--
-- Each match of each rule becomes one route, since the matches of a rule are alternatives and a route's
-- conditions are not. `routes` returns them as { name, rule, fields }: `fields` is what stands in
-- tg.route, `rule` what it came from; who plays a rule's filters adds fields (`httproute.raw` for what
-- is no plain value). Names are numbered in the order of routes, rules and matches, so that what the
-- Gateway API leaves to that order is decided by it here too.
--
-- Each backend is an origin of its own. Nothing is pooled, so each request is a connection, and whoever
-- gets one is asked of all of them at once.

local client = require("support.client")
local clock = require("support.clock")
local origin = require("support.origin")
local poll = require("posix.poll")
local cjson = require("cjson")

local httproute = {}

local BACKENDS = { "infra-backend-v1", "infra-backend-v2", "infra-backend-v3" }

--- A file of spec/routing/cases: its cases and where they come from.
function httproute.load(name)
  local file = assert(io.open("spec/routing/cases/" .. name .. ".json", "rb"))
  local text = file:read("*a")
  file:close()
  return cjson.decode(text)
end

--- All suites by name.
function httproute.suites()
  local suites = {}
  for _, suite in ipairs(httproute.load("gateway_api").gateway_api) do
    suites[suite.suite] = suite
  end
  return suites
end

--- Lua text that stands in a configuration as it is: httproute.raw 'tg.use "cors" {}'.
function httproute.raw(text)
  return setmetatable({ text = text }, { __index = { is_raw = true } })
end

local PATHS = {
  Exact = function(value)
    return value
  end,
  PathPrefix = function(value)
    return (value:gsub("/+$", "")) .. "/*"
  end,
}

-- The hosts of a listener that the route is attached to.
local function listener_hosts(suite, route)
  local hosts = {}
  for _, gateway in ipairs(suite.gateways or {}) do
    for _, listener in ipairs(gateway.listeners) do
      for _, parent in ipairs(route.attach) do
        if parent.name == gateway.name and (parent.sectionName or listener.name) == listener.name then
          table.insert(hosts, listener.hostname)
        end
      end
    end
  end
  return hosts
end

local function hosts_of(suite, route)
  local hosts = #route.hostnames > 0 and route.hostnames or listener_hosts(suite, route)
  return #hosts > 0 and hosts or nil
end

local function conditions(list)
  local map = list and {}
  for _, entry in ipairs(list or {}) do
    map[entry.name] = entry.type == "RegularExpression" and "~^(?:" .. entry.value .. ")$" or entry.value
  end
  return map
end

local function fields_of(suite, route, rule, match)
  local path = match.path or { type = "PathPrefix", value = "/" }
  return {
    hosts = hosts_of(suite, route),
    paths = { PATHS[path.type or "PathPrefix"](path.value) },
    methods = match.method and { match.method } or nil,
    headers = conditions(match.headers),
    query = conditions(match.queryParams),
    service = rule.backendRefs and rule.backendRefs[1].name or nil,
  }
end

--- The routes of a suite: a list of { name, rule, fields }.
function httproute.routes(suite)
  local list = {}
  for r, route in ipairs(suite.routes) do
    for i, rule in ipairs(route.rules) do
      for m, match in ipairs(rule.matches or { {} }) do
        table.insert(list, {
          name = ("%02d-%s-%02d-%02d"):format(r, route.name, i, m),
          rule = rule,
          fields = fields_of(suite, route, rule, match),
        })
      end
    end
  end
  return list
end

local function literal(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  if value.is_raw then
    return value.text
  end
  local parts, keys = {}, {}
  for key in pairs(value) do
    table.insert(keys, key)
  end
  table.sort(keys, function(a, b)
    return type(a) == type(b) and a < b or type(a) == "number" and type(b) ~= "number"
  end)
  for _, key in ipairs(keys) do
    local prefix = type(key) == "string" and ("[%q] = "):format(key) or ""
    table.insert(parts, prefix .. literal(value[key]))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local Backends = {}
Backends.__index = Backends

--- The origins of all backends.
function httproute.origin()
  local origins = {}
  for _, name in ipairs(BACKENDS) do
    origins[name] = origin.listen()
  end
  return setmetatable({ origins = origins }, Backends)
end

-- The backend that a connection waits for; nil when none comes for `seconds`.
function Backends:ready(seconds)
  local fds = {}
  for _, o in pairs(self.origins) do
    fds[o.fd] = { events = { IN = true } }
  end
  poll.poll(fds, math.ceil(seconds * 1000))
  for name, o in pairs(self.origins) do
    if fds[o.fd].revents and fds[o.fd].revents.IN then
      return name, o
    end
  end
end

--- The text of a configuration; @PORT@ is left for support.gateway. `more` is put before the routes.
function httproute.config(routes, o, more)
  local lines = { 'local tg = require "tidegate"', 'tg.listener "http" { address = "127.0.0.1:@PORT@" }' }
  for _, name in ipairs(BACKENDS) do
    table.insert(lines, ("tg.service %q { targets = { { %q } }, pool = { max_idle = 0 } }"):format(
      name, "127.0.0.1:" .. o.origins[name].port))
  end
  table.insert(lines, more)
  for _, route in ipairs(routes) do
    table.insert(lines, ("tg.route %q %s"):format(route.name, literal(route.fields)))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Sends a case's request. @return the client
function httproute.send(g, case)
  local request = case.Request
  local lines = { ("%s %s HTTP/1.1"):format(request.Method or "GET", request.Path),
                  "Host: " .. (request.Host or "example.test"), "Connection: close" }
  for name, value in pairs(request.Headers or {}) do
    table.insert(lines, name .. ": " .. value)
  end
  local c = client.connect(g.port)
  c:send(table.concat(lines, "\r\n") .. "\r\n\r\n")
  return c
end

--- Serves the next request as whichever backend it goes to. @return backend, request
function httproute.serve(o, case)
  local name, backend = o:ready(clock.default * clock.patience)
  assert(name, "no backend was asked")
  return name, (backend:serve({ headers = case.BackendSetResponseHeaders }))
end

--- True when no backend is asked.
function httproute.idle(o)
  return o:ready(0) == nil
end

--- Plays a case: sends its request and, when a backend is to get it, answers as that.
-- @return table response, and backend and request (what the backend got) where one is expected
function httproute.play(g, o, case)
  local c = httproute.send(g, case)
  local got = {}
  if case.Backend then
    got.backend, got.request = httproute.serve(o, case)
  end
  got.response = c:response({ method = case.Request.Method })
  c:close()
  return got
end

return httproute
