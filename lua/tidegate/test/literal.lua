-- Writes a Lua value as the text of a Lua literal: how the configuration of a plugin under test gets into a
-- config script.

local literal = {}

local write

local function write_table(value, depth)
  assert(depth < 64, "the configuration of a plugin is nested too deeply, or holds itself")
  local parts, names = {}, {}
  for i, item in ipairs(value) do parts[i] = write(item, depth + 1) end
  for key in pairs(value) do
    if type(key) == "string" then names[#names + 1] = key end
    if type(key) ~= "string" and not (type(key) == "number" and key >= 1 and key <= #value) then
      error(("a key of a plugin's configuration is a %s; write a name or a list"):format(type(key)), 0)
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    parts[#parts + 1] = ("[%q] = %s"):format(name, write(value[name], depth + 1))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function write(value, depth)
  local kind = type(value)
  if kind == "table" then return write_table(value, depth) end
  if kind == "string" then return (("%q"):format(value):gsub("\\\n", "\\n")) end
  if kind == "number" then return ("%.17g"):format(value) end
  if kind == "boolean" then return tostring(value) end
  error(("a plugin's configuration is plain data, and has a %s in it"):format(kind), 0)
end

--- The text of `value`, which is plain data.
function literal.write(value)
  return write(value, 0)
end

return literal
