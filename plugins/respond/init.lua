-- respond: answers by itself, with a fixed text or one that takes values of the request.
--
-- Templates are compiled once. Values that clients choose are escaped as the body wants it: strings of
-- a `json` body by the encoder, text that is HTML as entities. Fixed parts are used as they are.

local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "respond", version = "1.0.0", api = 1, stage = "traffic",
  schema = S.record {
    status = S.int { min = 200, max = 599 }:default(200),
    body = S.string { max = 1048576 }:optional():doc "text, may hold ${...}",
    json = S.any():optional():doc "plain data sent as JSON; its strings may hold ${...}",
    content_type = S.string { max = 256 }:optional()
      :doc "type of the body: text/plain, or application/json for json",
    headers = S.map(S.header_name(), S.string { max = 4096 }):default {}:doc "values may hold ${...}",
  }:check(function(conf)
    if conf.body ~= nil and conf.json ~= nil then return nil, "give body or json, not both" end
    if conf.body ~= nil and (conf.status == 204 or conf.status == 304) then
      return nil, ("an answer of status %d has no body"):format(conf.status)
    end
    return true
  end),
}

-- The text, or its template where it has ${...}.
local function compile(text, escape)
  if not text:find("${", 1, true) then return { text = text } end
  local template, err = tg.template(text, escape)
  if not template then error(err.message, 0) end
  return { template = template }
end

local function render(compiled, ctx)
  return compiled.text or compiled.template:render(ctx)
end

-- A copy of plain data in which each string is compiled.
local function compile_data(value)
  if type(value) == "string" then return compile(value, "none") end
  if type(value) ~= "table" then return { value = value } end
  local table_of = {}
  for key, item in pairs(value) do table_of[key] = compile_data(item) end
  return { table = table_of }
end

local function has_template(compiled)
  if compiled.template then return true end
  for _, item in pairs(compiled.table or {}) do
    if has_template(item) then return true end
  end
  return false
end

local function render_data(compiled, ctx)
  if compiled.template then return compiled.template:render(ctx) end
  if not compiled.table then
    if compiled.text then return compiled.text end
    return compiled.value
  end
  local value = {}
  for key, item in pairs(compiled.table) do value[key] = render_data(item, ctx) end
  return value
end

function P.configure(conf)
  local compiled = { headers = {} }
  local content_type = conf.content_type
  if conf.json ~= nil then
    compiled.data = compile_data(conf.json)
    content_type = content_type or "application/json"
    if not has_template(compiled.data) then compiled.body = { text = tg.json.encode(conf.json) } end
  elseif conf.body then
    content_type = content_type or "text/plain; charset=utf-8"
    compiled.body = compile(conf.body, content_type:find "^text/html" and "html" or "none")
  end
  for name, value in pairs(conf.headers) do compiled.headers[name] = compile(value, "url") end
  if content_type then compiled.headers["content-type"] = { text = content_type } end
  return compiled
end

function P.access(conf, ctx)
  local compiled = conf.compiled
  local headers = {}
  for name, value in pairs(compiled.headers) do headers[name] = render(value, ctx) end
  local body
  if compiled.body then
    body = render(compiled.body, ctx)
  elseif compiled.data then
    body = tg.json.encode(render_data(compiled.data, ctx))
  end
  ctx:exit(conf.status, body, headers)
end

return P
