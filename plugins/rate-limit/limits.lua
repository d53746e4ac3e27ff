-- One limit: what of its configuration belongs together.

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

return limits
