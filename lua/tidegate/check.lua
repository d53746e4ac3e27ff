-- Checks a value against a schema type and normalises it.
--
-- Purpose    The engine below schema.lua: one walk that finds every mistake and builds fresh plain data.
-- Result     The normalised value and a list of problems. A problem has `code`, `message`, optional `hint`
--            and `suggestion`, `keys` (the path as a list), `path` (as text), `missing` when nothing was
--            written at that path, `sensitive` when the line must not be quoted, and `severity`.
-- Context    `cx` connects the walk to its host; every entry is optional:
--              resolve(kind, value) -> name, or nil, why, hint, suggestion     for S.ref
--              declared(kind) -> which names there are, in words
--              opaque(value) -> noun ("a secret") for host objects that are no plain data
--              reveal(value) -> text for S.secret
--              unknown(value) -> true for a stand-in whose mistake has been reported already
--              compile_regex(pattern) -> why it does not compile
--              check_expr(text) -> why it is no expression, and a hint
--              check_value_regex(pattern), for conditions of routes: the same
-- Invariants Sensitive values never reach a message. Depth is at most DEPTH, so a table that holds itself
--            ends.
-- Cost       Linear in the value; one_of tries each variant.

local scalars = require "tidegate.scalars"
local suggest = require "tidegate.suggest"

local check = {}

local DEPTH = 64
local quote = scalars.quote

-- Stands for "no usable value": distinct from false and nil.
local NOTHING = {}

--- A path as people read it: routes.orders.plugins[2].zone
function check.path_text(keys)
  local parts = {}
  for i, key in ipairs(keys) do
    if type(key) == "number" then
      parts[i] = ("[%d]"):format(key)
    elseif key:find "^[%w_-]+$" then
      parts[i] = i == 1 and key or "." .. key
    else
      parts[i] = "[" .. quote(key) .. "]"
    end
  end
  return table.concat(parts)
end

