-- One limit: what of its configuration belongs together, and how it is asked.
--
-- compile() makes a table of each: `take(key)` returns a verdict of tg.limit, or nil and an error; `look`
-- the same without taking; `enter(key)`, in their place, a permit for work in flight, or nil and an
-- error whose code is "limit" when there are as many as may be. `policy` is its part of RateLimit-Policy.

local keys = require "keys"
local tg = require "tidegate"

local limits = {}

local IN_FLIGHT = { concurrency = true, adaptive = true }
local HAS_BURST = { bucket = true, gcra = true }
local PRODUCT = 2 ^ 62 / 1e6 -- units times seconds that a counter can hold

local function check_in_flight(limit)
  for _, field in ipairs { "per", "burst" } do
    if limit[field] then return nil, ("%s does not go with %s: it bounds what is in flight, not a rate")
      :format(field, limit.algorithm) end
  end
  if limit.cost ~= 1 then return nil, ("cost does not go with %s"):format(limit.algorithm) end
  if limit.limit > 65535 then return nil, "limit: at most 65535 can be in flight" end
  if limit.algorithm == "adaptive" then
    if not limit.latency then return nil, "adaptive needs latency, within which requests should end" end
    if limit.min > limit.limit then return nil, "min is above limit" end
  end
  return true
end

local function check_rate(limit)
  local most = HAS_BURST[limit.algorithm] and (limit.burst or limit.limit) or limit.limit
  if not limit.per then
    return nil, ('per is missing: %d in how long? write per = "1m"'):format(limit.limit)
  end
  if limit.burst and not HAS_BURST[limit.algorithm] then
    return nil, ('burst goes with algorithm = "bucket" or "gcra", not with "%s"'):format(limit.algorithm)
  end
  if limit.algorithm == "log" and limit.limit > 128 then
    return nil, 'limit: a log is for at most 128; "sliding" counts more'
  end
  if limit.cost > most then
    return nil, ("cost: %d is more than is ever granted (%d)"):format(limit.cost, most)
  end
  if math.max(limit.limit, most) * limit.per > PRODUCT then
    return nil, "limit: so many in so long a time cannot be counted; take a shorter period"
  end
  return true
end

--- Whether the fields of a limit go together; nil and why not.
function limits.check(limit)
  if limit.latency and limit.algorithm ~= "adaptive" then
    return nil, 'latency goes with algorithm = "adaptive"'
  end
  if IN_FLIGHT[limit.algorithm] then return check_in_flight(limit) end
  return check_rate(limit)
end

-- A function of a zone, a key and options, and these options.
local function rate_call(limit)
  local options = { limit = limit.limit, per = limit.per }
  if limit.algorithm == "bucket" then
    return tg.limit.bucket, { rate = limit.limit, per = limit.per, burst = limit.burst }
  end
  if limit.algorithm == "gcra" then
    options.burst = limit.burst or limit.limit
    return tg.limit.gcra, options
  end
  options.kind = limit.algorithm
  return tg.limit.window, options
end

local function with_cost(options, cost)
  local copy = { cost = cost }
  for name, value in pairs(options) do copy[name] = value end
  return copy
end

local function policy_of(compiled, limit)
  local text = ('"%s";q=%d'):format(compiled.name, limit.limit)
  if IN_FLIGHT[limit.algorithm] then return text .. ';qu="concurrent-requests"' end
  if limit.per % 1 == 0 then text = ("%s;w=%d"):format(text, limit.per) end
  return text
end

--- A limit for use: `place` tells instances apart, `zone` is nil for the plugin's own.
function limits.compile(limit, name, place, zone)
  local compiled = {
    name = name, cost = limit.cost, absent = limit.absent,
    most = HAS_BURST[limit.algorithm] and limit.burst or limit.limit, -- at once
    key = keys.compile(type(limit.key) == "table" and limit.key or { limit.key }, limit.absent),
    prefix = ("%s\0%s\0"):format(limit.shared and "" or place, name),
  }
  compiled.policy = policy_of(compiled, limit)
  if limit.algorithm == "concurrency" then
    function compiled.enter(key) return tg.limit.concurrency(zone, key, limit.limit) end
  elseif limit.algorithm == "adaptive" then
    local options = { max = limit.limit, min = limit.min, latency = limit.latency }
    function compiled.enter(key) return tg.limit.adaptive(zone, key, options) end
  else
    local call, options = rate_call(limit)
    local taking, looking = with_cost(options, limit.cost), with_cost(options, 0)
    function compiled.take(key) return call(zone, key, taking) end
    function compiled.look(key) return call(zone, key, looking) end
  end
  return compiled
end

return limits
