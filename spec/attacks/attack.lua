--- Attacks on a gateway's memory, for specs and for the bench, beside a client that behaves well.
--
--   local result = attack.run { name = "slow_bodies", port = g.port, gateway = pid, seconds = 5, size = 500 }
--   result.served, result.lost        answers to the client that behaves, and what it did not get in time
--   result.newcomers                  the same of one that behaves and comes anew each time: served, lost
--   result.most                       most memory that the process had, in bytes
--   result.opened, result.closed      connections of the attackers, and how many the gateway ended
--   result.answered                   what the attackers were answered with 200, where the attack counts that
--
-- An attack is a function from (connection, now) to nothing: it is called for each of its connections
-- again and again and does what it does without ever waiting. Connections that the gateway ends are opened
-- anew, so the pressure stays. They come from 127.0.1.1 to 127.0.1.64, as of many clients; the one that
-- behaves well comes from 127.0.0.1, sends a request every 50 ms on a connection that it keeps, and opens
-- another when that was closed while nothing was under way on it, as browsers do. Another one comes every
-- half second, on a new connection.
--
-- Needs the configuration in attack.config.

local clock = require "support.clock"
local errno = require "posix.errno"
local fcntl = require "posix.fcntl"
local h2 = require "support.h2"
local poll = require "posix.poll"
local resource = require "posix.sys.resource"
local socket = require "posix.sys.socket"
local time = require "posix.time"
local unistd = require "posix.unistd"

local attack = {}

local PACE = 0.05 -- seconds between two requests of the client that behaves
local COMING = 0.5 -- seconds between two newcomers
local PATIENCE = 10 * clock.patience -- seconds that it waits for an answer before the request counts as lost
local SOURCES = 64
local OPEN_AT_ONCE = 200

--- What the attacks are made for. @PORT@ is to be replaced.
attack.config = [[
local tg = require "tidegate"
tg.settings {
  workers = 2, memory = "96MiB", log = { level = "warn" },
  limits = {
    connection = { head_timeout = "5s", read_rate = "200B", write_rate = "2KiB", rate_grace = "3s",
                   total = 20000, per_address = 20000 },
    request = { in_flight = 20000 },
  },
}
tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
tg.service "echo" { builtin = "echo" }
tg.route "well" { paths = { "/well" }, service = "echo" }
tg.route "echo" { paths = { "/echo" }, service = "echo" }
tg.route "large" { paths = { "/large" }, plugins = { tg.use "respond" { body = ("x"):rep(200000) } } }
tg.route "keys" { paths = { "/keys" }, plugins = { tg.use "respond" { body = "" },
  tg.use "rate-limit" { limits = { { key = "header:x-client", limit = 5, per = "1h" } } } } }
]]

local function now()
  local t = time.clock_gettime(time.CLOCK_MONOTONIC)
  return t.tv_sec + t.tv_nsec / 1e9
end

-- ---- Connections ----

local function open(port, from, receive_buffer)
  local fd = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
  if not fd then return nil end
  fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.O_NONBLOCK)
  if receive_buffer then socket.setsockopt(fd, socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer) end
  if from then socket.bind(fd, { family = socket.AF_INET, addr = from, port = 0 }) end
  local ok, _, code = socket.connect(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = port })
  if not ok and code ~= errno.EINPROGRESS then
    unistd.close(fd)
    return nil
  end
  return { fd = fd, next = 0, sent = 0 }
end

-- True as long as the connection is there: what it has sent is dropped, or given to `take`.
local function is_open(c, take)
  local bytes, _, code = socket.recv(c.fd, 65536)
  if not bytes then return code == errno.EAGAIN or code == errno.ENOTCONN end
  if take then take(c, bytes) end
  return #bytes > 0
end

local function send(c, bytes)
  local n = socket.send(c.fd, bytes)
  c.sent = c.sent + (n or 0)
  return n
end

-- ---- Attacks ----

local function every(seconds, first, again)
  return function(c, at)
    if at < c.next then return end
    c.next = at + seconds
    send(c, c.sent == 0 and first or again(c))
  end
end

local function const(bytes)
  return function() return bytes end
end

