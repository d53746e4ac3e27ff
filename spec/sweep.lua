--- The allocation sweep of one unit test: every allocation made to fail in turn.
--
--   luajit spec/sweep.lua PROGRAM
--
-- The program (built with sanitizers, linked with spec/core/sweep.c) runs once to count its
-- allocations, then once for each of them with that one failing. Its assertions may fail then, since
-- what it asked for was refused; what must never happen is a crash, a sanitizer report, a failed
-- tg_assert, or a run that does not end. Leaks are not looked at, because a failing cmocka assertion
-- jumps over the test's own clean-up. A program with more than MAX_RUNS allocations is sampled evenly, and
-- a slow one more thinly: as many runs as fit into SWEEP_SECONDS (40) by the time of the first, MIN_RUNS at
-- least. Runs that fail end sooner than that one, so most sweeps stay well below.
--
-- Prints TAP: one result, named after the program, with the number of runs; the output of the first bad run
-- in full.

package.path = "./spec/?.lua;" .. package.path

local clock = require("support.clock")
local process = require("support.process")
local unistd = require("posix.unistd")

local MAX_RUNS = 400
local MIN_RUNS = 10
local BUDGET = tonumber(os.getenv("SWEEP_SECONDS")) or 40
local SECONDS = 20
local FIRST_SECONDS = 500 -- of the first run, in which a program may do sweeps of its own
local BAD = { "AddressSanitizer", "runtime error:", "tg_assert" }

local program = arg[1]
local scratch = os.tmpname()

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

-- Runs the program with these variables. Returns its status (nil: too slow) and output.
local function run(env, seconds)
  env.ASAN_OPTIONS = "detect_leaks=0:abort_on_error=0"
  local out = process.output(scratch)
  local argv = { "./" .. program }
  local child = process.spawn({ argv = argv, env = env, stdout = out, stderr = out, group = true })
  unistd.close(out)
  local status = child:wait(seconds)
  if not status then
    child:kill()
  end
  return status, read(scratch)
end

-- Why a run is bad, in words, or nil.
local function judge(status, output)
  if not status then
    return "did not end"
  elseif status.signal then
    return process.describe(status)
  end
  for _, report in ipairs(BAD) do
    if output:find(report, 1, true) then
      return report
    end
  end
end

local function sweep()
  local counted = os.tmpname()
  local began = clock.now()
  local whole, text = run({ TG_SWEEP_COUNT = counted }, FIRST_SECONDS)
  if not whole or whole.code ~= 0 then
    os.remove(counted)
    return nil, "without a failure: " .. process.describe(whole), text
  end
  local affordable = math.max(MIN_RUNS, math.min(MAX_RUNS, BUDGET / (clock.now() - began)))
  local count = tonumber(read(counted))
  os.remove(counted)
  if not count then
    return nil, "the program did not count its allocations", ""
  end
  local step = math.max(1, math.ceil(count / affordable))
  local runs = 0
  for at = 1, count, step do
    runs = runs + 1
    local status, output = run({ TG_SWEEP_AT = tostring(at) }, SECONDS)
    local problem = judge(status, output)
    if problem then
      return nil, ("allocation %d of %d failing: %s"):format(at, count, problem), output
    end
  end
  return ("%d of %d allocations failed in turn"):format(runs, count)
end

local summary, problem, output = sweep()
os.remove(scratch)
print("1..1")
if summary then
  print(("ok 1 - %s: %s"):format(program, summary))
else
  print(("not ok 1 - %s: %s"):format(program, problem))
  io.write("# ", (output:gsub("\n", "\n# ")), "\n")
end
os.exit(summary and 0 or 1)
