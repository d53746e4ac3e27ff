--- A DNS server that says what a file says: the process behind support.dns.
--
-- Started as `dns_server.lua ZONE LOG PORT_FILE`. ZONE is Lua that returns a map from names to what they
-- have; it is read anew for every query, so whoever replaces the file (by rename) has changed the zone:
--
--   a = { "127.0.0.2" }, aaaa = { "::1" }, srv = { { priority, weight, port, "host" } }
--   ttl (seconds, 0), cname ("other.name": the records stand under that name)
--   rcode (2: SERVFAIL, 5: REFUSED), negative (seconds that absence may be kept: an SOA record)
--   mute (no answer), garbage (bytes that are no message), cut (over UDP: the TC bit and nothing else)
--
-- A name that the zone lacks does not exist (NXDOMAIN). Each query is a line of LOG: "udp a back.test".

package.path = "spec/?.lua;" .. package.path

local bit = require("bit")
local poll = require("posix.poll").poll
local sys = require("posix.sys.socket")
local unistd = require("posix.unistd")

local zone_path, log_path, port_path = arg[1], arg[2], arg[3]

local TYPES = { a = 1, soa = 6, aaaa = 28, srv = 33, cname = 5 }
local NAMES = { [1] = "a", [28] = "aaaa", [33] = "srv" }

local function u16(n) return string.char(bit.rshift(n, 8), bit.band(n, 255)) end

local function u32(n) return u16(math.floor(n / 65536)) .. u16(n % 65536) end

local function read_u16(text, at) return text:byte(at) * 256 + text:byte(at + 1) end

local function encode_name(name)
  local out = {}
  for label in name:gmatch("[^.]+") do out[#out + 1] = string.char(#label) .. label end
  return table.concat(out) .. "\0"
end

local function encode_v6(text)
  local left, right = text:match("^(.-)::(.*)$")
  local function groups(part)
    local out = {}
    for group in (part or ""):gmatch("%x+") do out[#out + 1] = u16(tonumber(group, 16)) end
    return out
  end
  local head, tail = groups(left or text), groups(right)
  return table.concat(head) .. ("\0\0"):rep(8 - #head - #tail) .. table.concat(tail)
end

local ENCODERS = {
  a = function(value) return string.char(value:match("(%d+)%.(%d+)%.(%d+)%.(%d+)")) end,
  aaaa = encode_v6,
  srv = function(value) return u16(value[1]) .. u16(value[2]) .. u16(value[3]) .. encode_name(value[4]) end,
}

local function record(name, kind, ttl, data)
  return encode_name(name) .. u16(TYPES[kind]) .. u16(1) .. u32(ttl) .. u16(#data) .. data
end

local function soa(seconds)
  return record("test", "soa", seconds, encode_name("ns.test") .. encode_name("root.test") ..
    u32(1) .. u32(1) .. u32(1) .. u32(1) .. u32(seconds))
end

-- The name and type of a query, and its question as bytes.
local function parse(query)
  local labels, at = {}, 13
  while query:byte(at) ~= 0 do
    local size = query:byte(at)
    labels[#labels + 1] = query:sub(at + 1, at + size)
    at = at + size + 1
  end
  return table.concat(labels, "."):lower(), NAMES[read_u16(query, at + 1)], query:sub(13, at + 4)
end

local function answer(query, over)
  local name, kind, question = parse(query)
  local log = io.open(log_path, "ab")
  log:write(over, " ", tostring(kind), " ", name, "\n")
  log:close()
  local entry = dofile(zone_path)[name]
  local flags, rcode, answers, authority = 0x8180, 0, {}, {}
  if entry and entry.mute then return nil end
  if entry and entry.garbage then return query:sub(1, 2) .. "\129\128 this is no message" end
  if not entry then
    rcode = 3
  elseif entry.cut and over == "udp" then
    flags = flags + 0x0200
  elseif entry.rcode then
    rcode = entry.rcode
  else
    local owner = entry.cname or name
    for _, value in ipairs(kind and entry[kind] or {}) do
      answers[#answers + 1] = record(owner, kind, entry.ttl or 0, ENCODERS[kind](value))
    end
    if entry.cname and #answers > 0 then
      table.insert(answers, 1, record(name, "cname", entry.ttl or 0, encode_name(entry.cname)))
    end
  end
  if entry and entry.negative and #answers == 0 then authority[1] = soa(entry.negative) end
  return query:sub(1, 2) .. u16(flags + rcode) .. u16(1) .. u16(#answers) .. u16(#authority) .. u16(0) ..
    question .. table.concat(answers) .. table.concat(authority)
end

local function open()
  for _ = 1, 100 do
    local udp = assert(sys.socket(sys.AF_INET, sys.SOCK_DGRAM, 0))
    assert(sys.bind(udp, { family = sys.AF_INET, addr = "127.0.0.1", port = 0 }))
    local port = require("support.socket").local_port(udp)
    local tcp = assert(sys.socket(sys.AF_INET, sys.SOCK_STREAM, 0))
    sys.setsockopt(tcp, sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
    if sys.bind(tcp, { family = sys.AF_INET, addr = "127.0.0.1", port = port }) then
      assert(sys.listen(tcp, 16))
      return udp, tcp, port
    end
    unistd.close(udp)
    unistd.close(tcp)
  end
  error("no port is free for both UDP and TCP")
end

local streams = {} -- descriptors of TCP connections to what came over them

-- Answers the whole queries that have come; false when the peer has gone.
local function serve_stream(fd)
  local piece = sys.recv(fd, 4096)
  if not piece or piece == "" then return false end
  local buffer = streams[fd] .. piece
  while #buffer >= 2 and #buffer >= 2 + read_u16(buffer, 1) do
    local size = read_u16(buffer, 1)
    local reply = answer(buffer:sub(3, 2 + size), "tcp")
    if reply then sys.send(fd, u16(#reply) .. reply) end
    buffer = buffer:sub(3 + size)
  end
  streams[fd] = buffer
  return true
end

local function serve_datagram(fd)
  local query, from = sys.recvfrom(fd, 4096)
  local reply = query and answer(query, "udp")
  if reply then sys.sendto(fd, reply, from) end
end

local udp, tcp, port = open()
local file = io.open(port_path .. ".new", "wb")
file:write(port)
file:close()
os.rename(port_path .. ".new", port_path)

local function serve(fd)
  if fd == udp then
    serve_datagram(fd)
  elseif fd == tcp then
    local accepted = sys.accept(tcp)
    if accepted then streams[accepted] = "" end
  elseif not serve_stream(fd) then
    streams[fd] = nil
    unistd.close(fd)
  end
end

while true do
  local fds = { [udp] = { events = { IN = true } }, [tcp] = { events = { IN = true } } }
  for fd in pairs(streams) do fds[fd] = { events = { IN = true } } end
  poll(fds, -1)
  for fd in pairs(fds) do
    if fds[fd].revents.IN or fds[fd].revents.HUP then serve(fd) end
  end
end
