-- What a reload costs those who are served.
--
-- reload.loop_block_ms: with 100,000 routes of which each reload changes one, the longest that a reload held
-- the worker's loop: a client asks the one worker again and again, over one connection, from before the
-- reload until half a second after the new route is there (what is freed late counts too), and looks how much
-- CPU time the worker's thread took between two answers. reload.longest_wait_ms is what the client waited at
-- most in the meantime, reload.quiet_ms what it does without a reload: these tell of the machine as well,
-- since supervisor and keeper evaluate on the same two cores.
--
-- reload.lost_requests: 200 reloads under 64 connections, half of which change the chain of plugins, the
-- others something else; requests that failed in any way, and bytes that a tunnel (an upgraded connection
-- that is open throughout) lost. reload.memory_growth: resident memory of all processes after the last to
-- that after 20.

local client = require "lib.client"
local dirent = require "posix.dirent"
local load = require "lib.load"
local process = require "lib.process"
local signal = require "posix.signal"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

local RELOADS = 200
local FIRST_LOOK = 20
local LOAD_SECONDS = 45
local ROUTE_ROUNDS = 5
local AFTER = 0.5 -- seconds that the client goes on asking
local TAKEN = 60  -- seconds at most that a reload may take

local scenario = {
  figures = {
    "reload.loop_block_ms", "reload.longest_wait_ms", "reload.quiet_ms", "reload.lost_requests",
    "reload.memory_growth",
  },
}

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- ---- One changed route among many ----

-- CPU time of a thread so far, in ms.
local function thread_time(path)
  return tonumber(process.read(path):match("^%d+")) / 1e6
end

-- The thread that answers: the one that is busy while requests are sent.
local function find_worker(server, fd)
  local before, busiest, most = {}, nil, 0
  for round = 1, 2 do
    for _, one in ipairs(process.tree(server.pid)) do
      for task in dirent.files(("/proc/%d/task"):format(one.pid)) do
        local path = ("/proc/%d/task/%s/schedstat"):format(one.pid, task)
        if task:find("^%d+$") then
          local grown = thread_time(path) - (before[path] or 0)
          before[path] = before[path] or grown
          if round == 2 and grown > most then busiest, most = path, grown end
        end
      end
    end
    for _ = 1, 2000 do client.exchange(fd, client.request(server.port, "/")) end
  end
  return busiest
end

-- Asks until `over(status)` is true; the longest wait for an answer and the most CPU time that the worker
-- took for one, in ms.
local function longest(worker, fd, request, over)
  local wait, held = 0, 0
  local deadline = process.now() + TAKEN
  local cpu = thread_time(worker)
  repeat
    local before = process.now()
    local status = client.exchange(fd, request).status
    wait = math.max(wait, process.now() - before)
    local now = thread_time(worker)
    held, cpu = math.max(held, now - cpu), now
    if before > deadline then error("a reload was not taken over", 0) end
  until over(status)
  return wait * 1000, held
end

local function for_seconds(seconds)
  local ends = process.now() + seconds
  return function() return process.now() > ends end
end

-- Changes the route and reloads; what longest() says.
local function change_route(bench, server, worker, fd, round)
  local path = "/changed-" .. round
  local request = client.request(server.port, path)
  write(bench.dir .. "/changed-route", path)
  assert(signal.kill(server.pid, signal.SIGHUP))
  local wait, held = longest(worker, fd, request, function(status) return status == 200 end)
  local wait_after, held_after = longest(worker, fd, request, for_seconds(AFTER))
  return math.max(wait, wait_after), math.max(held, held_after)
end

local function measure_routes(bench)
  write(bench.dir .. "/changed-route", "/changed-0")
  local server = bench:start("tidegate", "tidegate_routes.lua", { core = false, deadline = TAKEN })
  local fd = assert(client.open(server.port))
  local worker = find_worker(server, fd)
  local waits, quiet, held = {}, {}, {}
  for round = 1, ROUTE_ROUNDS do
    quiet[round] = longest(worker, fd, client.request(server.port, "/"), for_seconds(2))
    waits[round], held[round] = change_route(bench, server, worker, fd, round)
  end
  unistd.close(fd)
  process.stop(server.pid)
  bench:report("reload.loop_block_ms", "ms", held)
  bench:report("reload.longest_wait_ms", "ms", waits)
  bench:report("reload.quiet_ms", "ms", quiet)
end

-- ---- Reloads under load ----

local function listen()
  local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
  assert(socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = 0 }))
  assert(socket.listen(fd, 8))
  return fd, socket.getsockname(fd).port
end

local function receive(fd, stop)
  local text = ""
  while not text:find(stop, 1, true) do
    local more = assert(socket.recv(fd, 4096))
    if more == "" then error("a tunnel has ended", 0) end
    text = text .. more
  end
  return text
end

-- A tunnel through the gateway: both ends.
local function open_tunnel(server, listener)
  local near = assert(client.open(server.port))
  socket.send(near, "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
  local far = assert(socket.accept(listener))
  receive(far, "\r\n\r\n")
  socket.send(far, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
  assert(receive(near, "\r\n\r\n"):find("^HTTP/1.1 101 "), "the tunnel was not opened")
  return near, far
end

-- A word each way.
local function use_tunnel(near, far, n)
  socket.send(near, ("ping %d\n"):format(n))
  socket.send(far, ("pong %d\n"):format(n))
  local lost = receive(far, "\n") == ("ping %d\n"):format(n) and 0 or 1
  return lost + (receive(near, "\n") == ("pong %d\n"):format(n) and 0 or 1)
end

local function lost_requests(found)
  local lost = 0
  for _, kind in ipairs { "connect", "read", "write", "status", "timeout" } do lost = lost + found[kind] end
  return lost
end

local function measure_load(bench)
  local listener, port = listen()
  write(bench.dir .. "/reload-step", "0")
  local server = bench:start("tidegate", "tidegate_reload.lua",
    { origin = bench:origin(), marks = { TUNNELS = tostring(port) } })
  local near, far = open_tunnel(server, listener)
  local running = load.begin(bench, server, { connections = load.CONNECTIONS, seconds = LOAD_SECONDS })
  local reload = { bench.tidegate, "reload", "--admin", "unix:" .. bench.dir .. "/reload-admin.sock" }
  local lost, first = 0, nil
  local began = process.now()
  for step = 1, RELOADS do
    write(bench.dir .. "/reload-step", tostring(step))
    process.run(reload, { dir = bench.dir, deadline = TAKEN })
    lost = lost + use_tunnel(near, far, step)
    if step == FIRST_LOOK then first = process.rss(server.pid) end
  end
  local last, took = process.rss(server.pid), process.now() - began
  local found = load.finish(running)
  bench:note("%d reloads in %.1f s, %d requests; %d KiB after %d, %d KiB after %d", RELOADS, took,
    found.requests, first / 1024, FIRST_LOOK, last / 1024, RELOADS)
  if took > LOAD_SECONDS then error("the load ended before the reloads", 0) end
  bench:report("reload.lost_requests", "requests", { lost + lost_requests(found) })
  bench:report("reload.memory_growth", "%", { (last - first) / first * 100 })
  for _, fd in ipairs { near, far, listener } do unistd.close(fd) end
end

function scenario.run(bench)
  if not bench.tidegate then return end
  measure_routes(bench)
  measure_load(bench)
end

return scenario
