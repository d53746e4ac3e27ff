-- What a schema says, for other readers: JSON Schema for machines, Markdown for people.
--
-- Purpose    The description that checks a configuration documents it too, so the two cannot differ.
-- Invariants The result depends on the schema alone: fields in their order, no clock, no addresses.
-- Ownership  Pure functions on schema types.
-- Cost       One walk over the schema.

local check = require "tidegate.check"
local mark = require("tidegate.inspect.json").list
local scalars = require "tidegate.scalars"

local docs = {}

local json

-- Rules across fields, as far as JSON Schema can say them; "must differ" it cannot.
local rule_json = {}

function rule_json.exactly_one(rule)
  local choices = {}
  for i, name in ipairs(rule) do choices[i] = { required = mark { tostring(name) } } end
  return { oneOf = mark(choices) }
end

function rule_json.requires(rule)
  local needed = {}
  for i = 2, #rule do needed[i - 1] = tostring(rule[i]) end
  return { dependentRequired = { [tostring(rule[1])] = mark(needed) } }
end

function rule_json.need(rule)
  local needed = {}
  for i, name in ipairs(rule) do needed[i] = tostring(name) end
  return { required = mark(needed) }
end

function rule_json.when(rule)
  local inner = rule_json[rule.rule.kind] and rule_json[rule.rule.kind](rule.rule)
  local name = tostring(rule[1])
  return inner and { ["if"] = { properties = { [name] = { const = rule.value } }, required = mark { name } },
                     ["then"] = inner }
end

local function record_json(t)
  local result = { type = "object", additionalProperties = false, properties = {}, required = mark() }
  for _, name in ipairs(t.names) do
    local field = t.fields[name]
    result.properties[tostring(name)] = json(field)
    if not field.is_optional and field.default_value == nil then
      table.insert(result.required, tostring(name))
    end
  end
  if #result.required == 0 then result.required = nil end
  local rules = {}
  for _, rule in ipairs(t.cross) do
    rules[#rules + 1] = rule_json[rule.kind] and rule_json[rule.kind](rule)
  end
  if #rules > 0 then result.allOf = mark(rules) end
  return result
end

local composites = {
  record = record_json,
  list = function(t)
    return { type = "array", items = json(t.item), minItems = t.min, maxItems = t.max,
             uniqueItems = t.unique }
  end,
  map = function(t)
    local names = json(t.key)
    names.type = nil
    return { type = "object", additionalProperties = json(t.value), propertyNames = next(names) and names }
  end,
  one_of = function(t)
    local variants = {}
    for i, name in ipairs(t.names) do variants[i] = json(t.variants[name]) end
    return { anyOf = mark(variants) }
  end,
  enum = function(t) return { type = "string", enum = mark { unpack(t.values) } } end,
  ref = function() return { type = "string" } end,
  secret = function() return { type = "string", writeOnly = true } end,
  any = function() return {} end,
}

-- What a program's schema cannot check is told to its reader: the bounds of durations and sizes, what a
-- name names.
local function description_of(t)
  local entry = t.entry or scalars.types[t.kind]
  local note = entry and entry.lua == "string" and entry.range and entry.range(t)
  if t.kind == "ref" or t.pattern then
    note = check.describe(t) .. (t.pattern and " like " .. t.pattern or "")
  end
  if type(t.deprecation) == "string" then
    note = (note and note .. "; " or "") .. "deprecated: " .. t.deprecation
  end
  if not t.doc_text then return note or nil end
  return note and ("%s (%s)"):format(t.doc_text, note) or t.doc_text
end

function json(t)
  local entry = t.entry or scalars.types[t.kind]
  local result = entry and entry.json(t) or composites[t.kind](t)
  result.description = description_of(t)
  result.deprecated = t.deprecation and true or nil
  if t.is_sensitive then
    result.writeOnly = true
  else
    result.default = t.kind == "list" and t.default_value and mark { unpack(t.default_value) } or
      t.default_value
    result.examples = t.example_value ~= nil and mark { t.example_value } or nil
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
  local takes, default = check.describe(t):match "^(.-)(, default .*)$"
  local text = takes or check.describe(t)
  if suffix ~= "" then text = text .. " of " .. check.describe(inner) end
  text = text .. (default or "")
  local notes = {}
  if t.is_optional then notes[#notes + 1] = "optional" end
  if not t.is_optional and t.default_value == nil then notes[#notes + 1] = "required" end
  if t.deprecation then notes[#notes + 1] = "deprecated" end
  return text, table.concat(notes, ", ")
end

local function is_alike(a, b)
  local x, y = innermost(a), innermost(b)
  return x.kind == "record" and x.fields == y.fields and a.is_optional == b.is_optional and
    a.doc_text == b.doc_text
end

-- How a position is named: "[2–32]" for several in a row that take the same, which have one row.
local function position(t, first)
  local last = first
  while t.fields[last + 1] and is_alike(t.fields[first], t.fields[last + 1]) do last = last + 1 end
  return first == last and ("[%d]"):format(first) or ("[%d–%d]"):format(first, last), last
end

local add_rows

local function add_field(rows, field, here)
  local takes, notes = describe_field(field)
  rows[#rows + 1] = ("| `%s` | %s | %s | %s |"):format(here, cell(takes), notes, cell(field.doc_text or ""))
  local inner, suffix = innermost(field)
  if inner.kind == "record" then add_rows(rows, inner, here .. suffix) end
  for _, variant in ipairs(inner.kind == "one_of" and inner.names or {}) do
    local of_variant, more = innermost(inner.variants[variant])
    if of_variant.kind == "record" then add_rows(rows, of_variant, here .. suffix .. more) end
  end
end

function add_rows(rows, t, path)
  local done = 0
  for _, name in ipairs(t.names) do
    if type(name) ~= "number" then
      add_field(rows, t.fields[name], path .. (path == "" and "" or ".") .. name)
    elseif name > done then
      local text
      text, done = position(t, name)
      add_field(rows, t.fields[name], path .. text)
    end
  end
end

--- The fields of a record as a Markdown table.
function docs.markdown(t)
  local rows = { "| field | takes | | meaning |", "|---|---|---|---|" }
  add_rows(rows, t, "")
  return table.concat(rows, "\n") .. "\n"
end

return docs
