-- Writes a Lua value as the text of a Lua literal: how the configuration of a plugin under test gets into a
-- config script.
--
-- A secret (t.secret) is no plain data: it becomes a file of its own, which `tg.secret` names, so that the
-- script never shows its value and the plugin's schema finds what it asks for.

local literal = {}

local secret = {}
secret.__index = secret
secret.__tostring = function() return "a secret of a spec" end

--- What stands for a secret value in a plugin's configuration.
function literal.secret(text)
  if type(text) ~= "string" or text == "" then error("t.secret takes the text of the secret", 3) end
  return setmetatable({ text = text }, secret)
end

local write

-- Puts a secret into a file; `files.dir` is the folder that the script's paths begin at.
local function write_secret(value, files)
  local number = 1
  while files.texts[files.dir .. "t.secret/" .. number] do number = number + 1 end
  files.texts[files.dir .. "t.secret/" .. number] = value.text
  return ("tg.secret %q"):format("file:t.secret/" .. number)
end

local function write_table(value, files, depth)
  assert(depth < 64, "the configuration of a plugin is nested too deeply, or holds itself")
  local parts, names = {}, {}
  for i, item in ipairs(value) do parts[i] = write(item, files, depth + 1) end
  for key in pairs(value) do
    if type(key) == "string" then names[#names + 1] = key end
    if type(key) ~= "string" and not (type(key) == "number" and key >= 1 and key <= #value) then
      error(("a key of a plugin's configuration is a %s; write a name or a list"):format(type(key)), 0)
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    parts[#parts + 1] = ("[%q] = %s"):format(name, write(value[name], files, depth + 1))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function write(value, files, depth)
  local kind = type(value)
  if getmetatable(value) == secret then return write_secret(value, files) end
  if kind == "table" then return write_table(value, files, depth) end
  if kind == "string" then return (("%q"):format(value):gsub("\\\n", "\\n")) end
  if kind == "number" then return ("%.17g"):format(value) end
  if kind == "boolean" then return tostring(value) end
  error(("a plugin's configuration is plain data, and has a %s in it"):format(kind), 0)
end

--- The text of `value`, which is plain data and secrets.
-- @param value
-- @tparam table files path to text: where secrets go
-- @tparam[opt] string dir the folder of the script, with its slash
function literal.write(value, files, dir)
  return write(value, { texts = files, dir = dir or "" }, 0)
end

return literal
