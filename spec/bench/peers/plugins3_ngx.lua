-- ngx_lua's side of the plugins3 figures: what peers/tidegate_plugins3.lua configures, written
-- as one would for nginx alone: all in one module, no chain, nothing that these requests do not need.
-- luacheck: globals ngx

local req = require "ngx.req"
local resp = require "ngx.resp"

local ORIGINS = { ["https://app.example.test"] = true }
local METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"

local plugins3 = {}

local function answer_preflight(origin)
  local header = ngx.header
  header["Access-Control-Allow-Origin"] = origin
  header["Access-Control-Allow-Methods"] = METHODS
  header["Access-Control-Allow-Headers"] = ngx.var.http_access_control_request_headers
  header["Vary"] = "Origin"
  return ngx.exit(204)
end

--- access phase: request id, headers of the request, the check of the origin.
function plugins3.access()
  local var, ctx = ngx.var, ngx.ctx
  local id = var.http_x_request_id
  if not id then
    id = var.request_id
    ngx.req.set_header("X-Request-Id", id)
  end
  ctx.request_id = id

  ngx.req.set_header("X-Gateway", "edge")
  req.add_header("X-Hop", "edge")
  ngx.req.clear_header("X-Debug")

  local origin = var.http_origin
  if origin and ORIGINS[origin] then
    ctx.origin = origin
    if ngx.req.get_method() == "OPTIONS" and var.http_access_control_request_method then
      return answer_preflight(origin)
    end
  end
end

--- header_filter phase: the id, headers of the response, the answer to the origin.
function plugins3.header_filter()
  local header, ctx = ngx.header, ngx.ctx
  header["X-Request-Id"] = ctx.request_id

  header["X-Frame-Options"] = "DENY"
  resp.add_header("X-Served-By", "edge")
  header["X-Powered-By"] = nil

  local origin = ctx.origin
  if origin then
    header["Access-Control-Allow-Origin"] = origin
  end
  resp.add_header("Vary", "Origin")
end

return plugins3
