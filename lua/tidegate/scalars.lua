-- The schema's simple types: how each is described, checked and normalised.
--
-- Purpose    One table per type name, so that adding a type is adding one entry. schema.lua makes a
--            constructor of each, check.lua calls them.
-- An entry   noun      what the value is, with its article: "a duration"
--            lua       the Lua type that carries it; a value of another type is refused before `read` is
--                      called
--            read      (type, value, cx) -> normalised value, or nil, why, hint; `why` completes "zone: …"
--            range     (type) -> short text of what is allowed, for hints; optional
--            hint      (type, value, key) -> what to write instead of a value of the wrong Lua type; optional
--            write     (normalised value) -> the value as it is written; optional, for types that make
--                      records
--            json      (type) -> the fields of its JSON Schema
-- Ownership  Constant data; a type's options (min, max, …) are only read.
-- Cost       One pass over the value.

local units = require "tidegate.units"
local ip = require "tidegate.ip"

local scalars = {}

local function quote(text)
  if #text > 60 then text = text:sub(1, 57) .. "..." end
  local escaped = text:gsub('[\\"]', "\\%0")
  escaped = escaped:gsub("%c", function(byte) return ("\\%d"):format(byte:byte()) end)
  return '"' .. escaped .. '"'
end

scalars.quote = quote

-- "1–10", "at least 1", "at most 10" or nil, in the type's own spelling.
local function range_text(t, write)
  if t.min and t.max then return write(t.min) .. "–" .. write(t.max) end
  if t.min then return "at least " .. write(t.min) end
  if t.max then return "at most " .. write(t.max) end
end

local function in_range(t, value, write)
  if t.min and value < t.min then
    return nil, ("%s is below the minimum %s"):format(write(value), write(t.min))
  end
  if t.max and value > t.max then
    return nil, ("%s is above the maximum %s"):format(write(value), write(t.max))
  end
  return value
end

local function plain_number(value)
  return ("%.14g"):format(value)
end

local function number_json(kind)
  return function(t) return { type = kind, minimum = t.min, maximum = t.max } end
end

local function text_json(t)
  return { type = "string", minLength = t.min, maxLength = t.max }
end

local function is_finite(value)
  return value == value and value ~= math.huge and value ~= -math.huge
end

local types = {}
scalars.types = types

types.string = {
  noun = "a string", lua = "string", json = text_json,
  read = function(t, value)
    if t.min and #value < t.min then return nil, ("shorter than %d bytes"):format(t.min) end
    if t.max and #value > t.max then return nil, ("longer than %d bytes"):format(t.max) end
    if t.pattern and not value:find(t.pattern) then
      return nil, ("%s does not match the pattern %s"):format(quote(value), t.pattern)
    end
    return value
  end,
}

types.int = {
  noun = "an integer", lua = "number", json = number_json "integer",
  range = function(t) return range_text(t, plain_number) end,
  read = function(t, value)
    if not is_finite(value) or value % 1 ~= 0 then
      return nil, ("expected an integer, got %s"):format(plain_number(value))
    end
    return in_range(t, value, plain_number)
  end,
}

types.number = {
  noun = "a number", lua = "number", json = number_json "number",
  range = function(t) return range_text(t, plain_number) end,
  read = function(t, value)
    if not is_finite(value) then return nil, "expected a finite number" end
    return in_range(t, value, plain_number)
  end,
}

types.bool = {
  noun = "true or false", lua = "boolean",
  json = function() return { type = "boolean" } end,
  read = function(_, value) return value end,
}

local DURATION_FORM = 'a number and a unit: "250ms", "10s", "5m", "1h30m"'
local SIZE_FORM = 'a number and a unit: "512B", "32KiB", "10MiB", "1GiB"'

