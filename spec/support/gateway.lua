--- A gateway process for specs, on a free port, with a config in a fresh folder.
--
--   local g = gateway.start({
--     config = [[
--       local tg = require "tidegate"
--       tg.listener "http" { address = "127.0.0.1:@PORT@" }
--       tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
--       ...
--     ]],
--     vars = { ORIGIN = o.port },
--   })
--   local response = client.get(g.port, "/")
--   g:stop()                                         -- asserts a clean end
--
-- The program is the one that TIDEGATE_BIN names, so sanitizer builds run the same specs. It is
-- started as `tidegate run gateway.lua ARGS...` in its own temporary folder, which is also its
-- working directory; `@NAME@` in config and files is replaced from `vars`, @PORT@ and @DIR@ are
-- always there. `start` returns when the listener accepts, and raises with the program's stderr when
-- it ends before or takes too long.
--
-- Ports: the port is held by a bound socket that never listens, with SO_REUSEPORT, as long as the
-- gateway lives. The kernel then gives it to nobody who asks for any port, and the gateway, whose
-- listeners have SO_REUSEPORT too, may bind it; so spec files run side by side without collisions.
--
-- A gateway that the spec does not stop is killed at the end of the spec (or of the file, when it was
-- started in `setup`), without any assertion: call `stop` in after_each or teardown.

local clock = require("support.clock")
local owned = require("support.owned")
local process = require("support.process")
local signal = require("posix.signal")
local socket = require("support.socket")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local gateway = {}

local Gateway = {}
Gateway.__index = Gateway

