-- Memory of an idle keep-alive connection, and of a request that waits for its origin: the growth of the
-- gateway's resident memory over 5,000 connections that each did one request, or sent one to an origin that
-- never answers (2,000 of them), divided by their number.
--
-- Each sample has a gateway of its own, so that none finds memory which another round left behind. A
-- few connections come and go first, so that what is made once (buffers, the way to the origin, a
-- library's tables) is not charged. Not seen is what a gateway took at its start for the largest number
-- of connections it allows; the notes say how large it was then. Kernel memory is not counted.

local client = require "lib.client"
local process = require "lib.process"

local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

local COUNT = 5000
local WAITING = 2000
local WARM_UP = 20
local ROUNDS = 3
local HEADERS = { "User-Agent: bench", "Accept: */*" }
local SETTLE_DEADLINE = 2 -- seconds

local scenario = {
  figures = { "idle_connection.bytes", "idle_connection.nginx_bytes",
              "waiting_request.bytes", "waiting_request.nginx_bytes" },
}

-- Resident bytes once three looks 50 ms apart agree, or at the deadline.
local function settled_rss(server)
  local last, same = nil, 0
  local deadline = process.now() + SETTLE_DEADLINE
  repeat
    process.pause(0.05)
    local rss = process.rss(server.pid)
    same = rss == last and same + 1 or 0
    last = rss
  until same == 2 or process.now() > deadline
  return last
end

-- `open` makes so many connections, as client.open_idle does.
local function grow(bench, server, open, count)
  client.close(open(server.port, WARM_UP, HEADERS))
  local before = settled_rss(server)
  local fds = open(server.port, count, HEADERS)
  local ok, after = pcall(settled_rss, server)
  local closed = client.count_closed(fds)
  client.close(fds)
  if not ok then
    error(after, 0)
  end
  if closed > 0 then
    error(("%s: closed %d of %d connections"):format(server.name, closed, count), 0)
  end
  bench:note("%s: %d KiB, with %d connections %d KiB", server.name, before / 1024, count, after / 1024)
  return (after - before) / count
end

-- One sample of a gateway of its own; nil when there is no binary.
local function sample(bench, kind, template, origin, open, count)
  local server = bench:start(kind, template, { origin = origin })
  if not server then
    return nil
  end
  local bytes = grow(bench, server, open, count)
  process.stop(server.pid)
  return bytes
end

local function compare(bench, figure, origin, open, count)
  local ours, theirs = {}, {}
  for round = 1, ROUNDS do
    ours[round] = sample(bench, "tidegate", "tidegate_proxy.lua", origin, open, count)
    theirs[round] = sample(bench, "nginx", "nginx_proxy.conf", origin, open, count)
  end
  bench:report(figure .. ".nginx_bytes", "bytes", theirs)
  if bench.tidegate then
    bench:report(figure .. ".bytes", "bytes", ours)
  end
end

-- A port whose kernel takes connections and what they send, which nobody reads.
local function silent_port()
  local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
  assert(socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = 0 }))
  assert(socket.listen(fd, 2 * WAITING))
  return socket.getsockname(fd).port, fd
end

function scenario.run(bench)
  compare(bench, "idle_connection", bench:origin(), client.open_idle, COUNT)
  local port, fd = silent_port()
  local origin = bench:start("nginx", "silent_origin.conf",
    { name = "origin", core = bench.load_core, marks = { SILENT = tostring(port) } })
  compare(bench, "waiting_request", origin, client.open_waiting, WAITING)
  unistd.close(fd)
end

return scenario
