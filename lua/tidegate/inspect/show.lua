-- Checked values, written again as a configuration would write them.
--
-- Purpose    The check turns "10s" into 10 and an address into a record; people and programs that are told
--            about a configuration want it as it was written. The schema knows the way back, so fields that
--            are added to it show up here by themselves.
-- Invariants What the schema calls sensitive is "***", and so is all that may hold it where a schema's own
--            check made something else of a value. Fields that have their default are left out.
-- Ownership  Pure functions; types and values are borrowed.
-- Cost       One walk over the value.

local json = require "tidegate.inspect.json"
local units = require "tidegate.units"

local show = {}

local HIDDEN = "***"

--- Whether two checked values are the same.
function show.equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not show.equal(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- Whether something in values of a type is not to be shown.
local function holds_secret(t)
  if t.is_sensitive then return true end
  for _, inner in pairs(t.fields or t.variants or {}) do
    if holds_secret(inner) then return true end
  end
  if t.kind == "map" then return holds_secret(t.key) or holds_secret(t.value) end
  return t.kind == "list" and holds_secret(t.item)
end

-- Whether a value could have come out of a type as it is: no check of the schema's own reshaped it.
local function could_be(t, value)
  local kind = type(value)
  if t.kind == "enum" then
    for _, allowed in ipairs(t.values) do
      if allowed == value then return true end
    end
    return false
  end
  if t.kind == "record" then
    if kind ~= "table" then return false end
    for key in pairs(value) do
      if not t.fields[key] then return false end
    end
    return true
  end
  if t.kind == "list" or t.kind == "map" then return kind == "table" end
  if t.kind == "duration" or t.kind == "bytes" or t.kind == "int" or t.kind == "number" or t.kind == "port" or
     t.kind == "status" then
    return kind == "number"
  end
  if t.kind == "bool" then return kind == "boolean" end
  if t.kind == "one_of" then return show.variant(t, value) ~= nil end
  if t.kind == "custom" or t.kind == "any" then return true end
  return kind == "string"
end

--- The same, for who compares values by their parts.
show.fits = could_be

--- The variant of a one_of that a checked value came from, as far as its shape tells; of several that could
-- be, one that hides it.
function show.variant(t, value)
  local found
  for _, name in ipairs(t.names) do
    local variant = t.variants[name]
    if could_be(variant, value) then
      if holds_secret(variant) then return variant end
      found = found or variant
    end
  end
  return found
end

local function plain_any(value)
  if type(value) ~= "table" then return value end
  local new = #value > 0 and json.list() or {}
  for key, item in pairs(value) do
    if type(item) ~= "function" then new[key] = plain_any(item) end
  end
  return new
end

local plain = {
  duration = function(_, value) return units.format_duration(value) end,
  bytes = function(_, value) return units.format_bytes(value) end,
  list = function(t, value)
    local new = json.list()
    for i, item in ipairs(value) do new[i] = show.plain(t.item, item) end
    return new
  end,
  map = function(t, value)
    local new = {}
    for key, item in pairs(value) do new[show.key(t, key)] = show.plain(t.value, item) end
    return new
  end,
  record = function(t, value)
    return show.fields(t, value)
  end,
  custom = function(t, value)
    if t.entry.write then return plain_any(t.entry.write(value)) end
    -- An address, which keeps its text.
    if type(value) == "table" and type(value.text) == "string" then return value.text end
    return plain_any(value)
  end,
  one_of = function(t, value)
    local variant = show.variant(t, value)
    return show.plain(variant or { kind = "any" }, value)
  end,
}

--- A key of a checked map as it is written.
function show.key(t, key)
  if t.key.is_sensitive then return HIDDEN end
  return t.key.entry and t.key.entry.write and t.key.entry.write(key) or key
end

--- A checked value as plain data that reads like the configuration.
function show.plain(t, value)
  if t.kind == "secret" or t.is_sensitive then return HIDDEN end
  if plain[t.kind] and could_be(t, value) then return plain[t.kind](t, value) end
  return holds_secret(t) and HIDDEN or plain_any(value)
end

-- Whether a field says no more than its default. (A default is written as in a configuration.)
local function is_default(t, value)
  if t.default_value == nil then return false end
  if type(value) ~= "table" then
    return show.plain(t, value) == t.default_value or value == t.default_value
  end
  return show.equal(show.plain(t, value), t.default_value)
end

--- The fields of a checked record that are not left at their defaults.
-- @tparam table t the record's type
-- @tparam table value
-- @tparam[opt] table leave_out set of names
-- @treturn table name to plain data
function show.fields(t, value, leave_out)
  local new = json.object()
  for _, name in ipairs(t.names) do
    local field, item = t.fields[name], value[name]
    if item ~= nil and not (leave_out and leave_out[name]) and not is_default(field, item) then
      local made = show.plain(field, item)
      -- A record of which every field has its default.
      if type(made) ~= "table" or next(made) ~= nil or field.kind ~= "record" then new[name] = made end
    end
  end
  return new
end

local function sorted_names(value)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  return names
end

--- Plain data as Lua writes it, on one line: { "a", weight = 2 }.
function show.literal(value)
  if type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', function(byte) return ("\\%d"):format(byte:byte()) end) .. '"'
  end
  if type(value) == "number" then return ("%.14g"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for _, name in ipairs(sorted_names(value)) do
    local text = show.literal(value[name])
    local is_item = name == #parts + 1
    if not is_item then
      local is_word = type(name) == "string" and name:find "^[%a_][%w_]*$"
      text = (is_word and name or "[" .. show.literal(name) .. "]") .. " = " .. text
    end
    parts[#parts + 1] = text
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

return show
