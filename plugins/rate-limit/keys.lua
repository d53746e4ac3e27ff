-- Whom a limit counts: the texts of `key`, and what they stand for in a request.
--
-- read() is for the configuration: whether a text is a key. compile() makes of a list of them a function
-- of ctx that returns the value under which a request is counted, or nil and the key that is missing. The
-- parts of a value are marked and have their length in front, so that no client can choose parts that read
-- as others.

local tg = require "tidegate"

local keys = {}

local PLAIN = {
  consumer = function(ctx) return ctx.consumer.name end,
  -- One of the consumer's credentials, which are numbered for each: "key:1".
  credential = function(ctx)
    local consumer = ctx.consumer
    local credential = consumer.credential
    return credential and consumer.name .. "\0" .. credential
  end,
  route = function(ctx) return ctx.route.name end,
  service = function(ctx) return ctx.service.name end,
  all = function() return "" end,
}

-- An IPv6 subscriber has a network, not an address: by default its /64 counts.
local function address(v4, v6)
  if v4 == 32 and v6 == 128 then return function(ctx) return ctx.client.ip end end
  return function(ctx)
    local ip = ctx.client.ip
    if v4 == 32 and not ip:find(":", 1, true) then return ip end
    return tg.ip.network(ip, v4, v6)
  end
end

local by_address = address(32, 64)

local WITH_NAME = {
  header = function(name) return function(ctx) return ctx.req:header(name) end end,
  shared = function(name) return function(ctx)
    local value = ctx.shared:get(name)
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" then return tostring(value) end
  end end,
}

local HINT = '"consumer", "credential", "ip", "ip/24", "ip/24/56", "route", "service", ' ..
  '"header:NAME", "shared:PLUGIN.KEY" or "all"'

-- Prefix lengths of "ip", "ip/24" and "ip/24/56"; nil for any other text.
local function prefix_lengths(text)
  if text == "ip" then return 32, 64 end
  local v4, v6 = text:match "^ip/(%d%d?)$", "64"
  if not v4 then v4, v6 = text:match "^ip/(%d%d?)/(%d%d?%d?)$" end
  v4, v6 = tonumber(v4), tonumber(v6)
  if v4 and v4 >= 1 and v4 <= 32 and v6 >= 1 and v6 <= 128 then return v4, v6 end
end

--- Whether a text is a key; nil and why not.
function keys.read(text)
  if PLAIN[text] or prefix_lengths(text) then return true end
  local kind, name = text:match "^(%l+):(.+)$"
  if kind == "header" then
    if name:find "^[%w!#$%%&'*+.^_`|~-]+$" then return true end
    return nil, ("%q is not a header name"):format(name)
  end
  if kind == "shared" then
    if name:find "^[%w_-]+%.[%w_.-]+$" then return true end
    return nil, ('%q is no value of a plugin; write "shared:PLUGIN.KEY"'):format(name)
  end
  if kind == "claim" then
    return nil, ("%q is reserved: no plugin authenticates in a way that has it yet"):format(text)
  end
  return nil, ("%q is no key; write %s"):format(text, HINT)
end

-- What one key stands for: a function of ctx, which returns nil when the request has no such thing.
local function reader(text)
  if PLAIN[text] then return PLAIN[text] end
  local v4, v6 = prefix_lengths(text)
  if v4 then return address(v4, v6) end
  local kind, name = text:match "^(%l+):(.+)$"
  return WITH_NAME[kind](name)
end

local ABSENT = {
  ip = function(ctx) return "!" .. by_address(ctx) end,
  share = function() return "!" end,
  skip = function() end,
  refuse = function() end,
}

--- The function of ctx for a list of keys; `absent` says what stands for what is missing.
function keys.compile(list, absent)
  local readers, stand_in = {}, ABSENT[absent]
  for i, text in ipairs(list) do readers[i] = reader(text) end
  if #list == 1 then
    local read = readers[1]
    return function(ctx)
      local value = read(ctx)
      if value then return "=" .. value end
      return stand_in(ctx), list[1]
    end
  end
  return function(ctx)
    local parts = {}
    for i, read in ipairs(readers) do
      local value = read(ctx)
      local part = value and "=" .. value or stand_in(ctx)
      if not part then return nil, list[i] end
      parts[i] = #part .. ":" .. part
    end
    return table.concat(parts)
  end
end

return keys
