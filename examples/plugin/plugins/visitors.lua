--- Counts visits: who comes with a visitor cookie is greeted by number, everybody else gets a cookie.
local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "visitors",
  version = "1.0.0",
  api = 1,
  stage = "transform",
  schema = S.record {
    cookie = S.string { min = 1, max = 32, pattern = "^[%a_-]+$" }:default "visitor":doc "name of the cookie",
    days = S.int { min = 1, max = 365 }:default(30):doc "how long it lasts",
  },
}

--- Once for each use of the plugin: what does not depend on the request is worked out here.
function P.configure(conf)
  return { options = { path = "/", max_age = conf.days * 86400, http_only = true, same_site = "Lax" } }
end

--- The request on its way to the origin: tell it how often the visitor was here.
function P.access(conf, ctx)
  local seen = tonumber((ctx.req:cookie(conf.cookie) or ""):match "^(%d%d?%d?%d?)$") or 0
  ctx.state.visits = seen + 1
  ctx.upstream:set_header("x-visits", tostring(ctx.state.visits))
end

--- The answer on its way to the client: remember the visit.
function P.header_filter(conf, ctx)
  if not ctx.state.visits then return end -- an answer that never came to the access phase
  ctx.resp:set_cookie(conf.cookie, tostring(ctx.state.visits), conf.compiled.options)
  ctx.resp:set_header("x-visit-at", tg.time.http_date())
end

--- The access record shows it too.
function P.log(_, ctx)
  if ctx.state.visits then ctx.log:field("visits", ctx.state.visits) end
end

return P
