-- One JSON line for each request, to stdout, stderr, a file or syslog.
--
-- The line is written by the gateway itself (tg.sink) into a queue that a thread of its own empties: a
-- destination that does not keep up costs lines, which are counted, never time.

local S = require "tidegate.schema"
local tg = require "tidegate"

-- What a record may hold, in the order of the documentation.
local FIELDS = {
  "time", "id", "client", "method", "scheme", "host", "path", "query", "protocol", "status", "source",
  "bytes_sent", "bytes_received", "duration", "upstream", "upstream_status", "upstream_time", "route",
  "service", "consumer", "consumer_id", "credential", "user_agent", "referer", "error", "aborted", "attempts",
  "grpc_status",
}
local DEFAULT = {
  "time", "id", "client", "method", "host", "path", "status", "bytes_sent", "bytes_received", "duration",
  "upstream", "upstream_status", "upstream_time", "route", "service", "consumer", "user_agent", "referer",
  "error", "attempts", "grpc_status",
}

-- First and last code of "404", "5xx" or "400-417"; nil for anything else.
local function status_range(text)
  local class = text:match "^([1-5])xx$"
  if class then return class * 100, class * 100 + 99 end
  local first, last = text:match "^(%d%d%d)%-(%d%d%d)$"
  first = tonumber(first or text:match "^%d%d%d$")
  last = tonumber(last) or first
  if first and first >= 100 and first <= last and last <= 599 then return first, last end
end

local P = {
  name = "access-log",
  version = "1.0.0",
  api = 1,
  stage = "observe",
  needs = { sink = true },
  schema = S.record {
    path = S.string { min = 1, max = 1000 }:default "stdout"
      :doc '"stdout", "stderr", "syslog", "syslog:udp:ADDRESS:PORT", "syslog:unix:PATH" or a path',
    fields = S.list(S.enum(FIELDS), { min = 1, unique = true }):default(DEFAULT)
      :doc "members of the line, in order",
    sample = S.number { min = 0, max = 1 }:default(1):doc "share of the requests that are written",
    only_status = S.list(S.string():check(function(text)
      if status_range(text) then return true end
      return nil, ('%q is no status; write "404", "5xx" or "400-417"'):format(text)
    end), { min = 1 }):optional():doc "write only answers with these statuses",
  },
}

local function status_set(list)
  if not list then return nil end
  local set = {}
  for _, text in ipairs(list) do
    local first, last = status_range(text)
    for status = first, last do set[status] = true end
  end
  return set
end

function P.configure(conf)
  local sink, err = tg.sink(conf.path)
  if not sink then error("path: " .. err.message, 0) end
  return { sink = sink, statuses = status_set(conf.only_status), below = conf.sample * 2 ^ 32 }
end

-- By the id, whose digits are random: whatever else samples by it chooses the same requests.
local function is_sampled(conf, ctx)
  return conf.sample == 1 or tonumber(ctx.id:sub(1, 8), 16) < conf.compiled.below
end

function P.log(conf, ctx)
  local compiled = conf.compiled
  if compiled.statuses and not compiled.statuses[ctx.resp.status] then return end
  if is_sampled(conf, ctx) then compiled.sink:write_record(ctx, conf.fields) end
end

return P
