-- What the objects of the config language may hold: settings, listeners, services, routes, plugin options.
--
-- Purpose    The language's own schemas, and the types that only it needs: endpoints, host and path patterns,
--            plugin instances. What is not here is an unknown field, and so an error.
-- Invariants The bounds of settings.limits come from the host's list (limits.def), never from here.
-- Ownership  Built once for each check.
-- Cost       Small tables.

local S = require "tidegate.schema"
local endpoint = require "tidegate.endpoint"
local matching = require "tidegate.matching"
local tls = require "tidegate.tls"
local traffic = require "tidegate.traffic"
local memory = require "tidegate.memory"
local targets = require "tidegate.targets"
local units = require "tidegate.units"
local upstream = require "tidegate.upstream"
local websocket = require "tidegate.websocket"
local quote = require("tidegate.scalars").quote

local objects = {}

local text_type = endpoint.type

local function no_name(host)
  return quote(host) .. " is a host name; a listener needs an address"
end

-- Port 0 lets the system choose a free one.
local listen_address = text_type("an address with a port", function(_, value)
  local path = value:match "^unix:(.*)$"
  if path then return endpoint.read_socket(value, path, 'a path: "unix:run/gateway.sock"') end
  return endpoint.read(value, no_name, 0)
end)

local ADMIN_HINT = 'a socket of its own, "unix:run/admin.sock", or "127.0.0.1:9901"'
local admin_address = text_type("an address", function(_, value)
  local path = value:match "^unix:(.*)$"
  if not path then
    local address, why, hint = endpoint.read(value, no_name, 0)
    if address and address.port == 0 then
      return nil, "who asks has to know the port, so 0 is none", ADMIN_HINT
    end
    return address, why, hint
  end
  return endpoint.read_socket(value, path, ADMIN_HINT)
end)

-- Host and path patterns are read by the route table itself, through the host: one truth about what matches.
local function pattern_type(noun, check)
  return text_type(noun, function(_, value, cx)
    local why, hint = cx[check](value)
    if why then return nil, ("%s is not %s: %s"):format(quote(value), noun, why), hint end
    return value
  end)
end

local host_pattern = pattern_type("a host", "check_host")
local path_pattern = pattern_type("a path", "check_path")

local strip_prefix = traffic.strip_prefix(function(_, value, cx)
  local why, hint = cx.check_path(value)
  if not why and value:find "[*{]" then why, hint = "a prefix has no parameters", 'a plain path: "/v1"' end
  if why then return nil, ("%s is not a path: %s"):format(quote(value), why), hint end
  return #value > 1 and value:gsub("/$", "") or value
end)

local instance = S.custom {
  noun = "a plugin",
  json = function() return { type = "object" } end,
  read = function(_, value, cx, keys)
    local object = cx.object(value)
    if object and object.kind == "use" then
      cx.attach(object, keys)
      return object
    end
    -- An unfinished tg.use is reported as such.
    if object and object.kind == "pending" then return nil end
    return nil, ("expected a plugin, got %s"):format(object and object.noun or "a " .. type(value)),
      'write tg.use "name" { … }'
  end,
}

objects.plugins = S.list(instance):default {}

local DAY = "24h"

local IMPORTANCE = { "low", "normal", "high" }

local function timeout_fields()
  return {
    connect = S.duration { min = "1ms", max = "1h" }:optional():doc "time to connect",
    response = S.duration { min = "1ms", max = DAY }:optional()
      :doc "time from the end of the request to the response's head",
    idle = S.duration { min = "1ms", max = DAY }:optional():doc "time without a byte in either direction",
  }
end

local function route_timeout_type()
  local fields = timeout_fields()
  fields.deadline = S.duration { min = "10ms", max = DAY }:optional()
    :doc("time from the request's head to the response's, uploads and repetitions included; " ..
         "limits.request.deadline unless said")
  return S.record(fields):default {}
end

local tags = S.list(S.string { min = 1, max = 128 }, { max = 64, unique = true }):default {}

objects.listener = S.record {
  address = listen_address:doc "where to listen: ADDRESS:PORT or unix:PATH",
  tls = tls.listener:optional():doc "speak TLS; without it, clear text",
  http2 = S.bool():optional()
    :doc "speak HTTP/2 with those who ask for it: with tls unless false, in clear text only if true",
  proxy_protocol = S.bool():default(false)
    :doc "every connection begins with a PROXY header, from a trusted network",
  redirect = S.enum { "https" }:optional():doc "answer every request with a redirect to https",
  redirect_port = S.port():default(443):doc "the port of https there",
  hsts = tls.hsts:optional():doc "tell browsers to come by https alone",
  trusted = S.list(S.cidr(), { max = 1024 }):default {}
    :doc "networks whose Forwarded and X-Forwarded-* headers are believed",
  allow_trace = S.bool():default(false):doc "pass TRACE on instead of refusing it",
  allow_connect = S.bool():default(false):doc "tunnel CONNECT instead of refusing it",
  merge_slashes = S.bool():default(false):doc "doubled slashes in paths count as one, for routes and origins",
  answer_options = S.bool():default(false):doc "answer OPTIONS that no route takes with what routes do take",
  plugins = objects.plugins,
}

