--- A scripted origin for specs: it listens on a free loopback port and does what the spec says next.
--
--   local o = origin.listen()                        -- o.port goes into the gateway's config
--   c:send(...)                                      -- the client asks, the gateway connects to us
--   local conn = o:accept()                          -- deadline: 5 s
--   local request = conn:request()                   -- what the gateway sent: target, headers, raw
--   conn:reply({ status = 200, body = "hello" })     -- or conn:send(raw bytes), conn:reset(), ...
--
-- The spec plays client and origin in one thread, so the order of events is the order of lines.
-- An accepted connection is a stream (support.socket). The listener is closed after the spec, or
-- earlier by `close`; then connections to its port are refused.

local clock = require("support.clock")
local http = require("support.http")
local owned = require("support.owned")
local socket = require("support.socket")
local unistd = require("posix.unistd")

local origin = {}

local Origin = {}
Origin.__index = Origin

local Connection = setmetatable({}, { __index = socket.Stream })
Connection.__index = Connection

--- Opens a listener. @param options host, port (default: the kernel chooses), unix, backlog, rcvbuf
function origin.listen(options)
  local fd, port = socket.listen(options or {})
  local o = setmetatable({ fd = fd, port = port, accepted = 0 }, Origin)
  return owned.add(o, o.close)
end

--- The next connection; raises when none comes in time.
function Origin:accept(seconds)
  local conn, peer = socket.accept(self.fd, seconds, "origin")
  if not conn then
    error(("origin: no connection within %g s"):format((seconds or clock.default) * clock.patience), 2)
  end
  self.accepted = self.accepted + 1
  conn.peer = peer
  return setmetatable(conn, Connection)
end

--- True if no connection comes for `seconds` (default 50 ms, not stretched).
function Origin:idle(seconds)
  local conn = socket.accept(self.fd, (seconds or 0.05) / clock.patience, "origin")
  if conn then
    conn:close()
  end
  return not conn
end

--- Accepts one connection, reads its request and answers it. @return request, connection
function Origin:serve(response, seconds)
  local conn = self:accept(seconds)
  local request = conn:request(seconds)
  conn:reply(response or {})
  return request, conn
end

--- Stops listening: from now on connections are refused. Twice is fine.
function Origin:close()
  if self.fd then
    unistd.close(self.fd)
    self.fd = nil
    owned.remove(self)
  end
end

--- Reads exactly one request.
function Connection:request(seconds)
  return http.read_request(self, seconds)
end

--- Reads the head of one request and leaves its body unread.
function Connection:request_head(seconds)
  return http.read_request_head(self, seconds)
end

--- Sends a response (fields as in http.response).
function Connection:reply(message)
  return self:send(http.response(message))
end

return origin
