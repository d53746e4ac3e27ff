--- Hides fields of JSON answers, wherever they stand in them, compressed answers included.
local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "json-mask",
  version = "1.0.0",
  api = 1,
  stage = "transform",
  needs = { body = "response", decode = true },
  schema = S.record {
    fields = S.list(S.string { min = 1 }, { min = 1, unique = true }),
    max = S.bytes():default "256KiB":doc "a longer answer is a 502: nothing passes unseen",
  },
}

function P.configure(conf)
  local hidden = {}
  for _, name in ipairs(conf.fields) do hidden[name] = true end
  return hidden
end

--- Is this an answer to look at? The body then comes at once.
function P.header_filter(conf, ctx)
  if not (ctx.resp:header "content-type" or ""):find("json", 1, true) then return end
  ctx.resp:buffer { max = conf.max }
  ctx.resp:remove_header "etag" -- of what the origin sent
  ctx.state.is_json = true
end

local function mask(value, hidden)
  for name, item in pairs(value) do
    if hidden[name] then
      value[name] = "***"
    elseif type(item) == "table" then
      mask(item, hidden)
    end
  end
end

function P.body_filter(conf, ctx, chunk)
  if not ctx.state.is_json or chunk == "" then return end
  local value, err = tg.json.decode(chunk)
  if err then
    ctx.log:warn("an answer is no JSON", { error = tostring(err) })
    ctx:fail "an answer that cannot be masked"
  end
  if type(value) ~= "table" then return end
  mask(value, conf.compiled)
  return tg.json.encode(value)
end

return P
