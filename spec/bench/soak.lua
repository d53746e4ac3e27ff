-- The soak: a leaking, a spinning and an allocating plugin for ten minutes beside a well-behaved route, on
-- one worker.
--
--   luajit spec/bench/soak.lua [SECONDS]        (600; build/tidegate or TIDEGATE_BIN; needs nginx and wrk)
--
-- Every few seconds it prints the process's memory and what was answered. It fails (exit code 1) when
--
--   - a request of the well-behaved route is lost: an error, a wrong status, a wrong size
--   - the process grows past BOUND above what it had after the first quarter minute, or is replaced
--   - memory still grows at the end: its median in the last third lies GROWTH above the second's
--   - a plugin was not stopped: one of its requests was answered 200 where it should have been killed
--
-- The memory that may grow is that of four VMs of 8 MiB, each with its successor while it is made anew after
-- kills. This is no benchmark: it runs where it likes, beside whatever else runs.

package.path = "spec/bench/?.lua;" .. package.path
require("jit").off()

local load = require "lib.load"
local process = require "lib.process"
local servers = require "lib.servers"
local stats = require "lib.stats"

local BOUND = 64 * 2 ^ 20
local GROWTH = 4 * 2 ^ 20
local WARM_UP, PERIOD = 15, 5

local seconds = tonumber(arg[1]) or 600
local bench = {
  here = "spec/bench", dir = process.make_directory(),
  tidegate = os.getenv("TIDEGATE_BIN") or "build/tidegate",
}

local function say(format, ...)
  print(format:format(...))
  io.stdout:flush()
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or io.popen("pwd"):read("*l") .. "/" .. path
end

-- The gateway process: the supervisor's only child.
local function gateway_of(server)
  return process.read(("/proc/%d/task/%d/children"):format(server.pid, server.pid))
end

local function watch(server, samples)
  local began, first, gateway = process.now(), nil, gateway_of(server)
  while process.now() - began < seconds do
    process.pause(PERIOD)
    local now, memory = process.now() - began, process.rss(server.pid)
    if gateway_of(server) ~= gateway then
      error("the gateway process was replaced", 0)
    end
    if now >= math.min(WARM_UP, seconds / 3) then
      first = first or memory
      samples[#samples + 1] = memory
    end
    say("%4.0f s: %.1f MiB, %.1f s of CPU time", now, memory / 2 ^ 20, process.cpu(server.pid))
    if first and memory - first > BOUND then
      error(("%.1f MiB above what it had"):format((memory - first) / 2 ^ 20), 0)
    end
  end
end

local function median_of(samples, from, to)
  local part = {}
  for i = math.floor(from * #samples) + 1, math.floor(to * #samples) do
    part[#part + 1] = samples[i]
  end
  return stats.median(part)
end

local function judge_memory(samples)
  local middle, last = median_of(samples, 1 / 3, 2 / 3), median_of(samples, 2 / 3, 1)
  say("memory: %.1f MiB in the second third, %.1f MiB in the last", middle / 2 ^ 20, last / 2 ^ 20)
  if last - middle > GROWTH then
    error("memory still grows", 0)
  end
end

-- The well-behaved loses nothing; who spins and who allocates is killed each time; who leaks is stopped now
-- and then, and served otherwise.
local function judge_answers(found)
  local lost = 0
  for name, counts in pairs(found) do
    local broken = counts.connect + counts.read + counts.write + counts.timeout
    say("%-10s %8d requests, %d with an error status, %d broken, p99 %.1f ms", name, counts.requests,
      counts.status, broken, counts.p99_us / 1000)
    lost = lost + broken + (name == "well" and counts.status or 0)
    if (name == "spinning" or name == "allocating") and counts.status ~= counts.requests then
      error(("%s: %d of %d requests were stopped"):format(name, counts.status, counts.requests), 0)
    end
    if counts.requests == 0 then
      error(name .. ": nothing was answered", 0)
    end
  end
  if lost > 0 then
    error(("%d requests were lost"):format(lost), 0)
  end
end

local function soak()
  bench.here = absolute(bench.here)
  bench.tidegate = absolute(bench.tidegate)
  local origin = servers.origin(bench)
  local server = servers.start(bench, "tidegate", "tidegate_soak.lua", { origin = origin })
  local paths = { well = "/", leaking = "/leak", spinning = "/spin", allocating = "/alloc" }
  local running = {}
  for name, path in pairs(paths) do
    local connections = name == "well" and 16 or 2
    running[name] = load.begin(bench, server,
      { path = path, connections = connections, seconds = seconds })
  end
  local samples, found = {}, {}
  watch(server, samples)
  for name in pairs(paths) do
    found[name] = load.finish(running[name])
  end
  judge_answers(found)
  judge_memory(samples)
end

local ok, why = pcall(soak)
process.stop_all()
process.remove_directory(bench.dir)
say("%s", ok and "soak: passed" or "soak: FAILED: " .. tostring(why))
os.exit(ok and 0 or 1)
