-- `tidegate explain CODE`: what a message means and what to do about it; without a code, all of them.

local codes = require "tidegate.codes"

local WIDTH = 78

-- Lines of at most WIDTH bytes, broken at blanks.
local function wrapped(text)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if #line > 0 and #line + 1 + #word > WIDTH then
      lines[#lines + 1], line = line, word
    else
      line = #line > 0 and line .. " " .. word or word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function example(title, text)
  if not text then return "" end
  return ("\n%s\n    %s\n"):format(title, (text:gsub("\n", "\n    ")))
end

local function list()
  local lines = {}
  for i, entry in ipairs(codes.list) do lines[i] = ("%s  %s\n"):format(entry.number, entry.title) end
  return table.concat(lines) .. "\n`tidegate explain TG1204` tells what one means and what to do.\n"
end

return function(_, code)
  if not code then return list() end
  local entry = codes.find(code)
  if not entry then
    return nil, ("there is no message %s; `tidegate explain` lists all, such as TG1204"):format(code)
  end
  return ("%s: %s\n\n%s\n%s%s"):format(entry.number, entry.title, wrapped(entry.text),
    example("Instead of", entry.wrong), example(entry.wrong and "write" or "Write", entry.right))
end
