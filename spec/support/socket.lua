--- Sockets for specs: raw bytes in and out, every wait with a deadline.
--
-- A stream is one connected socket, non-blocking underneath, with a buffer of bytes that came and
-- that nobody asked for yet. What a test expects of its peer is said by the call (`receive_until`,
-- `wait_end`); when it does not come in time, the call raises an error that shows what did come, so
-- a failing spec explains itself. Calls that ask instead of expect (`read`, `silent`, `offer`) return.
--
-- One thread plays client and origin at once: the kernel's socket buffers hold what one side sends
-- while the spec turns to the other. For bodies larger than those buffers use `socket.pump`.
--
-- Ownership: a stream owns its descriptor until close or reset; both may be called twice. Open streams
-- are registered in support.owned, which closes them after the spec that opened them.
--
-- Times are seconds and stretched by the patience of support.clock, except in `silent` and `offer`.

local clock = require("support.clock")
local errno = require("posix.errno")
local fcntl = require("posix.fcntl")
local ffi = require("ffi")
local owned = require("support.owned")
local poll = require("posix.poll").poll
local signal = require("posix.signal")
local sys = require("posix.sys.socket")
local unistd = require("posix.unistd")

-- A peer that closed early is a result that specs look at, not a reason to die.
signal.signal(signal.SIGPIPE, signal.SIG_IGN)

local SO_REUSEPORT = 15 -- Linux; lua-posix does not name it

local socket = {}

local Stream = {}
Stream.__index = Stream
socket.Stream = Stream

local function set_nonblocking(fd)
  fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.O_NONBLOCK)
  fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
end

local function address(options)
  if options.unix then
    return { family = sys.AF_UNIX, path = options.unix }
  end
  local host = options.host or "127.0.0.1"
  local family = host:find(":", 1, true) and sys.AF_INET6 or sys.AF_INET
  return { family = family, addr = host, port = options.port or 0 }
end

-- Debian 12's lua-posix passes a length to getsockname(2) that it never sets, so that now and then no
-- address comes back (its pull request 352); hence the call of our own. The port stands at the same
-- place for IPv4 and IPv6.
ffi.cdef("int getsockname(int fd, void *address, unsigned int *length);")

--- The port that a descriptor is bound to.
function socket.local_port(fd)
  local bytes, length = ffi.new("uint8_t[128]"), ffi.new("unsigned int[1]", 128)
  assert(ffi.C.getsockname(fd, bytes, length) == 0)
  return bytes[2] * 256 + bytes[3]
end

