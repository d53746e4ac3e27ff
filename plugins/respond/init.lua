-- Answers by itself: a fixed status, headers and body, or such with ${...} parts from the request.
--
-- What has no such part is worked out in configure() and sent as it is. Values that come from the request
-- are escaped for the place they come to: in JSON, in HTML or XML, in a header. In plain text they stay as
-- they are.

local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "respond",
  version = "1.0.0",
  api = 1,
  stage = "traffic",
  priority = -100, -- limits and the like have their say first
  schema = S.record {
    status = S.int { min = 200, max = 599 }:default(200):doc "status code",
    body = S.template { max = 1048576 }:optional():doc "text, may hold ${...}",
    json = S.any():optional():doc "plain data sent as JSON; its strings may hold ${...}",
    content_type = S.header_value():optional()
      :doc "type of the body; text/plain, or application/json for json, where absent",
    headers = S.map(S.header_name { editable = true }, S.header_value()):default {}
      :doc "further headers; values may hold ${...}",
  }:check(function(conf)
    if conf.body and conf.json ~= nil then return nil, "only one of these fields may be set: body, json" end
    if (conf.status == 204 or conf.status == 304) and (conf.body or conf.json ~= nil) then
      return nil, ("an answer with status %d has no body"):format(conf.status)
    end
    if conf.headers["content-type"] then return nil, "headers: the field content_type is for that" end
    return true
  end),
}

local function has_parts(text)
  return text:find("${", 1, true) ~= nil
end

local function compile_template(path, text, escape)
  local template, err = tg.template(text, escape)
  if not template then error(("%s: %s"):format(path, err.message), 0) end
  return template
end

local function escape_for(content_type)
  local kind = content_type:lower():match "^[^;]*"
  if kind:find "html" or kind:find "xml" then return "html" end
  return kind:find "json" and "json" or "none"
end

-- Sets `answer.body` or `answer.template`.
local function compile_body(answer, conf, content_type)
  local path, text = "body", conf.body
  if conf.json ~= nil then path, text = "json", tg.json.encode(conf.json) end
  if not text then return end
  if has_parts(text) then
    answer.template = compile_template(path, text, escape_for(content_type))
  else
    answer.body = text
  end
end

-- Sets `answer.headers` and, where any has parts, `answer.header_templates`.
local function compile_headers(answer, conf, content_type)
  answer.headers = { ["content-type"] = content_type }
  for name, text in pairs(conf.headers) do
    if has_parts(text) then
      answer.header_templates = answer.header_templates or {}
      answer.header_templates[name] = compile_template("headers." .. name, text, "header")
    else
      answer.headers[name] = text
    end
  end
end

function P.configure(conf)
  local content_type = conf.content_type
  if not content_type and conf.json ~= nil then content_type = "application/json" end
  if not content_type and conf.body then content_type = "text/plain; charset=utf-8" end
  local answer = { status = conf.status }
  compile_body(answer, conf, content_type)
  compile_headers(answer, conf, content_type)
  return answer
end

local function render_headers(answer, ctx)
  local headers = {}
  for name, value in pairs(answer.headers) do headers[name] = value end
  for name, template in pairs(answer.header_templates) do headers[name] = template:render(ctx) end
  return headers
end

function P.access(conf, ctx)
  local answer = conf.compiled
  local headers = answer.header_templates and render_headers(answer, ctx) or answer.headers
  ctx:exit(answer.status, answer.template and answer.template:render(ctx) or answer.body, headers)
end

return P
