-- The benchmark program: finds the scenarios, runs those that were asked for, prints their figures.
--
--   luajit main.lua DIRECTORY-OF-THIS-FILE [NAME-PATTERN]        (called by ./run, which see)
--
-- Standard output holds "bench <name> <value> <unit>" lines and, as comments, the facts of the machine;
-- standard error holds notes for people. A scenario is a file in scenarios/ that returns
--
--   { figures = { "name", … },        all that it may print
--     run = function(bench) … end }   measures, and calls bench:report() for each figure
--
-- bench is this run's context: here (this directory), root (the repository), dir (a temporary
-- directory), tidegate (the binary, nil when missing), gateway_core and load_core, rounds and
-- seconds (of a measurement), note(), report(), origin(), start(). Scenarios run one after the
-- other in the order of their names; what one started is ended before the next begins, and all of
-- it on any way out. One that raises fails alone; its figures are named, the exit code is 1.
--
-- JIT compilation is off: signal handlers run from a hook, which compiled code would not notice.

require("jit").off()

local here, pattern = arg[1], arg[2] or ""
package.path = here .. "/?.lua;" .. package.path

local dirent = require "posix.dirent"
local process = require "lib.process"
local resource = require "posix.sys.resource"
local servers = require "lib.servers"
local stats = require "lib.stats"
local unistd = require "posix.unistd"

local EXIT_OK, EXIT_FAILED, EXIT_SKIPPED, EXIT_INTERRUPTED = 0, 1, 2, 130

local bench = {}

--- A note for people, on standard error.
function bench:note(format, ...) -- luacheck: ignore 212
  io.stderr:write("# ", format:format(...), "\n")
end

--- Prints a figure: the median of its samples, and as a note how far they lie apart.
function bench:report(name, unit, samples)
  if not self.declared[name] then
    error(name .. " is not among the scenario's figures", 0)
  end
  self.reported[name] = true
  if not name:find(self.pattern) then
    return
  end
  print(("bench %s %.3f %s"):format(name, stats.median(samples), unit))
  io.stdout:flush()
  local list = {}
  for i, sample in ipairs(samples) do
    list[i] = ("%.3f"):format(sample)
  end
  local whole, middle = stats.spread(samples)
  self:note("%s: spread %.1f %%, of the middle half %.1f %% (%s)", name, whole * 100, middle * 100,
    table.concat(list, " "))
end

--- Starts a gateway or peer; see lib/servers.lua.
function bench:start(kind, template, options)
  return servers.start(self, kind, template, options)
end

--- Starts an origin.
function bench:origin()
  return servers.origin(self)
end

-- A shell-like pattern as one of Lua's, to be found anywhere in a name.
local function lua_pattern(text)
  return (text:gsub("[%p]", "%%%0"):gsub("%%%*", ".*"):gsub("%%%?", "."))
end