local function new_socket(family, options)
  local fd = assert(sys.socket(family, sys.SOCK_STREAM, 0))
  sys.setsockopt(fd, sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
  if options.rcvbuf then
    sys.setsockopt(fd, sys.SOL_SOCKET, sys.SO_RCVBUF, options.rcvbuf)
  end
  if options.sndbuf then
    sys.setsockopt(fd, sys.SOL_SOCKET, sys.SO_SNDBUF, options.sndbuf)
  end
  return fd
end

-- True when `fd` is ready for "IN" or "OUT" (errors count, the next call reports them) in time.
local function ready(fd, event, deadline)
  local count = poll({ [fd] = { events = { [event] = true } } }, clock.left(deadline))
  return (count or 0) > 0
end

--- Wraps a connected descriptor, which the stream owns from then on.
-- @param name words for error messages, such as "client"
function socket.wrap(fd, name)
  set_nonblocking(fd)
  local stream = setmetatable({ fd = fd, name = name, buffer = "" }, Stream)
  return owned.add(stream, stream.close)
end

--- Connects. @param options host (default 127.0.0.1), port, or unix (a path); from (a local address
-- to bind, for instance 127.0.0.2), rcvbuf, sndbuf (bytes), name, seconds
-- @return a stream, or nil and the reason ("Connection refused")
function socket.try_connect(options)
  local target = address(options)
  local fd = new_socket(target.family, options)
  if options.from then
    assert(sys.bind(fd, address({ host = options.from })))
  end
  local seconds = math.ceil((options.seconds or clock.default) * clock.patience)
  sys.setsockopt(fd, sys.SOL_SOCKET, sys.SO_SNDTIMEO, seconds, 0) -- Linux: bounds connect as well
  local done, problem, number = sys.connect(fd, target)
  if not done then
    unistd.close(fd)
    return nil, problem, number
  end
  if not options.unix then
    sys.setsockopt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
  end
  return socket.wrap(fd, options.name or "client")
end

--- As `try_connect`, but a refusal is an error.
function socket.connect(options)
  local stream, problem = socket.try_connect(options)
  if not stream then
    error(("cannot connect to %s: %s"):format(options.unix or options.port, problem), 2)
  end
  return stream
end

--- Opens a listening socket. @return descriptor, port (none for a path); raises when the address is taken
function socket.listen(options)
  local target = address(options)
  local fd = new_socket(target.family, options)
  local ok, problem = sys.bind(fd, target)
  if not ok then
    unistd.close(fd)
    error(("cannot listen on %s: %s"):format(options.unix or target.port, problem), 2)
  end
  assert(sys.listen(fd, options.backlog or 128))
  set_nonblocking(fd)
  return fd, not options.unix and socket.local_port(fd) or nil
end

--- Reserves a free loopback port: a socket with SO_REUSEPORT that is bound and never listens. The
-- kernel gives the port to nobody else who asks for any; who binds it by number with SO_REUSEPORT
-- gets it. @return descriptor (close it to give the port up), port
function socket.reserve_port()
  local fd = new_socket(sys.AF_INET, {})
  assert(sys.setsockopt(fd, sys.SOL_SOCKET, SO_REUSEPORT, 1))
  assert(sys.bind(fd, address({})))
  fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
  return fd, socket.local_port(fd)
end

--- A port of 127.0.0.1 on which connections are refused.
function socket.refusing_port()
  local fd, port = socket.reserve_port()
  owned.add({ fd }, function()
    unistd.close(fd)
  end)
  return port
end

--- An address of loopback of this process' own: for what takes its port by number and cannot share it.
function socket.own_address()
  local pid = unistd.getpid()
  return ("127.77.%d.%d"):format(pid / 256 % 256, pid % 256)
end

--- Takes one connection from a listening descriptor. @return stream and peer address, or nil in time
function socket.accept(listener, seconds, name)
  if not ready(listener, "IN", clock.deadline(seconds)) then
    return nil
  end
  local fd, peer = sys.accept(listener)
  if not fd then
    return nil
  end
  if peer.family ~= sys.AF_UNIX then
    sys.setsockopt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
  end
  return socket.wrap(fd, name or "origin"), peer
end

-- Bytes as one readable line: control characters as escapes, what is long cut short.
local function quote(bytes)
  local names = { ["\r"] = "\\r", ["\n"] = "\\n", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }
  local shown = bytes:sub(1, 2000):gsub('[%c"\\\128-\255]', function(byte)
    return names[byte] or ("\\x%02x"):format(byte:byte())
  end)
  return '"' .. shown .. (#bytes > 2000 and '"...' or '"')
end

local function excerpt(bytes)
  return ("%d bytes: %s"):format(#bytes, quote(bytes))
end

function Stream:fail(what, seconds, level)
  error(("%s: no %s within %g s; unread are %s"):format(self.name, what,
    (seconds or clock.default) * clock.patience, excerpt(self.buffer)), level + 1)
end

-- ---- Sending --------------------------------------------------------------------------------------

-- Sends what the kernel takes at once. Returns the count, or nil and "closed".
local function send_some(stream, bytes)
  local sent, _, number = sys.send(stream.fd, bytes)
  if sent then
    return sent
  elseif number == errno.EAGAIN then
    return 0
  end
  return nil, "closed"
end

--- Sends all bytes, or raises when the peer closes or takes them too slowly.
function Stream:send(bytes, seconds)
  local deadline = clock.deadline(seconds)
  local rest = bytes
  while #rest > 0 do
    local sent = send_some(self, rest:sub(1, 262144))
    if not sent then
      error(("%s: the peer closed with %d of %d bytes unsent"):format(self.name, #rest, #bytes), 2)
    end
    rest = rest:sub(sent + 1)
    if #rest > 0 and not ready(self.fd, "OUT", deadline) then
      self:fail(("room to send the last %d bytes"):format(#rest), seconds, 2)
    end
  end
  return self
end

--- Sends `bytes` in pieces of `size` (default 1), each in a segment of its own, with `gap` seconds
-- (default 1 ms) between them. Stops as soon as the peer answers or closes.
-- @return how many bytes went out
function Stream:send_slowly(bytes, size, gap)
  size, gap = size or 1, gap or 0.001
  for first = 1, #bytes, size do
    if not send_some(self, bytes:sub(first, first + size - 1)) then
      return first - 1
    end
    if ready(self.fd, "IN", clock.now() + gap) then
      return math.min(first + size - 1, #bytes)
    end
  end
  return #bytes
end

--- Sends `piece` over and over until the peer has taken nothing for `quiet` seconds, it closed, or
-- `limit` bytes went out: what back-pressure is measured with. @return how many bytes went out
function Stream:offer(piece, limit, quiet)
  local total = 0
  while total < limit do
    local first = total % #piece
    local last = math.min(#piece, first + limit - total)
    local sent = send_some(self, piece:sub(first + 1, last))
    if not sent then
      break
    end
    total = total + sent
    if sent == 0 and not ready(self.fd, "OUT", clock.now() + (quiet or 0.2)) then
      break
    end
  end
  return total
end

--- Ends our sending direction (a FIN); the peer may still send.
function Stream:half_close()
  sys.shutdown(self.fd, sys.SHUT_WR)
  return self
end

--- Closes. Twice is fine.
function Stream:close()
  if self.fd then
    unistd.close(self.fd)
    self.fd = nil
    owned.remove(self)
  end
end

--- Closes with a RST instead of a FIN.
function Stream:reset()
  if self.fd then
    sys.setsockopt(self.fd, sys.SOL_SOCKET, sys.SO_LINGER, 1, 0)
    self:close()
  end
end

-- ---- Receiving ------------------------------------------------------------------------------------

-- Reads what is there into the buffer. Returns true, or false and "closed", "reset" or "timeout".
local function fill(stream, deadline)
  if stream.how then
    return false, stream.how
  end
  if not ready(stream.fd, "IN", deadline) then
    return false, "timeout"
  end
  local bytes, _, number = sys.recv(stream.fd, 65536)
  if bytes and #bytes > 0 then
    stream.buffer = stream.buffer .. bytes
    return true
  elseif not bytes and number == errno.EAGAIN then
    return true
  end
  stream.how = bytes and "closed" or "reset"
  return false, stream.how
end

local function take(stream, count)
  local bytes = stream.buffer:sub(1, count)
  stream.buffer = stream.buffer:sub(count + 1)
  return bytes
end

--- Some bytes: those unread, or the next that come. @return bytes, or nil and "closed", "reset" or
-- "timeout"
function Stream:read(seconds)
  local deadline = clock.deadline(seconds)
  while self.buffer == "" do
    local more, how = fill(self, deadline)
    if not more then
      return nil, how
    end
  end
  return take(self, #self.buffer)
end

--- Bytes up to and including the wanted place.
-- @param wanted a plain string, or a function that gets all unread bytes and returns how many of
--   them to take, or nil for "not yet"
function Stream:receive_until(wanted, seconds, what)
  local deadline = clock.deadline(seconds)
  local find = wanted
  if type(wanted) == "string" then
    find = function(bytes)
      return select(2, bytes:find(wanted, 1, true))
    end
  end
  while true do
    local count = find(self.buffer)
    if count then
      return take(self, count)
    end
    local more, how = fill(self, deadline)
    if not more then
      what = what or (type(wanted) == "string" and quote(wanted)) or "expected bytes"
      if how == "timeout" then
        self:fail(what, seconds, 2)
      end
      error(("%s: the peer %s before %s; unread are %s"):format(self.name,
        how == "reset" and "reset" or "closed", what, excerpt(self.buffer)), 2)
    end
  end
end

--- Exactly `count` bytes.
function Stream:receive(count, seconds)
  return self:receive_until(function(bytes)
    return #bytes >= count and count or nil
  end, seconds, ("%d bytes"):format(count))
end

--- All bytes until the peer ends. @return bytes, "closed" or "reset"; raises when no end comes
function Stream:receive_rest(seconds)
  local deadline = clock.deadline(seconds)
  while true do
    local more, how = fill(self, deadline)
    if not more then
      if how == "timeout" then
        self:fail("end of the connection", seconds, 2)
      end
      return take(self, #self.buffer), how
    end
  end
end

--- Waits until the peer ends the connection without another byte. @return "closed" or "reset"
function Stream:wait_end(seconds)
  local rest, how = self:receive_rest(seconds)
  if #rest > 0 then
    error(("%s: bytes before the end: %s"):format(self.name, excerpt(rest)), 2)
  end
  return how
end

--- True if neither a byte nor an end comes for `seconds` (default 50 ms).
function Stream:silent(seconds)
  return self.buffer == "" and not self.how and not ready(self.fd, "IN", clock.now() + (seconds or 0.05))
end

-- ---- Large bodies ---------------------------------------------------------------------------------

--- Sends `piece` over and over into `from`, and takes what comes out of `into` at the same time.
-- @param options total (bytes to send), expect (bytes to receive; default total), piece (default
--   a letter), chunk (most bytes taken in one read, default 64 KiB; small ones make a
--   slow reader), each (called with every piece received), seconds (without any progress, default 5)
-- @return bytes sent, bytes received; less than asked when a side ended
function socket.pump(from, into, options)
  local piece = options.piece or "x"
  piece = piece:rep(math.ceil(65536 / #piece))
  local expect = options.expect or options.total
  local sent, received = 0, #into.buffer
  if options.each and received > 0 then
    options.each(into.buffer)
  end
  into.buffer = ""
  while received < expect do
    local fds = { [into.fd] = { events = { IN = true } } }
    if sent < options.total then
      fds[from.fd] = fds[from.fd] or { events = {} }
      fds[from.fd].events.OUT = true
    end
    if (poll(fds, clock.left(clock.deadline(options.seconds))) or 0) == 0 then
      error(("no progress: %d of %d bytes sent, %d of %d received"):format(sent, options.total,
        received, expect), 2)
    end
    local events = fds[from.fd] and fds[from.fd].revents
    if events and events.OUT then
      local first = sent % #piece
      local count = send_some(from, piece:sub(first + 1, first + math.min(#piece, options.total - sent)))
      if not count then
        break
      end
      sent = sent + count
    end
    events = fds[into.fd].revents
    if events.IN or events.HUP or events.ERR then
      local bytes, _, number = sys.recv(into.fd, options.chunk or 65536)
      if bytes and #bytes > 0 then
        received = received + #bytes
        if options.each then
          options.each(bytes)
        end
      elseif bytes or number ~= errno.EAGAIN then
        into.how = bytes and "closed" or "reset"
        break
      end
    end
  end
  return sent, received
end

return socket
