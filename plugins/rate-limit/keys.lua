-- Whom a limit counts: which texts are a `key`. What they stand for in a request is the business of
-- tg.limit.quota, which reads them anew.

local keys = {}

local PLAIN = { consumer = true, credential = true, route = true, service = true, all = true }

local HINT = '"consumer", "credential", "ip", "ip/24", "ip/24/56", "route", "service", ' ..
  '"header:NAME", "shared:PLUGIN.KEY" or "all"'

-- "ip", "ip/24" and "ip/24/56".
local function is_network(text)
  if text == "ip" then return true end
  local v4, v6 = text:match "^ip/(%d%d?)$", "64"
  if not v4 then v4, v6 = text:match "^ip/(%d%d?)/(%d%d?%d?)$" end
  v4, v6 = tonumber(v4), tonumber(v6)
  return v4 and v4 >= 1 and v4 <= 32 and v6 >= 1 and v6 <= 128
end

--- Whether a text is a key; nil and why not.
function keys.read(text)
  if PLAIN[text] or is_network(text) then return true end
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

return keys
