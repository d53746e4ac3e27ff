-- What a service may say about its targets: balance, health, breaker, retry, hedge, pool.
--
-- Purpose    The schemas of these tables, and the checks of values that contradict each other.
-- Invariants Every default of these tables stands here, and in README.md; config/build takes what it gets.
-- Ownership  Built once for each check.
-- Cost       Small tables.

local S = require "tidegate.schema"
local quote = require("tidegate.scalars").quote
local units = require "tidegate.units"

local upstream = {}

local DAY = "24h"
local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"

upstream.KINDS = { "round-robin", "least-requests", "latency", "hash", "random" }

local KEY_HINT = 'one of: "ip", "consumer", "key", "header:NAME", "cookie:NAME"'

-- Reads where a hash key comes from into { from, name }.
local hash_source = S.custom {
  noun = "a source of keys", lua = "string",
  json = function() return { type = "string" } end,
  read = function(_, value)
    if value == "ip" or value == "consumer" or value == "key" then return { from = value } end
    local from, name = value:match "^(%a+):(.*)$"
    if from ~= "header" and from ~= "cookie" then
      return nil, quote(value) .. " is not a source of keys", KEY_HINT
    end
    if not name:find(TOKEN) then
      return nil, ("%s is not the name of a %s"):format(quote(name), from), KEY_HINT
    end
    return { from = from, name = name }
  end,
  write = function(source) return source.name and source.from .. ":" .. source.name or source.from end,
}

local function check_balance(balance)
  local hashes = balance[1] == "hash"
  if hashes and not balance.by then
    return nil, 'a hash needs a key: by = "header:x-user" (' .. KEY_HINT .. ")"
  end
  for _, field in ipairs { "by", "bound" } do
    if not hashes and balance[field] then
      return nil, ("%s goes with balance = { \"hash\" }, not with %s"):format(field, quote(balance[1]))
    end
  end
  if hashes and balance.slow_start then
    return nil, "slow_start has no meaning for a hash: keys stay with their targets"
  end
  return true
end

upstream.balance = S.record {
  [1] = S.enum(upstream.KINDS):default "round-robin":doc "how a target is chosen",
  by = hash_source:optional():doc "key of a hash",
  bound = S.number { min = 1.01, max = 100 }:optional()
    :doc "load of a target, in times the mean, beyond which its keys go elsewhere",
  slow_start = S.duration { min = "1s", max = "1h" }:optional()
    :doc "time in which a target that is back comes up to its weight",
}:check(check_balance):default {}

local function check_active(active)
  if active.type == "tcp" then
    for _, field in ipairs { "path", "method", "host", "statuses", "body" } do
      if active[field] then
        return nil, ('%s goes with type = "http"; a tcp check only connects'):format(field)
      end
    end
  elseif not active.path then
    return nil, 'path is missing: what to ask for, such as "/healthz" (or type = "tcp")'
  end
  if active.timeout > active.every then
    return nil, "timeout is longer than every: a check would begin before the last one ended"
  end
  return true
end

local function path_text(value)
  if not value:find "^/" then return nil, "a path begins with /" end
  if value:find "[%s%c\128-\255#]" then return nil, "a path is percent-encoded, without blanks" end
  return true
end

local active = S.record {
  type = S.enum { "http", "tcp" }:default "http":doc "what a check does",
  path = S.string { min = 1, max = 1024 }:check(path_text):optional():doc "what is asked for",
  method = S.enum { "GET", "HEAD", "OPTIONS" }:optional():doc "GET unless said",
  host = S.host():optional():doc "Host of the check; the target's address unless said",
  statuses = S.list(S.status(), { min = 1, max = 16, unique = true }):optional()
    :doc "of a healthy answer; 200 to 399 unless said",
  body = S.string { min = 1, max = 256 }:optional():doc "text that a healthy answer has in its first 64 KiB",
  every = S.duration { min = "100ms", max = "1h" }:default "5s":doc "time between two checks",
  timeout = S.duration { min = "10ms", max = "10m" }:default "1s":doc "time for the whole answer",
  jitter = S.number { min = 0, max = 1 }:default(0.1):doc "share of every by which checks are spread",
  rise = S.int { min = 1, max = 100 }:default(2):doc "good checks in a row that let a target in",
  fall = S.int { min = 1, max = 100 }:default(3):doc "bad checks in a row that take it out",
}:check(check_active)

