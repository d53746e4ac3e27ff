--- The one runner: C unit tests, busted specs and fuzz targets, counted together.
--
--   luajit spec/run.lua [--jobs=N] [--timeout=SECONDS] [--quick] [--verbose] [--again] [--fuzz=SECONDS]
--     [--sweep] THING...
--
-- A THING is a program that the Makefile built (cmocka, or a fuzz driver with --fuzz), a spec file
-- (x_spec.lua), another Lua script that prints TAP (the checks in spec/lint), or a folder, in which
-- all spec files are found. The runner builds nothing; `make test`
-- does that first. --quick leaves out the specs that start a gateway process (they require
-- "support.gateway") and those tagged #slow. --sweep runs each program under spec/sweep.lua.
--
-- Each thing runs in a process of its own, in its own process group, --jobs of them at a time, with a
-- time limit; it tells its results in TAP. These count as failures too: a result line that is missing
-- (the program crashed or was killed), a bad exit status after good results (a sanitizer or a leak
-- found something), no results at all, and processes left behind. What a thing printed is shown in
-- full when it failed. A skipped test counts neither way.
--
-- With --again (or AGAIN=1 in the environment, as .ci/run has it) a spec file in which an assertion failed
-- runs once more, alone, after everything else, and the second run counts. It is named as unsteady before
-- the last line: a defect, of the spec or of the gateway, that somebody has to find. A crash, a report of a
-- sanitizer, a failed tg_assert and a run that did not end are never given a second chance.
--
-- The last line is "N passed, N failed"; the exit status is 1 if anything failed, 130 after Ctrl-C.

package.path = "./spec/?.lua;" .. package.path

local clock = require("support.clock")
local fcntl = require("posix.fcntl")
local poll = require("posix.poll").poll
local process = require("support.process")
local signal = require("posix.signal")
local unistd = require("posix.unistd")

local FINAL = { "Sanitizer", "runtime error:", "tg_assert" } -- what such a run says is never chance

local options = { jobs = 2, timeout = 120, again = os.getenv("AGAIN") == "1" }
local things = {}

-- busted's own start script, run by the LuaJIT of our choice instead of the one it names.
local busted_script
do
  local pipe = io.popen("command -v busted")
  busted_script = pipe:read("*l")
  pipe:close()
end

local function find_specs(folder)
  local command = "find '%s' -path '%s/browser' -prune -o -name '*_spec.lua' -print | LC_ALL=C sort"
  local pipe = io.popen(command:format(folder, folder)) -- spec/browser: make browser
  for path in pipe:lines() do
    table.insert(things, path)
  end
  pipe:close()
end

local function mentions(path, words)
  local file = io.open(path)
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text:find(words, 1, true) ~= nil
end

-- By itself, or by a helper of spec/ that it requires.
local function needs_gateway(path)
  if mentions(path, "support.gateway") then return true end
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  for name in text:gmatch("require%s*%(?%s*[\"']([%w_.]+)[\"']") do
    local helper = "spec/" .. name:gsub("%.", "/") .. ".lua"
    local found = io.open(helper)
    if found then
      found:close()
      if mentions(helper, "support.gateway") then return true end
    end
  end
  return false
end

-- Specs of plugins and of gateways in the process run in the program itself.
local function needs_program(path)
  return mentions(path, 'require "tidegate.test"')
end

local function parse_arguments(arguments)
  for _, argument in ipairs(arguments) do
    local name, value = argument:match("^%-%-(%l+)=?(.*)$")
    if name then
      options[name] = tonumber(value) or true
    elseif argument:match("_spec%.lua$") or os.execute(("test -d '%s'"):format(argument)) ~= 0 then
      table.insert(things, argument)
    else
      find_specs(argument)
    end
  end
end

local function command(thing)
  if thing:match("_spec%.lua$") then
    local argv = { "luajit", busted_script, "--ignore-lua", "--output=support.tap" }
    if needs_program(thing) then
      argv = { os.getenv("TIDEGATE_BIN"), "test", "--output=support.tap" }
    end
    if options.quick then
      table.insert(argv, "--exclude-tags=slow")
    end
    table.insert(argv, thing)
    return argv
  end
  if thing:match("%.lua$") then
    return { "luajit", thing }
  elseif options.sweep then
    return { "luajit", "spec/sweep.lua", thing }
  elseif not options.fuzz then
    return { "./" .. thing }
  end
  local name = thing:match("([^/]+)_fuzz$")
  local found, seeds = "build/fuzz/corpus/" .. name, "spec/fuzz/corpus/" .. name
  os.execute(("mkdir -p '%s' '%s' build/fuzz/artifacts"):format(found, seeds))
  return { "./" .. thing, "-max_total_time=" .. options.fuzz, "-timeout=10", "-rss_limit_mb=1024",
    "-print_final_stats=1", "-artifact_prefix=build/fuzz/artifacts/" .. name .. "-", found, seeds }
end

