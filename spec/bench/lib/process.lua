-- Processes: start them, add up what they cost, end them.
--
-- Every process started here leads a session of its own, so its whole tree (workers, supervisors,
-- threads) is found again by session or by ancestry, whichever survives a fork. The kernel sends it
-- SIGTERM should this program die first, and stop() ends the tree by pid, each pid checked by its
-- start time so that a number that the kernel gave to somebody else is never signalled.
--
-- CPU time is utime + stime of every process of the tree, threads included (/proc/PID/stat adds
-- them up), plus cutime + cstime: what children cost that have ended and been waited for. A tick
-- is 10 ms, though the kernel scales the sum by its exact run time, so an interval is off by a tick
-- at most. Cost of a look: one pass over /proc, some milliseconds, outside of the measured load.
--
-- All waiting goes through pause(), which raises "interrupted" after SIGINT or SIGTERM; main.lua
-- catches it and cleans up.

local dirent = require "posix.dirent"
local fcntl = require "posix.fcntl"
local ffi = require "ffi"
local signal = require "posix.signal"
local stat = require "posix.sys.stat"
local time = require "posix.time"
local unistd = require "posix.unistd"
local wait = require "posix.sys.wait"
local posix = require "posix"

ffi.cdef "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);"

local PR_SET_PDEATHSIG = 1
local TICKS_PER_SECOND = unistd.sysconf(unistd._SC_CLK_TCK)
local STOP_DEADLINE = 5 -- seconds between SIGTERM and SIGKILL

local process = {}

local started = {} -- pid -> true: ours, not yet waited for
local interrupted = false

local function on_signal()
  interrupted = true
end

signal.signal(signal.SIGINT, on_signal)
signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGPIPE, signal.SIG_IGN)

--- Seconds on the monotonic clock.
function process.now()
  local t = time.clock_gettime(time.CLOCK_MONOTONIC)
  return t.tv_sec + t.tv_nsec / 1e9
end

--- Waits some seconds; raises when the user interrupted the run.
function process.pause(seconds)
  time.nanosleep { tv_sec = math.floor(seconds), tv_nsec = (seconds % 1) * 1e9 }
  if interrupted then
    error("interrupted", 0)
  end
end

--- Polls ready() every 10 ms until it returns a true value, which is returned; nil after the deadline.
function process.wait_until(seconds, ready)
  local deadline = process.now() + seconds
  repeat
    local value = ready()
    if value then
      return value
    end
    process.pause(0.01)
  until process.now() > deadline
  return nil
end

--- A file's whole content, or nil: files in /proc come and go.
function process.read(path)
  local file = io.open(path, "r")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

local function redirect(fd, path)
  local file = fcntl.open(path, fcntl.O_WRONLY + fcntl.O_CREAT + fcntl.O_TRUNC, tonumber("644", 8))
  if file then
    unistd.dup2(file, fd)
    unistd.close(file)
  end
end

