-- What a connection costs in memory: the growth of a gateway's resident memory over so many of them, divided
-- by their number.
--
-- Each sample has a gateway of its own, so that none finds memory which another round left behind. A
-- few connections come and go first, so that what is made once (buffers, the way to the origin, a
-- library's tables) is not charged. Not seen is what a gateway took at its start for the largest number
-- of connections it allows; the notes say how large it was then. Kernel memory is not counted.

local client = require "lib.client"
local process = require "lib.process"

local WARM_UP = 20
local ROUNDS = 3
local HEADERS = { "User-Agent: bench", "Accept: */*" }
local SETTLE_DEADLINE = 2 -- seconds

local connection_memory = {}

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

--- Measures Tidegate and nginx as plain proxies to `origin`, and reports FIGURE.bytes and .nginx_bytes.
-- @param open makes so many connections, as client.open_idle does
function connection_memory.compare(bench, figure, origin, open, count)
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

return connection_memory
