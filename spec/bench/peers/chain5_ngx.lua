-- ngx_lua's side of the chain5 figures: what peers/tidegate_chain5.lua configures, written as one would
-- for nginx alone: all in one module, keys, counters and limits in shared dictionaries, nothing that these
-- requests do not need.
-- luacheck: globals ngx

local req = require "ngx.req"
local resp = require "ngx.resp"

local ORIGINS = { ["https://app.example.test"] = true }
local METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"
local LIMIT, PER = 1000000000, 3600

local chain5 = {}

--- When nginx starts: the consumers' keys, NAME=KEY a line.
function chain5.load(path)
  local keys = ngx.shared.keys
  for line in io.lines(path) do
    local name, key = line:match("^(.-)=(.*)$")
    assert(keys:set(key, name))
  end
end

local function answer_preflight(origin)
  local header = ngx.header
  header["Access-Control-Allow-Origin"] = origin
  header["Access-Control-Allow-Methods"] = METHODS
  header["Access-Control-Allow-Headers"] = ngx.var.http_access_control_request_headers
  header["Vary"] = "Origin"
  return ngx.exit(204)
end

-- A window that slides: what is left of the last one counts by its share.
local function take(name)
  local limits, now = ngx.shared.limits, ngx.now()
  local window = math.floor(now / PER)
  local passed = now - window * PER
  local count = limits:incr(name .. ":" .. window, 1, 0, 2 * PER)
  local before = limits:get(name .. ":" .. window - 1) or 0
  local used = count + before * (PER - passed) / PER
  return math.max(math.floor(LIMIT - used), 0), math.ceil(PER - passed)
end

--- access phase: who calls, how often; ids and headers of the request; the check of the origin.
function chain5.access()
  local var, ctx = ngx.var, ngx.ctx
  local id = var.http_x_request_id
  if not id then
    id = var.request_id
    ngx.req.set_header("X-Request-Id", id)
  end
  ctx.request_id = id

  local origin = var.http_origin
  if origin and ORIGINS[origin] then
    ctx.origin = origin
    if ngx.req.get_method() == "OPTIONS" and var.http_access_control_request_method then
      return answer_preflight(origin)
    end
  end

  local key = var.http_x_api_key
  local name = key and ngx.shared.keys:get(key)
  if not name then
    ngx.header["WWW-Authenticate"] = 'Key realm="api"'
    return ngx.exit(401)
  end
  ngx.req.clear_header("X-Api-Key")
  ngx.req.set_header("X-Consumer-Name", name)

  local remaining, reset = take(name)
  if remaining == 0 then
    ngx.header["Retry-After"] = reset
    return ngx.exit(429)
  end
  ctx.remaining, ctx.reset = remaining, reset

  ngx.req.set_header("X-Gateway", "edge")
  req.add_header("X-Hop", "edge")
  ngx.req.clear_header("X-Debug")
end

--- header_filter phase: the id, the limit, headers of the response, the answer to the origin.
function chain5.header_filter()
  local header, ctx = ngx.header, ngx.ctx
  header["X-Request-Id"] = ctx.request_id

  if ctx.remaining then
    header["RateLimit-Policy"] = '"default";q=1000000000;w=3600'
    header["RateLimit"] = ('"default";r=%d;t=%d'):format(ctx.remaining, ctx.reset)
  end

  header["X-Frame-Options"] = "DENY"
  resp.add_header("X-Served-By", "edge")
  header["X-Powered-By"] = nil

  local origin = ctx.origin
  if origin then
    header["Access-Control-Allow-Origin"] = origin
  end
  resp.add_header("Vary", "Origin")
end

--- log phase: a counter of requests by status.
function chain5.log()
  ngx.shared.counters:incr("requests:all:" .. ngx.status, 1, 0)
end

return chain5
