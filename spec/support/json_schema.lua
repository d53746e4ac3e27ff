--- As much of JSON Schema (draft 2020-12) as `tidegate schema` writes: whether a schema is one, and whether a
-- value fits it.

local json_schema = {}

local NULL = require("cjson").null

local function is_list(value)
  return type(value) == "table" and (#value > 0 or next(value) == nil)
end

local function is_schema_map(value)
  if type(value) ~= "table" then return false end
  for name, schema in pairs(value) do
    if type(name) ~= "string" then return false end
    json_schema.check(schema)
  end
  return true
end

local function is_schema_list(value)
  if not is_list(value) or #value == 0 then return false end
  for _, schema in ipairs(value) do json_schema.check(schema) end
  return true
end

local function is_schema(value)
  return value == false or (json_schema.check(value))
end

local function is_names(value)
  if not is_list(value) then return false end
  local seen = {}
  for _, name in ipairs(value) do
    if type(name) ~= "string" or seen[name] then return false end
    seen[name] = true
  end
  return true
end

local function is_string(value) return type(value) == "string" end
local function is_boolean(value) return type(value) == "boolean" end
local function is_number(value) return type(value) == "number" end
local function is_count(value) return type(value) == "number" and value >= 0 and value % 1 == 0 end
local function is_anything() return true end

local TYPES = { object = true, array = true, string = true, integer = true, number = true, boolean = true }

-- What each keyword may hold; one that is not here is not written.
local KEYWORDS = {
  ["$schema"] = function(value) return value == "https://json-schema.org/draft/2020-12/schema" end,
  type = function(value)
    for _, kind in ipairs(type(value) == "table" and value or { value }) do
      if not TYPES[kind] then return false end
    end
    return true
  end,
  title = is_string, description = is_string, format = is_string, pattern = is_string,
  properties = is_schema_map, required = is_names, additionalProperties = is_schema,
    propertyNames = is_schema,
  items = is_schema, minItems = is_count, maxItems = is_count, uniqueItems = is_boolean,
  minLength = is_count, maxLength = is_count, minimum = is_number, maximum = is_number,
  enum = is_list, const = is_anything, default = is_anything, examples = is_list,
  anyOf = is_schema_list, oneOf = is_schema_list, allOf = is_schema_list,
  ["if"] = is_schema, ["then"] = is_schema, deprecated = is_boolean, writeOnly = is_boolean,
  dependentRequired = function(value)
    for _, names in pairs(value) do
      if not is_names(names) then return false end
    end
    return true
  end,
}

--- Raises unless `schema`, decoded from JSON, is a schema of the keywords above.
function json_schema.check(schema)
  assert(type(schema) == "table" and schema ~= NULL, "a schema is an object")
  for keyword, value in pairs(schema) do
    local check = KEYWORDS[keyword]
    assert(check, ("%s is no keyword"):format(tostring(keyword)))
    assert(check(value), ("%s holds what it cannot"):format(keyword))
  end
  return true
end

local has_type

function has_type(value, kind)
  if type(kind) == "table" then
    for _, one in ipairs(kind) do
      if has_type(value, one) then return true end
    end
    return false
  end
  if kind == "object" then return type(value) == "table" and (#value == 0) end
  if kind == "array" then return is_list(value) end
  if kind == "integer" then return type(value) == "number" and value % 1 == 0 end
  return type(value) == kind
end

local function count_fitting(schemas, value)
  local count = 0
  for _, schema in ipairs(schemas) do
    if json_schema.fits(schema, value) then count = count + 1 end
  end
  return count
end

local function has_all(value, names)
  for _, name in ipairs(names) do
    if value[name] == nil then return false end
  end
  return true
end

local function fields_fit(schema, value)
  for name, item in pairs(value) do
    local of_field = (schema.properties or {})[name]
    if of_field == nil then of_field = schema.additionalProperties end
    if of_field == false then return false end
    if of_field and not json_schema.fits(of_field, item) then return false end
    if schema.propertyNames and not json_schema.fits(schema.propertyNames, name) then return false end
  end
  for name, needed in pairs(schema.dependentRequired or {}) do
    if value[name] ~= nil and not has_all(value, needed) then return false end
  end
  return has_all(value, schema.required or {})
end

local function items_fit(schema, value)
  if #value < (schema.minItems or 0) or #value > (schema.maxItems or math.huge) then return false end
  local seen = {}
  for _, item in ipairs(value) do
    if schema.uniqueItems and seen[item] then return false end
    seen[item] = true
    if schema.items and not json_schema.fits(schema.items, item) then return false end
  end
  return true
end

local function scalar_fits(schema, value)
  if type(value) == "number" then
    return value >= (schema.minimum or -math.huge) and value <= (schema.maximum or math.huge)
  end
  return type(value) ~= "string" or
         (#value >= (schema.minLength or 0) and #value <= (schema.maxLength or math.huge))
end

--- Whether `value` fits. Patterns and formats are not looked at.
function json_schema.fits(schema, value)
  if schema.type and not has_type(value, schema.type) then return false end
  if schema.const ~= nil and schema.const ~= value then return false end
  if schema.enum then
    local found = false
    for _, allowed in ipairs(schema.enum) do found = found or allowed == value end
    if not found then return false end
  end
  if schema.anyOf and count_fitting(schema.anyOf, value) == 0 then return false end
  if schema.oneOf and count_fitting(schema.oneOf, value) ~= 1 then return false end
  if schema.allOf and count_fitting(schema.allOf, value) ~= #schema.allOf then return false end
  if schema["if"] and json_schema.fits(schema["if"], value) and
    not json_schema.fits(schema["then"], value) then
    return false
  end
  if type(value) ~= "table" then return scalar_fits(schema, value) end
  if #value > 0 then return items_fit(schema, value) end
  return fields_fit(schema, value) and (#value > 0 or (schema.minItems or 0) == 0)
end

return json_schema