local passive = S.record {
  failures = S.int { min = 1, max = 100000 }:default(5):doc "failures and 5xx that eject a target",
  window = S.duration { min = "1s", max = "1h" }:default "10s":doc "time in which they count",
  eject = S.duration { min = "100ms", max = "1h" }:default "30s"
    :doc "first pause; each further one is longer by it",
  eject_max = S.duration { min = "100ms", max = DAY }:default "5m":doc "longest pause",
  max_out = S.number { min = 0, max = 1 }:default(0.5):doc "share of the targets that may be ejected",
  latency = S.duration { min = "1ms", max = "1h" }:optional():doc "time to the head that counts as a failure",
}:check(function(value)
  if value.eject_max < value.eject then return nil, "eject_max is shorter than eject" end
  return true
end)

upstream.health = S.record {
  active = active:optional():doc "targets are asked regularly",
  passive = passive:optional():doc "targets are judged by their answers",
  panic = S.number { min = 0, max = 1 }:default(0.3)
    :doc "share of usable targets below which all are used; 0: never",
}:default {}

upstream.breaker = S.record {
  ratio = S.number { min = 0.01, max = 1 }:default(0.5):doc "of failures that opens it",
  volume = S.int { min = 1, max = 1000000 }:default(20):doc "requests in the window before the ratio counts",
  window = S.duration { min = "1s", max = "1h" }:default "10s":doc "time in which they count",
  cooldown = S.duration { min = "100ms", max = "1h" }:default "15s":doc "time that it stays open",
  probes = S.int { min = 1, max = 1000 }:default(3):doc "requests that are tried then, and must go well",
}:optional()

local IDEMPOTENT = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS" }

local backoff = S.record {
  base = S.duration { max = "1m" }:default "25ms":doc "range of the first pause; it doubles",
  max = S.duration { max = "10m" }:default "250ms":doc "longest range",
}:check(function(value)
  if value.max < value.base then return nil, "max is shorter than base" end
  return true
end):default {}

