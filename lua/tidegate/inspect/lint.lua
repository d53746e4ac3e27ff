-- What loads and is probably not meant: routes that nothing reaches, or that ask of connections what none
-- has, names that nothing uses, plugins that never run.
--
-- Purpose    `tidegate check` looks at a sound configuration once more. A reload does not: these are for
--            people, and cost more than a load.
-- Invariants Each warning can be proven from the configuration. A service or a zone counts as used when
-- anything refers
--            to it, or when a plugin's text or configuration holds its name as a string, since plugins may
--            name both at run time.
-- Cost       One walk over the routes (shadow.lua); where a name is not referred to, one over the texts of
--            all plugins and the configurations of all instances.

local model = require "tidegate.inspect.model"
local shadow = require "tidegate.inspect.shadow"
local quote = require("tidegate.scalars").quote

local lint = {}

-- ---- Routes ----------------------------------------------------------------------------------

local SHOWN = 3

-- 'route "a" (/x/*) comes before it', 'routes "a" (/x) and "b" (/x) come before it'.
local function before_it(takers)
  local texts, seen = {}, {}
  for _, taker in ipairs(takers) do
    local text = ("%s (%s)"):format(quote(taker.route.name), taker.path)
    if not seen[text] then texts[#texts + 1], seen[text] = text, true end
  end
  if #texts == 1 then return ("route %s comes before it"):format(texts[1]) end
  if #texts > SHOWN then
    return ("routes %s and %d more come before it"):format(table.concat(texts, ", ", 1, SHOWN),
      #texts - SHOWN)
  end
  local last = table.remove(texts)
  return ("routes %s and %s come before it"):format(table.concat(texts, ", "), last)
end

local function priority_of(route)
  return route.value.priority or 0
end

-- Why the takers come first, and where they stand.
local function reason(route, takers)
  local first = takers[1].route
  local where = "declared at " .. first.where
  if priority_of(first) > priority_of(route) then
    return ("%s; its priority %d is above %d"):format(where, priority_of(first), priority_of(route))
  end
  return where .. "; together they name all its methods"
end

-- Which of a route's paths a pattern is.
local function path_keys(route, path)
  for i, one in ipairs(route.value.paths) do
    if one == path then return { "paths", i }, ("routes.%s.paths[%d]"):format(route.name, i) end
  end
  return nil, "routes." .. route.name
end

local function warn_of_route(session, lost)
  local route = lost.route
  session:warn(route.declaration.where, {
    code = "shadowed", path = "routes." .. route.name,
    message = "no request reaches it: " .. before_it(lost.takers),
    hint = reason(route, lost.takers),
  })
end

local function warn_of_path(session, lost)
  local keys, path = path_keys(lost.route, lost.path)
  local host = lost.host ~= "*" and (" on %s"):format(lost.host) or ""
  session:warn(lost.route.declaration.where, {
    code = "shadowed", path = path,
    message = ("no request reaches %s%s: %s"):format(quote(lost.path), host, before_it(lost.takers)),
    hint = reason(lost.route, lost.takers),
  }, keys)
end

local function shadowed_routes(self, session)
  local found, told = shadow.find(self), {}
  for _, lost in ipairs(found) do
    local route = lost.route
    if found.lost[route] < found.total[route] then
      warn_of_path(session, lost)
    elseif not told[route] then
      told[route] = true
      warn_of_route(session, lost)
    end
  end
end

-- Methods that a listener has to allow.
local GUARDED = { TRACE = "allow_trace", CONNECT = "allow_connect" }

local function is_allowed(self, method)
  local field = GUARDED[method]
  if not field then return true end
  for _, listener in ipairs(model.list(self, "listener")) do
    if listener.value[field] then return true end
  end
  return false
end

local function refused_methods(self, session)
  for _, route in ipairs(model.list(self, "route")) do
    for i, method in ipairs(route.value.methods or {}) do
      if not is_allowed(self, method) then
        session:warn(route.declaration.where, {
          code = "shadowed", path = ("routes.%s.methods[%d]"):format(route.name, i),
          message = ("no request with %s reaches a route: no listener allows it"):format(method),
          hint = ("set %s = true on a listener"):format(GUARDED[method]),
        }, { "methods", i })
      end
    end
  end
end

-- ---- Connections -----------------------------------------------------------------------------

-- What connections there are: of which schemes requests are (both, where a proxy may say so), and whether a
-- client may show a certificate.
local function connections_of(self)
  local found = {}
  for _, listener in ipairs(model.list(self, "listener")) do
    local value = listener.value
    local auth = value.tls and value.tls.client_auth
    local is_trusting = #value.trusted > 0
    found.tls = found.tls or value.tls ~= nil
    found.https = found.https or value.tls ~= nil or is_trusting
    found.http = found.http or value.tls == nil or is_trusting
    found.certificates = found.certificates or auth ~= nil and auth.mode ~= "none"
    found.standard = found.standard or value.tls ~= nil and value.address.port == 443
  end
  for _, instance in ipairs(self.instances) do
    found.certificates = found.certificates or instance.phases.certificate
  end
  return found
end

-- Whether a redirect says nothing but a scheme, which the request may have come by: with its own port.
local function leads_back(route, found)
  local redirect = route.value.redirect
  if not redirect or redirect.scheme ~= "https" or route.value.scheme == "http" or not found.standard then
    return false
  end
  for _, field in ipairs { "host", "port", "path", "prefix", "query" } do
    if redirect[field] ~= nil then return false end
  end
  return true
end

local UNMET = {
  { "sni", "shadowed", function(route, found) return route.value.sni and not found.tls end,
    "no request reaches it: no listener speaks TLS", "a name is asked for in TLS handshakes alone" },
  { "scheme", "shadowed", function(route, found)
    return route.value.scheme and not found[route.value.scheme]
  end, "no request reaches it: none comes by this scheme",
    "https is what a listener with tls is asked by, or what a trusted proxy tells" },
  { "client_cert", "conflict", function(route, found)
    return route.value.client_cert == "required" and not found.certificates
  end, "every request gets a 403: no listener asks clients for certificates",
    'write tls = { client_auth = { mode = "optional", ca = … } } in a listener' },
  { "redirect", "conflict", leads_back, "requests that come by https are sent to where they came from",
    'give the route scheme = "http"' },
}

-- What routes ask of connections, and no connection has.
local function unmet_by_connections(self, session)
  local found = connections_of(self)
  for _, route in ipairs(model.list(self, "route")) do
    for _, case in ipairs(UNMET) do
      local field, code, is_unmet, message, hint = unpack(case)
      if is_unmet(route, found) then
        session:warn(route.declaration.where, {
          code = code, path = ("routes.%s.%s"):format(route.name, field), message = message, hint = hint,
        }, { field })
      end
    end
  end
end

-- ---- Names -----------------------------------------------------------------------------------

-- Adds what a text of Lua could mean as a name: single words between quotes or long brackets.
local function add_words(found, text)
  for word in text:gmatch "%[%[([%w_][%w_.-]*)%]%]" do found[word] = true end
  local at = 1
  while true do
    -- The quote that ends one word may begin the next: more than is meant does no harm here.
    local _, stop, word = text:find("[\"']([%w_][%w_.-]*)[\"']", at)
    if not stop then return end
    found[word], at = true, stop
  end
end

local function add_strings(found, value, depth)
  if type(value) == "string" then found[value] = true end
  if type(value) ~= "table" or depth > 64 then return end
  for _, item in pairs(value) do add_strings(found, item, depth + 1) end
end

-- Set of all names by which a plugin could ask for something at run time.
local function names_of_plugins(self)
  local found, seen = {}, {}
  for _, instance in ipairs(self.instances) do
    add_strings(found, instance.conf, 0)
    local plugin = instance.plugin
    if not seen[plugin] then
      seen[plugin] = true
      add_words(found, plugin.source)
      for _, module in ipairs(plugin.modules) do add_words(found, module.source) end
    end
  end
  return found
end

local HINTS = {
  service = "no route or plugin refers to it",
  ["zone.dict"] = "no plugin names it", ["zone.cache"] = "no plugin names it",
  ["zone.limit"] = "no plugin names it",
}
local ROOTS = { service = "services.", ["zone.dict"] = "zones.", ["zone.cache"] = "zones.",
                ["zone.limit"] = "zones." }

local function unused_names(self, session)
  local known
  for _, kind in ipairs(model.KINDS) do
    for _, object in ipairs(HINTS[kind] and model.list(self, kind) or {}) do
      local used = self.used[kind] and self.used[kind][object.name]
      known = known or not used and names_of_plugins(self)
      if not used and not known[object.name] then
        object.is_unused = true
        session:warn(object.declaration.where, {
          code = "unused", path = ROOTS[kind] .. object.name,
          message = ("the %s %s is not used"):format(model.NOUNS[kind] or kind, quote(object.name)),
          hint = HINTS[kind],
        })
      end
    end
  end
end

-- ---- Plugins ---------------------------------------------------------------------------------

-- Set of the instances that some chain holds; chains are made for what needs one only.
local function running_instances(self)
  local running = {}
  for _, chain in ipairs(self.chains) do
    for _, list in pairs(chain) do
      for _, index in ipairs(list) do running[index] = true end
    end
  end
  return running
end

local function instances_that_never_run(self, session)
  local running, quiet = running_instances(self), {}
  -- What is attached to an unused service has been told with it.
  for _, service in ipairs(model.list(self, "service")) do
    for _, index in ipairs(service.is_unused and service.plugins or {}) do quiet[index] = true end
  end
  for index, instance in ipairs(self.instances) do
    if not running[index] and not quiet[index] and not instance.attached.warned then
      session:warn(instance.attached.where, {
        code = "never_runs", path = instance.attached.path,
        message = ("no request meets this instance of %s"):format(quote(instance.name)),
        hint = "instances at routes and services stand in its place; give them ids if all are meant",
      })
    end
  end
end

--- Looks at a sound configuration.
-- @tparam table self a model
-- @tparam table session where warnings go
function lint.run(self, session)
  shadowed_routes(self, session)
  refused_methods(self, session)
  unmet_by_connections(self, session)
  unused_names(self, session)
  instances_that_never_run(self, session)
end

return lint
