-- Origins as the cors plugin takes them: checked and normalised, then compiled for look-up.
--
-- An origin is scheme, host and port as browsers write them (RFC 6454 section 6.2): lower case, without
-- the scheme's own port, nothing behind. A host may begin with "*.", which stands for one or more labels;
-- "*" alone stands for every origin, "null" for those that browsers hide (files, sandboxed frames).

local origins = {}

local OWN_PORT = { http = "80", https = "443" }
local SHAPE = 'scheme and host: "https://app.example.test", "https://*.example.test" or "*"'

-- "host" or "host:port" of an origin as { host, port }, or nil.
local function split(authority)
  local host, port = authority:match "^(%[[%x:.]+%])(.*)$"
  if not host then host, port = authority:match "^([^:]+)(.*)$" end
  if not host or not port:find "^:?%d*$" or port == ":" then return nil end
  return host, port:sub(2)
end

local function is_host(host)
  if host:sub(1, 1) == "[" then return true end
  local plain = host:gsub("^%*%.", "")
  return plain:find "^[%w_][%w_.-]*$" ~= nil and not plain:find("..", 1, true) and not plain:find "%.$"
end

--- Checks one entry of the config.
-- @tparam string text
-- @treturn[1] string normalised
-- @treturn[2] nil
-- @treturn[2] string why it is none
-- @treturn[2] string what to write
function origins.read(text)
  if text == "*" or text == "null" then return text end
  local scheme, authority = text:lower():match "^(%a[%w+.-]*)://([^/?#@%s]+)$"
  local host, port
  if authority then host, port = split(authority) end
  if not host or not is_host(host) then
    return nil, ("%q is not an origin; write %s"):format(text, SHAPE)
  end
  if port == "" or port == OWN_PORT[scheme] then return scheme .. "://" .. host end
  return scheme .. "://" .. host .. ":" .. port
end

--- Compiles normalised entries.
-- @treturn table any (bool), exact (set), wild (list of { prefix, suffix })
function origins.compile(list)
  local compiled = { any = false, exact = {}, wild = {} }
  for _, text in ipairs(list) do
    local prefix, suffix = text:match "^(.*://)%*(%..*)$"
    if text == "*" then
      compiled.any = true
    elseif prefix then
      compiled.wild[#compiled.wild + 1] = { prefix = prefix, suffix = suffix }
    else
      compiled.exact[text] = true
    end
  end
  return compiled
end

local function is_wild(entry, origin)
  local first, last = #entry.prefix + 1, #origin - #entry.suffix
  return last >= first and origin:sub(1, first - 1) == entry.prefix and origin:sub(last + 1) == entry.suffix
         and not origin:sub(first, last):find "[^%w_.-]"
end

--- Whether the value of an Origin header is among them.
function origins.allows(compiled, origin)
  if compiled.any or compiled.exact[origin] then return true end
  local wild = compiled.wild
  for i = 1, #wild do
    if is_wild(wild[i], origin) then return true end
  end
  return false
end

return origins
