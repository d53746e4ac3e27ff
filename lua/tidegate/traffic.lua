-- What a route does besides handing requests on: rewriting, redirects, answers of its own, and which of
-- several services gets a request or a copy of it.
--
-- Purpose    The fields of services, routes and settings that say so; the rules between them that a schema
--            cannot tell; and the form in which the tree holds them (config.lua).
-- Templates  Are read by the host (http/template.h), so what is accepted here is what runs. Which names
--            they may use depends on the route's paths, and is checked when both are known.
-- Ownership  Types are constant; `freeze` changes the checked table of a route in place.
-- Cost       A few look-ups for a route that has none of it.

local S = require "tidegate.schema"
local suggest = require "tidegate.suggest"
local quote = require("tidegate.scalars").quote

local traffic = {}

local CHOICES_MAX = 32

-- ---- Types ----------------------------------------------------------------------------------------------

local function text_json() return { type = "string" } end

local function template_type(kind, noun)
  return S.custom { noun = noun, lua = "string", json = text_json, read = function(_, value, cx)
    local names, why, hint = cx.read_template(value, kind)
    if not names then return nil, ("%s %s"):format(quote(value), why), hint end
    if kind == "body" then
      for _, name in ipairs(names) do
        local known = false
        for _, fact in ipairs(cx.answer_facts) do known = known or fact == name end
        if not known then
          local near = suggest.nearest(name, cx.answer_facts)
          return nil, ("there is no {%s} to fill in"):format(name),
            (near and ("did you mean {%s}? "):format(near) or "") .. "known: " ..
            table.concat(cx.answer_facts, ", ") .. '; "{{" is a brace'
        end
      end
    end
    return value
  end }
end

local function path_template() return template_type("path", "a path, with {captures}") end
local function query_template() return template_type("query", "a query, with {captures}") end

local plain_path = S.custom { noun = "a path", lua = "string", json = text_json, read = function(_, value, cx)
  local names, why, hint = cx.read_template(value, "path")
  if names and #names > 0 then why, hint = "has parts to fill in", 'a plain path: "/base"' end
  if why then return nil, ("%s %s"):format(quote(value), why), hint end
  return value
end }

local plain_host = S.custom { noun = "a host", lua = "string", json = text_json, read = function(_, value, cx)
  local why, hint = cx.check_host(value)
  if why then return nil, ("%s is not a host: %s"):format(quote(value), why), hint end
  if value:find "[%*:]" then
    return nil, quote(value) .. " is not one host", "one name without a port; port = 8443 says the port"
  end
  return value:lower()
end }

local KEY_HINT = '"cookie:NAME", "header:NAME", "ip" or "consumer"'

-- What a choice sticks to: { by, name }.
local sticky = S.custom { noun = "a key", lua = "string", json = text_json, read = function(_, value)
  local by, name = value:match "^(%l+):(.+)$"
  if value == "ip" or value == "consumer" then return { by = value } end
  if (by ~= "cookie" and by ~= "header") or not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
    return nil, quote(value) .. " is not a key", KEY_HINT
  end
  return { by = by, name = by == "header" and name:lower() or name }
end, write = function(key)
  return key.name and key.by .. ":" .. key.name or key.by
end }

local function percent() return S.number { min = 0, max = 100 } end

local function split_type()
  local key = sticky:optional():doc "what a client's choice sticks to: cookie:NAME, header:NAME, ip, consumer"
  local choice = S.record {
    [1] = S.ref "service":doc "who gets this share",
    weight = S.int { min = 0, max = 1000000 }:default(1):doc "its share of the requests",
  }
  local fields = { key = key }
  for i = 1, CHOICES_MAX do fields[i] = i == 1 and choice or choice:optional() end
  return S.record(fields)
end

local redirect_type = S.record {
  status = S.int():check(function(status)
    if status == 301 or status == 302 or status == 303 or status == 307 or status == 308 then return true end
    return nil, "expected 301, 302, 303, 307 or 308"
  end):default(302):doc "308 and 307 keep the method, 301 and 308 are kept by browsers",
  scheme = S.enum { "http", "https" }:optional():doc "the request's when absent",
  host = plain_host:optional():doc "the request's when absent",
  port = S.port():optional():doc "the scheme's own where there is a scheme, else the request's",
  path = path_template():optional():doc "in place of the path",
  prefix = path_template():optional():doc "in place of what the route's pattern matched",
  query = query_template():optional():doc 'in place of the query; "": none',
}

local canary_type = S.record {
  service = S.ref "service":doc "who gets the canary's requests",
  header = S.header_name():optional():doc "requests with this header are the canary's",
  value = S.header_value():optional():doc "only those in which the header has this value",
  percent = percent():default(0):doc "its share of the other requests",
  key = sticky:optional():doc "what a client's choice sticks to",
}:rules { S.requires("value", "header") }

