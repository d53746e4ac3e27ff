-- Bounds the body of a request below what the gateway allows for all.
--
-- A Content-Length says it at once; a chunked body is counted as it comes, by the gateway, which refuses it
-- when it passes the bound: with 413 as long as nothing was answered.

local S = require "tidegate.schema"

local P = {
  name = "request-size-limit",
  version = "1.0.0",
  api = 1,
  stage = "guard",
  schema = S.record {
    body = S.bytes { min = "0B", max = "1TiB" }:doc "the largest body; limits.request.body bounds it too",
    require_length = S.bool():default(false):doc "refuse bodies without Content-Length, with 411",
  },
  metrics = {
    rejected = { type = "counter", labels = { "reason" }, help = "Requests refused for their body." },
  },
}

local function refuse(ctx, reason, problem)
  ctx.metrics:inc("rejected", { reason = reason })
  problem.request_id = ctx.id
  ctx:exit(problem.status, problem, { ["content-type"] = "application/problem+json" })
end

--- Refuses what is known to be too large, and has the rest counted.
function P.access(conf, ctx)
  local req = ctx.req
  if conf.require_length and req.has_body and not req:header "content-length" then
    refuse(ctx, "no_length", {
      title = "Length Required", status = 411, code = "length_required",
      detail = "this takes bodies with Content-Length only",
    })
  end
  if not req:limit_body(conf.body) then
    refuse(ctx, "too_large", {
      title = "Content Too Large", status = 413, code = "request_too_large",
      detail = ("this takes bodies of at most %d bytes"):format(conf.body), limit = conf.body,
    })
  end
end

return P
