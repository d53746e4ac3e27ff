-- System calls per request or handshake, counted by strace over the whole process tree.
--
-- Counted is every call besides the event loop's wait (epoll_wait, epoll_pwait, epoll_pwait2): how
-- often a loop waits depends on how many events the load happens to give it at once, the rest on the
-- server. Where requests are counted, the connections are open and have done one before strace attaches, so
-- accept, connect and close stay out; calls of other threads (timers, watchdogs) stay in. strace makes the
-- server several times slower, which changes its time but not its calls: no CPU figure is taken with it.

local client = require "lib.client"
local load = require "lib.load"
local process = require "lib.process"
local signal = require "posix.signal"
local unistd = require "posix.unistd"

local ATTACH_DEADLINE = 5 -- seconds
local REQUESTS = 4096
local WAITS = { epoll_wait = true, epoll_pwait = true, epoll_pwait2 = true }

local syscalls = {}

-- Attaches to each process of the tree; returns strace's pid once it follows all of them.
local function attach(bench, server, table_path)
  local argv = { "strace", "-f", "-c", "-U", "calls,name", "-o", table_path }
  local tree = process.tree(server.pid)
  for _, one in ipairs(tree) do
    argv[#argv + 1] = "-p"
    argv[#argv + 1] = tostring(one.pid)
  end
  local err = bench.dir .. "/strace.err"
  unistd.unlink(err) -- an earlier round's would say "attached" at once
  local pid = process.spawn(argv, { core = bench.load_core, stderr = err })
  local attached = process.wait_until(ATTACH_DEADLINE, function()
    local text = process.read(err) or ""
    local _, count = text:gsub("Process %d+ attached", "")
    return count >= #tree or process.ended(pid)
  end)
  if attached ~= true then
    process.stop(pid)
    error("strace cannot follow " .. server.name .. ": " .. (process.read(err) or ""), 0)
  end
  return pid
end

-- Adds up strace's table, whose lines are "CALLS NAME" between two rulers.
local function total(text)
  local sum, lines = 0, {}
  for calls, name in text:gmatch("\n%s*(%d+) ([%w_]+)") do
    if not WAITS[name] and name ~= "total" then
      sum = sum + tonumber(calls)
      lines[#lines + 1] = name .. " " .. calls
    end
  end
  return sum, table.concat(lines, ", ")
end

--- The number of system calls that a server makes for each of what `run()` does; run returns how many that
-- were. `what`: their name, for the notes.
function syscalls.per_run(bench, server, what, run)
  local table_path = bench.dir .. "/strace.out"
  local pid = attach(bench, server, table_path)
  local ok, count = pcall(run)
  process.stop(pid, signal.SIGINT)
  if not ok then
    error(count, 0)
  end
  local sum, which = total(process.read(table_path) or "")
  if sum == 0 then
    error("strace counted no call of " .. server.name, 0)
  end
  bench:note("%s: %d %s: %s", server.name, count, what, which)
  return sum / count
end

--- The number of system calls that a server makes for one request.
function syscalls.per_request(bench, server, headers)
  local request = client.request(server.port, "/", headers)
  local fds = client.open_idle(server.port, load.CONNECTIONS, headers)
  client.closed_loop(fds, request, 4 * load.CONNECTIONS)
  local ok, result = pcall(syscalls.per_run, bench, server, "requests", function()
    client.closed_loop(fds, request, REQUESTS)
    return REQUESTS
  end)
  client.close(fds)
  if not ok then
    error(result, 0)
  end
  return result
end

return syscalls
