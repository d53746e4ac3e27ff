-- JSON for those who read what the commands tell.
--
-- Purpose    Writes plain data with its keys in order of the alphabet, so that two runs can be compared. It
--            is not the library's encoder (tg.json), which lives with the plugins and bounds what it takes:
--            a table of a hundred thousand routes has to come out whole.
-- Invariants The text is valid JSON whatever bytes the strings hold: those that are no UTF-8 become U+FFFD.
-- Ownership  Pure functions.
-- Cost       One walk.

local json = {}

local LIST, OBJECT = {}, {}

--- Marks a table as a list, so that an empty one is written as one.
function json.list(items)
  return setmetatable(items or {}, LIST)
end

--- Marks a table as an object, though it may have positional fields: their numbers are their names.
function json.object(fields)
  return setmetatable(fields or {}, OBJECT)
end

local function is_utf8(text)
  local rest = text:gsub("[\194-\223][\128-\191]", ""):gsub("[\224-\239][\128-\191][\128-\191]", "")
  return not rest:gsub("[\240-\244][\128-\191][\128-\191][\128-\191]", ""):find "[\128-\255]"
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t" }

local function quoted(text)
  text = text:gsub('[%c"\\\127]', function(byte) return ESCAPES[byte] or ("\\u%04x"):format(byte:byte()) end)
  if not is_utf8(text) then text = text:gsub("[\128-\255]", "\239\191\189") end
  return '"' .. text .. '"'
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local write

local function write_items(parts, value, indent)
  local mark = getmetatable(value)
  local inner, is_list = indent .. "  ", mark == LIST or (mark ~= OBJECT and #value > 0)
  local keys = is_list and value or sorted_keys(value)
  if #keys == 0 then
    parts[#parts + 1] = is_list and "[]" or "{}"
    return
  end
  parts[#parts + 1] = is_list and "[" or "{"
  for i, key in ipairs(keys) do
    parts[#parts + 1] = (i > 1 and ",\n" or "\n") .. inner
    if not is_list then parts[#parts + 1] = quoted(tostring(key)) .. ": " end
    write(parts, is_list and key or value[key], inner)
  end
  parts[#parts + 1] = "\n" .. indent .. (is_list and "]" or "}")
end

function write(parts, value, indent)
  local kind = type(value)
  if kind == "table" then
    write_items(parts, value, indent)
  elseif kind == "string" then
    parts[#parts + 1] = quoted(value)
  elseif kind == "number" then
    parts[#parts + 1] = (value % 1 == 0 and "%.0f" or "%.14g"):format(value)
  else
    parts[#parts + 1] = tostring(value)
  end
end

--- The text of a value, ended by a newline.
function json.encode(value)
  local parts = {}
  write(parts, value, "")
  parts[#parts + 1] = "\n"
  return table.concat(parts)
end

return json
