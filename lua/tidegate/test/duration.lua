-- Durations and sizes as specs write them: "250ms", "5s", 0.5; "64KiB", 65536.

local units = require "tidegate.units"

local duration = {}

--- Seconds of "250ms" or of a number of seconds; raises on anything else.
function duration.read(value)
  if type(value) == "number" and value >= 0 then return value end
  local seconds = type(value) == "string" and units.parse_duration(value)
  return seconds or error(("%q is not a duration: write \"250ms\", \"5s\" or a number of seconds")
    :format(tostring(value)), 3)
end

--- Bytes of "64KiB" or of a number; raises on anything else.
function duration.read_size(value)
  if type(value) == "number" and value >= 0 then return value end
  local bytes = type(value) == "string" and units.parse_bytes(value)
  return bytes or error(("%q is not a size: write \"64KiB\" or a number of bytes")
    :format(tostring(value)), 3)
end

return duration
