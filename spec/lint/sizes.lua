--- Sizes: functions of at most 80 lines, files of at most 1000 (400 for tests and specs).
--
-- A C function is found by its braces in the first column, which clang-format guarantees; a Lua
-- function by the `end` at the indentation of its first line. A function counts from its opening
-- brace (or first line) to its end.

package.path = "./spec/?.lua;" .. package.path
local check = require("lint.check")

local FUNCTION_LINES, FILE_LINES, TEST_LINES = 80, 1000, 400

local function judge(path, name, first, last)
  local count = last - first + 1
  if count > FUNCTION_LINES and not check.exempt("function_lines", path .. ":" .. name) then
    check.problem(("%s:%d"):format(path, first), ("%s has %d lines, at most %d: split it")
      :format(name, count, FUNCTION_LINES))
  end
end

local function c_functions(path, lines)
  local first, name
  for number, line in ipairs(lines) do
    name = line:match("^%l[^=;]-([%w_]+)%(") or name
    if line == "{" then
      first = number
    elseif line == "}" and first then
      judge(path, name or "?", first, number)
      first = nil
    end
  end
end

local function lua_functions(path, lines)
  local open = {}
  for number, line in ipairs(lines) do
    local indent, name = line:match("^(%s*)l?o?c?a?l? ?function ([%w_.:]+)")
    if not name then
      indent, name = line:match("^(%s*)l?o?c?a?l? ?([%w_.]+) = function%(")
    end
    if name and not line:match("%f[%w]end[%s,)]*$") then
      open[indent] = { name = name, first = number }
    end
    local closing = line:match("^(%s*)end%f[%W]")
    if closing and open[closing] then
      judge(path, open[closing].name, open[closing].first, number)
      open[closing] = nil
    end
  end
end

for _, path in ipairs(check.find("core lua plugins spec examples -name '*.[ch]' -o -name '*.lua'")) do
  local lines = check.lines(path)
  local test = path:match("_test%.c$") or path:match("_spec%.lua$")
  local limit = test and TEST_LINES or FILE_LINES
  if #lines > limit and not check.exempt("file_lines", path) then
    check.problem(path, ("%d lines, at most %d: split it"):format(#lines, limit))
  end
  (path:match("%.lua$") and lua_functions or c_functions)(path, lines)
end

check.finish("sizes: functions and files are short", "function_lines", "file_lines")
