-- Recognises consumers by an API key in a header, a query parameter or a cookie.
--
-- Keys are looked up by a keyed digest and compared in constant time by the gateway itself
-- (tg.consumers.by_credential); no key is kept, logged or sent on. The headers that tell the origin who
-- calls are removed from every request first, so that nobody can claim to be somebody.

local S = require "tidegate.schema"
local tg = require "tidegate"

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"

local P = {
  name = "key-auth",
  version = "1.0.0",
  api = 1,
  stage = "auth",
  metrics = {
    rejected = { type = "counter", labels = { "reason" }, help = "Requests refused for their key." },
  },
}

-- What the origin may be told, by the name of the option: header, and its value.
local IDENTITY = {
  name = { "x-consumer-name", "${consumer.name}" }, id = { "x-consumer-id", "${consumer.id}" },
  custom_id = { "x-consumer-custom-id", "${consumer.custom_id}" },
  groups = { "x-consumer-groups", "${consumer.groups}" },
  credential = { "x-consumer-credential", "${consumer.credential}" },
}

P.schema = S.record {
  header = S.header_name { editable = true }:optional()
    :doc "the header with the key; x-api-key where no place is named",
  scheme = S.string { min = 1, max = 32, pattern = TOKEN }:optional()
    :doc 'a word in front of the key in that header: "Bearer"',
  query = S.string { min = 1, max = 128 }:optional():doc "the query parameter with the key",
  cookie = S.string { min = 1, max = 128, pattern = TOKEN }:optional():doc "the cookie with the key",
  hide = S.bool():default(true):doc "keep the key from the origin",
  anonymous = S.ref "consumer":optional()
    :doc "whose request it is when there is no key; absent: it is refused",
  identity = S.list(S.enum { "name", "id", "custom_id", "groups", "credential" }, { unique = true })
    :default { "name", "custom_id" }:doc "what the origin is told of the consumer, in x-consumer-* headers",
  realm = S.string { min = 1, max = 128, pattern = '^[^%c"\\]+$' }:default "api"
    :doc "what WWW-Authenticate calls the protected space",
}:rules { S.requires("scheme", "header") }

-- "the header x-api-key or the query parameter key", for people.
local function describe(places)
  local names = {}
  if places.header then names[1] = "the header " .. places.header end
  if places.query then names[#names + 1] = "the query parameter " .. places.query end
  if places.cookie then names[#names + 1] = "the cookie " .. places.cookie end
  return table.concat(names, " or ")
end

-- What is done to the headers of every request that passes: nothing of what the client says of consumers
-- is left, and what the gateway knows is told.
local function prepare_edits(conf, header)
  local remove, fill = {}, {}
  for _, identity in pairs(IDENTITY) do remove[#remove + 1] = identity[1] end
  if header and conf.hide then remove[#remove + 1] = header end
  for _, field in ipairs(conf.identity) do
    local identity = IDENTITY[field]
    fill[identity[1]] = tg.template(identity[2], "header")
  end
  return tg.edits { remove = remove, fill = fill }
end

function P.configure(conf)
  local header = conf.header
  if not header and not conf.query and not conf.cookie then header = "x-api-key" end
  local edits = prepare_edits(conf, header)
  -- A good key in the header, and nothing else to hide: no Lua is needed.
  if header and not (conf.hide and (conf.query or conf.cookie)) then
    edits:instead_of("access", nil, { kind = "key", header = header, scheme = conf.scheme })
  end
  return {
    header = header,
    scheme = conf.scheme and conf.scheme:lower() .. " ",
    edits = edits,
    challenge = ('%s realm="%s"'):format(conf.scheme or "Key", conf.realm),
    places = describe { header = header, query = conf.query, cookie = conf.cookie },
  }
end

-- The key behind its scheme; nil for a header that has another one.
local function behind_scheme(compiled, value)
  local n = #compiled.scheme
  if value:sub(1, n):lower() == compiled.scheme then return (value:sub(n + 1):gsub("^ +", "")) end
end

-- The key that the client sent, from the first place that has one.
local function find_key(conf, req)
  local compiled = conf.compiled
  local key = compiled.header and req:header(compiled.header)
  if key and compiled.scheme then key = behind_scheme(compiled, key) end
  if not key and conf.query then key = req:query(conf.query) end
  if not key and conf.cookie then key = req:cookie(conf.cookie) end
  return key
end

local DETAILS = {
  missing = "this needs an API key in %s",
  unknown = "nobody has the API key that was sent in %s",
}

local function refuse(conf, ctx, reason)
  ctx.metrics:inc("rejected", { reason = reason })
  ctx:exit(401, {
    title = "Unauthorized", status = 401, code = "key_" .. reason,
    detail = DETAILS[reason]:format(conf.compiled.places), request_id = ctx.id,
  }, { ["content-type"] = "application/problem+json", ["www-authenticate"] = conf.compiled.challenge })
end

-- Whom the key belongs to; refuses the request when that is nobody. Nil without a key where another plugin
-- has recognised somebody before.
local function identify(conf, ctx, consumer)
  local key = find_key(conf, ctx.req)
  if key then
    local found, err = tg.consumers.by_credential("key", key)
    if err then ctx:fail(err) end
    return found or refuse(conf, ctx, "unknown")
  end
  if not conf.anonymous then refuse(conf, ctx, "missing") end
  if consumer.name ~= nil then return nil end
  local found, err = tg.consumers.get(conf.anonymous)
  return found or ctx:fail(err or "the anonymous consumer is not there")
end

--- Refuses requests without a good key; tells the origin whose the others are.
function P.access(conf, ctx)
  local upstream, consumer = ctx.upstream, ctx.consumer
  local found = identify(conf, ctx, consumer)
  if found then consumer:authenticate(found) end
  upstream:edit(conf.compiled.edits)
  if conf.hide then
    if conf.query then upstream:remove_query(conf.query) end
    if conf.cookie then upstream:remove_cookie(conf.cookie) end
  end
end

return P
