-- request-id: one identifier per request, for the origin, the client and the logs.
--
-- An identifier that the client sends is kept when it is trusted and well formed, else the gateway's
-- own takes its place. The response's header is recorded in advance, so one phase does all the work:
-- rewrite where the instance is global (also for requests that no route takes), else access. An instance
-- whose rewrite has run once runs there for every request, so that is noted with the instance.

local S = require "tidegate.schema"

local MAX_LENGTH = 128

local P = {
  name = "request-id", version = "1.0.0", api = 1, stage = "edge", priority = 100,
  schema = S.record {
    header = S.header_name():default "x-request-id":doc "header that carries the identifier",
    trust = S.bool():default(true):doc "keep a well-formed identifier that the client sent",
  },
}

function P.configure()
  return { is_global = false }
end

local function is_valid(id)
  return #id <= MAX_LENGTH and id:find "^[%w._:=+/@-]+$" ~= nil
end

local function identify(conf, ctx)
  local header = conf.header
  local id = conf.trust and ctx.req:header(header)
  if not id or not is_valid(id) then
    id = ctx.id
    ctx.upstream:set_header(header, id)
  end
  ctx.resp:set_header(header, id)
end

function P.rewrite(conf, ctx)
  conf.compiled.is_global = true
  identify(conf, ctx)
end

function P.access(conf, ctx)
  if not conf.compiled.is_global then identify(conf, ctx) end
end

return P
