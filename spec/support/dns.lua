--- A DNS server for specs, on a free port of 127.0.0.1, over UDP and TCP.
--
--   local d = dns.start({ ["back.test"] = { a = { "127.0.0.2" }, ttl = 1 } })
--   -- settings { dns = { servers = { "127.0.0.1:@DNS@" } } } with vars = { DNS = d.port }
--   d:set("back.test", { a = { "127.0.0.3" } })       -- from the next query on
--   d:asked("a", "back.test")                         -- how often so far
--
-- What an entry may hold is told in support/dns_server.lua, which is a process of its own: the gateway
-- asks when it likes, while the spec does something else. Ended after the spec.

local clock = require("support.clock")
local literal = require("tidegate.test.literal")
local owned = require("support.owned")
local process = require("support.process")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local dns = {}

local Server = {}
Server.__index = Server

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

function Server:write()
  local path = self.dir .. "/zone.lua"
  local file = assert(io.open(path .. ".new", "wb"))
  file:write("return ", literal.write(self.zone), "\n")
  file:close()
  assert(os.rename(path .. ".new", path))
end

--- Changes what a name has; nil: it does not exist any more.
function Server:set(name, entry)
  self.zone[name] = entry
  self:write()
end

--- How often a name was asked for, by any protocol unless one ("udp", "tcp") is given.
function Server:asked(kind, name, over)
  local count = 0
  for line in (read(self.dir .. "/log") or ""):gmatch("[^\n]+") do
    local by, what, whom = line:match("^(%S+) (%S+) (%S+)$")
    if what == kind and whom == name and (not over or by == over) then count = count + 1 end
  end
  return count
end

--- Nobody answers any more. Twice is fine.
function Server:stop()
  if not self.process then return end
  self.process:kill()
  self.process = nil
  for _, name in ipairs({ "zone.lua", "log", "port" }) do os.remove(self.dir .. "/" .. name) end
  unistd.rmdir(self.dir)
  owned.remove(self)
end

function dns.start(zone)
  local self = setmetatable({ zone = zone or {}, dir = stdlib.mkdtemp("/tmp/tidegate-dns-XXXXXX") }, Server)
  self:write()
  self.process = process.spawn({
    argv = { "luajit", "spec/support/dns_server.lua", self.dir .. "/zone.lua", self.dir .. "/log",
             self.dir .. "/port" },
  })
  owned.add(self, self.stop)
  clock.wait_until(function() return read(self.dir .. "/port") end, 5, "the DNS server's port")
  self.port = tonumber(read(self.dir .. "/port"))
  return self
end

return dns
