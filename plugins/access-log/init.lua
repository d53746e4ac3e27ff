-- access-log: one JSON line per request, to stdout, a file or syslog.
--
-- The line is formatted in C from the request and put into a bounded queue; a destination that is full
-- or slow costs lines, which are counted, and never time. The sample is chosen by the request's
-- identifier, so several instances with the same rate choose the same requests.

local S = require "tidegate.schema"
local tg = require "tidegate"

local FIELDS = {
  "time", "id", "client", "method", "scheme", "host", "path", "query", "protocol", "status", "source",
  "bytes_sent", "bytes_received", "duration", "upstream", "upstream_status", "upstream_time", "route",
  "service", "user_agent", "referer", "error", "aborted",
}

local DEFAULT = {
  "time", "id", "client", "method", "host", "path", "status", "bytes_sent", "bytes_received", "duration",
  "upstream", "upstream_status", "upstream_time", "route", "service", "user_agent", "referer", "error",
}

local P = {
  name = "access-log", version = "1.0.0", api = 1, stage = "observe",
  needs = { sink = true },
  schema = S.record {
    path = S.string { min = 1, max = 1000 }:default "stdout"
      :doc "\"stdout\", \"stderr\", \"syslog\", \"syslog:udp:address:port\" or the path of a file",
    fields = S.list(S.enum(FIELDS), { min = 1, unique = true }):default(DEFAULT)
      :doc "members of a line, in this order",
    sample = S.number { min = 0, max = 1 }:default(1):doc "share of the requests that is logged",
  },
}

function P.configure(conf)
  local sink, err = tg.sink(conf.path)
  if not sink then error(err.message, 0) end
  return sink
end

local function is_sampled(conf, ctx)
  return conf.sample >= 1 or tonumber(ctx.id:sub(1, 8), 16) / 0x100000000 < conf.sample
end

function P.log(conf, ctx)
  if is_sampled(conf, ctx) then conf.compiled:write_record(ctx, conf.fields) end
end

return P