upstream.retry = S.record {
  attempts = S.int { min = 0, max = 10 }:default(1):doc "requests beyond the first",
  on = S.list(S.one_of { class = S.enum { "connect", "reset", "timeout" },
                         status = S.int { min = 400, max = 599 } },
              { min = 1, max = 19, unique = true }):default { "connect", "reset" }
    :doc "what is tried again: connect, reset, timeout, statuses",
  methods = S.list(S.enum { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS" },
                   { min = 1, max = 7, unique = true }):default(IDEMPOTENT)
    :doc "methods that may reach an origin twice",
  budget = S.number { min = 0.01, max = 1 }:default(0.2)
    :doc "share of the live requests that may be repetitions",
  backoff = backoff:doc "pauses, with full jitter",
  per_try = S.duration { min = "1ms", max = DAY }:optional():doc "time of one attempt to the answer's head",
  buffer = S.bytes { max = "64MiB" }:default "64KiB":doc "body that is kept for a repetition",
}:optional()

--- A checked retry as the tree has it, words and statuses of `on` apart; nil for nil. Changes it in place.
function upstream.freeze_retry(retry)
  if not retry then return nil end
  local on, statuses = {}, {}
  for _, item in ipairs(retry.on) do
    if type(item) == "string" then on[item] = true else statuses[#statuses + 1] = item end
  end
  retry.on, retry.statuses = on, statuses
  return retry
end

local DELAY_HINT = 'a time ("50ms") or a percentile of the service\'s latency, "p50" to "p99.9"'

-- When a second request goes: { seconds } or { share } of the answers that are there by then.
local delay = S.custom {
  noun = "a delay", lua = "string",
  json = function() return { type = "string" } end,
  read = function(_, value)
    local percent = type(value) == "string" and
      tonumber(value:match "^p(%d%d)$" or value:match "^p(%d%d%.%d)$")
    if percent then
      if percent < 50 then return nil, quote(value) .. " is below the minimum p50", DELAY_HINT end
      return { share = percent / 100 }
    end
    local seconds = type(value) == "string" and units.parse_duration(value)
    if not seconds then return nil, quote(value) .. " is not a delay", DELAY_HINT end
    if seconds < 0.001 or seconds > 3600 then
      return nil, quote(value) .. " is not from 1ms to 1h", DELAY_HINT
    end
    return { seconds = seconds }
  end,
  write = function(value)
    return value.share and ("p%.14g"):format(value.share * 100) or units.format_duration(value.seconds)
  end,
}

local hedge = S.record {
  after = delay:doc "when another target is asked too: a time, or a percentile of the service's latency",
  least = S.duration { min = "1ms", max = "1h" }:optional()
    :doc "with a percentile: not sooner; 1ms unless said",
  methods = S.list(S.enum(IDEMPOTENT), { min = 1, max = #IDEMPOTENT, unique = true })
    :default { "GET", "HEAD", "OPTIONS" }:doc "methods that may reach two targets at once",
}:check(function(value)
  if value.least and value.after.seconds then
    return nil, "least goes with a percentile; after is a time already"
  end
  return true
end)

--- What a service says, or a route, which may also say false.
upstream.hedge = hedge:optional()
upstream.route_hedge = S.one_of {
  hedge = hedge,
  never = S.bool():check(function(value)
    if value then return nil, 'true says not when: hedge = { after = "50ms" }' end
    return true
  end),
}:optional()

local adaptive = S.record {
  min = S.int { min = 1, max = 100000 }:default(10)
    :doc "connections per target and worker, at first and at least",
  max = S.int { min = 1, max = 100000 }:default(500):doc "and at most",
}:check(function(value)
  if value.min > value.max then return nil, "min is above max" end
  return true
end)

-- Bounds of connections that leave no room for each other.
local function check_pool(pool)
  local adapts = pool.adaptive
  if pool.max_idle and pool.min_idle > pool.max_idle then return nil, "min_idle is above max_idle" end
  if pool.max and pool.min_idle > pool.max then return nil, "min_idle is above max" end
  if adapts and pool.min_idle > adapts.min then return nil, "min_idle is above adaptive.min" end
  if adapts and pool.max and adapts.min > pool.max then return nil, "adaptive.min is above max" end
  return true
end

upstream.pool = S.record {
  max_idle = S.int { min = 0, max = 100000 }:optional():doc "idle connections kept per target and worker",
  min_idle = S.int { min = 0, max = 1000 }:default(0):doc "connections kept ready per target and worker",
  max = S.int { min = 1, max = 1000000 }:optional():doc "connections per target, of all workers",
  adaptive = adaptive:optional():doc "how many connections a worker opens to a target follows from use",
  connecting = S.int { min = 1, max = 10000 }:optional()
    :doc "connections per target and worker that are being made",
  queue = S.int { min = 0, max = 1000 }:default(1000):doc "requests per target and worker that wait for one",
  wait = S.duration { min = "1ms", max = "1h" }:default "1s":doc "time that they wait",
  requests = S.int { min = 1, max = 1000000000 }:optional():doc "requests on one connection",
  lifetime = S.duration { min = "1s", max = "30d" }:optional():doc "age at which a connection is closed",
  idle_timeout = S.duration { min = "1ms", max = DAY }:optional():doc "time that an idle connection is kept",
}:check(check_pool):default {}

upstream.target_place = {
  zone = S.string { min = 1, max = 64, pattern = "^[%w_.-]+$" }:optional():doc "where it is",
  region = S.string { min = 1, max = 64, pattern = "^[%w_.-]+$" }:optional():doc "where the zone is",
}

return upstream
