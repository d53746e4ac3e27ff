-- Memory of an idle keep-alive connection: the growth of the gateway's resident memory over 5,000
-- connections that each did one request, divided by their number.
--
-- Each sample has a gateway of its own, so that none finds memory which another round left behind. A
-- few connections come and go first, so that what is made once (buffers, the way to the origin, a
-- library's tables) is not charged. Not seen is what a gateway took at its start for the largest number
-- of connections it allows; the notes say how large it was then. Kernel memory is not counted.

local client = require "lib.client"
local process = require "lib.process"

local COUNT = 5000
local WARM_UP = 20
local ROUNDS = 3
local HEADERS = { "User-Agent: bench", "Accept: */*" }
local SETTLE_DEADLINE = 2 -- seconds

local scenario = {
  figures = { "idle_connection.bytes", "idle_connection.nginx_bytes" },
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

local function grow(bench, server)
  client.close(client.open_idle(server.port, WARM_UP, HEADERS))
  local before = settled_rss(server)
  local fds = client.open_idle(server.port, COUNT, HEADERS)
  local ok, after = pcall(settled_rss, server)
  local closed = client.count_closed(fds)
  client.close(fds)
  if not ok then
    error(after, 0)
  end
  if closed > 0 then
    error(("%s: closed %d of %d idle connections"):format(server.name, closed, COUNT), 0)
  end
  bench:note("%s: %d KiB, with %d idle connections %d KiB", server.name, before / 1024, COUNT,
    after / 1024)
  return (after - before) / COUNT
end

-- One sample of a gateway of its own; nil when there is no binary.
local function sample(bench, kind, template, origin)
  local server = bench:start(kind, template, { origin = origin })
  if not server then
    return nil
  end
  local bytes = grow(bench, server)
  process.stop(server.pid)
  return bytes
end

function scenario.run(bench)
  local origin = bench:origin()
  local ours, theirs = {}, {}
  for round = 1, ROUNDS do
    ours[round] = sample(bench, "tidegate", "tidegate_proxy.lua", origin)
    theirs[round] = sample(bench, "nginx", "nginx_proxy.conf", origin)
  end
  bench:report("idle_connection.nginx_bytes", "bytes", theirs)
  if bench.tidegate then
    bench:report("idle_connection.bytes", "bytes", ours)
  end
end

return scenario
