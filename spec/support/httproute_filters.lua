--- Filters of HTTPRoute rules as fields of tg.route, and what cases say of their effect.
--
--   for _, route in ipairs(routes) do filters.apply(route) end     -- routes as of support.httproute
--   filters.check(got, case)                                        -- got as of httproute.play
--
-- URLRewrite is `rewrite`, RequestRedirect is `redirect`; header modifiers are one instance of the
-- headers plugin, CORS one of the cors plugin.

local assert = require("luassert")
local httproute = require("support.httproute")

local filters = {}

-- Lua text of plain data.
local function text(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    table.insert(parts, (type(key) == "number" and "%s" or ("[%q] = %%s"):format(key)):format(text(item)))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function map(list)
  local values = {}
  for _, entry in ipairs(list or {}) do
    values[entry.name:lower()] = entry.value
  end
  return values
end

local function modifier(edits)
  local remove = {}
  for i, name in ipairs(edits.remove or {}) do
    remove[i] = name:lower()
  end
  return { set = map(edits.set), add = map(edits.add), remove = remove }
end

local function path_of(replacement, into)
  if replacement then
    into.path = replacement.type == "ReplaceFullPath" and replacement.replaceFullPath or nil
    into.prefix = replacement.type == "ReplacePrefixMatch" and replacement.replacePrefixMatch or nil
  end
  return into
end

local translate = {}

function translate.URLRewrite(fields, filter)
  fields.rewrite = path_of(filter.urlRewrite.path, { host = filter.urlRewrite.hostname })
end

function translate.RequestRedirect(fields, filter)
  local redirect = filter.requestRedirect
  fields.redirect = path_of(redirect.path, { scheme = redirect.scheme, host = redirect.hostname,
                                             port = redirect.port, status = redirect.statusCode })
end

function translate.RequestHeaderModifier(_, filter, headers)
  headers.request = modifier(filter.requestHeaderModifier)
end

function translate.ResponseHeaderModifier(_, filter, headers)
  headers.response = modifier(filter.responseHeaderModifier)
end

function translate.CORS(_, filter, _, plugins)
  local cors = filter.cors
  local any = cors.allowOrigins[1] == "*" and cors.allowCredentials or nil
  table.insert(plugins, 'tg.use "cors" ' .. text {
    origins = cors.allowOrigins, methods = cors.allowMethods, headers = cors.allowHeaders,
    exposed = cors.exposeHeaders, credentials = cors.allowCredentials, any_origin_credentials = any,
    max_age = cors.maxAge and cors.maxAge .. "s" or nil,
  })
end

--- Adds what the filters of a route's rule say to its fields.
function filters.apply(route)
  local headers, plugins = {}, {}
  for _, filter in ipairs(route.rule.filters or {}) do
    translate[filter.type](route.fields, filter, headers, plugins)
  end
  if next(headers) then
    table.insert(plugins, 'tg.use "headers" ' .. text(headers))
  end
  if #plugins > 0 then
    route.fields.plugins = httproute.raw("{ " .. table.concat(plugins, ", ") .. " }")
  end
end

-- Lists compare without blanks.
local function plain(value)
  return value and (value:gsub("%s*,%s*", ","))
end

local function check_headers(message, expected)
  for name, value in pairs(expected.Headers or {}) do
    assert.equal(plain(value), plain(message.headers[name]), name)
  end
  for name, values in pairs(expected.ValidHeaderValues or {}) do
    local fits = false
    for _, value in ipairs(values) do
      fits = fits or plain(value) == plain(message.headers[name])
    end
    assert.is_true(fits, ("%s: %s"):format(name, tostring(message.headers[name])))
  end
  for _, name in ipairs(expected.AbsentHeaders or {}) do
    assert.no_header(name, message)
  end
end

local function filled(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function check_request(request, case)
  local expected = case.ExpectedRequest and case.ExpectedRequest.Request or {}
  assert.equal(filled(expected.Path) or case.Request.Path, request.target)
  if filled(expected.Host) then
    assert.equal(expected.Host, request.headers.host)
  end
  if type(expected.Headers) == "table" then
    check_headers(request, expected)
  end
  check_headers(request, { AbsentHeaders = case.ExpectedRequest and case.ExpectedRequest.AbsentHeaders })
end

local OWN_PORT = { http = "80", https = "443" }

-- What a redirect does not change is the request's; the port is the new scheme's where that is said.
local function check_redirect(location, case, port)
  local expected = case.RedirectRequest
  local scheme, host, got_port, path = location:match("^(%l+)://([^:/]+):?(%d*)(/.*)$")
  local wanted_port = expected.Port or expected.Scheme and OWN_PORT[expected.Scheme] or tostring(port)
  assert.equal(expected.Scheme or "http", scheme)
  assert.equal(expected.Host or "gateway.test", host)
  assert.equal(wanted_port, got_port ~= "" and got_port or OWN_PORT[scheme])
  assert.equal(expected.Path or case.Request.Path, path)
end

local function check_status(response, expected)
  local fits = false
  for _, status in ipairs(expected.StatusCodes or { expected.StatusCode or 200 }) do
    fits = fits or status == response.status
  end
  assert.is_true(fits, ("status %d"):format(response.status))
end

--- Asserts that a case went as it says.
-- @param got as httproute.play returns it
-- @param port that the client addressed
function filters.check(got, case, port)
  check_status(got.response, case.Response or {})
  if case.Backend then
    assert.equal(case.Backend, got.backend)
    check_request(got.request, case)
  end
  check_headers(got.response, case.Response or {})
  if case.RedirectRequest then
    check_redirect(got.response.headers.location, case, port)
  end
end

return filters
