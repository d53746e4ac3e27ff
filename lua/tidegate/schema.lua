-- The schema DSL: what a table of configuration may hold.
--
-- Purpose    Plugins, settings and the objects of the config language describe their fields with it; from the
--            description come the checks, the normalised values, the hints and the documentation.
-- Use        local S = require "tidegate.schema"
--            S.record { rate = S.int { min = 1 }, per = S.duration():default "1s", key =
--            S.string():optional() }
-- Invariants A type is never changed once made: each modifier returns a copy, so a type can be used twice.
--            Fields are required unless they are optional or have a default. Records are closed: an unknown
--            field is an error. All mistakes are found in one pass. Nothing is ever string-or-table.
-- Ownership  A type holds what its author gave it; `check` borrows the value and returns fresh plain data.
-- Cost       Building a type is a small table; checking is one walk over the value (check.lua).

local scalars = require "tidegate.scalars"
local check = require "tidegate.check"
local suggest = require "tidegate.suggest"

local S = {}

local Type = {}
Type.__index = Type

-- Options that each type takes in its constructor's table.
local RANGE = { min = "bound", max = "bound" }
local OPTIONS = {
  string = { min = "number", max = "number", pattern = "string", one_of = "table" },
  int = RANGE, number = RANGE, duration = RANGE, bytes = RANGE,
  url = { schemes = "table" },
  header_name = { editable = "boolean" }, template = { max = "number" },
  list = { min = "number", max = "number", unique = "boolean" },
}

-- A mistake in a schema is its author's: it is raised where the schema is written.
local function misuse(message, ...)
  error(message:format(...), 3)
end

local function new_type(kind, fields)
  fields.kind = kind
  return setmetatable(fields, Type)
end

local function is_type(value)
  return getmetatable(value) == Type
end

-- S.string without the call is the slip that is made most.
local function check_type(value, place)
  if is_type(value) then return end
  for name, maker in pairs(S) do
    if rawequal(value, maker) then
      error(("%s is not a schema type but what makes one: write S.%s(…)"):format(place, name), 3)
    end
  end
  error(("%s is not a schema type"):format(place), 3)
end

-- Bounds of durations and sizes are written like their values.
local function read_bound(kind, name, bound)
  local want = scalars.types[kind].lua
  if type(bound) ~= want then error(("%s of S.%s must be a %s"):format(name, kind, want), 4) end
  if want == "number" then return bound end
  local value, why = scalars.types[kind].read({}, bound, {})
  if not value then error(("%s of S.%s: %s"):format(name, kind, why), 4) end
  return value
end