-- What a sanitizer writes when it found something; the process may live on or exit 0 regardless.
local REPORTS = { "AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "tg_assert" }

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

local function substitute(text, vars)
  return (text:gsub("@([%u%d_]+)@", function(name)
    return vars[name] and tostring(vars[name])
  end))
end

--- Writes a file into the gateway's folder, with its `@NAME@`s replaced. It takes the place of an old one
-- at once, so that a gateway which watches its files sees no half of it.
function Gateway:write(name, text)
  local folder = name:match("^(.*)/")
  if folder then
    os.execute(("mkdir -p '%s/%s'"):format(self.dir, folder))
  end
  local path = self.dir .. "/" .. name
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(substitute(text, self.vars))
  file:close()
  assert(os.rename(path .. ".new", path))
end

local function remove(g)
  if g.reserved then
    unistd.close(g.reserved)
    g.reserved = nil
  end
  os.execute(("rm -rf '%s'"):format(g.dir))
end

-- Children of a process, and theirs, itself first.
local function tree(pid, list)
  list = list or {}
  table.insert(list, pid)
  local children = read_file(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  for child in children:gmatch("%d+") do
    tree(tonumber(child), list)
  end
  return list
end

local function kill(g)
  for _, pid in ipairs(g.process:poll() and {} or tree(g.process.pid)) do
    signal.kill(pid, signal.SIGKILL)
  end
  g.process:wait()
  remove(g)
end

local function spawn(g, options)
  local argv = { options.program or os.getenv("TIDEGATE_BIN") or "", "run", "gateway.lua" }
  if argv[1] == "" then
    error("TIDEGATE_BIN names no program; run specs with `make spec F=...`", 3)
  end
  for _, argument in ipairs(options.args or {}) do
    table.insert(argv, substitute(argument, g.vars))
  end
  local out, err = process.output(g.dir .. "/stdout"), process.output(g.dir .. "/stderr")
  g.process = process.spawn({ argv = argv, env = options.env, cwd = g.dir, stdout = out, stderr = err })
  unistd.close(out)
  unistd.close(err)
end

local function wait_until_accepting(g, seconds)
  return pcall(clock.wait_until, function()
    if g.process:poll() then
      error("ended")
    end
    local probe = socket.try_connect({ port = g.port })
    if probe then
      probe:close()
    end
    return probe
  end, seconds, "the listener")
end

--- Starts a gateway.
-- @param options config (text) or file (a path, whose text is taken); files (name -> text, beside
--   the config); vars, env, args (see above); edit (function from config text to config text);
--   program; seconds (until it accepts, default 10); wait = false returns without waiting
function gateway.start(options)
  local text = options.config or assert(read_file(options.file), "cannot read " .. tostring(options.file))
  local g = setmetatable({ vars = {} }, Gateway)
  g.dir = assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-spec-XXXXXX"))
  g.reserved, g.port = socket.reserve_port()
  for name, value in pairs(options.vars or {}) do
    g.vars[name] = value
  end
  g.vars.PORT, g.vars.DIR = g.port, g.dir
  for name, content in pairs(options.files or {}) do
    g:write(name, content)
  end
  g:write("gateway.lua", options.edit and options.edit(text) or text)
  spawn(g, options)
  owned.add(g, kill)
  if options.wait ~= false and not wait_until_accepting(g, options.seconds or 10) then
    local message = ("the gateway does not accept on port %d (%s); its stderr:\n%s"):format(g.port,
      process.describe(g.process:poll()), g:stderr())
    owned.remove(g)
    kill(g)
    error(message, 2)
  end
  return g
end

--- All that the gateway wrote to stderr so far.
function Gateway:stderr()
  return self.last_stderr or read_file(self.dir .. "/stderr") or ""
end

--- All that the gateway wrote to stdout so far.
function Gateway:stdout()
  return self.last_stdout or read_file(self.dir .. "/stdout") or ""
end

--- The text of a file in the gateway's folder, or nil.
function Gateway:read(name)
  return read_file(self.dir .. "/" .. name)
end

--- The pid of the process that was started (the supervisor).
function Gateway:pid()
  return self.process.pid
end

--- All pids of the gateway, the supervisor first.
function Gateway:pids()
  return tree(self.process.pid)
end

--- Sends a signal ("TERM", "HUP", ...) to the supervisor, or to `pid`.
function Gateway:signal(name, pid)
  if pid then
    signal.kill(pid, signal["SIG" .. name])
  else
    self.process:signal(name)
  end
end

--- Waits for the end. @return { code = n } or { signal = n }, or nil when the time is over
function Gateway:wait(seconds)
  return self.process:wait(seconds)
end

--- Waits until a plain text stands in stderr, whole line and all, behind its first `from` bytes (default 0).
-- The error shows how the log ended instead.
function Gateway:wait_for_log(text, seconds, from)
  local log
  local function is_there()
    log = self:stderr()
    local _, last = log:find(text, (from or 0) + 1, true)
    return last and log:find("\n", last, true)
  end
  local ok, why = pcall(clock.wait_until, is_there, seconds, ("%q in the log"):format(text))
  if not ok then
    error(("%s; the log ends:\n%s"):format(why, log:sub(-2000)), 2)
  end
end

--- Writes a new config (text as in `start`) and sends SIGHUP.
function Gateway:reload(config)
  self:write("gateway.lua", config)
  self:signal("HUP")
end

--- Resident memory of all the gateway's processes, in bytes (pages they share count for each). Not
-- meaningful under sanitizers.
function Gateway:rss()
  local total = 0
  for _, pid in ipairs(self:pids()) do
    local status = read_file(("/proc/%d/status"):format(pid)) or ""
    total = total + 1024 * tonumber(status:match("VmRSS:%s*(%d+)") or 0)
  end
  return total
end

local function problem_at_end(g, status)
  if not status then
    return "did not end"
  elseif status.code ~= 0 then
    return "ended with " .. process.describe(status)
  end
  for _, report in ipairs(REPORTS) do
    if g:stderr():find(report, 1, true) then
      return "reported " .. report
    end
  end
end

--- Sends SIGTERM and asserts a clean end in time: exit status 0 and no sanitizer report. Afterwards
-- `stdout` and `stderr` still answer; the folder is gone. Twice is fine.
function Gateway:stop(seconds)
  if self.last_stderr then
    return
  end
  self:signal("TERM")
  local problem = problem_at_end(self, self:wait(seconds or 10))
  self.last_stdout, self.last_stderr = self:stdout(), self:stderr()
  owned.remove(self)
  kill(self)
  if problem then
    error(("the gateway %s; its stderr:\n%s"):format(problem, self.last_stderr), 2)
  end
end

return gateway
