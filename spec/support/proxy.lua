--- A gateway that proxies everything to an origin which the spec plays: what the specs in spec/http
-- start from.
--
--   local p = proxy.start({ limits = 'request = { body = "1KiB" }' })
--   local c = p:connect()
--   c:send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
--   local conn = p.origin:accept()
--   ...
--   p:stop()                                  -- asserts a clean end, as gateway.stop does
--
-- One worker, so that the order of events is the order of lines. Options: limits (what stands in
-- settings.limits), listener, route, service (more fields of each, as text), settings (more of them),
-- more (whole statements), files and vars as for gateway.start.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")

local proxy = {}

local Proxy = {}
Proxy.__index = Proxy

local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1, limits = { %s }, %s }
tg.listener "http" { address = "127.0.0.1:@PORT@", %s }
tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, %s }
tg.route "all" { paths = { "/*" }, service = "back", %s }
%s
]]

--- Starts the gateway, and listens for it.
function proxy.start(options)
  options = options or {}
  local o = origin.listen()
  local origin_accept = o.accept
  local vars = { ORIGIN = o.port }
  for name, value in pairs(options.vars or {}) do
    vars[name] = value
  end
  local g = gateway.start({
    vars = vars,
    files = options.files,
    config = CONFIG:format(options.limits or "", options.settings or "", options.listener or "",
      options.service or "", options.route or "", options.more or ""),
  })
  local p = setmetatable({ gateway = g, origin = o, port = g.port, streams = {} }, Proxy)
  function o:accept(seconds)
    local conn = origin_accept(self, seconds)
    table.insert(p.streams, conn)
    return conn
  end
  return p
end

--- A new connection of a client.
function Proxy:connect(options)
  options = options or {}
  options.port = self.port
  local c = client.connect(options)
  table.insert(self.streams, c)
  return c
end

--- Sends raw bytes on a new connection and takes the one request that reaches the origin.
-- @return the client, the origin's connection, the request
function Proxy:exchange(raw)
  local c = self:connect()
  c:send(raw)
  local conn = self.origin:accept()
  return c, conn, conn:request()
end

--- What the origin gets for a request of these raw bytes; it is answered with an empty 200.
function Proxy:forwarded(raw)
  local c, conn, request = self:exchange(raw)
  conn:reply({ status = 200, headers = { Connection = "close" } })
  local response = c:response()
  if response.status ~= 200 then
    error(("expected status 200, got:\n%s"):format(response.raw), 2)
  end
  c:close()
  conn:close()
  return request
end

--- True when a request is answered: whatever happened before, the gateway still serves.
function Proxy:serves()
  return self:forwarded("GET /still-there HTTP/1.1\r\nHost: a\r\n\r\n").target == "/still-there"
end

--- The pid of the process that serves (the supervisor's child).
function Proxy:worker_pid()
  local pids = self.gateway:pids()
  return pids[2] or pids[1]
end

--- How many descriptors the serving process has open.
function Proxy:descriptors()
  local pipe = assert(io.popen(("ls /proc/%d/fd | wc -l"):format(self:worker_pid())))
  local count = pipe:read("*n")
  pipe:close()
  return count
end

--- Waits until no more descriptors are open than `before`: nothing was leaked. Fewer may be: what was
-- counted then may have held a connection that was about to close.
function Proxy:wait_for_descriptors(before)
  clock.wait_until(function()
    return self:descriptors() <= before
  end, 5, ("%d open descriptors, not %d"):format(before, self:descriptors()))
end

--- Memory of the serving process that is its own and not a file's, in bytes.
function Proxy:own_memory()
  local file = assert(io.open(("/proc/%d/status"):format(self:worker_pid())))
  local text = file:read("*a")
  file:close()
  return 1024 * tonumber(text:match("RssAnon:%s*(%d+)"))
end

--- Closes what is open on either side (exchanges would hold the drain up), stops the gateway and
-- asserts a clean end; the origin listens no more.
function Proxy:stop()
  for _, stream in ipairs(self.streams) do
    stream:close()
  end
  self.gateway:stop()
  self.origin:close()
end

return proxy