-- In the child: never returns.
local function become(argv, options)
  posix.setpid("s")
  ffi.C.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
  for _, number in ipairs { signal.SIGINT, signal.SIGTERM, signal.SIGPIPE } do
    signal.signal(number, signal.SIG_DFL)
  end
  redirect(unistd.STDOUT_FILENO, options.stdout or "/dev/null")
  redirect(unistd.STDERR_FILENO, options.stderr or "/dev/null")
  local rest = {}
  for i = 2, #argv do
    rest[#rest + 1] = argv[i]
  end
  unistd.execp(argv[1], rest)
  unistd._exit(127)
end

--- Starts argv (found through PATH) and returns its pid. options: stdout, stderr (paths of files),
-- core (the one CPU it may use).
function process.spawn(argv, options)
  if options.core then
    argv = { "taskset", "-c", tostring(options.core), unpack(argv) }
  end
  io.stdout:flush()
  local pid, why = unistd.fork()
  if not pid then
    error("cannot fork: " .. why, 0)
  end
  if pid == 0 then
    become(argv, options)
  end
  started[pid] = true
  return pid
end

--- nil while pid runs; afterwards "exited" or "killed", and the status or signal. Waits for nothing.
function process.ended(pid)
  if not started[pid] then
    return "exited", 0
  end
  local got, how, code = wait.wait(pid, wait.WNOHANG)
  if got == pid then
    started[pid] = nil
    return how, code
  end
  return nil
end

-- What /proc/PID/stat says of one process, or nil when it has gone. Field numbers as in proc(5);
-- the name (field 2) may hold anything, hence the match up to the last parenthesis.
local function look(pid)
  local line = process.read("/proc/" .. pid .. "/stat")
  local rest = line and line:match("^.*%) (.*)$")
  if not rest then
    return nil
  end
  local field, n = {}, 2
  for word in rest:gmatch("%S+") do
    n = n + 1
    field[n] = tonumber(word) or word
  end
  return {
    pid = pid,
    state = field[3],
    parent = field[4],
    session = field[6],
    ticks = field[14] + field[15] + field[16] + field[17],
    start = field[22],
  }
end

local function belongs(all, one, root)
  if one.session == root then
    return true
  end
  while one do
    if one.pid == root then
      return true
    end
    one = all[one.parent]
  end
  return false
end

--- The processes of the tree below (and with) root: a list of { pid, ticks, start, … }.
function process.tree(root)
  local all, members = {}, {}
  for name in dirent.files("/proc") do
    local pid = name:match("^%d+$") and tonumber(name)
    all[pid or 0] = pid and look(pid)
  end
  for _, one in pairs(all) do
    if belongs(all, one, root) then
      members[#members + 1] = one
    end
  end
  return members
end

--- CPU time that the tree below root has used so far, in seconds.
function process.cpu(root)
  local ticks = 0
  for _, one in ipairs(process.tree(root)) do
    ticks = ticks + one.ticks
  end
  return ticks / TICKS_PER_SECOND
end

--- Resident memory of the tree below root, in bytes (shared pages count in each process).
function process.rss(root)
  local total = 0
  for _, one in ipairs(process.tree(root)) do
    local rollup = process.read("/proc/" .. one.pid .. "/smaps_rollup")
    local kib = rollup and rollup:match("\nRss:%s+(%d+) kB")
    if not kib then
      error("cannot read /proc/" .. one.pid .. "/smaps_rollup: run as the owner of the process", 0)
    end
    total = total + tonumber(kib) * 1024
  end
  return total
end

-- Those of members that still run. A zombie is over: whether its new parent ever waits for it is not
-- our affair (some containers' first process never does).
local function still_there(members)
  local alive = {}
  for _, one in ipairs(members) do
    local now = look(one.pid)
    if now and now.start == one.start and now.state ~= "Z" then
      alive[#alive + 1] = one
    end
  end
  return alive
end

--- Ends the tree below pid: SIGTERM (or the signal given) to its root, SIGKILL to what is left
-- after the deadline. Works during an interruption too, so it does not use pause().
function process.stop(pid, first)
  if process.ended(pid) then
    return
  end
  local members = process.tree(pid)
  signal.kill(pid, first or signal.SIGTERM)
  local deadline = process.now() + STOP_DEADLINE
  repeat
    time.nanosleep { tv_sec = 0, tv_nsec = 5e6 }
    process.ended(pid)
    members = still_there(members)
  until #members == 0 or process.now() > deadline
  for _, one in ipairs(members) do
    signal.kill(one.pid, signal.SIGKILL)
  end
  if started[pid] then
    wait.wait(pid)
    started[pid] = nil
  end
end

--- Ends everything that is still running.
function process.stop_all()
  for pid in pairs(started) do
    process.stop(pid)
  end
end

--- Runs argv to its end and returns its standard output. Raises when it fails or takes longer than
-- options.deadline seconds. options.dir: where its output may be kept meanwhile.
function process.run(argv, options)
  local out, err = options.dir .. "/run.out", options.dir .. "/run.err"
  local pid = process.spawn(argv, { core = options.core, stdout = out, stderr = err })
  local how, code
  process.wait_until(options.deadline, function()
    how, code = process.ended(pid)
    return how
  end)
  if not how then
    process.stop(pid)
    error(("%s: no end within %d s"):format(argv[1], options.deadline), 0)
  end
  if how ~= "exited" or code ~= 0 then
    error(("%s %s with %s: %s"):format(argv[1], how, code, process.read(err)), 0)
  end
  return process.read(out)
end

--- Makes a directory of our own below TMPDIR. Others may pass through it (nginx's worker changes
-- its user) but not list it.
function process.make_directory()
  local path = assert(posix.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-bench.XXXXXX"))
  stat.chmod(path, tonumber("711", 8))
  return path
end

--- Removes a directory that make_directory() made, with what is in it.
function process.remove_directory(path)
  for name in dirent.files(path) do
    local full = path .. "/" .. name
    local info = name ~= "." and name ~= ".." and stat.lstat(full)
    if info and stat.S_ISDIR(info.st_mode) ~= 0 then
      process.remove_directory(full)
    elseif info then
      unistd.unlink(full)
    end
  end
  unistd.rmdir(path)
end

return process
