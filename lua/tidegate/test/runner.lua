-- `tidegate test`: busted inside of the binary.
--
-- Purpose    Takes our options from the command line, leaves the rest to busted, and turns its verdict into
--            an exit status: 0 when everything passed, 1 otherwise.
-- Invariants busted is the installed one, unchanged. The JIT is off, so that the limit of time (watch.h) can
--            end any spec.

local runner = {}

local MISSING = [[
tidegate test: busted is not installed for Lua 5.1 (%s)
  Debian: apt-get install lua-busted
]]

local USAGE = "tidegate test: %s; `tidegate help test` lists the options\n"

-- Each takes the options of the guard, the text behind "=" (nil without), and the words for busted; true, or
-- what is wrong.
local OURS = {}

function OURS.timeout(options, value)
  options.timeout = tonumber(value)
  return options.timeout ~= nil and options.timeout >= 0 or "--timeout takes a number of seconds"
end

function OURS.coverage(options)
  options.coverage = true
  return true
end

function OURS.interleave(options)
  options.interleave = true
  return true
end

function OURS.record(options, value)
  options.record = value
  return value ~= nil and value ~= "" or "--record names a file: --record=traffic.har"
end

function OURS.junit(_, value, rest)
  rest[#rest + 1] = "--output=junit"
  if value then
    rest[#rest + 1] = "-Xoutput"
    rest[#rest + 1] = value
  end
  return true
end

-- Takes our options out of `arg`; nil and why when one is wrong.
local function read_arguments(words, options)
  local rest, i = { "--ignore-lua" }, 1
  while words[i] do
    local name, value = words[i]:match "^%-%-([%l-]+)=?(.*)$"
    if words[i] == "--" then break end
    local take = name and OURS[name]
    if take then
      local ok = take(options, words[i]:find("=", 1, true) and value or nil, rest)
      if ok ~= true then return nil, ok end
    else
      rest[#rest + 1] = words[i] == "--help-busted" and "--help" or words[i]
    end
    i = i + 1
  end
  for k = i, #words do rest[#rest + 1] = words[k] end
  return rest
end

-- busted ends the process when it is done; here it ends its own run.
local ENDED = {}

local function catch_exit()
  local compatibility = require "busted.compatibility"
  compatibility.exit = function(code)
    ENDED.code = code
    error(ENDED, 0)
  end
end

-- Our modules are loaded before any spec, so that they outlive the files, which busted keeps apart.
local function install_guard(guard)
  require "tidegate.test"
  local meta = getmetatable(require "busted")
  local start = meta.__call
  meta.__call = function(...)
    local busted = start(...)
    guard.install(busted)
    return busted
  end
end

local function run_busted()
  -- busted names itself after the file of its caller.
  local call = 'require("busted.runner")({ standalone = false }) return'
  assert(loadstring(call, "@tidegate test"))()
end

-- --record: a function that writes the archive at the end.
local function begin_recording(guard)
  local path = guard.options.record
  if not path then return function() return true end end
  local clock = require "tidegate.test.clock"
  local recorder = require("tidegate.test.har").recorder()
  guard.watch(function(_, request, result) recorder:add(clock:now(), request, result) end)
  return function()
    local ok, why = recorder:write(path)
    return ok, why and "cannot write the archive: " .. why
  end
end

--- The exit status.
function runner.main()
  jit.off()
  local found, why = pcall(require, "busted.compatibility")
  if not found then
    io.stderr:write(MISSING:format(tostring(why):match "^[^\n]*"))
    return 3
  end
  local guard = require "tidegate.test.guard"
  local rest, wrong = read_arguments(arg, guard.options)
  if not rest then
    io.stderr:write(USAGE:format(wrong))
    return 2
  end
  for i = 1, math.max(#rest, #arg) do rawset(arg, i, rest[i]) end
  if guard.options.coverage then require("tidegate.test.coverage").start() end
  catch_exit()
  install_guard(guard)
  local finish = begin_recording(guard)
  local ok, thrown = xpcall(run_busted, function(e)
    return e == ENDED and e or debug.traceback(tostring(e), 2)
  end)
  local status = 0
  if thrown == ENDED then
    status = ENDED.code == 0 and 0 or 1
  elseif not ok then
    io.stderr:write("tidegate test: " .. tostring(thrown) .. "\n")
    status = 1
  end
  if guard.options.coverage then io.write("\n", require("tidegate.test.coverage").report()) end
  if guard.options.interleave then io.write("\n", require("tidegate.test.interleave").report()) end
  local written, problem = finish()
  if written then return status end
  io.stderr:write("tidegate test: " .. problem .. "\n")
  return 3
end

return runner
