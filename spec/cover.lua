--- Line coverage of core/ after a run of the suite in a --coverage build (make cover).
--
--   luajit spec/cover.lua BUILD_FOLDER
--
-- Reads what gcov says about every object under BUILD_FOLDER/obj/core as JSON and adds it up by file:
-- a line counts as covered when any object's run reached it (headers are compiled into several). A unit
-- that nothing ran counts with all its lines. Prints a line per file, then per folder, then the total.

local cjson = require("cjson")

local build = arg[1]
local files = {} -- path -> line number -> reached

local function add(report)
  for _, file in ipairs(report.files) do
    local path = file.file
    if path:match("^core/") then
      files[path] = files[path] or {}
      for _, line in ipairs(file.lines) do
        files[path][line.line_number] = files[path][line.line_number] or line.count > 0
      end
    end
  end
end

local function read_objects()
  local notes = io.popen(("find '%s/obj/core' -name '*.gcno'"):format(build))
  for path in notes:lines() do
    local gcov = io.popen(("gcov --json-format --stdout '%s' 2>/dev/null"):format(path))
    local text = gcov:read("*a")
    gcov:close()
    if text ~= "" then
      add(cjson.decode(text))
    end
  end
  notes:close()
end

local function sum(into, lines)
  for _, reached in pairs(lines) do
    into.lines = into.lines + 1
    into.reached = into.reached + (reached and 1 or 0)
  end
end

local function show(name, counts)
  local share = 100 * counts.reached / math.max(1, counts.lines)
  print(("%6.1f %%  %5d lines  %s"):format(share, counts.lines, name))
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do
    table.insert(keys, key)
  end
  table.sort(keys)
  return keys
end

read_objects()
local folders, total = {}, { lines = 0, reached = 0 }
for _, path in ipairs(sorted(files)) do
  local counts = { lines = 0, reached = 0 }
  sum(counts, files[path])
  show(path, counts)
  local folder = path:match("^core/[^/]+/")
  folders[folder] = folders[folder] or { lines = 0, reached = 0 }
  sum(folders[folder], files[path])
  sum(total, files[path])
end
print()
for _, folder in ipairs(sorted(folders)) do
  show(folder, folders[folder])
end
show("core/ in all", total)
