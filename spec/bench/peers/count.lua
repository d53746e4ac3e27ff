-- Counts requests by consumer group and status, as an operator would for a dashboard.
local P = {
  name = "count", version = "1.0.0", api = 1, stage = "observe",
  metrics = { requests = { type = "counter", labels = { "route", "status" }, help = "Requests." } },
}

local STATUS = { [200] = "200" } -- made once, not for each request

function P.log(_, ctx)
  local status = ctx.resp.status
  local labels = { route = ctx.route.name or "none", status = STATUS[status] or tostring(status) }
  ctx.metrics:inc("requests", labels)
end

return P
