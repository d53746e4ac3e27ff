-- Durations and sizes as people write them.
--
-- Purpose    "500ms", "1h30m" become seconds; "32KiB" becomes bytes; and back, for messages.
-- Invariants A bare number is never accepted: its unit would be a guess. Sizes are whole bytes, durations are
--            finite and not negative. Sizes take binary units only, so that "MB" cannot mean two things.
-- Ownership  Pure functions on strings and numbers; no state.
-- Cost       One pass over the text.

local units = {}

local SECONDS = { us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600, d = 86400 }
local BYTES = { B = 1, KiB = 2 ^ 10, MiB = 2 ^ 20, GiB = 2 ^ 30, TiB = 2 ^ 40 }
local DURATION_STEPS = { "d", "h", "m", "s", "ms", "us" }
local BYTE_STEPS = { "TiB", "GiB", "MiB", "KiB" }

-- The largest integer that a double holds exactly; sizes beyond it would lose bytes.
local EXACT = 2 ^ 53

-- What adding up parts of a duration may cost in precision; anything more is another duration.
local ROUNDING = 1e-13

--- Reads a duration such as "20ms", "1.5s" or "1h30m".
-- @tparam string text
-- @treturn number|nil seconds, or nil when the text is not a duration
function units.parse_duration(text)
  local total, at = 0, 1
  while at <= #text do
    local number, unit, stop = text:match("^(%d+%.?%d*)(%a+)()", at)
    local scale = unit and SECONDS[unit]
    if not scale then return nil end
    total, at = total + tonumber(number) * scale, stop
  end
  if at == 1 or total > EXACT then return nil end
  return total
end

--- Reads a size such as "512B", "32KiB" or "1.5GiB".
-- @tparam string text
-- @treturn integer|nil bytes, or nil when the text is not a size of whole bytes
function units.parse_bytes(text)
  local number, unit = text:match "^(%d+%.?%d*)(%a+)$"
  local scale = unit and BYTES[unit]
  if not scale then return nil end
  local bytes = tonumber(number) * scale
  if bytes > EXACT or bytes % 1 ~= 0 then return nil end
  return bytes
end

--- Writes seconds in the largest unit that divides them.
function units.format_duration(seconds)
  if seconds == 0 then return "0s" end
  for _, unit in ipairs(DURATION_STEPS) do
    local count = seconds / SECONDS[unit]
    local whole = math.floor(count + 0.5)
    if whole >= 1 and math.abs(count - whole) < ROUNDING * count then
      return ("%.0f%s"):format(whole, unit)
    end
  end
  return ("%.14gus"):format(seconds / SECONDS.us)
end

--- Writes bytes in the largest unit that divides them.
function units.format_bytes(bytes)
  for _, unit in ipairs(BYTE_STEPS) do
    if bytes >= BYTES[unit] and bytes % BYTES[unit] == 0 then
      return ("%.0f%s"):format(bytes / BYTES[unit], unit)
    end
  end
  return ("%.0fB"):format(bytes)
end

return units