local POST = "POST /echo HTTP/1.1\r\nHost: a\r\n"
local MILLION = 1000000
local BATCH = 50 -- requests in one piece
local UNANSWERED = 100 -- requests of a connection that have no answer yet, at most
local client_number = 0

-- Requests of as many clients, none of which has been here before.
local function distinct_keys()
  local list = {}
  for i = 1, BATCH do
    client_number = client_number + 1
    list[i] = ("GET /keys HTTP/1.1\r\nHost: a\r\nX-Client: %d\r\n\r\n"):format(client_number)
  end
  return table.concat(list)
end

-- Pipelined, on connections that stay: what the kernel does not take goes out next time.
local function send_keys(c)
  c.asked, c.answered = c.asked or 0, c.answered or 0
  while c.asked - c.answered < UNANSWERED do
    c.rest = c.rest or distinct_keys()
    local n = send(c, c.rest)
    if not n then return end
    if n < #c.rest then
      c.rest = c.rest:sub(n + 1)
      return
    end
    c.rest, c.asked = nil, c.asked + BATCH
  end
end

local STATUS = "HTTP/1.1 200"

local function count_answers(c, bytes, result)
  local text = (c.tail or "") .. bytes
  local _, n = text:gsub(STATUS, "")
  c.tail = text:sub(-#STATUS + 1) -- less than one: nothing is counted twice
  c.answered, result.answered = (c.answered or 0) + n, result.answered + n
end

--- By name: size (connections of a minute's attack), step, and what else is special; with a goal it takes as
-- long as it needs to have so many answers, where the caller wants that.
attack.LIST = {
  slow_heads = { size = 8000, step = every(1, "GET / HTTP/1.1\r\nHost: a\r\nX: ", const "x") },
  slow_bodies = { size = 4000, step = every(1, POST .. "Content-Length: 100000\r\n\r\n", const "x") },
  slow_readers = { size = 1500, keeps = true, buffer = 2048,
                   step = every(3600, ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"):rep(4), const "") },
  many_keys = { size = 32, step = send_keys, take = count_answers, goal = MILLION },
  huge_headers = { size = 1000, step = every(0.02, "GET / HTTP/1.1\r\nHost: a\r\n", function(c)
    return ("X-%d: %s\r\n"):format(c.sent, ("h"):rep(2000))
  end) },
  tiny_chunks = { size = 500, step = every(0.01, POST .. "Transfer-Encoding: chunked\r\n\r\n",
                                           const(("1\r\nx\r\n"):rep(20))) },
  abandoned = { size = 10000, step = function() end },
}

--- In the order of a report.
attack.ORDER = { "slow_heads", "slow_bodies", "slow_readers", "many_keys", "huge_headers", "tiny_chunks",
                 "abandoned" }

local function step_h2(kind)
  local hello = h2.PREFACE .. h2.frame("SETTINGS", 0, 0, h2.settings(kind.settings))
  return function(c, at)
    if at < c.next then return end
    c.next = at + kind.every
    send(c, (c.sent == 0 and hello or "") .. kind.bytes(c))
  end
end

for name, kind in pairs(require "attacks.h2") do
  attack.LIST[name] = { size = kind.size, step = step_h2(kind) }
  attack.ORDER[#attack.ORDER + 1] = name
end
table.sort(attack.ORDER)

-- ---- The client that behaves ----

local Well = {}
Well.__index = Well
local REQUEST = "GET /well HTTP/1.1\r\nHost: a\r\n\r\n"

local function well_behaved(port, pace, is_new)
  return setmetatable({ port = port, pace = pace, is_new = is_new, next = 0,
                        served = 0, lost = 0, refused = 0, slowest = 0 }, Well)
end

function Well:close()
  if self.c then unistd.close(self.c.fd) end
  self.c = nil
end

function Well:connect(at)
  self:close()
  self.c, self.text, self.asked = open(self.port), "", false
  self.since = self.since or at
end

-- One step: asks when it is time, takes what has come, begins again where the connection was closed.
function Well:step(at)
  if not self.c and at < self.next then return end
  if not self.c then self:connect(at) end
  if not self.asked and at >= self.next and self.c then
    self.since = self.since or at
    self.asked = socket.send(self.c.fd, REQUEST) == #REQUEST
  end
  local bytes, _, code = socket.recv(self.c.fd, 65536)
  if bytes and #bytes > 0 then
    self.text = self.text .. bytes
    self:take(at)
  elseif bytes or (code ~= errno.EAGAIN and code ~= errno.ENOTCONN) then
    self:connect(at)
  end
  if self.since and at - self.since > PATIENCE then
    self.lost, self.since = self.lost + 1, nil
    self:connect(at)
  end
end

function Well:take(at)
  local _, head_end = self.text:find("\r\n\r\n", 1, true)
  local length = head_end and tonumber(self.text:match("[Cc]ontent%-[Ll]ength: (%d+)"))
  if not length or #self.text < head_end + length then return end
  local status = self.text:match("^HTTP/1.1 (%d+)")
  if status == "200" then
    self.served, self.slowest = self.served + 1, math.max(self.slowest, at - self.since)
    self.since, self.next = nil, at + self.pace
    if self.is_new then self:close() end
  else
    self.refused, self.next = self.refused + 1, at + 1 -- Retry-After; it is lost when that takes too long
  end
  self.text, self.asked = "", false
end

-- ---- The run ----

local function memory_of(pid)
  local file = io.open(("/proc/%d/status"):format(pid))
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return 1024 * tonumber(text:match "VmRSS:%s*(%d+)" or 0)
end

local function fill(set, kind, options, result)
  for _ = 1, OPEN_AT_ONCE do
    if #set >= options.size then return end
    local from = ("127.0.1.%d"):format(result.opened % SOURCES + 1)
    local c = open(options.port, from, kind.buffer)
    if not c then return end
    result.opened = result.opened + 1
    set[#set + 1] = c
  end
end

local function step_all(set, kind, at, result)
  local take = kind.take and function(c, bytes) kind.take(c, bytes, result) end
  for i = #set, 1, -1 do
    local c = set[i]
    if kind.keeps or is_open(c, take) then
      kind.step(c, at)
      if kind.keeps and c.sent > 0 and c.next > at + 10 and send(c, "G") == nil then c.gone = true end
    else
      c.gone = true
    end
    if c.gone then
      result.closed = result.closed + 1
      unistd.close(c.fd)
      set[i] = set[#set]
      set[#set] = nil
    end
  end
end

--- Runs one attack.
-- @param options name, port, gateway (pid), seconds, size, goal (answers, in place of the attack's own), and
-- reach: seconds that it may go on for its goal, and until the client that behaves has been served once;
-- without it `seconds` is all
function attack.run(options)
  local kind = attack.LIST[options.name]
  local goal = kind.goal and (options.goal or kind.goal)
  local bound = resource.getrlimit(resource.RLIMIT_NOFILE)
  resource.setrlimit(resource.RLIMIT_NOFILE, { rlim_cur = bound.rlim_max, rlim_max = bound.rlim_max })
  options.size = math.min(options.size or kind.size, bound.rlim_max - 200)
  local result = { opened = 0, closed = 0, most = 0, answered = 0 }
  local well, new = well_behaved(options.port, PACE), well_behaved(options.port, COMING, true)
  local set, began = {}, now()
  local at, turn = began, began
  local function goes_on()
    if at - began < options.seconds then return true end
    local short = well.served == 0 or goal and result.answered < goal
    return short and options.reach and at - began < options.reach
  end
  while goes_on() do
    if at >= turn then
      fill(set, kind, options, result)
      step_all(set, kind, at, result)
      result.most = math.max(result.most, memory_of(options.gateway))
      turn = now() + 0.01
    end
    well:step(now())
    new:step(now())
    poll.poll({ [well.c.fd] = { events = { IN = true } } }, 2)
    at = now()
  end
  for _, c in ipairs(set) do unistd.close(c.fd) end
  well:close()
  new:close()
  result.newcomers = { served = new.served, lost = new.lost, slowest = new.slowest }
  result.served, result.lost, result.refused = well.served, well.lost, well.refused
  result.slowest, result.held, result.seconds = well.slowest, #set, at - began
  return result
end

return attack
