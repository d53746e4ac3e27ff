-- --coverage: which lines of the plugins were run.
--
-- Purpose    One line for each plugin file: how many of the lines that hold code were run, and which not.
-- Invariants Lines that hold code are those of the bytecode that LuaJIT makes of the text.
-- Ownership  The counts are the core's (core/harness/coverage.h); the texts come from the snapshots.
-- Cost       See there.

local harness = require "tidegate.harness"
local util = require "jit.util"

local coverage = { texts = {} }

--- Plugins that are made from now on are counted.
function coverage.start()
  harness.cover()
  coverage.on = true
end

--- Remembers the texts of a snapshot's plugins.
function coverage.know(snapshot)
  if not coverage.on then return end
  for path, text in pairs(snapshot:files()) do coverage.texts[path] = text end
end

-- Adds the lines of a function and of those inside of it. The first instruction is the function's own.
local function add_lines(fn, lines)
  local info = util.funcinfo(fn)
  for pc = 1, info.bytecodes - 1 do
    local line = util.funcinfo(fn, pc).currentline
    if line and line > 0 then lines[line] = true end
  end
  for i = -1, -info.gcconsts, -1 do
    local constant = util.funck(fn, i)
    if type(constant) == "proto" then add_lines(constant, lines) end
  end
end

local function numbers(list)
  local parts, i = {}, 1
  while list[i] do
    local k = i
    while list[k + 1] == list[k] + 1 do k = k + 1 end
    parts[#parts + 1] = k > i and ("%d-%d"):format(list[i], list[k]) or tostring(list[i])
    i = k + 1
  end
  return table.concat(parts, ", ")
end

local function report_file(path, run)
  local chunk = loadstring(coverage.texts[path], "@" .. path)
  local lines, missing, all = {}, {}, 0
  add_lines(chunk, lines)
  local order = {}
  for line in pairs(lines) do order[#order + 1] = line end
  table.sort(order)
  for _, line in ipairs(order) do
    all = all + 1
    if not run[line] then missing[#missing + 1] = line end
  end
  local share = all > 0 and (all - #missing) / all * 100 or 100
  local text = ("%6.1f %%  %d of %d lines  %s"):format(share, all - #missing, all, path)
  return #missing > 0 and text .. "\n          not run: " .. numbers(missing) or text
end

--- The report, ready to print.
function coverage.report()
  local run, paths, lines = harness.covered(), {}, { "coverage of plugins:" }
  for path in pairs(coverage.texts) do paths[#paths + 1] = path end
  table.sort(paths)
  for _, path in ipairs(paths) do lines[#lines + 1] = report_file(path, run[path] or {}) end
  return table.concat(lines, "\n") .. "\n"
end

return coverage
