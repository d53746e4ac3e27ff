-- The attacks of spec/attacks, one after the other, each for a minute, on a gateway whose
-- settings.memory is 96 MiB.
--
--   luajit spec/bench/attacks.lua [SECONDS [NAME...]]      (60; build/tidegate or TIDEGATE_BIN)
--
-- The attack with keys of a million clients goes on until all have been answered, up to five times as long.
--
-- For each it prints the most memory that the process had, what became of the attackers' connections, and
-- how a client that behaves well was served meanwhile. It fails (exit code 1) when the process passed its
-- budget or was replaced, or when a request of the client that behaves was not answered within ten seconds.
-- Some attacks hold 10,000 connections: the limit of descriptors must allow them, in the gateway and here.

package.path = "spec/bench/?.lua;spec/?.lua;" .. package.path
require("jit").off()

local attack = require "attacks.attack"
local client = require "lib.client"
local process = require "lib.process"

local BUDGET = 96 * 2 ^ 20

local seconds = tonumber(arg[1]) or 60
local tidegate = os.getenv("TIDEGATE_BIN") or "build/tidegate"
local dir = process.make_directory()

local function say(format, ...)
  print(format:format(...))
  io.stdout:flush()
end

-- The gateway process: the supervisor's only child.
local function child_of(pid)
  return tonumber(process.read(("/proc/%d/task/%d/children"):format(pid, pid)):match "%d+")
end

local function start(port)
  local path = dir .. "/gateway.lua"
  local file = assert(io.open(path, "w"))
  file:write((attack.config:gsub("@PORT@", port)))
  file:close()
  local pid = process.spawn({ tidegate, "run", path }, { stderr = dir .. "/log", stdout = dir .. "/out" })
  process.wait_until(10, function() return child_of(pid) and client.fetch(port, "/well") end)
  return pid
end

local function judge(name, pid, gateway, result)
  say("%-13s %5.1f MiB at most; attackers: %d opened, %d closed by the gateway, %d held at the end;" ..
    " the client that behaves: %d answers, slowest %.0f ms, %d refused, %d lost;" ..
    " newcomers: %d answers, slowest %.0f ms, %d lost", name, result.most / 2 ^ 20,
    result.opened, result.closed, result.held, result.served, result.slowest * 1000,
    result.refused, result.lost, result.newcomers.served, result.newcomers.slowest * 1000,
    result.newcomers.lost)
  local goal = attack.LIST[name].goal
  if goal then
    say("%-13s %d requests of distinct clients answered in %.0f s", "", result.answered, result.seconds)
    if seconds >= 60 and result.answered < goal then error(name .. ": too few were answered", 0) end
  end
  if child_of(pid) ~= gateway then error(name .. ": the gateway process was replaced", 0) end
  if result.most > BUDGET then error(name .. ": the budget was passed", 0) end
  if result.lost + result.newcomers.lost > 0 or result.served == 0 then
    error(name .. ": the client that behaves was not served", 0)
  end
end

local function run(names)
  for _, name in ipairs(names) do
    local port = client.free_port()
    local pid = start(port)
    local gateway = child_of(pid)
    local result = attack.run { name = name, port = port, gateway = gateway, seconds = seconds,
                                reach = 5 * seconds }
    local ok, why = pcall(judge, name, pid, gateway, result)
    process.stop(pid)
    if not ok then error(why, 0) end
  end
end

local names = { select(2, unpack(arg)) }
local ok, why = pcall(run, #names > 0 and names or attack.ORDER)
process.stop_all()
process.remove_directory(dir)
say("%s", ok and "attacks: passed" or "attacks: FAILED: " .. tostring(why))
os.exit(ok and 0 or 1)
