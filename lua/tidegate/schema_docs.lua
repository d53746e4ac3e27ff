-- What a schema says, for other readers: JSON Schema for machines, Markdown for people.
--
-- Purpose    The description that checks a configuration documents it too, so the two cannot differ.
-- Invariants The result depends on the schema alone: fields in their order, no clock, no addresses.
-- Ownership  Pure functions on schema types.
-- Cost       One walk over the schema.

local check = require "tidegate.check"
local scalars = require "tidegate.scalars"

local docs = {}

local json

local function record_json(t)
  local result = { type = "object", additionalProperties = false, properties = {}, required = {} }
  for _, name in ipairs(t.names) do
    local field = t.fields[name]
    result.properties[tostring(name)] = json(field)
    if not field.is_optional and field.default_value == nil then
      table.insert(result.required, tostring(name))
    end
  end
  if #result.required == 0 then result.required = nil end
  return result
end

local composites = {
  record = record_json,
  list = function(t)
    return { type = "array", items = json(t.item), minItems = t.min, maxItems = t.max,
             uniqueItems = t.unique }
  end,
  map = function(t) return { type = "object", additionalProperties = json(t.value) } end,
  one_of = function(t)
    local variants = {}
    for i, name in ipairs(t.names) do variants[i] = json(t.variants[name]) end
    return { anyOf = variants }
  end,
  enum = function(t) return { type = "string", enum = t.values } end,
  ref = function() return { type = "string" } end,
  secret = function() return { type = "string", writeOnly = true } end,
  any = function() return {} end,
}

function json(t)
  local entry = t.entry or scalars.types[t.kind]
  local result = entry and entry.json(t) or composites[t.kind](t)
  result.description = t.doc_text
  result.deprecated = t.deprecation and true or nil
  if not t.is_sensitive then
    result.default = t.default_value
    result.examples = t.example_value ~= nil and { t.example_value } or nil
  end
  return result
end

--- A schema as JSON Schema (draft 2020-12), as a Lua table.
function docs.json_schema(t)
  local result = json(t)
  result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
  return result
end

-- The type below lists and maps, and the suffix that they add to a path.
local function innermost(t)
  if t.kind == "list" then
    local inner, suffix = innermost(t.item)
    return inner, "[]" .. suffix
  elseif t.kind == "map" then
    local inner, suffix = innermost(t.value)
    return inner, ".*" .. suffix
  end
  return t, ""
end

local function cell(text)
  return (text:gsub("|", "\\|"):gsub("\n", " "))
end

local function describe_field(t)
  local inner, suffix = innermost(t)
  local text = suffix == "" and check.describe(t) or check.describe(t) .. " of " .. check.describe(inner)
  local notes = {}
  if t.is_optional then notes[#notes + 1] = "optional" end
  if not t.is_optional and t.default_value == nil then notes[#notes + 1] = "required" end
  if t.deprecation then notes[#notes + 1] = "deprecated" end
  return text, table.concat(notes, ", ")
end

local function add_rows(rows, t, path)
  for _, name in ipairs(t.names) do
    local field = t.fields[name]
    local here = type(name) == "number" and ("%s[%d]"):format(path, name) or
                 path .. (path == "" and "" or ".") .. name
    local takes, notes = describe_field(field)
    rows[#rows + 1] = ("| `%s` | %s | %s | %s |"):format(here, cell(takes), notes, cell(field.doc_text or ""))
    local inner, suffix = innermost(field)
    if inner.kind == "record" then add_rows(rows, inner, here .. suffix) end
  end
end

--- The fields of a record as a Markdown table.
function docs.markdown(t)
  local rows = { "| field | takes | | meaning |", "|---|---|---|---|" }
  add_rows(rows, t, "")
  return table.concat(rows, "\n") .. "\n"
end

return docs