local function extended(keys, key)
  local new = {}
  for i = 1, #keys do new[i] = keys[i] end
  new[#new + 1] = key
  return new
end

-- Whether values of this type must not be shown: its own, or those of a type around it.
local function is_hidden(t, cx)
  return t.is_sensitive or cx.hidden
end

-- `keys` is the way to the value in hand: it grows and shrinks as the check goes, so it is copied here.
local function problem(cx, keys, fields)
  fields.keys = { unpack(keys) }
  fields.sensitive = fields.sensitive or cx.hidden
  fields.path = check.path_text(keys)
  fields.severity = fields.severity or "error"
  cx.problems[#cx.problems + 1] = fields
  if fields.severity == "error" then cx.failures = cx.failures + 1 end
end

local function entry_of(t)
  return t.entry or scalars.types[t.kind]
end

local REF_NOUNS = { ["zone.dict"] = "a dict zone", ["zone.cache"] = "a cache zone",
                    ["zone.limit"] = "a limit zone" }

local COMPOSITE_NOUNS = {
  list = "a list", map = "a table", record = "a table", secret = "a secret", any = "plain data",
}

-- What a type takes, with its article.
local function noun_of(t)
  local entry = entry_of(t)
  if entry then return entry.noun end
  if t.kind == "ref" then return "the name of " .. (REF_NOUNS[t.target] or "a " .. t.target) end
  if t.kind == "enum" then return (#t.values > 1 and "one of " or "") .. check.join(t.values) end
  if t.kind == "one_of" then
    local nouns = {}
    for i, name in ipairs(t.names) do nouns[i] = noun_of(t.variants[name]) end
    return table.concat(nouns, " or ")
  end
  return COMPOSITE_NOUNS[t.kind]
end

--- Names in quotes, for a hint.
function check.join(names)
  local texts = {}
  for i, name in ipairs(names) do texts[i] = quote(name) end
  return table.concat(texts, ", ")
end

local function default_text(t)
  local value = t.default_value
  if value == nil or t.is_sensitive then return nil end
  if type(value) ~= "table" then return type(value) == "string" and quote(value) or tostring(value) end
  for _, item in ipairs(value) do
    if type(item) ~= "string" then return nil end
  end
  return #value > 0 and "{ " .. check.join(value) .. " }" or nil
end

--- What a field takes, in a few words: "integer 0–10, default 1".
function check.describe(t)
  local entry = entry_of(t)
  local text = noun_of(t):gsub("^an? ", "")
  local range = entry and entry.range and entry.range(t)
  if range then text = text .. " " .. range end
  local default = default_text(t)
  return default and text .. ", default " .. default or text
end

-- What was written, for "expected a duration, got number 20".
local function got(cx, t, value)
  local opaque = cx.opaque and cx.opaque(value)
  if opaque then return opaque end
  local kind = type(value)
  local shown = not is_hidden(t, cx)
  if kind == "number" and shown then return ("number %.14g"):format(value) end
  if kind == "string" and shown then return "string " .. quote(value) end
  if kind == "boolean" and shown then return tostring(value) end
  return (kind == "number" or kind == "string" or kind == "boolean" or kind == "function") and "a " .. kind or
         kind == "table" and "a table" or kind
end

local function wrong_type(cx, t, value, keys)
  local entry = entry_of(t)
  local hint = not is_hidden(t, cx) and entry and entry.hint and entry.hint(t, value, keys[#keys]) or nil
  if t.kind == "secret" then hint = 'write tg.secret "env:NAME" or tg.secret "file:PATH"' end
  if t.kind == "list" and type(value) ~= "table" and not hint then hint = "write a list: { … }" end
  problem(cx, keys, {
    code = "wrong_type", hint = hint, sensitive = is_hidden(t, cx),
    message = ("expected %s, got %s"):format(noun_of(t), got(cx, t, value)),
  })
  return NOTHING
end

local validate

-- Checks the value at one more key of the way.
local function validate_at(t, value, cx, keys, key, is_default)
  local depth = #keys + 1
  keys[depth] = key
  local normal = validate(t, value, cx, keys, is_default)
  keys[depth] = nil
  return normal
end

local function check_scalar(t, value, cx, keys)
  local entry = entry_of(t)
  if entry.lua and (type(value) ~= entry.lua or (cx.opaque and cx.opaque(value))) then
    return wrong_type(cx, t, value, keys)
  end
  local normal, why, hint = entry.read(t, value, cx, keys)
  if normal ~= nil then return normal end
  if not why then return NOTHING end
  local range, hidden = entry.range and entry.range(t), is_hidden(t, cx)
  problem(cx, keys, {
    code = range and why:find "imum" and "out_of_range" or "bad_value", sensitive = hidden,
    message = hidden and "not " .. entry.noun or why,
    hint = not hidden and hint or (range and "allowed: " .. range) or nil,
  })
  return NOTHING
end

local checkers = {}

function checkers.enum(t, value, cx, keys)
  if type(value) ~= "string" then return wrong_type(cx, t, value, keys) end
  for _, allowed in ipairs(t.values) do
    if allowed == value then return value end
  end
  local hidden = is_hidden(t, cx)
  local near = not hidden and suggest.nearest(value, t.values) or nil
  local all = "one of: " .. table.concat(t.values, ", ")
  problem(cx, keys, {
    code = "bad_value", suggestion = near, sensitive = hidden,
    message = hidden and "not an allowed value" or quote(value) .. " is not an allowed value",
    hint = near and ("did you mean %s? (%s)"):format(quote(near), all) or all,
  })
  return NOTHING
end

-- A variable that is set to nothing, or an empty file: whoever knows that would know the secret.
local function empty_secret(cx, keys)
  problem(cx, keys, { code = "bad_value", message = "the value is empty", sensitive = true,
                      hint = "look at the variable or the file that tg.secret names" })
  return NOTHING
end

function checkers.secret(t, value, cx, keys)
  local text = cx.reveal and cx.reveal(value)
  if text == "" then return empty_secret(cx, keys) end
  return text or wrong_type(cx, t, value, keys)
end

function checkers.ref(t, value, cx, keys)
  local name, why, hint, near
  if cx.resolve then name, why, hint, near = cx.resolve(t.target, value) end
  if name then return name end
  if not why then
    if type(value) ~= "string" then return wrong_type(cx, t, value, keys) end
    return cx.resolve and NOTHING or value
  end
  local hidden = is_hidden(t, cx)
  problem(cx, keys, { code = "unknown_name", message = hidden and "not " .. noun_of(t) or why,
                      hint = not hidden and hint or nil, suggestion = not hidden and near or nil })
  return NOTHING
end

local function copy_plain(value, cx, keys)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then return value end
  if cx.unknown and cx.unknown(value) then return NOTHING end
  if kind ~= "table" or getmetatable(value) ~= nil or (cx.opaque and cx.opaque(value)) then
    return wrong_type(cx, { kind = "any" }, value, keys)
  end
  if #keys > DEPTH then
    problem(cx, {}, { code = "bad_value", message = "nested too deeply, or a table that holds itself" })
    return NOTHING
  end
  local new = {}
  for key, item in pairs(value) do
    if type(key) ~= "string" and type(key) ~= "number" then
      local message = "keys must be strings or numbers, got a " .. type(key)
      problem(cx, keys, { code = "wrong_type", message = message })
    else
      local plain = copy_plain(item, cx, extended(keys, key))
      if plain ~= NOTHING then new[key] = plain end
    end
  end
  return new
end

function checkers.any(_, value, cx, keys)
  return copy_plain(value, cx, keys)
end

-- Whether a table can be read field by field: no host object, not too deep.
local function is_open_table(t, value, cx, keys)
  if type(value) ~= "table" or (cx.opaque and cx.opaque(value)) then
    wrong_type(cx, t, value, keys)
    return false
  end
  if getmetatable(value) ~= nil then
    problem(cx, keys, { code = "wrong_type", message = "a table with a metatable is no plain data",
                        hint = "copy its fields into a table of their own" })
    return false
  end
  if #keys > DEPTH then
    problem(cx, keys, { code = "bad_value", message = "nested too deeply, or a table that holds itself" })
    return false
  end
  return true
end

-- The number of list items, or nil (reported) when the keys are not 1..n.
local function list_length(value, cx, keys)
  local count, largest = 0, 0
  for key in pairs(value) do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
      problem(cx, type(key) == "string" and extended(keys, key) or keys, {
        code = "wrong_type", message = "a list has no named fields",
        hint = "write the items one after the other",
      })
      return nil
    end
    count, largest = count + 1, math.max(largest, key)
  end
  if count == largest then return count end
  local message = ("item %d of the list is nil"):format(#value + 1)
  problem(cx, keys, { code = "bad_value", message = message })
end

local function check_length(t, count, cx, keys)
  local message
  if t.min and count < t.min then
    message = t.min == 1 and "the list is empty" or
              ("expected at least %d items, got %d"):format(t.min, count)
  elseif t.max and count > t.max then
    message = ("expected at most %d items, got %d"):format(t.max, count)
  end
  if message then problem(cx, keys, { code = "out_of_range", message = message }) end
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then return a < b end
    return type(a) < type(b)
  end)
  return keys
end

--- Plain data as text: the same for equal values, and for no others.
function check.identity(value)
  if type(value) ~= "table" then
    local text = type(value) == "number" and ("%.17g"):format(value) or tostring(value)
    return ("%s%d:%s"):format(type(value):sub(1, 1), #text, text)
  end
  local parts = {}
  for key, item in pairs(value) do parts[#parts + 1] = check.identity(key) .. "=" .. check.identity(item) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

function checkers.list(t, value, cx, keys)
  if not is_open_table(t, value, cx, keys) then return NOTHING end
  local count = list_length(value, cx, keys)
  if not count then return NOTHING end
  check_length(t, count, cx, keys)
  local new, seen = {}, {}
  for i = 1, count do
    local item = validate_at(t.item, value[i], cx, keys, i)
    if item ~= NOTHING then
      if t.unique then
        local no_key = type(item) == "table" or item ~= item -- NaN
        local same = no_key and check.identity(item) or item
        if seen[same] then
          local message = ("same as item %d"):format(seen[same])
          problem(cx, extended(keys, i), { code = "bad_value", message = message })
        end
        seen[same] = i
      end
      new[#new + 1] = item
    end
  end
  return new
end

function checkers.map(t, value, cx, keys)
  if not is_open_table(t, value, cx, keys) then return NOTHING end
  local new = {}
  for _, key in ipairs(sorted_keys(value)) do
    local name = t.key.is_sensitive and "***" or
                 (type(key) == "string" or type(key) == "number") and key or tostring(key)
    local item_keys = extended(keys, name)
    local normal_key = validate(t.key, key, cx, item_keys)
    local item = validate(t.value, value[key], cx, item_keys)
    if normal_key ~= NOTHING and item ~= NOTHING then
      if new[normal_key] ~= nil then
        local message = "the same key twice: " .. (t.key.is_sensitive and "***" or
          quote(tostring(normal_key)))
        problem(cx, item_keys, { code = "bad_value", message = message })
      end
      new[normal_key] = item
    end
  end
  return new
end

-- Names that could have been meant: those of the record that are not taken yet.
local function field_candidates(t, value)
  local names = {}
  for _, name in ipairs(t.names) do
    if type(name) == "string" and value[name] == nil then names[#names + 1] = name end
  end
  return names
end

-- Which items without a name a record takes.
local function positions_text(t)
  local count = 0
  for _, name in ipairs(t.names) do
    if type(name) == "number" then count = math.max(count, name) end
  end
  return count < 2 and "fields have names here" or ("at most %d have no name here"):format(count)
end

local function unknown_field(t, value, key, cx, keys)
  if type(key) ~= "string" then
    local fields = { code = "unknown_field", message = "unexpected item; " .. positions_text(t) }
    -- { "http" } for { http = true }
    local meant = not is_hidden(t, cx) and type(value[key]) == "string" and t.fields[value[key]]
    if meant then fields.hint = ("write %s = … (%s)"):format(value[key], check.describe(meant)) end
    return problem(cx, type(key) == "number" and extended(keys, key) or keys, fields)
  end
  local near = suggest.nearest(key, field_candidates(t, value))
  local fields = {}
  for _, name in ipairs(t.names) do fields[#fields + 1] = type(name) == "string" and name or nil end
  local all = #fields > 0 and "known fields: " .. table.concat(fields, ", ") or "this table takes no fields"
  problem(cx, extended(keys, key), {
    code = "unknown_field", message = "unknown field", suggestion = near,
    hint = near and ("did you mean %s? (%s)"):format(quote(near), check.describe(t.fields[near])) or all,
  })
end

local function missing_field(field, cx, keys)
  local hint = "required: " .. noun_of(field)
  if field.doc_text then hint = hint .. " — “" .. field.doc_text .. "”" end
  local names = field.kind == "ref" and cx.declared and cx.declared(field.target)
  if names then hint = hint .. "\n" .. names end
  problem(cx, keys, { code = "missing_field", message = "missing", hint = hint, missing = true })
end

local function is_present(value, name)
  return value[name] ~= nil
end

local rules = {}

local function field_names(list)
  local names = {}
  for i, name in ipairs(list) do names[i] = type(name) == "number" and ("[%d]"):format(name) or name end
  return table.concat(names, ", ")
end

function rules.exactly_one(rule, value, cx, keys)
  local present = {}
  for _, name in ipairs(rule) do
    if is_present(value, name) then present[#present + 1] = name end
  end
  if #present == 1 then return end
  problem(cx, #present > 1 and extended(keys, present[2]) or keys, {
    code = "rule", missing = #present == 0,
    message = #present == 0 and "one of these fields is needed: " .. field_names(rule) or
              ("only one of these fields may be set: %s"):format(field_names(present)),
  })
end

function rules.requires(rule, value, cx, keys)
  if not is_present(value, rule[1]) then return end
  for i = 2, #rule do
    if not is_present(value, rule[i]) then
      local message = ("needs the field %q too"):format(rule[i])
      problem(cx, extended(keys, rule[1]), { code = "rule", message = message })
    end
  end
end

function rules.distinct(rule, value, cx, keys)
  for i = 2, #rule do
    for j = 1, i - 1 do
      if value[rule[i]] ~= nil and value[rule[i]] == value[rule[j]] then
        problem(cx, extended(keys, rule[i]), { code = "rule", message = "must differ from " .. rule[j] })
      end
    end
  end
end

function rules.need(rule, value, cx, keys, t)
  for _, name in ipairs(rule) do
    if not is_present(value, name) then
      problem(cx, extended(keys, name), { code = "rule", message = "missing", missing = true,
                                          hint = "required: " .. noun_of(t.fields[name]) })
    end
  end
end

function rules.when(rule, value, cx, keys, t)
  if value[rule[1]] ~= rule.value then return end
  local before = #cx.problems
  rules[rule.rule.kind](rule.rule, value, cx, keys, t)
  local why = ("where %s = %s"):format(rule[1], type(rule.value) == "string" and quote(rule.value) or
                                                  tostring(rule.value))
  for i = before + 1, #cx.problems do
    local hint = cx.problems[i].hint
    cx.problems[i].hint = hint and hint .. ", " .. why or why
  end
end

-- Runs the rules over the fields of a record. A field whose value is broken counts as written, and equals
-- nothing, so that a rule neither repeats what has been said nor waits for the next pass.
local function check_rules(t, new, broken, cx, keys)
  local fields = new
  if broken then
    fields = {}
    for name, item in pairs(new) do fields[name] = item end
    for name in pairs(broken) do fields[name] = {} end
  end
  for _, rule in ipairs(t.cross) do rules[rule.kind](rule, fields, cx, keys, t) end
end

-- A default that comes to an empty table is checked once: with many records it would be as many tables.
local function validate_default(field, cx, keys, name)
  if field.empty_default then return field.empty_default end
  local problems = #cx.problems
  local normal = validate_at(field, field.default_value, cx, keys, name, true)
  for i = problems + 1, #cx.problems do
    cx.problems[i].message = "the default in its schema does not fit: " .. cx.problems[i].message
  end
  if type(normal) == "table" and next(normal) == nil and getmetatable(normal) == nil and
     #cx.problems == problems and not field.checks then
    field.empty_default = normal
  end
  return normal
end

local function unknown_fields(t, value, cx, keys)
  local all_known = true
  for key in next, value do all_known = all_known and t.fields[key] ~= nil end
  if all_known then return end
  for _, key in ipairs(sorted_keys(value)) do
    if t.fields[key] == nil then unknown_field(t, value, key, cx, keys) end
  end
end

function checkers.record(t, value, cx, keys)
  if not is_open_table(t, value, cx, keys) then return NOTHING end
  unknown_fields(t, value, cx, keys)
  local new, broken = {}, nil
  for _, name in ipairs(t.names) do
    local field, given, normal = t.fields[name], value[name], nil
    if given ~= nil then
      normal = validate_at(field, given, cx, keys, name)
    elseif field.default_value ~= nil then
      normal = validate_default(field, cx, keys, name)
    elseif not field.is_optional then
      missing_field(field, cx, extended(keys, name))
    end
    if normal == NOTHING then
      broken = broken or {}
      broken[name] = true
    else
      new[name] = normal
    end
  end
  check_rules(t, new, broken, cx, keys)
  return new
end

-- One variant tried on its own list of problems.
local function try_variant(variant, value, cx, keys)
  local trial = setmetatable({ problems = {}, failures = 0 }, { __index = cx })
  local normal = validate(variant, value, trial, keys)
  return normal, trial
end

-- How far a failed variant got: fewer failures are nearer, then the one that failed deepest.
local function is_closer(a, b)
  if a.shape ~= b.shape then return a.shape end
  if a.failures ~= b.failures then return a.failures < b.failures end
  return a.depth > b.depth
end

local function closeness(trial, keys)
  local depth, shape = 0, true
  for _, found in ipairs(trial.problems) do
    depth = math.max(depth, #found.keys)
    if #found.keys == #keys and found.code == "wrong_type" then shape = false end
  end
  return { failures = trial.failures, depth = depth, shape = shape, trial = trial }
end

local function adopt(cx, trial)
  for _, found in ipairs(trial.problems) do cx.problems[#cx.problems + 1] = found end
  cx.failures = cx.failures + trial.failures
end

function checkers.one_of(t, value, cx, keys)
  local closest
  for _, name in ipairs(t.names) do
    local normal, trial = try_variant(t.variants[name], value, cx, keys)
    if trial.failures == 0 then
      adopt(cx, trial)
      return normal
    end
    local how = closeness(trial, keys)
    -- A word that is none of an enum's says nothing of the other variants; the message below does.
    how.shape = how.shape and t.variants[name].kind ~= "enum"
    if not closest or is_closer(how, closest) then closest = how end
  end
  if closest.shape then
    adopt(cx, closest.trial)
  else
    problem(cx, keys, {
      code = "no_variant", sensitive = is_hidden(t, cx),
      message = ("expected %s, got %s"):format(noun_of(t), got(cx, t, value)),
    })
  end
  return NOTHING
end

local function run_checks(t, normal, cx, keys)
  local hidden = is_hidden(t, cx)
  for _, fn in ipairs(t.checks) do
    local ran, result, why = pcall(fn, normal, check.path_text(keys))
    if not ran then
      problem(cx, keys, { code = "bad_check", sensitive = hidden,
                          message = hidden and "the schema's own check failed" or
                                    "the schema's own check failed: " .. tostring(result) })
      return NOTHING
    end
    if result == nil then
      local message = hidden and "refused" or tostring(why or "refused")
      problem(cx, keys, { code = "bad_value", message = message, sensitive = hidden })
      return NOTHING
    end
    if result ~= true then normal = result end
  end
  return normal
end

-- The value by its type, then by the schema's own checks.
local function checked(t, value, cx, keys)
  local failures = cx.failures
  local normal = (checkers[t.kind] or check_scalar)(t, value, cx, keys)
  if normal == NOTHING or cx.failures > failures or not t.checks then return normal end
  return run_checks(t, normal, cx, keys)
end

-- `is_default`: nobody wrote the value, so nobody is told that it is deprecated.
function validate(t, value, cx, keys, is_default)
  if cx.unknown and cx.unknown(value) then
    cx.failures = cx.failures + 1
    return NOTHING
  end
  if t.deprecation and not is_default then
    problem(cx, keys, { code = "deprecated", severity = "warning", message = "deprecated",
                        sensitive = t.is_sensitive,
                        hint = type(t.deprecation) == "string" and t.deprecation or nil })
  end
  if not t.is_sensitive or cx.hidden then return checked(t, value, cx, keys) end
  cx.hidden = true
  local normal = checked(t, value, cx, keys)
  cx.hidden = false
  return normal
end

--- Checks a value.
-- @tparam table t a schema type
-- @param value what was written; nil counts as an absent field
-- @tparam[opt] table host the context described above
-- @tparam[opt] table root the path of the value, a list of keys
-- @return the normalised value, nil when it cannot be used
-- @treturn table the problems, empty when all is well
function check.validate(t, value, host, root)
  local cx = setmetatable({ problems = {}, failures = 0 }, { __index = host or {} })
  local holder = validate(t, value == nil and t.default_value or value, cx, root or {})
  if holder == NOTHING or cx.failures > 0 then return nil, cx.problems end
  return holder, cx.problems
end

return check