-- Spellings of a bare number with the units that the type's bounds allow: `write cpu = "20ms"`; of anything
-- else, its form.
local function unit_hint(choices, parse, form)
  return function(t, value, key)
    if type(value) ~= "number" then return form end
    local allowed, all = {}, {}
    for _, unit in ipairs(choices) do
      local text = plain_number(value) .. unit
      local parsed = parse(text)
      all[#all + 1] = '"' .. text .. '"'
      if parsed and in_range(t, parsed, tostring) then allowed[#allowed + 1] = all[#all] end
    end
    local texts = table.concat(#allowed > 0 and allowed or all, " or ")
    return "write " .. (type(key) == "string" and key .. " = " or "") .. texts
  end
end

types.duration = {
  noun = "a duration", lua = "string",
  range = function(t) return range_text(t, units.format_duration) end,
  hint = unit_hint({ "s", "ms" }, units.parse_duration, DURATION_FORM),
  json = function() return { type = "string", pattern = "^([0-9]+(\\.[0-9]+)?(us|ms|s|m|h|d))+$" } end,
  read = function(t, value)
    local seconds = units.parse_duration(value)
    if not seconds then
      return nil, quote(value) .. " is not a duration", DURATION_FORM
    end
    return in_range(t, seconds, units.format_duration)
  end,
}

types.bytes = {
  noun = "a size", lua = "string",
  range = function(t) return range_text(t, units.format_bytes) end,
  hint = unit_hint({ "B", "KiB", "MiB" }, units.parse_bytes, SIZE_FORM),
  json = function() return { type = "string", pattern = "^[0-9]+(\\.[0-9]+)?(B|KiB|MiB|GiB|TiB)$" } end,
  read = function(t, value)
    local bytes = units.parse_bytes(value)
    if not bytes then
      return nil, quote(value) .. " is not a size", SIZE_FORM
    end
    return in_range(t, bytes, units.format_bytes)
  end,
}

-- A DNS name in letters-digits-hyphen form (RFC 1123 section 2.1), or an address.
function scalars.is_host(text)
  if ip.parse(text) then return true end
  if #text > 253 or text:find "%.%." then return false end
  for label in text:gmatch "[^.]+" do
    if #label > 63 or not label:find "^[%w_][%w_-]*$" or label:sub(-1) == "-" then return false end
  end
  -- A name whose last label is all digits would be read as an address by others.
  return text:find "^[%w_]" ~= nil and not text:find "%.$" and not text:find "^[%d.]+$"
end

types.host = {
  noun = "a host", lua = "string", json = text_json,
  read = function(_, value)
    if not scalars.is_host(value) then return nil, quote(value) .. " is not a host name or address" end
    return value:lower()
  end,
}

types.port = {
  noun = "a port", lua = "number",
  range = function() return "1–65535" end,
  json = function() return { type = "integer", minimum = 1, maximum = 65535 } end,
  read = function(_, value) return types.int.read({ min = 1, max = 65535 }, value) end,
}

types.cidr = {
  noun = "a network", lua = "string", json = text_json,
  read = function(_, value)
    local canonical = ip.canonical_cidr(value)
    if not canonical then
      return nil, quote(value) .. " is not a network", 'an address with a prefix: "10.0.0.0/8", "fd00::/8"'
    end
    return canonical
  end,
}

types.url = {
  noun = "a URL", lua = "string",
  json = function() return { type = "string", format = "uri" } end,
  read = function(t, value)
    local scheme, rest = value:match "^(%a[%w+.-]*)://([^%s%c]+)$"
    local authority = rest and rest:match "^[^/?#]+"
    local host, port
    if authority then host, port = ip.split_endpoint(authority) end
    host = host or (authority and (authority:match "^%[(.+)%]$" or authority))
    if not host or port == 0 or not scalars.is_host(host) then
      return nil, quote(value) .. " is not a URL", 'scheme, host and path: "https://example.test/path"'
    end
    for _, allowed in ipairs(t.schemes or {}) do
      if allowed == scheme:lower() then return value end
    end
    if t.schemes then
      local why = ("scheme %s is not allowed here"):format(quote(scheme))
      return nil, why, "one of: " .. table.concat(t.schemes, ", ")
    end
    return value
  end,
}

-- RFC 9110 section 5.6.2.
local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"

-- Names that frame messages and manage connections: those marked OWN in core/http/field.def.
local GATEWAY_HEADERS = {
  connection = true, ["content-length"] = true, expect = true, ["keep-alive"] = true,
  ["proxy-connection"] = true, ["transfer-encoding"] = true, upgrade = true,
}

-- With `editable` only names that a plugin may set, add or remove.
types.header_name = {
  noun = "a header name", lua = "string", json = text_json,
  read = function(t, value)
    if not value:find(TOKEN) then return nil, quote(value) .. " is not a header name" end
    local name = value:lower()
    if t.editable and GATEWAY_HEADERS[name] then
      return nil, quote(name) .. " belongs to the gateway",
        "the gateway frames messages and manages connections itself"
    end
    return name
  end,
}

-- RFC 9110 section 5.5, without blanks around it: they would not arrive.
types.header_value = {
  noun = "a header value", lua = "string", json = text_json,
  read = function(_, value)
    if value:find "[%z\1-\8\10-\31\127]" then
      return nil, quote(value) .. " is not a header value",
        "line breaks and other control characters cannot be sent"
    end
    if value:find "^[ \t]" or value:find "[ \t]$" then
      return nil, quote(value) .. " begins or ends with a blank", "recipients strip blanks around a value"
    end
    return value
  end,
}

types.method = {
  noun = "a method", lua = "string", json = text_json,
  read = function(_, value)
    if not value:find(TOKEN) then return nil, quote(value) .. " is not a method" end
    if value:find "%l" then
      return nil, quote(value) .. " is not a method", "methods are in capitals: " .. quote(value:upper())
    end
    return value
  end,
}

types.status = {
  noun = "a status code", lua = "number",
  range = function() return "100–599" end,
  json = function() return { type = "integer", minimum = 100, maximum = 599 } end,
  read = function(_, value) return types.int.read({ min = 100, max = 599 }, value) end,
}

types.regex = {
  noun = "a regular expression", lua = "string",
  json = function() return { type = "string", format = "regex" } end,
  read = function(_, value, cx)
    local why = cx.compile_regex and cx.compile_regex(value)
    if why then return nil, ("%s is not a regular expression: %s"):format(quote(value), why) end
    return value
  end,
}

-- Text with placeholders "${req.path}", "${header.NAME}"; "$${" stands for "${" itself. The form is checked
-- here; which names there are is known to tg.template, which compiles it.
types.template = {
  noun = "a template", lua = "string", json = text_json,
  read = function(t, value)
    if t.max and #value > t.max then return nil, ("longer than %d bytes"):format(t.max) end
    local rest = value:gsub("%$%${", ""):gsub("%${[%a_][%w_.-]*}", "")
    local broken = rest:match "%${[^%s}]*}?"
    if broken then
      return nil, quote(broken) .. " is not a placeholder",
        'placeholders look like "${req.path}"; "$${" stands for "${" itself'
    end
    return value
  end,
}

types.expr = {
  noun = "an expression", lua = "string", json = text_json,
  read = function(_, value, cx)
    local why, hint
    if cx.check_expr then why, hint = cx.check_expr(value) end
    if why then return nil, ("%s is not an expression: %s"):format(quote(value), why), hint end
    return value
  end,
}

return scalars
