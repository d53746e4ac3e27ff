-- Addresses and networks as text: reading, checking and the one canonical spelling.
--
-- Purpose    The config names addresses ("10.0.0.1:9000", "[::1]:8080") and networks ("10.0.0.0/8"). What
--            leaves this file is canonical (RFC 5952 for IPv6), so equal addresses are equal strings.
-- Invariants An address is a list of bytes: 4 for IPv4, 16 for IPv6. Octal-looking and short forms of IPv4
--            ("010.0.0.1", "10.1") are refused, since readers disagree about them. Zone ids are refused.
-- Ownership  Pure functions; no state.
-- Cost       One pass over the text.

local bit = require "bit"

local ip = {}

local function parse_v4(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  if not a then return nil end
  local bytes = { a, b, c, d }
  for i, part in ipairs(bytes) do
    local value = tonumber(part)
    if #part > 3 or value > 255 or (#part > 1 and part:sub(1, 1) == "0") then return nil end
    bytes[i] = value
  end
  return bytes
end

-- Appends the groups of one side of "::" to `groups`; false when one of them is malformed.
local function parse_groups(text, groups)
  if text == "" then return true end
  for group, separator in (text .. ":"):gmatch "([^:]*)(:)" do
    if not group:match "^%x+$" or #group > 4 or separator ~= ":" then return false end
    groups[#groups + 1] = tonumber(group, 16)
  end
  return true
end

-- "::ffff:10.0.0.1" with its dotted tail turned into two groups.
local function without_dotted_tail(text)
  local head, tail = text:match "^(.*:)(%d+%.%d+%.%d+%.%d+)$"
  if not head then return text end
  local v4 = parse_v4(tail)
  if not v4 then return nil end
  return ("%s%x:%x"):format(head, v4[1] * 256 + v4[2], v4[3] * 256 + v4[4])
end

local function parse_v6(text)
  text = without_dotted_tail(text)
  if not text or not text:find(":", 1, true) then return nil end
  local left, right = text:match "^(.-)::(.*)$"
  local head, tail = {}, {}
  if not parse_groups(left or text, head) or not parse_groups(right or "", tail) then return nil end
  local missing = 8 - #head - #tail
  if (left and missing < 1) or (not left and missing ~= 0) then return nil end
  local bytes = {}
  for i = 1, 8 do
    local group = i <= #head and head[i] or tail[i - #head - missing] or 0
    bytes[#bytes + 1] = math.floor(group / 256)
    bytes[#bytes + 1] = group % 256
  end
  return bytes
end

--- Reads one address.
-- @treturn table|nil its 4 or 16 bytes
function ip.parse(text)
  return parse_v4(text) or parse_v6(text)
end

-- The longest run of zero groups (two or more, the first of equals), as RFC 5952 section 4.2 wants it.
local function longest_zero_run(groups)
  local best_start, best_length, start = nil, 1, nil
  for i = 1, 9 do
    if groups[i] == 0 then
      start = start or i
    elseif start then
      if i - start > best_length then best_start, best_length = start, i - start end
      start = nil
    end
  end
  return best_start, best_length
end

local function format_v6(bytes)
  local groups, words = {}, {}
  for i = 1, 8 do
    groups[i] = bytes[2 * i - 1] * 256 + bytes[2 * i]
    words[i] = ("%x"):format(groups[i])
  end
  local start, length = longest_zero_run(groups)
  if not start then return table.concat(words, ":") end
  return table.concat(words, ":", 1, start - 1) .. "::" .. table.concat(words, ":", start + length, 8)
end

--- Writes an address canonically.
function ip.format(bytes)
  return #bytes == 4 and table.concat(bytes, ".") or format_v6(bytes)
end

--- Reads a network; a lone address is a network of one. Bits below the prefix are cleared.
-- @treturn string|nil canonical text such as "10.0.0.0/8"
function ip.canonical_cidr(text)
  local address, prefix = text:match "^([^/]+)/(%d+)$"
  local bytes = ip.parse(address or text)
  if not bytes then return nil end
  local bits = prefix and tonumber(prefix) or #bytes * 8
  if bits > #bytes * 8 or (prefix and #prefix > 1 and prefix:sub(1, 1) == "0") then return nil end
  for i = 1, #bytes do
    local keep = math.min(math.max(bits - (i - 1) * 8, 0), 8)
    bytes[i] = bit.band(bytes[i], 256 - 2 ^ (8 - keep))
  end
  return ip.format(bytes) .. "/" .. bits
end

--- Splits "host:port" or "[v6]:port".
-- @treturn string|nil the host as written, without brackets
-- @treturn integer the port, 0 to 65535
function ip.split_endpoint(text)
  local host, port = text:match "^%[([^%]]+)%]:(%d+)$"
  if not host then host, port = text:match "^([^:%[%]]+):(%d+)$" end
  local number = port and #port <= 5 and tonumber(port)
  if not number or number > 65535 then return nil end
  return host, number
end

return ip
