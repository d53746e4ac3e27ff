--- Asks a service whose an API key is. Answers are cached, wrong keys too, and of requests that come at the
-- same time one asks for all of them.
local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "key-lookup",
  version = "1.0.0",
  api = 1,
  stage = "auth",
  needs = { http = true, cache = "1MiB" },
  schema = S.record {
    service = S.ref "service":doc "who knows the keys",
    path = S.string { min = 1 }:default "/keys/":doc "the key's digest is put behind it",
    header = S.header_name():default "x-api-key",
    ttl = S.duration():default "1m":doc "how long an answer is believed",
    timeout = S.duration():default "500ms",
  },
}

-- What the service says of a key: a table, nil for nobody, or nil and why that is not known.
local function ask(conf, digest)
  local res, err = tg.http.get(conf.service, conf.path .. digest, { timeout = conf.timeout })
  if not res then return nil, err end
  if res.status == 404 then return nil end
  if res.status ~= 200 then return nil, "the service answered " .. res.status end
  local owner, bad = res:json()
  if bad then return nil, bad end
  local named = type(owner) == "table" and type(owner.name) == "string"
  if not named then return nil, "there is no name in the answer" end
  return { name = owner.name }
end

function P.access(conf, ctx)
  local key = ctx.req:header(conf.header)
  if not key then ctx:exit(401, { error = "missing key" }) end
  local digest = tg.hex.encode(tg.crypto.sha256(key)) -- the key itself is kept nowhere
  local options = { ttl = conf.ttl, negative_ttl = "5s", wait = conf.timeout }
  local owner, err = tg.cache():fetch(digest, options, function() return ask(conf, digest) end)
  if err then
    ctx.log:warn("the key service does not answer", { error = tostring(err) })
    ctx:exit(503, { error = "try again" }, { ["retry-after"] = "1" })
  end
  if not owner then ctx:exit(401, { error = "unknown key" }) end
  ctx.upstream:remove_header(conf.header)
  ctx.upstream:set_header("x-caller", owner.name)
end

return P
