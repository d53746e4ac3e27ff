-- What a route asks of a request besides host, path and method: the types of its fields, and what the route
-- table is told of them.
--
-- Purpose    headers, query, cookies: "value", a list of values, "~regex" or true; the names of sni.
-- Invariants Whether an expression compiles, and what it may cost, is decided by the route table itself,
--            through the host.
-- Ownership  Constant types; what `of` returns refers to the checked route.
-- Cost       One pass over what a route asks for.

local S = require "tidegate.schema"
local quote = require("tidegate.scalars").quote

local matching = {}

local VALUE_MAX = 4096 -- bytes of a value that a condition compares with
local HINT = '"value" for exactly that, { "a", "b" } for one of these, "~^a" for an expression, true for any'

local function check_value(value)
  if type(value) ~= "string" then return nil, "expected a string, got a " .. type(value) end
  if #value > VALUE_MAX then return nil, ("longer than %d bytes"):format(VALUE_MAX) end
  if value:find "[%z\r\n]" then return nil, quote(value) .. " cannot arrive: it has a NUL or a line break" end
  return value
end

local function check_values(list)
  local values, count = {}, 0
  if getmetatable(list) ~= nil then return nil, "a table with a metatable is no plain data" end
  for key in pairs(list) do
    if type(key) ~= "number" then return nil, "a list of values has no named fields", HINT end
    count = count + 1
  end
  if count == 0 then return nil, "the list is empty", HINT end
  if count ~= #list or count > 1024 then return nil, "a list has 1 to 1024 values, without a gap" end
  for i, value in ipairs(list) do
    local why
    values[i], why = check_value(value)
    if why then return nil, ("item %d: %s"):format(i, why) end
  end
  return values
end

--- What a header, query parameter or cookie has to be, as { kind, values }.
matching.condition = S.custom {
  noun = "a condition",
  json = function()
    local text = { type = "string", maxLength = VALUE_MAX }
    return { oneOf = { text, { type = "array", items = text, minItems = 1 }, { const = true } } }
  end,
  read = function(_, value, cx)
    if value == true then return { kind = "present", values = {} } end
    local opaque = cx.opaque and cx.opaque(value)
    if type(value) == "table" and not opaque then
      local values, why, hint = check_values(value)
      return values and { kind = "value", values = values }, why, hint
    end
    if type(value) ~= "string" then
      local what = opaque or value == false and "false" or "a " .. type(value)
      return nil, "expected a condition, got " .. what, HINT
    end
    local regex = value:match "^~(.*)$"
    local why, hint
    if regex then why, hint = cx.check_value_regex(regex) end
    if why then return nil, ("%s is not a regular expression: %s"):format(quote(value), why), hint end
    local text
    text, why = check_value(value)
    return text and { kind = regex and "regex" or "value", values = { regex or text } }, why
  end,
  write = function(condition)
    if condition.kind == "present" then return true end
    if condition.kind == "regex" then return "~" .. condition.values[1] end
    return #condition.values == 1 and condition.values[1] or condition.values
  end,
}

--- The name of a query parameter or a cookie.
matching.name = S.string { min = 1, max = VALUE_MAX }

--- A host that a TLS handshake asks for, exact or a wildcard.
matching.sni = S.custom {
  noun = "a host", lua = "string",
  json = function() return { type = "string" } end,
  read = function(_, value, cx)
    local why, hint = cx.check_host(value)
    if not why and (value == "*" or value:find ":%d+$") then
      why, hint = "a TLS handshake names a host, without a port", 'write "api.example.com" or "*.example.com"'
    end
    if why then return nil, ("%s is not a host: %s"):format(quote(value), why), hint end
    return value
  end,
}

local CONDITIONS = { { "headers", "header" }, { "query", "query" }, { "cookies", "cookie" } }

-- The conditions of a route as one list; nil when it has none.
local function conditions_of(route)
  local list
  for _, pair in ipairs(CONDITIONS) do
    for name, condition in pairs(route[pair[1]] or {}) do
      list = list or {}
      list[#list + 1] = { source = pair[2], name = name, kind = condition.kind, values = condition.values }
    end
  end
  return list
end

--- What the route table needs to know of a declared route that has been checked.
function matching.of(declaration)
  local route = declaration.checked
  return { name = declaration.name, hosts = route.hosts or {}, paths = route.paths,
           methods = route.methods or {}, priority = route.priority, conditions = conditions_of(route),
           networks = route.networks, scheme = route.scheme, sni = route.sni }
end

--- Fields of a route that only the route table reads.
matching.FIELDS = {
  "hosts", "methods", "headers", "query", "cookies", "networks", "scheme", "sni", "priority",
}

return matching