-- The CPUs that this process may use: "0-1,4" is 0, 1 and 4.
local function allowed_cores()
  local list = process.read("/proc/self/status"):match("Cpus_allowed_list:%s*(%S+)")
  local cores = {}
  for first, last in list:gmatch("(%d+)%-?(%d*)") do
    for core = tonumber(first), tonumber(last) or tonumber(first) do
      cores[#cores + 1] = core
    end
  end
  return cores
end

local function scenario_names()
  local names = {}
  for file in dirent.files(here .. "/scenarios") do
    names[#names + 1] = file:match("^(.+)%.lua$")
  end
  table.sort(names)
  return names
end

local function wanted(scenario)
  for _, name in ipairs(scenario.figures) do
    if name:find(bench.pattern) then
      return true
    end
  end
  return false
end

local function first_line(text)
  return text and text:match("[^\n]+") or "unknown"
end

local function version_of(command)
  local pipe = io.popen(command .. " 2>&1", "r")
  local text = pipe:read("*a")
  pipe:close()
  return first_line(text)
end

local function print_facts()
  local cpu = (process.read("/proc/cpuinfo") or ""):match("model name%s*:%s*([^\n]+)")
  print("# kernel: " .. first_line(process.read("/proc/sys/kernel/osrelease")))
  print(("# cpu: %s, gateways on core %d, origin and load on core %d"):format(cpu or "unknown",
    bench.gateway_core, bench.load_core))
  print("# " .. version_of("nginx -v"))
  print("# " .. version_of("dpkg-query -W libnginx-mod-http-lua"))
  print("# " .. version_of("haproxy -v"))
  print("# " .. version_of("wrk -v"))
  print("# " .. version_of("strace -V"))
  print(("# method: %d rounds of %d s, interleaved, median"):format(bench.rounds, bench.seconds))
end

-- Fills in the context; raises when this machine cannot run benchmarks.
local function prepare()
  bench.here = here
  bench.root = here:gsub("/spec/bench$", "")
  bench.pattern = lua_pattern(pattern)
  bench.rounds = tonumber(os.getenv("BENCH_ROUNDS")) or 7
  bench.seconds = tonumber(os.getenv("BENCH_SECONDS")) or 3
  local cores = allowed_cores()
  bench.gateway_core = cores[1]
  bench.load_core = cores[2] or cores[1]
  if #cores < 2 then
    bench:note("one core only: gateway and load share it, compare nothing but the ratios")
  end
  local binary = os.getenv("TIDEGATE_BIN") or bench.root .. "/build/tidegate"
  if unistd.access(binary, "x") then
    bench.tidegate = binary
  else
    bench:note("no binary at %s: run make, or set TIDEGATE_BIN. Only the peers are measured", binary)
  end
  local hard = resource.getrlimit(resource.RLIMIT_NOFILE).rlim_max
  resource.setrlimit(resource.RLIMIT_NOFILE, { rlim_cur = hard, rlim_max = hard })
  bench.dir = process.make_directory()
end

-- Runs one scenario. Returns an exit code.
local function run_scenario(name, scenario)
  bench.declared, bench.reported = {}, {}
  for _, figure in ipairs(scenario.figures) do
    bench.declared[figure] = true
  end
  bench:note("-- %s", name)
  local ok, why = pcall(scenario.run, bench)
  process.stop_all()
  if not ok and why == "interrupted" then
    error(why, 0)
  end
  local code = EXIT_OK
  for _, figure in ipairs(scenario.figures) do
    if not bench.reported[figure] then
      local skipped = ok and not bench.tidegate
      code = skipped and EXIT_SKIPPED or EXIT_FAILED
      bench:note("%s: %s", figure, skipped and "skipped, there is no binary" or "FAILED")
    end
  end
  if not ok then
    bench:note("%s failed: %s", name, tostring(why))
    return EXIT_FAILED
  end
  return code
end

local function run_all()
  prepare()
  print_facts()
  local codes, count = {}, 0
  for _, name in ipairs(scenario_names()) do
    local scenario = require("scenarios." .. name)
    if wanted(scenario) then
      codes[run_scenario(name, scenario)] = true
      count = count + 1
    end
  end
  if count == 0 then
    bench:note("no figure's name contains '%s'", pattern)
    return EXIT_FAILED
  end
  return codes[EXIT_FAILED] and EXIT_FAILED or codes[EXIT_SKIPPED] and EXIT_SKIPPED or EXIT_OK
end

local began = process.now()
local ok, result = xpcall(run_all, function(why)
  return why == "interrupted" and why or debug.traceback(why, 2)
end)
process.stop_all()
if bench.dir then
  process.remove_directory(bench.dir)
end
if not ok then
  io.stderr:write("# ", result, "\n")
  os.exit(result == "interrupted" and EXIT_INTERRUPTED or EXIT_FAILED)
end
bench:note("done in %.0f s", process.now() - began)
os.exit(result)
