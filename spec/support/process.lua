--- Child processes: start, watch, signal, end.
--
-- Shared by the runner (spec/run.lua) and by the specs (support.gateway). A process is started by
-- fork and exec without a shell, so arguments need no quoting. Its output goes to files or to
-- descriptors that the caller owns. Nobody waits without a deadline.
--
-- Ownership: a process object owns its pid until `wait` or `poll` has returned a status; after that
-- the pid is never signalled again, since the kernel may have given it to someone else.

local clock = require("support.clock")
local dirent = require("posix.dirent")
local fcntl = require("posix.fcntl")
local signal = require("posix.signal")
local stdlib = require("posix.stdlib")
local sys_wait = require("posix.sys.wait")
local unistd = require("posix.unistd")

local process = {}

local Process = {}
Process.__index = Process

-- A program under test starts with default signal actions, whatever the parent ignores.
local function child(options)
  for _, name in ipairs({ "SIGPIPE", "SIGINT", "SIGTERM", "SIGHUP" }) do
    signal.signal(signal[name], signal.SIG_DFL)
  end
  if options.group then
    unistd.setpid("p", 0, 0)
  end
  if options.cwd then
    assert(unistd.chdir(options.cwd))
  end
  for name, value in pairs(options.env or {}) do
    stdlib.setenv(name, value or nil)
  end
  local null = fcntl.open("/dev/null", fcntl.O_RDONLY)
  unistd.dup2(null, 0)
  if options.stdout then
    unistd.dup2(options.stdout, 1)
  end
  if options.stderr then
    unistd.dup2(options.stderr, 2)
  end
  local arguments = { unpack(options.argv, 2) }
  arguments[0] = options.argv[1]
  local _, problem = unistd.execp(options.argv[1], arguments)
  io.stderr:write("cannot start: ", tostring(problem), "\n")
end

--- Opens a file for a child's output (created, emptied). Returns a descriptor the caller closes.
function process.output(path)
  local flags = fcntl.O_WRONLY + fcntl.O_CREAT + fcntl.O_TRUNC + fcntl.O_CLOEXEC
  return assert(fcntl.open(path, flags, tonumber("600", 8)))
end

--- Starts a program.
-- @param options argv (list, searched in PATH), env (map; false unsets), cwd, stdout and stderr
--   (descriptors, borrowed), group (true: its own process group)
-- @return a process
function process.spawn(options)
  io.stdout:flush()
  io.stderr:flush()
  local pid = assert(unistd.fork())
  if pid == 0 then
    local ok, problem = pcall(child, options)
    if not ok then
      io.stderr:write(tostring(problem), "\n")
    end
    unistd._exit(127)
  end
  if options.group then
    unistd.setpid("p", pid, pid) -- in parent and child, so that neither has to be first
  end
  return setmetatable({ pid = pid, group = options.group }, Process)
end

--- The status if the process has ended, else nil. A status is `{ code = n }` or `{ signal = n }`.
function Process:poll()
  if not self.status then
    local pid, how, number = sys_wait.wait(self.pid, sys_wait.WNOHANG)
    if pid == self.pid then
      self.status = how == "exited" and { code = number } or { signal = number }
    elseif not pid then
      self.status = { code = -1 }
    end
  end
  return self.status
end

--- Waits for the end. @return a status, or nil when the time is over
function Process:wait(seconds)
  local ok = pcall(clock.wait_until, function()
    return self:poll()
  end, seconds)
  return ok and self.status or nil
end

--- Sends a signal, named without SIG ("TERM"). Nothing happens when the process has ended.
function Process:signal(name)
  local number = signal["SIG" .. name] or error("no signal " .. tostring(name), 2)
  if not self:poll() then
    signal.kill(self.pid, number)
  end
end

--- Kills the process (with its group where it has one) and takes its status.
function Process:kill()
  if self.group then
    signal.kill(-self.pid, signal.SIGKILL)
  end
  self:signal("KILL")
  return self:wait(clock.default)
end

-- True if a process of the group is alive. A zombie is not: it waits for a parent that is not ours.
local function group_lives(group)
  if signal.kill(-group, 0) ~= 0 then
    return false
  end
  for _, name in ipairs(dirent.dir("/proc")) do
    local file = name:match("^%d+$") and io.open("/proc/" .. name .. "/stat")
    if file then
      local state, pgrp = (file:read("*a") or ""):match("%) (%a) %d+ (%d+)")
      file:close()
      if tonumber(pgrp) == group and state ~= "Z" then
        return true
      end
    end
  end
  return false
end

--- True if, after its leader's end, the group keeps members for another second: something was left
-- behind.
function Process:left_behind()
  return self.group and self:poll() and not pcall(clock.wait_until, function()
    return not group_lives(self.pid)
  end, 1)
end

--- Words for a status: "exit status 1", "signal 11".
function process.describe(status)
  if not status then
    return "still running"
  end
  return status.signal and "signal " .. status.signal or "exit status " .. status.code
end

--- Whether all threads of a process stand still: SIGSTOP reaches them one by one.
function process.is_stopped(pid)
  local pipe = io.popen(("cat /proc/%d/task/*/stat"):format(pid))
  local stats = pipe:read("*a")
  pipe:close()
  return stats:find(") T ", 1, true) ~= nil and not stats:find("%) [^T] ")
end

return process
