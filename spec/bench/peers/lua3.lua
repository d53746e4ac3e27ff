-- What peers/plugins3_ngx.lua does, written as one plugin that prepares nothing: the cost of Lua phases.

local ORIGINS = { ["https://app.example.test"] = true }
local METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"

local P = { name = "lua3", version = "1.0.0", api = 1, stage = "edge" }

local function answer_preflight(ctx, origin)
  ctx:exit(204, nil, {
    ["access-control-allow-origin"] = origin,
    ["access-control-allow-methods"] = METHODS,
    ["access-control-allow-headers"] = ctx.req:header "access-control-request-headers",
    ["vary"] = "Origin",
  })
end

function P.access(_, ctx)
  local req, upstream = ctx.req, ctx.upstream
  local id = req:header "x-request-id"
  if not id then
    id = ctx.id
    upstream:set_header("x-request-id", id)
  end
  upstream:set_header("x-gateway", "edge"):add_header("x-hop", "edge"):remove_header "x-debug"
  local origin = req:header "origin"
  if origin and ORIGINS[origin] and req.method == "OPTIONS" and
     req:header "access-control-request-method" then
    answer_preflight(ctx, origin)
  end
end

function P.header_filter(_, ctx)
  local req, resp = ctx.req, ctx.resp
  resp:set_header("x-request-id", req:header "x-request-id" or ctx.id)
  resp:set_header("x-frame-options", "DENY"):add_header("x-served-by", "edge"):remove_header "x-powered-by"
  local origin = req:header "origin"
  if origin and ORIGINS[origin] then resp:set_header("access-control-allow-origin", origin) end
  resp:add_header("vary", "Origin")
end

return P
