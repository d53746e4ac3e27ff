-- Cross-origin requests: the server's side of the Fetch standard's CORS protocol.
--
-- Who does what: preflights are answered with what only their answer has (methods, headers, age), in rewrite
-- where the instance is global, so that routes need not know OPTIONS, else in access. header_filter puts
-- onto every answer, preflights' and the gateway's errors included, what depends on the origin. What an
-- origin server says of CORS itself is replaced: one of both must decide, and here it is the gateway.

local S = require "tidegate.schema"
local tg = require "tidegate"
local origins = require "origins"

local P = {
  name = "cors",
  version = "1.0.0",
  api = 1,
  stage = "edge", -- before authentication: preflights carry no credentials
  priority = 50, -- before redirects, which browsers do not follow for preflights
}

local PREFLIGHT = [[method == "OPTIONS" and header.origin and header["access-control-request-method"] ]]
P.when = { rewrite = PREFLIGHT, access = PREFLIGHT }

local STAND_INS = 16 -- prepared answers that one instance may have

local ANSWER_HEADERS = {
  "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
}

-- A list of names; "*" stands alone.
local function names(item)
  return S.list(item, { min = 1, unique = true }):check(function(list)
    for _, name in ipairs(list) do
      if name == "*" and #list > 1 then return nil, '"*" stands for all: write it alone' end
    end
    return true
  end)
end

P.schema = S.record {
  origins = S.list(S.string { min = 1, max = 255 }:check(origins.read), { min = 1, unique = true })
    :doc 'who may ask: "https://app.example.test", "https://*.example.test", or "*" for everybody',
  methods = names(S.method()):default { "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE" }
    :doc 'methods that scripts may use, or { "*" }',
  headers = names(S.header_name()):optional()
    :doc 'request headers that scripts may set, or { "*" }; absent: those that the browser asks for',
  exposed = names(S.header_name()):optional():doc 'response headers that scripts may read, or { "*" }',
  credentials = S.bool():default(false):doc "allow cookies, client certificates and HTTP authentication",
  any_origin_credentials = S.bool():default(false)
    :doc 'with origins = { "*" }: yes, any site may act as whoever visits it',
  max_age = S.duration { max = "24h" }:optional():doc "how long browsers may keep a preflight's answer",
  private_network = S.bool():default(false):doc "allow requests from public sites into a private network",
}:check(function(conf)
  for _, origin in ipairs(conf.origins) do
    if origin == "*" and conf.credentials and not conf.any_origin_credentials then
      return nil, "credentials for every origin would let any site act as your users; list the origins, " ..
                  "or say any_origin_credentials = true"
    end
  end
  if conf.credentials and conf.exposed and conf.exposed[1] == "*" then
    return nil, 'exposed: "*" does not work with credentials: browsers take it literally; list the names'
  end
  return true
end)

-- What an answer says to an origin, as prepared edits: to `value` (an origin or "*"), or to those that are
-- not allowed where `value` is nil. For a wildcard the value is not known yet: false.
local function answer_edits(conf, value)
  local allowed = value ~= nil
  local edits = { remove = {}, set = {} }
  local says = {
    ["access-control-allow-origin"] = value or nil,
    ["access-control-allow-credentials"] = allowed and conf.credentials and "true" or nil,
    ["access-control-expose-headers"] = allowed and conf.exposed and table.concat(conf.exposed, ", ") or nil,
  }
  for _, name in ipairs(ANSWER_HEADERS) do
    if says[name] then edits.set[name] = says[name] else table.insert(edits.remove, name) end
  end
  -- "*" is the same answer for everybody: no cache needs to tell origins apart.
  if value ~= "*" then edits.add = { vary = "Origin" } end
  return tg.edits(edits)
end

local function is_asked(conf, names_allowed) return conf.credentials and names_allowed[1] == "*" end

-- Has the answers stand in for header_filter, where the request's origin tells which by itself.
local function stand_in(conf, compiled)
  if compiled.any then
    compiled.any:instead_of "header_filter"
  elseif not compiled.origins.any and #conf.origins < STAND_INS and #compiled.origins.wild == 0 then
    for origin, edits in pairs(compiled.exact) do
      edits:instead_of("header_filter", ("header.origin == %q"):format(origin))
    end
    compiled.refused:instead_of "header_filter"
  end
end

function P.configure(conf)
  local compiled = {
    origins = origins.compile(conf.origins),
    -- With credentials browsers take "*" literally: the answer is then what the browser asks for.
    methods = not is_asked(conf, conf.methods) and table.concat(conf.methods, ", ") or nil,
    headers = conf.headers and not is_asked(conf, conf.headers) and table.concat(conf.headers, ", ") or nil,
    max_age = conf.max_age and ("%d"):format(conf.max_age),
    private_network = conf.private_network,
    exact = {}, -- by origin
    wild = answer_edits(conf, false),
    refused = answer_edits(conf, nil),
  }
  for origin in pairs(compiled.origins.exact) do compiled.exact[origin] = answer_edits(conf, origin) end
  if compiled.origins.any and not conf.credentials then compiled.any = answer_edits(conf, "*") end
  stand_in(conf, compiled)
  return compiled
end

-- Headers of a preflight's answer beside those of header_filter.
local function preflight_headers(compiled, req)
  local private = compiled.private_network and req:header "access-control-request-private-network" == "true"
  return {
    ["access-control-allow-methods"] = compiled.methods or req:header "access-control-request-method",
    ["access-control-allow-headers"] = compiled.headers or req:header "access-control-request-headers",
    ["access-control-max-age"] = compiled.max_age,
    ["access-control-allow-private-network"] = private and "true" or nil,
    ["vary"] = "Access-Control-Request-Method, Access-Control-Request-Headers",
  }
end

-- Answers preflights, which P.when has told from other requests.
local function answer_preflight(conf, ctx)
  local compiled, req = conf.compiled, ctx.req
  if not origins.allows(compiled.origins, req:header "origin") then
    ctx:exit(403, { error = "this origin may not call" })
  end
  ctx:exit(204, nil, preflight_headers(compiled, req))
end

P.rewrite = answer_preflight
P.access = answer_preflight

--- Tells the browser whether the script may see the answer.
function P.header_filter(conf, ctx)
  local compiled, resp = conf.compiled, ctx.resp
  local origin = ctx.req:header "origin"
  local edits = compiled.any or compiled.exact[origin or ""]
  if edits then
    resp:edit(edits)
  elseif origin and origins.allows(compiled.origins, origin) then
    resp:edit(compiled.wild):set_header("access-control-allow-origin", origin)
  else
    resp:edit(compiled.refused)
  end
end

return P