-- "; it has max, min" for a message.
local function known_options(allowed)
  local names = {}
  for name in pairs(allowed) do names[#names + 1] = name end
  table.sort(names)
  return #names > 0 and "; it has " .. table.concat(names, ", ") or "; it has none"
end

local function read_options(kind, options)
  local fields, allowed = {}, OPTIONS[kind] or {}
  for name, value in pairs(options or {}) do
    if not allowed[name] then
      error(("S.%s has no option %q%s"):format(kind, tostring(name), known_options(allowed)), 3)
    end
    if allowed[name] == "bound" then
      fields[name] = read_bound(kind, name, value)
    elseif type(value) ~= allowed[name] then
      error(("%s of S.%s must be a %s"):format(name, kind, allowed[name]), 3)
    else
      fields[name] = value
    end
  end
  return fields
end

for kind in pairs(scalars.types) do
  S[kind] = function(options)
    local fields = read_options(kind, options)
    if not fields.one_of then return new_type(kind, fields) end
    return S.enum(fields.one_of)
  end
end

--- One of the listed strings.
function S.enum(values)
  if type(values) ~= "table" or #values == 0 then misuse "S.enum takes a list of strings" end
  for _, value in ipairs(values) do
    if type(value) ~= "string" then misuse "S.enum takes a list of strings" end
  end
  return new_type("enum", { values = values })
end

--- A value from tg.secret; the plugin receives the text.
function S.secret()
  return new_type("secret", { is_sensitive = true })
end

--- The name of something declared elsewhere: "service", "consumer", "zone.cache".
-- A handle that the declaration returned does as well.
function S.ref(target)
  if type(target) ~= "string" then misuse "S.ref takes the kind of object that is named" end
  return new_type("ref", { target = target })
end

--- Any plain data.
function S.any()
  return new_type("any", {})
end

--- A list of values of one type.
function S.list(item, options)
  check_type(item, "the item of S.list")
  local fields = read_options("list", options)
  fields.item = item
  return new_type("list", fields)
end

--- A table whose keys are of one type and whose values are of another.
function S.map(key, value)
  check_type(key, "the key of S.map")
  check_type(value, "the value of S.map")
  return new_type("map", { key = key, value = value })
end

--- A table with named fields; positional fields have integer names.
function S.record(fields)
  if type(fields) ~= "table" then misuse "S.record takes a table of fields" end
  local names = {}
  for name, field in pairs(fields) do
    check_type(field, ("field %q"):format(tostring(name)))
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  return new_type("record", { fields = fields, names = names, cross = {} })
end

--- A value that fits one of several types.
function S.one_of(variants)
  local names = {}
  for name, variant in pairs(variants) do
    check_type(variant, ("variant %q"):format(tostring(name)))
    names[#names + 1] = name
  end
  if #names == 0 then misuse "S.one_of takes a table of named types" end
  table.sort(names)
  return new_type("one_of", { variants = variants, names = names })
end

-- A type that the config language adds for itself (an address, a path pattern, a plugin instance).
-- `entry` is shaped like those of scalars.lua.
function S.custom(entry)
  return new_type("custom", { entry = entry })
end

local function copy(t)
  local new = {}
  for key, value in pairs(t) do new[key] = value end
  return setmetatable(new, Type)
end

--- The value when the field is absent, written as it would be in a config.
function Type:default(value)
  if value == nil then misuse "default takes a value" end
  local new = copy(self)
  new.default_value = value
  return new
end

--- The field may be absent.
function Type:optional()
  local new = copy(self)
  new.is_optional = true
  return new
end

--- What the field is for, in a few words.
function Type:doc(text)
  local new = copy(self)
  new.doc_text = text
  return new
end

--- A value for the documentation.
function Type:example(value)
  local new = copy(self)
  new.example_value = value
  return new
end

--- The value is never shown: not in messages, not in the lines that they quote.
function Type:sensitive()
  local new = copy(self)
  new.is_sensitive = true
  return new
end

--- The field still works but warns.
function Type:deprecated(advice)
  local new = copy(self)
  new.deprecation = advice or true
  return new
end

--- A check of one's own on the normalised value: `function(value, path) return nil, "why" end`.
-- What it returns instead of nil becomes the value; `true` keeps it.
function Type:check(fn)
  if type(fn) ~= "function" then misuse "check takes a function" end
  local new = copy(self)
  new.checks = {}
  for i, other in ipairs(self.checks or {}) do new.checks[i] = other end
  new.checks[#new.checks + 1] = fn
  return new
end

local Rule = {}
Rule.__index = Rule

local function new_rule(kind, fields)
  fields.kind = kind
  return setmetatable(fields, Rule)
end

-- The first field that a rule, or the rule inside it, names and the record has not.
local function unknown_in_rule(rule, fields)
  for _, name in ipairs(rule) do
    if not fields[name] then return name end
  end
  return rule.rule and unknown_in_rule(rule.rule, fields)
end

-- Whether an enum can never have the value that a rule waits for.
local function never_holds(rule, fields)
  local field = rule.kind == "when" and fields[rule[1]]
  if not field or field.kind ~= "enum" then return false end
  for _, value in ipairs(field.values) do
    if value == rule.value then return false end
  end
  return true
end

--- Rules across the fields of a record.
function Type:rules(rules)
  if self.kind ~= "record" then misuse "rules belong to a record" end
  local new = copy(self)
  new.cross = {}
  for i, rule in ipairs(rules) do
    if getmetatable(rule) ~= Rule then misuse("rule %d is not a rule", i) end
    local name = unknown_in_rule(rule, self.fields)
    if name then misuse("rule %d names the unknown field %q", i, tostring(name)) end
    if never_holds(rule, self.fields) then
      misuse("rule %d waits for %s = %q, which is not one of its values", i, rule[1], tostring(rule.value))
    end
    new.cross[i] = rule
  end
  return new
end

--- Exactly one of these fields is present.
function S.exactly_one(...)
  return new_rule("exactly_one", { ... })
end

--- Where the first field is present, the others are too.
function S.requires(...)
  return new_rule("requires", { ... })
end

--- These fields differ from one another.
function S.distinct(...)
  return new_rule("distinct", { ... })
end

--- For S.when: these fields are present.
function S.need(...)
  return new_rule("need", { ... })
end

--- Where a field has this value, the rule holds.
function S.when(field, value, rule)
  if getmetatable(rule) ~= Rule then misuse "S.when takes a rule as its third argument" end
  return new_rule("when", { field, value = value, rule = rule })
end

local makers = {}
for name in pairs(S) do makers[#makers + 1] = name end

-- What a type can be asked to be besides, for hints.
S.modifiers = {}
for name, modifier in pairs(Type) do
  if type(modifier) == "function" then S.modifiers[#S.modifiers + 1] = name end
end
table.sort(S.modifiers)

S.is_type = is_type

--- Checks a value; see check.lua.
S.validate = check.validate
S.describe = check.describe
S.path_text = check.path_text

-- What scripts and plugins get: the same functions, but nobody can change them for the others.
S.view = setmetatable({}, {
  __metatable = false,
  __index = function(_, name)
    if S[name] ~= nil then return S[name] end
    local near = suggest.nearest(tostring(name), makers)
    error(("tidegate.schema has no %q%s"):format(tostring(name),
      near and ("; did you mean %q?"):format(near) or ""), 2)
  end,
  __newindex = function() error("the schema library cannot be changed", 2) end,
})

return S