local function start(thing)
  local read_end, write_end = unistd.pipe()
  fcntl.fcntl(read_end, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
  fcntl.fcntl(read_end, fcntl.F_SETFL, fcntl.O_NONBLOCK)
  fcntl.fcntl(write_end, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
  local limit = options.timeout + (options.fuzz and options.fuzz / clock.patience or 0)
  local run = {
    thing = thing,
    fd = read_end,
    output = {},
    started = clock.now(),
    deadline = clock.deadline(limit),
    process = process.spawn({
      argv = command(thing),
      stdout = write_end,
      stderr = write_end,
      group = true,
      env = { CMOCKA_MESSAGE_OUTPUT = "TAP" },
    }),
  }
  unistd.close(write_end)
  return run
end

local function drain(run)
  while true do
    local bytes = unistd.read(run.fd, 65536)
    if not bytes or bytes == "" then
      return
    end
    table.insert(run.output, bytes)
  end
end

-- Counts the results in TAP output. `missing` is how many of the announced ones ("1..N", possibly
-- several times) did not come; output without any announcement misses one.
local function count(text)
  local passed, failed, skipped, planned = 0, 0, 0, nil
  for line in text:gmatch("[^\n]+") do
    local plan = line:match("^1%.%.(%d+)%s*$")
    if plan then
      planned = (planned or 0) + tonumber(plan)
    elseif line:match("^[not ]*ok %d+.*# SKIP") then
      skipped = skipped + 1
    elseif line:match("^ok %d+") then
      passed = passed + 1
    elseif line:match("^not ok %d+") then
      failed = failed + 1
    end
  end
  local missing = planned and math.max(planned - passed - failed - skipped, 0) or 1
  return passed, failed, missing
end

-- The problem with a run beyond its own failures, in words, or nil.
local function judge(run, failed, missing)
  local status = run.process.status
  if run.timed_out then
    return ("stopped at its time limit of %d s"):format(run.deadline - run.started)
  elseif run.left_behind then
    return "left processes behind"
  elseif missing > 0 and failed == 0 then
    return ("ended (%s) with %d results missing"):format(process.describe(status), missing)
  elseif status.signal or (status.code ~= 0 and failed == 0) then
    return "ended with " .. process.describe(status)
  end
end

-- Whether nothing but assertions of a spec failed.
local function may_be_chance(run, text, problem)
  for _, words in ipairs(FINAL) do
    if text:find(words, 1, true) then
      return false
    end
  end
  return not problem and run.thing:match("_spec%.lua$") ~= nil
end

-- Shows what became of a run. Returns how many passed and failed, and whether it may be run again.
local function finish(run)
  drain(run)
  unistd.close(run.fd)
  local text = table.concat(run.output)
  local passed, failed, missing
  if options.fuzz then
    passed, failed, missing = run.process.status.code == 0 and 1 or 0, 0, 0
  else
    passed, failed, missing = count(text)
  end
  local problem = judge(run, failed, missing)
  if problem then
    failed = failed + 1
  end
  local good = failed == 0
  print(("%-4s %-50s %4d passed%s %6.2f s"):format(good and "ok" or "FAIL", run.thing, passed,
    good and "" or (", %d failed"):format(failed), clock.now() - run.started))
  if not good or options.verbose then
    io.write(text, text:match("\n$") and "" or "\n")
    print(problem and ("---- %s %s"):format(run.thing, problem) or "----")
  end
  io.flush()
  return passed, failed, not good and may_be_chance(run, text, problem)
end

-- True when the run has ended; one past its deadline is ended here.
local function ended(run)
  if run.process:poll() then
    run.left_behind = run.process:left_behind()
    if run.left_behind then
      run.process:kill()
    end
    return true
  end
  if clock.now() > run.deadline then
    run.timed_out = true
    run.process:kill()
    return true
  end
  return false
end

local function wait_for_output(running)
  local fds = {}
  for _, run in ipairs(running) do
    if not run.closed then
      fds[run.fd] = { events = { IN = true } }
    end
  end
  poll(fds, 20)
  for _, run in ipairs(running) do
    local got = fds[run.fd] and fds[run.fd].revents
    if got and got.IN then
      drain(run)
    elseif got and (got.HUP or got.ERR) then
      run.closed = true
    end
  end
end

-- Ctrl-C does not reach processes in groups of their own, so the runner ends them itself.
local interrupted = false
for _, name in ipairs({ "SIGINT", "SIGTERM" }) do
  signal.signal(signal[name], function()
    interrupted = true
  end)
end

local function give_up(running)
  for _, run in ipairs(running) do
    run.process:kill()
  end
  print("interrupted")
  os.exit(130)
end

-- Runs all of the list, so many at a time. Returns how many passed and failed, without those of the
-- things that may be run again; these are the third result.
local function run_all(list, jobs)
  local passed, failed, again = 0, 0, {}
  local next_thing, running = 1, {}
  while next_thing <= #list or #running > 0 do
    while #running < jobs and next_thing <= #list do
      table.insert(running, start(list[next_thing]))
      next_thing = next_thing + 1
    end
    wait_for_output(running)
    if interrupted then
      give_up(running)
    end
    for i = #running, 1, -1 do
      if ended(running[i]) then
        local run = table.remove(running, i)
        local run_passed, run_failed, chance = finish(run)
        if options.again and chance then
          table.insert(again, run.thing)
        else
          passed, failed = passed + run_passed, failed + run_failed
        end
      end
    end
  end
  return passed, failed, again
end

local function chosen()
  local list = {}
  for _, thing in ipairs(things) do
    if not (options.quick and thing:match("_spec%.lua$") and needs_gateway(thing)) then
      table.insert(list, thing)
    end
  end
  return list
end

local function main()
  parse_arguments(arg)
  local passed, failed, unsteady = run_all(chosen(), options.jobs)
  if #unsteady > 0 then
    options.again = false
    print("once more, alone:")
    local more_passed, more_failed = run_all(unsteady, 1)
    passed, failed = passed + more_passed, failed + more_failed
    print("unsteady, failed the first time: " .. table.concat(unsteady, " "))
  end
  if passed + failed == 0 then
    print("nothing was run")
    failed = 1
  end
  print(("%d passed, %d failed"):format(passed, failed))
  os.exit(failed == 0 and 0 or 1)
end

main()
