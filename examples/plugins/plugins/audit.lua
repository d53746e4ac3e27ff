--- Tells a service who asked for what, in batches, without a request waiting for it.
local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "audit",
  version = "1.0.0",
  api = 1,
  stage = "observe",
  needs = { http = true },
  schema = S.record {
    service = S.ref "service",
    path = S.string { min = 1 }:default "/audit",
    batch = S.int { min = 1, max = 1000 }:default(100),
    flush = S.duration():default "1s":doc "how long a record waits for others",
  },
  metrics = {
    sent = { type = "counter", help = "Records that the service took." },
    lost = { type = "counter", help = "Records for which the queue had no room." },
  },
}

function P.configure(conf)
  return tg.queue {
    name = "audit", batch = conf.batch, flush = conf.flush, retry = 5, max_bytes = "1MiB",
    handler = function(records)
      local res, err = tg.http.post(conf.service, conf.path, { json = records, timeout = "5s" })
      if not res then return nil, err end -- the batch is tried again, and the log says why
      if res.status >= 300 then return nil, "the service answered " .. res.status end
      tg.metrics.inc("sent", nil, #records)
    end,
  }
end

function P.log(conf, ctx)
  local pushed = conf.compiled:push {
    id = ctx.id, method = ctx.req.method, path = ctx.req.path, status = ctx.resp.status,
    caller = ctx.consumer.name or ctx.client.ip,
  }
  if not pushed then ctx.metrics:inc "lost" end
end

return P