objects.service = S.record {
  targets = targets.schema(upstream.target_place):optional():doc "where the origin is",
  path = traffic.service_path,
  builtin = S.enum { "echo" }:optional():doc "answered by the gateway itself",
  tls = tls.service:optional():doc "speak TLS with the origin; without it, clear text",
  proxy_protocol = S.enum { "v1", "v2" }:optional()
    :doc "tell the origin who the client is in a PROXY header; each request has its own connection then",
  http = S.enum { "1.1", "2", "auto" }:default "1.1"
    :doc "what is spoken with the origin; auto: what it picks by ALPN, and HTTP/1.1 in clear text",
  timeout = S.record(timeout_fields()):default {},
  balance = upstream.balance:doc "how targets are chosen",
  health = upstream.health:doc "which targets are left out",
  breaker = upstream.breaker:doc "when none is asked any more",
  retry = upstream.retry:doc "what is tried again",
  hedge = upstream.hedge:doc "a second request to another target while the first is not answered",
  pool = upstream.pool:doc "connections to targets",
  plugins = objects.plugins,
  tags = tags,
}:rules { S.exactly_one("targets", "builtin") }:check(function(service)
  local why = targets.conflict(service)
  if why then return nil, why end
  return true
end)

objects.route = S.record {
  hosts = S.list(host_pattern, { min = 1, max = 1024, unique = true }):optional():doc "all hosts when absent",
  paths = S.list(path_pattern, { min = 1, max = 1024 }):default { "/*" }
    :doc "exact, a prefix ending in /*, with parameters: /users/{id}, or an expression: ~^/v(\\d+)/",
  methods = S.list(S.method(), { min = 1, max = 64, unique = true }):optional():doc "all methods when absent",
  headers = S.map(S.header_name(), matching.condition):optional():doc "what header fields have to be",
  query = S.map(matching.name, matching.condition):optional():doc "what query parameters have to be",
  cookies = S.map(matching.name, matching.condition):optional():doc "what cookies have to be",
  networks = S.list(S.cidr(), { min = 1, max = 1024, unique = true }):optional()
    :doc "networks one of which the client is in, as trusted proxies tell it",
  scheme = S.enum { "http", "https" }:optional():doc "as trusted proxies tell it",
  sni = S.list(matching.sni, { min = 1, max = 1024, unique = true }):optional()
    :doc "names that the TLS handshake may ask for; never true without TLS",
  priority = S.int { min = -1000000, max = 1000000 }:default(0):doc "before all else; the higher wins",
  service = S.ref "service":optional():doc "who answers; without one, a split, a redirect or a plugin must",
  rewrite = traffic.route_fields.rewrite, redirect = traffic.route_fields.redirect,
  split = traffic.route_fields.split, canary = traffic.route_fields.canary,
  mirror = traffic.route_fields.mirror, responses = traffic.route_fields.responses,
  websocket = websocket.route_field,
  strip_prefix = strip_prefix:optional()
    :doc "taken off the path before it goes to the service; true: what the path's pattern matched",
  importance = S.enum(IMPORTANCE):default "normal"
    :doc "what is turned away first when the gateway has too much to do: low, then normal, then high",
  preserve_host = S.bool():default(false):doc "send the client's Host to the service",
  client_cert = S.enum { "required" }:optional()
    :doc "clients must have shown a certificate that is trusted; others get a 403",
  queue_priority = S.int { min = 0, max = 9 }:optional()
    :doc "where requests wait for a connection to an origin; 9 comes first, 5 unless said",
  timeout = route_timeout_type(),
  hedge = upstream.route_hedge:doc "in place of what the service says; false: not on this route",
  plugins = objects.plugins,
  tags = tags,
}

local CREDENTIALS_MAX = 16 -- of one kind and consumer: what rotation with overlap needs, and more

-- What proves who a consumer is, or names him elsewhere: one value or several of a kind.
local function credentials(kinds)
  local fields = {}
  for _, kind in ipairs(kinds) do
    local item = kind.secret and S.secret() or S.string { min = 1, max = 4096 }
    local one_or_more = S.one_of { one = item, several = S.list(item, { min = 1, max = CREDENTIALS_MAX }) }
    if kind.secret then one_or_more = one_or_more:sensitive() end
    fields[kind.name] = one_or_more:optional():doc(kind.doc)
  end
  return S.record(fields):default {}
end

local words = S.list(S.string { min = 1, max = 128, pattern = "^[^%c,]+$" }, { max = 64, unique = true })
  :default {}
-- It goes into a header.
local outside_name = S.string { min = 1, max = 256, pattern = "^[^%c%s][^%c]*$" }

