-- cors: lets browsers call from the origins that are listed (the Fetch standard, CORS protocol).
--
-- A preflight (OPTIONS with Origin and Access-Control-Request-Method) is answered here and never
-- reaches the origin server. For all other requests the answer's headers are recorded in advance, so
-- they are on every answer, errors included. `Vary: Origin` is on every answer too, because caches
-- between here and the browser would otherwise hand one origin's answer to another.
--
-- A global instance works in rewrite, before routing, so that it answers preflights to routes that do
-- not know OPTIONS; an instance of a service or route works in access. An instance whose rewrite has run
-- once runs there for every request, so that is noted with the instance.

local S = require "tidegate.schema"

local METHODS = { "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE" }

local function check_origin(value)
  if value == "*" or value == "null" then return true end
  local scheme, rest = value:match "^(%l[%w+.-]*)://(.+)$"
  if not scheme or rest:find "[/?#@%s%u]" then
    return nil, "an origin is scheme://host[:port] in lower case, without a path"
  end
  local stars = select(2, rest:gsub("%*", ""))
  if stars > 1 or stars == 1 and not rest:find "^%*%.[^*.]" then
    return nil, "a wildcard stands for the labels in front: https://*.example.com"
  end
  return true
end

local P = {
  name = "cors", version = "1.0.0", api = 1, stage = "edge",
  schema = S.record {
    origins = S.list(S.string { min = 1, max = 256 }:check(check_origin), { min = 1, unique = true })
      :doc "origins that may call: exact, with *. in front, or * for all",
    methods = S.list(S.method(), { min = 1 }):default(METHODS):doc "methods that a preflight allows",
    headers = S.list(S.header_name()):optional()
      :doc "request headers that a preflight allows; those that it asks for when absent",
    exposed = S.list(S.header_name()):default {}:doc "response headers that scripts may read",
    credentials = S.bool():default(false):doc "allow cookies and HTTP authentication",
    max_age = S.duration { max = "24h" }:optional():doc "how long a preflight's answer holds",
    private_network = S.bool():default(false):doc "let public sites call into a private network",
  }:check(function(conf)
    if not conf.credentials then return true end
    for _, origin in ipairs(conf.origins) do
      if origin == "*" then
        return nil, "credentials for every origin would let any site act as your users; list the origins"
      end
    end
    return true
  end),
}

function P.configure(conf)
  local compiled = { exact = {}, wildcards = {}, methods = table.concat(conf.methods, ", ") }
  for _, origin in ipairs(conf.origins) do
    local scheme, suffix = origin:match "^(.-://)%*(%..*)$"
    if origin == "*" then
      compiled.any = true
    elseif scheme then
      compiled.wildcards[#compiled.wildcards + 1] = { scheme = scheme, suffix = suffix }
    else
      compiled.exact[origin] = true
    end
  end
  compiled.headers = conf.headers and table.concat(conf.headers, ", ")
  compiled.exposed = #conf.exposed > 0 and table.concat(conf.exposed, ", ") or nil
  compiled.max_age = conf.max_age and ("%d"):format(conf.max_age)
  return compiled
end

-- scheme://anything.suffix, where anything has at least one character and no ":" or "/".
local function matches_wildcard(wildcards, origin)
  for i = 1, #wildcards do
    local scheme, suffix = wildcards[i].scheme, wildcards[i].suffix
    local between = #origin - #scheme - #suffix
    if between > 0 and origin:sub(1, #scheme) == scheme and origin:sub(-#suffix) == suffix and
       not origin:sub(#scheme + 1, #scheme + between):find "[^%w.-]" then
      return true
    end
  end
  return false
end

-- What Access-Control-Allow-Origin says to `origin`, or nil.
local function allowed(compiled, origin)
  if compiled.any then return "*" end
  if compiled.exact[origin] then return origin end
  return matches_wildcard(compiled.wildcards, origin) and origin or nil
end

local function answer_preflight(conf, ctx, allow)
  local compiled, req = conf.compiled, ctx.req
  local headers = { vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers" }
  if not allow then ctx:exit(403, { error = "this origin may not call" }, headers) end
  headers["access-control-allow-origin"] = allow
  headers["access-control-allow-methods"] = compiled.methods
  headers["access-control-allow-headers"] =
    compiled.headers or req:header "access-control-request-headers"
  headers["access-control-max-age"] = compiled.max_age
  if conf.credentials then headers["access-control-allow-credentials"] = "true" end
  if conf.private_network and req:header "access-control-request-private-network" == "true" then
    headers["access-control-allow-private-network"] = "true"
  end
  ctx:exit(204, nil, headers)
end

local function handle(conf, ctx)
  local req, resp, compiled = ctx.req, ctx.resp, conf.compiled
  local origin = req:header "origin"
  local allow = origin and allowed(compiled, origin)
  if origin and req.method == "OPTIONS" and req:header "access-control-request-method" then
    answer_preflight(conf, ctx, allow)
  end
  resp:add_header("vary", "Origin")
  if not allow then
    resp:remove_header "access-control-allow-origin"
    return
  end
  resp:set_header("access-control-allow-origin", allow)
  if conf.credentials then resp:set_header("access-control-allow-credentials", "true") end
  if compiled.exposed then resp:set_header("access-control-expose-headers", compiled.exposed) end
end

function P.rewrite(conf, ctx)
  conf.compiled.is_global = true
  handle(conf, ctx)
end

function P.access(conf, ctx)
  if not conf.compiled.is_global then handle(conf, ctx) end
end

return P
