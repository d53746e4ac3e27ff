-- Limits on what a consumer, a client or anything else that a request shows may do, counted exactly for all
-- workers.
--
-- Order    What is wanted of every limit is worked out first. Where there are several, all are looked at
--          before one is taken, so that a request which one of them refuses costs nothing with the others.
--          Work in flight is entered before rates are taken, and left at once when a rate refuses.
-- Answers  429 with Retry-After; RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10) on
--          every answer, the older X-RateLimit-* where they are asked for.
-- Trouble  A counter that cannot be had (memory is out, all of the zone has work in flight) fails the request
--          as `on_error` of the instance says: by default it is refused with 503.

local S = require "tidegate.schema"
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

function P.configure(conf, place)
  local list, compiled = conf.limits or { conf }, { headers = {}, policies = {} }
  for i, limit in ipairs(list) do
    compiled[i] = limits.compile(limit, name_of(limit, i, #list), place, conf.zone)
    compiled.policies[i] = compiled[i].policy
  end
  for _, name in ipairs(conf.dry_run and {} or conf.headers) do compiled.headers[name] = true end
  compiled.policy = table.concat(compiled.policies, ", ")
  return compiled
end

-- Seconds as headers write them: never earlier than it is.
local function whole_seconds(seconds)
  return ("%d"):format(math.ceil(seconds))
end

-- The limit of which the least share is left, of those with a verdict.
local function tightest(compiled, asked)
  local least, found
  for i, limit in ipairs(compiled) do
    local verdict = asked[i] and asked[i].verdict
    local share = verdict and verdict.remaining / limit.most
    if share and (not least or share < least) then least, found = share, i end
  end
  return found
end

-- When more is granted: for a refusal, as Retry-After says.
local function until_more(verdict)
  return whole_seconds(verdict.allowed and verdict.reset or verdict.retry_after)
end

local function tell(compiled, ctx, asked)
  local resp = ctx.resp
  if compiled.headers.ratelimit then
    local items = {}
    for i, limit in ipairs(compiled) do
      local verdict = asked[i] and asked[i].verdict
      if verdict then
        items[#items + 1] = ('"%s";r=%d;t=%s'):format(limit.name, verdict.remaining, until_more(verdict))
      end
    end
    resp:add_header("ratelimit-policy", compiled.policy)
    if items[1] then resp:add_header("ratelimit", table.concat(items, ", ")) end
  end
  local i = compiled.headers["x-ratelimit"] and tightest(compiled, asked)
  if i then
    local verdict = asked[i].verdict
    resp:set_header("x-ratelimit-limit", ("%d"):format(compiled[i].most))
    resp:set_header("x-ratelimit-remaining", ("%d"):format(verdict.remaining))
    resp:set_header("x-ratelimit-reset", until_more(verdict))
  end
end

local function leave(asked)
  for _, one in pairs(asked) do
    if one.permit then one.permit:release() end
    one.permit = nil
  end
end

-- `limit` refuses; in a dry run that is noted and the request goes on.
local function refuse(conf, ctx, asked, limit, verdict)
  ctx.metrics:inc("limited", { limit = limit.name, mode = conf.dry_run and "dry_run" or "enforced" })
  ctx.log:field("rate_limited", limit.name)
  if conf.dry_run then return end
  leave(asked)
  tell(conf.compiled, ctx, asked)
  ctx:exit(conf.status, { error = conf.message },
    { ["retry-after"] = verdict and whole_seconds(verdict.retry_after) or "1" })
end

-- What is asked of each limit, by its number; nil for one that does not apply.
local function keys_of(conf, ctx)
  local asked = {}
  for i, limit in ipairs(conf.compiled) do
    local key, missing = limit.key(ctx)
    if key then
      asked[i] = { key = limit.prefix .. key }
    elseif limit.absent == "refuse" and not conf.dry_run then
      ctx:exit(403, { error = ("this request has no %s to be counted by"):format(missing) })
    end
  end
  return asked
end

local function take(conf, ctx, asked, i)
  local limit, one = conf.compiled[i], asked[i]
  local verdict, err = limit.take(one.key)
  if err then return ctx:fail(err) end
  one.verdict, one.taken = verdict, true
  if not verdict.allowed then refuse(conf, ctx, asked, limit, verdict) end
end

-- Several limits: those that are used up refuse before the others are charged.
local function look_first(conf, ctx, asked)
  local used_up
  for i, limit in ipairs(conf.compiled) do
    if asked[i] and limit.look then
      local verdict, err = limit.look(asked[i].key)
      if err then return ctx:fail(err) end
      asked[i].verdict = verdict
      if verdict.remaining < limit.cost then used_up = used_up or i end
    end
  end
  if used_up then take(conf, ctx, asked, used_up) end
end

local function enter(conf, ctx, asked, i)
  local limit = conf.compiled[i]
  local permit, err = limit.enter(asked[i].key)
  asked[i].permit = permit
  if permit then return end
  if err.code ~= "limit" then return ctx:fail(err) end
  refuse(conf, ctx, asked, limit)
end

function P.access(conf, ctx)
  local compiled = conf.compiled
  local asked = keys_of(conf, ctx)
  if compiled[2] then look_first(conf, ctx, asked) end
  for i, limit in ipairs(compiled) do
    if asked[i] and limit.enter then enter(conf, ctx, asked, i) end
  end
  for i, limit in ipairs(compiled) do
    if asked[i] and limit.take and not asked[i].taken then take(conf, ctx, asked, i) end
  end
  tell(compiled, ctx, asked)
end

return P
