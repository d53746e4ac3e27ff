-- Limits on what a consumer, a client or anything else that a request shows may do, counted exactly for all
-- workers.
--
-- Asking is tg.limit.quota's business: it works out what is counted, asks each limit, and has the answer tell
-- RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10) or the older X-RateLimit-*. It is
-- the access phase, and no Lua runs.
--
-- A request that a limit refuses, or would refuse in a dry run, is counted, noted and answered there too,
-- with Retry-After. What is left for Lua is a counter that cannot be had (memory is out, all of the zone has
-- work in flight): it fails the request as `on_error` of the instance says; by default with 503.

local S = require "tidegate.schema"
local tg = require "tidegate"
local keys = require "keys"
local limits = require "limits"

local ALGORITHMS = { "sliding", "fixed", "log", "bucket", "gcra", "concurrency", "adaptive" }

local P = {
  name = "rate-limit",
  version = "1.0.0",
  api = 1,
  stage = "traffic", -- after authentication: consumers are known
  priority = 50, -- before what answers
  needs = { limit = "8MiB" },
  metrics = {
    limited = { type = "counter", labels = { "limit", "mode" },
                help = "Requests that a limit refused, or would have refused (mode dry_run)." },
  },
}

local function key_type()
  return S.string { min = 1, max = 256 }:check(keys.read)
end

-- The fields of one limit, which also stand by themselves where there is one only.
local function limit_fields()
  return {
    limit = S.int { min = 1, max = 4294967295 }
      :doc "requests, or units of cost, that are let through in `per`",
    per = S.duration { min = "1ms", max = "366d" }:optional():doc "the period; not for what is in flight",
    key = S.one_of { one = key_type(), several = S.list(key_type(), { min = 1, max = 8, unique = true }) }
      :default "ip":doc "what is counted by itself, or a list of these: every combination",
    algorithm = S.enum(ALGORITHMS):default "sliding":doc "how it is counted",
    burst = S.int { min = 1, max = 4294967295 }:optional()
      :doc 'with "bucket" and "gcra": most at once; absent: as many as `limit`',
    cost = S.int { min = 1, max = 1000000 }:default(1):doc "units that a request takes",
    absent = S.enum { "ip", "share", "skip", "refuse" }:default "ip"
      :doc "a request without the key counts by its address, with all such, not at all, or is refused (403)",
    shared = S.bool():default(false)
      :doc "count together with limits of the same name elsewhere that say so and have the same zone",
    min = S.int { min = 1, max = 65535 }:default(1):doc 'with "adaptive": the bound never falls below',
    latency = S.duration { min = "1ms", max = "1h" }:optional()
      :doc 'with "adaptive": requests that take longer lower the bound',
    name = S.string { min = 1, max = 64, pattern = "^[%w_.-]+$" }:optional()
      :doc 'in headers, metrics and logs; absent: "default", or "limit-2" for the second of several',
  }
end

local function name_of(limit, index, count)
  return limit.name or (count == 1 and "default" or "limit-" .. index)
end

local function check_names(list)
  local seen = {}
  for i, limit in ipairs(list) do
    local name = name_of(limit, i, #list)
    if seen[name] then
      return nil, ("two limits are called %q; counters need names of their own"):format(name)
    end
    seen[name] = true
  end
  return true
end

local function check_conf(conf)
  if conf.limits and conf.limit then return nil, "limit stands by itself or in limits, not both" end
  if not conf.limits and not conf.limit then
    return nil, 'limit is missing: write limit = 600, per = "1m", or limits = { { … }, { … } }'
  end
  if conf.limits then return true end
  return limits.check(conf)
end

local fields = limit_fields()
fields.limit = fields.limit:optional()
fields.limits = S.list(S.record(limit_fields()):check(limits.check), { min = 1, max = 16 }):check(check_names)
  :optional():doc "several limits at once, each with the fields above; a request must pass all"
fields.zone = S.ref "zone.limit":optional():doc "where it is counted; absent: in 8 MiB of the plugin's own"
fields.dry_run = S.bool():default(false):doc "count and report, refuse nothing, send no headers"
fields.headers = S.list(S.enum { "ratelimit", "x-ratelimit" }, { unique = true }):default { "ratelimit" }
  :doc "what answers tell: RateLimit and RateLimit-Policy, the older X-RateLimit-*, or nothing"
fields.status = S.int { min = 400, max = 599 }:default(429):doc "status of a refusal"
fields.message = S.string { min = 1, max = 1000 }:default "too many requests":doc "`error` in its JSON body"

P.schema = S.record(fields):check(check_conf)

-- The limits as tg.limit.quota takes them; `place` tells the counters of instances apart.
local function rules_of(conf, place)
  local rules, list = {}, conf.limits or { conf }
  for i, limit in ipairs(list) do
    rules[i] = {
      name = name_of(limit, i, #list), scope = limit.shared and "" or place, key = limit.key,
      algorithm = limit.algorithm, limit = limit.limit, per = limit.per, burst = limit.burst,
      cost = limit.cost, absent = limit.absent, min = limit.min, latency = limit.latency,
    }
  end
  return rules
end

function P.configure(conf, place)
  return tg.limit.quota {
    zone = conf.zone, headers = conf.headers, dry_run = conf.dry_run, limits = rules_of(conf, place),
    refusal = { status = conf.status, message = conf.message, counter = "limited", field = "rate_limited" },
  }:instead_of "access"
end

--- Fails a request that could not be counted.
function P.access(conf, ctx)
  local _, err = conf.compiled:take(ctx)
  if err then ctx:fail(err) end
end

return P
