-- Mistakes, collected and shown.
--
-- Purpose    Everything that is wrong with a configuration is gathered here in one pass and printed once,
--            each mistake with file, line, column, path, the line itself with a caret, and what to do.
-- Invariants A report carries a name from codes.lua, whose number is stable and printed behind the message:
--            people search for it and `tidegate explain` looks it up. A line that holds a secret is never
--            quoted. The same message at the same place counts once, so a loop that makes a mistake a
--            thousand times reports it once.
-- Ownership  Borrows the texts of the files (`add_source`) to quote from them.
-- Cost       Nothing until something is wrong. At most LIMIT messages are kept; the rest are counted.

local codes = require "tidegate.codes"
local width_of = require("tidegate.report.columns").width
local source = require "tidegate.source"

local diagnostics = {}
diagnostics.__index = diagnostics

local LIMIT = 100
local LONGEST_MESSAGE = 2048
-- A quoted line longer than this is cut around its caret.
local WIDEST = 120

function diagnostics.new()
  return setmetatable({ list = {}, seen = {}, sources = {}, files = {}, secret_lines = {}, errors = 0,
                        warnings = 0 }, diagnostics)
end

--- Makes the text of a file known, so that its lines can be quoted.
function diagnostics:add_source(file, text)
  if self.sources[file] then return end
  self.sources[file] = source.new(text)
  self.files[#self.files + 1] = file
  self.files[file] = #self.files
end

--- The source of a file, to look positions up in; nil when the file is unknown.
function diagnostics:source(file)
  return self.sources[file]
end

--- Never quote this line: a secret stands on it.
function diagnostics:hide_line(file, line)
  self.secret_lines[("%s:%d"):format(file, line)] = true
end

-- What stands before the message: place, severity and path.
local function prefix(report)
  local at = {}
  for _, part in ipairs { report.file or false, report.line or false, report.column or false } do
    if part then at[#at + 1] = tostring(part) end
  end
  local place = #at > 0 and table.concat(at, ":") .. ": " or ""
  local kind = report.severity == "warning" and "warning: " or ""
  return place .. kind .. (report.path and report.path ~= "" and report.path .. ": " or "")
end

local function add(self, severity, report)
  report.severity = severity
  report.code = codes.number(report.code)
  report.order = #self.list
  local key = prefix(report) .. report.message
  if self.seen[key] then return end
  self[severity .. "s"] = self[severity .. "s"] + 1
  if #self.list < LIMIT then self.list[#self.list + 1] = report end
  self.seen[key] = true -- the last of all: where the stack overflows on the way, it is told again
end

--- Adds a mistake.
-- @tparam table report code (a name in CODES), message; optional file, line, column, width, path, hint
function diagnostics:error(report)
  add(self, "error", report)
end

--- Whether what is added from now on is only counted: where it stands and what was meant need not be found.
function diagnostics:is_full()
  return #self.list >= LIMIT
end

--- Adds something that loads but is probably not meant.
function diagnostics:warn(report)
  add(self, "warning", report)
end

-- What reaches the terminal as it is: neither commands to it nor more than people read.
local function printable(text)
  if #text > LONGEST_MESSAGE then text = text:sub(1, LONGEST_MESSAGE) .. "…" end
  return (text:gsub("[%z\1-\8\11-\31\127]", "?"))
end

-- Cuts a long line so that the caret stays visible.
local function window(text, column)
  text = text:gsub("\t", " ")
  if #text <= WIDEST then return text, column end
  local from = math.max(1, column - WIDEST / 2)
  return text:sub(from, from + WIDEST - 1), column - from + 1
end

function diagnostics:excerpt(report)
  local text = report.line and self.sources[report.file] and self.sources[report.file]:line_text(report.line)
  if not text or self.secret_lines[("%s:%d"):format(report.file, report.line)] then return nil end
  local column
  text, column = window(text, report.column or 1)
  local lines = { ("%5d | %s"):format(report.line, text) }
  if report.column then
    local marked = text:sub(column, column + (report.width or 1) - 1)
    lines[2] = ("      | %s%s"):format((" "):rep(width_of(text:sub(1, column - 1))),
                                       ("^"):rep(math.max(1, width_of(marked))))
  end
  return printable(table.concat(lines, "\n"))
end

--- One report as people read it.
function diagnostics:format(report)
  local lines = { ("%s [%s]"):format(printable(prefix(report) .. report.message), report.code) }
  lines[#lines + 1] = self:excerpt(report)
  if report.hint then lines[#lines + 1] = printable("      = " .. report.hint:gsub("\n", "\n        ")) end
  return table.concat(lines, "\n")
end

-- Files in the order in which they were read, lines in order within a file, what has no place last.
local function by_place(self)
  return function(a, b)
    local file_a, file_b = self.files[a.file] or math.huge, self.files[b.file] or math.huge
    if file_a ~= file_b then return file_a < file_b end
    local line_a, line_b = a.line or math.huge, b.line or math.huge
    if line_a ~= line_b then return line_a < line_b end
    local column_a, column_b = a.column or 0, b.column or 0
    if column_a ~= column_b then return column_a < column_b end
    return a.order < b.order
  end
end

--- The reports in the order in which they are shown.
function diagnostics:sorted()
  table.sort(self.list, by_place(self))
  return self.list
end

local function plural(count, noun)
  return ("%d %s%s"):format(count, noun, count == 1 and "" or "s")
end

--- How much is wrong: "5 errors, 1 warning in 2 files".
function diagnostics:summary()
  local touched, files = {}, 0
  for _, report in ipairs(self.list) do
    if report.file and not touched[report.file] then
      touched[report.file], files = true, files + 1
    end
  end
  local counts = {}
  if self.errors > 0 then counts[#counts + 1] = plural(self.errors, "error") end
  if self.warnings > 0 then counts[#counts + 1] = plural(self.warnings, "warning") end
  return ("%s in %s"):format(table.concat(counts, ", "), plural(math.max(files, 1), "file"))
end

--- Everything, ready to print; empty when nothing is wrong.
-- @tparam string outcome what follows from it, ends the last line: "configuration not loaded"
function diagnostics:render(outcome)
  if self.errors + self.warnings == 0 then return "" end
  local parts = {}
  for _, report in ipairs(self:sorted()) do parts[#parts + 1] = self:format(report) end
  local hidden = self.errors + self.warnings - #self.list
  if hidden > 0 then parts[#parts + 1] = plural(hidden, "further message") .. " not shown" end
  parts[#parts + 1] = self:summary() .. (outcome and " — " .. outcome or "")
  return table.concat(parts, "\n\n") .. "\n"
end

return diagnostics