--- The schema of tg.consumer.
-- @tparam table kinds the host's list of credentials: { name, secret, doc } each
function objects.consumer(kinds)
  return S.record {
    id = outside_name:optional():doc "stays when the name changes; the name unless it is set",
    custom_id = outside_name:optional():doc "what another system calls the consumer",
    credentials = credentials(kinds):doc "how the consumer is recognised",
    groups = words:doc "what acl and other plugins decide by",
    importance = S.enum(IMPORTANCE):optional()
      :doc "what is turned away first when there is too much to do; the route's unless it is set",
    queue_priority = S.int { min = 0, max = 9 }:optional()
      :doc "where its requests wait for a connection, 9 comes first; the route's unless it is set",
    tags = tags,
    metadata = S.map(S.string { min = 1, max = 128 }, S.any()):default {}
      :doc "plain data for plugins: ctx.consumer.metadata",
    plugins = objects.plugins,
    routes = S.map(S.ref "route", objects.plugins):default {}
      :doc "plugins of the consumer's requests on one route, by its name",
  }
end

-- Below the least size a zone would hold next to nothing.
function objects.zone_size()
  return S.bytes { min = "64KiB", max = "64GiB" }
end

objects.zone_dict = S.record { size = objects.zone_size():doc "memory for all its entries" }

objects.zone_limit = S.record { size = objects.zone_size():doc "memory for all its keys, 62 bytes each" }

objects.zone_cache = S.record {
  size = objects.zone_size():doc "memory for all its entries",
  stale = S.duration { max = "30d" }:optional()
    :doc "how long beyond its time an entry may stand in when it cannot be renewed; fetch may say otherwise",
}

objects.ON_ERROR = { "fail", "skip", "close" }

local MAKERS = { bytes = S.bytes, seconds = S.duration, count = S.int }
local WRITERS = { bytes = units.format_bytes, seconds = units.format_duration,
                  count = function(value) return value end }

objects.overload = S.record {
  adaptive = S.record {
    latency = S.duration { min = "1ms", max = "1h" }:doc "within which requests should be answered",
    min = S.int { min = 1, max = 65535 }:default(16)
      :doc "requests in flight in a worker that are always let in",
  }:optional():doc "lets in fewer requests at once while answers are late",
}:default {}

-- The schema type of one entry of the host's list of limits.
local function limit_type(limit, with_default)
  local write = WRITERS[limit.unit]
  local t = MAKERS[limit.unit] { min = write(limit.min), max = write(limit.max) }:doc(limit.doc)
  return with_default and t:default(write(limit.default)) or t:optional()
end

local function nest(tree, path, t)
  local head, rest = path:match "^([^.]+)%.(.+)$"
  if not head then
    tree[path] = t
    return
  end
  tree[head] = tree[head] or {}
  nest(tree[head], rest, t)
end

local function record_of(tree)
  local fields = {}
  for name, value in pairs(tree) do
    fields[name] = S.is_type(value) and value or record_of(value):default {}
  end
  return S.record(fields)
end

--- The schema of tg.settings.
-- @tparam table limits the host's list: { path, unit, default, min, max, doc } each
-- @tparam table budget the host's budget: { min, max, parts = { name, share, doc } each }
function objects.settings(limits, budget)
  local tree = {}
  for _, limit in ipairs(limits) do nest(tree, limit.path, limit_type(limit, true)) end
  return S.record {
    workers = S.one_of { auto = S.enum { "auto" }, count = S.int { min = 1, max = 256 } }:default "auto"
      :doc "threads that serve; auto: one for each processor",
    server_name = S.string { min = 1, max = 64, pattern = "^[%w!#$%%&'*+.^_`|~-]+$" }:default "tidegate"
      :doc "the gateway's name in Via",
    place = S.record(upstream.target_place):default {}
      :doc "where the gateway is: targets of its own zone, then of its region, come first",
    log = S.record { level = S.enum { "debug", "info", "warn", "error" }:default "info" }:default {},
    limits = record_of(tree):default {},
    memory = memory.schema(budget):optional()
      :doc "budget of the gateway process, and how its parts share it; without it there is none",
    overload = objects.overload,
    responses = traffic.responses,
    dns = targets.dns:doc "where names are looked up",
    admin = S.record {
      listen = admin_address:doc "where the gateway can be asked about itself: unix:PATH or ADDRESS:PORT",
      write = S.bool():default(false)
        :doc "reloads may be ordered through ADDRESS:PORT too, by whoever can connect",
    }:optional():doc "without it there is no admin listener",
  }
end

--- The limits that a plugin file, or one instance, may set: those below `group` in the host's list.
-- @treturn table fields of a record, each optional
function objects.limit_fields(limits, group)
  local fields = {}
  for _, limit in ipairs(limits) do
    local name = limit.path:match("^" .. group .. "%.(.+)$")
    if name then fields[name] = limit_type(limit, false) end
  end
  return fields
end

--- The schema of tg.use's second argument.
function objects.options(limits)
  return S.record {
    id = S.string { min = 1, max = 64, pattern = "^[%w_.-]+$" }:optional()
      :doc "tells apart two instances of one plugin at different scopes",
    when = S.expr():optional():doc "runs only for requests of which this is true",
    before = S.string { min = 1 }:optional():doc "name or id of the plugin that runs later",
    after = S.string { min = 1 }:optional():doc "name or id of the plugin that runs earlier",
    on_error = S.enum(objects.ON_ERROR):optional():doc "what becomes of the request when the plugin fails",
    limits = S.record(objects.limit_fields(limits, "plugin")):default {},
  }
end

return objects