local mirror_type = S.record {
  service = S.ref "service":doc "who gets the copies",
  percent = percent():default(100):doc "the share of requests that are copied",
  max_body = S.bytes { max = "16MiB" }:default "64KiB":doc "requests with a larger body are not copied",
}

local status_key = S.custom {
  noun = "a status", json = text_json,
  read = function(_, value)
    if value == "4xx" or value == "5xx" then return tonumber(value:sub(1, 1)) end
    if type(value) == "number" and value % 1 == 0 and value >= 400 and value <= 599 then return value end
    return nil, ("%s is not a status of a failure"):format(type(value) == "string" and quote(value) or
                                                          tostring(value)),
      '[404], ["4xx"] or ["5xx"]'
  end,
  write = function(status) return status < 10 and status .. "xx" or status end,
}

local function responses_type()
  return S.map(status_key, S.record {
    body = template_type("body", "a text, with {status} and the like"):default ""
      :doc "may name {status}, {reason}, {code}, {detail}, {request_id}, {method}, {host}, {path}",
    type = S.header_value():default "text/plain; charset=utf-8"
      :doc "Content-Type, which says how values are escaped",
    headers = S.map(S.header_name { editable = true }, S.header_value()):default {}:doc "further headers",
  })
end

traffic.responses = responses_type():default {}
  :doc "the gateway's own answers for failures: status, or 4xx or 5xx = { body, type, headers }"

traffic.service_path = plain_path:optional():doc "in front of every path that goes to the service"

--- "/v1", or true for what the path's pattern matched.
-- @tparam function read_text reads the path
function traffic.strip_prefix(read_text)
  return S.custom {
    noun = "a path or true", json = function() return { type = { "string", "boolean" } } end,
    read = function(t, value, cx)
      if value == true then return true end
      if type(value) == "string" then return read_text(t, value, cx) end
      return nil, "expected a path, or true for what the path's pattern matches",
        'strip_prefix = "/v1" or strip_prefix = true'
    end,
  }
end

--- The fields of a route.
traffic.route_fields = {
  rewrite = S.record {
    path = path_template():optional():doc "in place of the path: /users/{id}",
    prefix = path_template():optional():doc "in place of what the route's pattern matched",
    query = query_template():optional():doc 'in place of the query; "": none',
    host = template_type("host", "a host, with {captures}"):optional():doc "what Host says",
  }:optional():doc "what becomes of the request before it goes to the service",
  redirect = redirect_type:optional():doc "the client is sent elsewhere; no service is asked",
  split = split_type():optional():doc "shares of the requests for several services",
  canary = canary_type:optional():doc "some requests go to another service",
  mirror = mirror_type:optional():doc "copies of requests go to another service too",
  responses = responses_type():optional():doc "as in the settings, before those",
}

-- ---- Rules ----------------------------------------------------------------------------------------------

-- Fields that contradict each other: of each pair at most one is there.
local EXCLUSIVE = {
  { "service", "split" }, { "service", "redirect" }, { "split", "redirect" }, { "redirect", "rewrite" },
  { "redirect", "strip_prefix" }, { "redirect", "canary" }, { "redirect", "mirror" },
  { "rewrite.path", "rewrite.prefix" }, { "redirect.path", "redirect.prefix" },
  { "strip_prefix", "rewrite.path" }, { "strip_prefix", "rewrite.prefix" },
  { "preserve_host", "rewrite.host" },
}

