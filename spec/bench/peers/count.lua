-- Counts requests by status, as an operator would for a dashboard.
local P = {
  name = "count", version = "1.0.0", api = 1, stage = "observe",
  metrics = { requests = { type = "counter", labels = { "status" }, help = "Requests." } },
}

-- Labels by status, made once and not for each request.
local LABELS = {}

function P.log(_, ctx)
  local status = ctx.resp.status
  local labels = LABELS[status]
  if not labels then
    labels = { status = tostring(status) }
    LABELS[status] = labels
  end
  ctx.metrics:inc("requests", labels)
end

return P
