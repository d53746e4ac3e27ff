-- Counts requests by status, as an operator would for a dashboard.
local tg = require "tidegate"

local P = {
  name = "count", version = "1.0.0", api = 1, stage = "observe",
  metrics = { requests = { type = "counter", labels = { "status" }, help = "Requests." } },
}

function P.configure()
  return tg.metrics.counter("requests", { status = tg.template "${resp.status}" }):instead_of "log"
end

function P.log(conf, ctx) conf.compiled:inc(ctx) end

return P
