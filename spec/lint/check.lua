--- What the checks in this folder share: reading the tree, exemptions, and reporting.
--
-- A check is a script that calls `problem` for each defect it finds and ends with `finish`. It prints
-- TAP with one result, so that spec/run.lua counts a check as it counts a spec.
--
-- Exemptions stand in exemptions.lua with a reason each. One that nothing needs any more is a problem
-- of its own, so the list cannot rot.

local check = {}

local exemptions = dofile("spec/lint/exemptions.lua")
local problems = {}

--- The text of a file, or nil.
function check.read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

--- The lines of a file, as a list.
function check.lines(path)
  local lines = {}
  for line in (check.read(path) or ""):gmatch("([^\n]*)\n?") do
    table.insert(lines, line)
  end
  lines[#lines] = nil -- what gmatch finds after the last newline
  return lines
end

--- Paths that `find` finds, sorted; the expression is find's own.
function check.find(expression)
  local pipe = io.popen("find " .. expression .. " 2>/dev/null | LC_ALL=C sort")
  local paths = {}
  for path in pipe:lines() do
    table.insert(paths, path)
  end
  pipe:close()
  return paths
end

function check.exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

--- C text with comments and the insides of strings blanked; lines stay where they are.
function check.strip_c(text)
  local out, at = {}, 1
  local function blank(piece)
    table.insert(out, (piece:gsub("[^\n]", " ")))
  end
  while true do
    local first, _, mark = text:find("([\"'/])", at)
    if not first then
      table.insert(out, text:sub(at))
      return table.concat(out)
    end
    table.insert(out, text:sub(at, first - 1))
    local last
    if mark ~= "/" then
      last = first
      repeat
        last = text:find("[\\" .. mark .. "]", last + 1) or #text
        local escape = text:sub(last, last) == "\\"
        last = escape and last + 1 or last
      until not escape
    elseif text:sub(first + 1, first + 1) == "*" then
      last = select(2, text:find("*/", first + 2, true)) or #text
    elseif text:sub(first + 1, first + 1) == "/" then
      last = (text:find("\n", first, true) or #text + 1) - 1
    end
    if last then
      blank(text:sub(first, last))
    else
      table.insert(out, mark)
      last = first
    end
    at = last + 1
  end
end

--- Whether `key` is exempted under `rule`. @return the reason, or nil
function check.exempt(rule, key)
  local entry = exemptions[rule] and exemptions[rule][key]
  if entry then
    exemptions[rule][key] = { used = true, reason = entry.reason or entry }
  end
  return entry
end

--- Records a defect: where ("path" or "path:line") and what, with what to do about it.
function check.problem(where, what)
  table.insert(problems, where .. ": " .. what)
end

--- Reports. @param name of the check; the other arguments are the exemption rules it has gone through
function check.finish(name, ...)
  for _, rule in ipairs({ ... }) do
    for key, entry in pairs(exemptions[rule] or {}) do
      if not entry.used then
        check.problem("spec/lint/exemptions.lua", ("%s: %q is not needed, remove it"):format(rule, key))
      end
    end
  end
  print("1..1")
  print((#problems == 0 and "ok 1 - " or "not ok 1 - ") .. name)
  for _, problem in ipairs(problems) do
    print("# " .. problem)
  end
  os.exit(#problems == 0 and 0 or 1)
end

return check