local function keys_of(path)
  local keys = {}
  for key in path:gmatch "[^.]+" do keys[#keys + 1] = key end
  return keys
end

local function value_at(route, path)
  local value = route
  for _, key in ipairs(keys_of(path)) do value = type(value) == "table" and value[key] or nil end
  return value
end

local function check_exclusive(route, report)
  for _, pair in ipairs(EXCLUSIVE) do
    if value_at(route, pair[1]) and value_at(route, pair[2]) then
      report(pair[2], "conflict", ("only one of %s and %s may be set"):format(pair[1], pair[2]))
    end
  end
end

local function has(list, name)
  for _, item in ipairs(list) do
    if item == name then return true end
  end
  local nth = name:match "^%d+$" and tonumber(name)
  return nth and nth >= 1 and nth <= #list
end

-- Each name of a template must be captured by each path of the route.
local function check_captures(route, host, path, kind, report)
  local text = value_at(route, path)
  if not text then return end
  for _, name in ipairs(host.read_template(text, kind)) do
    for i, pattern in ipairs(route.paths) do
      local captures = host.path_captures(pattern)
      if not has(captures, name) then
        local near = suggest.nearest(name, captures)
        report(path, "unknown_name", ("paths[%d] %s captures no {%s}"):format(i, quote(pattern), name),
          near and ("did you mean {%s}?"):format(near) or #captures == 0 and "it captures nothing" or
          "it captures {" .. table.concat(captures, "}, {") .. "}")
        return
      end
    end
  end
end

local TEMPLATES = {
  { "rewrite.path", "path" }, { "rewrite.prefix", "path" }, { "rewrite.query", "query" },
  { "rewrite.host", "host" }, { "redirect.path", "path" }, { "redirect.prefix", "path" },
  { "redirect.query", "query" },
}

local function check_split(split, report)
  local seen, count, weight = {}, 0, 0
  for i = 1, CHOICES_MAX do
    local choice = split[i]
    if choice then
      count, weight = count + 1, weight + choice.weight
      if seen[choice[1]] then
        local message = ("service %s has a share already"):format(quote(choice[1]))
        report(("split[%d]"):format(i), "conflict", message)
      end
      if count < i then
        report("split", "bad_value", ("item %d of the list is nil"):format(count))
        return
      end
      seen[choice[1]] = true
    end
  end
  if weight == 0 then
    report("split", "bad_value", "no share has a weight", "one weight at least is above 0")
  end
end

local function check_canary(route, report)
  local canary = route.canary
  if not (route.service or route.split) then
    report("canary", "rule", "there is nothing that the canary takes its share of",
           "give the route a service or a split")
  end
  if not canary.header and canary.percent == 0 then
    report("canary", "rule", "no request would be the canary's", 'say header = "x-canary" or percent = 5')
  end
  if canary.key and canary.percent == 0 then
    report("canary.key", "rule", "a key decides about a percentage, which is not set")
  end
end

--- Whether a route has nothing of all this, as most have.
function traffic.is_plain(route)
  return not (route.rewrite or route.redirect or route.split or route.canary or route.mirror or
              route.responses) and route.strip_prefix ~= true
end

-- Whose a request is, is known when a service's own plugins would have begun to run.
local function check_late(route, has_plugins, report)
  local late = route.split and route.split.key and route.split.key.by == "consumer" and "split" or
               route.canary and route.canary.key and route.canary.key.by == "consumer" and "canary"
  if not late then return end
  local names = { route.service, route.canary and route.canary.service }
  for _, choice in ipairs(route.split or {}) do names[#names + 1] = choice[1] end
  for _, name in pairs(names) do
    if has_plugins(name) then
      report(late .. ".key", "rule", ("service %s has plugins of its own"):format(quote(name)),
             "the consumer is known after they would have begun; attach them to the route")
      return
    end
  end
end

--- What contradicts itself on a route.
-- @tparam table route the checked table
-- @tparam table host of the resolver
-- @tparam function has_plugins (name of a service)
-- @tparam function report (path of the field, code, message, hint)
function traffic.check(route, host, has_plugins, report)
  check_exclusive(route, report)
  for _, template in ipairs(TEMPLATES) do
    check_captures(route, host, template[1], template[2], report)
  end
  if route.split then check_split(route.split, report) end
  if route.canary then check_canary(route, report) end
  check_late(route, has_plugins, report)
  if route.mirror and not (route.service or route.split) then
    report("mirror", "rule", "there is nothing that could be copied", "give the route a service or a split")
  end
end

--- A hint where a redirect leads to where the request came from; nil when it does not.
function traffic.redirects_to_itself(route)
  local redirect = route.redirect
  return redirect and not (redirect.scheme or redirect.host or redirect.port or redirect.path or
                           redirect.prefix or redirect.query)
end

-- ---- The tree -------------------------------------------------------------------------------------------

--- Checked responses as the list that C reads; nil for none.
function traffic.freeze_responses(responses)
  if not responses or next(responses) == nil then return nil end
  local list = {}
  for status, response in pairs(responses) do
    local fields = {}
    for name, value in pairs(response.headers) do fields[#fields + 1] = { name = name, value = value } end
    table.sort(fields, function(a, b) return a.name < b.name end)
    list[#list + 1] = { status = status, body = response.body, type = response.type, fields = fields }
  end
  table.sort(list, function(a, b) return a.status < b.status end)
  return list
end

--- Brings a checked route into the tree's form, in place.
-- @tparam table route
-- @tparam table index of services, by name
-- @tparam function chains_of (index of a service) -> chains of the route when it goes there
function traffic.freeze(route, index, chains_of)
  if route.strip_prefix == true then
    route.strip_prefix = nil
    route.rewrite = route.rewrite or {}
    route.rewrite.strip = true
  end
  local function choice(name, more)
    more.service = index[name]
    more.chains = chains_of(index[name])
    return more
  end
  if route.split then
    local choices = {}
    for i, item in ipairs(route.split) do choices[i] = choice(item[1], { weight = item.weight }) end
    route.split = { choices = choices, key = route.split.key }
  end
  if route.canary then choice(route.canary.service, route.canary) end
  if route.mirror then route.mirror.service = index[route.mirror.service] end
  route.responses = traffic.freeze_responses(route.responses)
end

return traffic
