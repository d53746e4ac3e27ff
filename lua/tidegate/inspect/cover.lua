-- Whether everything that one pattern matches is matched by another.
--
-- Purpose    The proof behind "no request reaches this route". It answers yes only where that follows from
--            the patterns; a regular expression or a constraint that it does not understand covers nothing
--            but itself.
-- Hosts      "a.test" < "*.test" < "*"; with a port < without. Paths by segment: text < {name:int} < {name};
--            /a/{rest...} covers what goes on behind /a/, /a/* that and /a itself.
-- Ownership  Pure functions.
-- Cost       The number of segments.

local cover = {}

--- A path pattern as its segments: { text } or { param, constraint }, { rest } or { prefix } at the end.
-- Nil when it is none of those that can be compared.
function cover.segments(path)
  if path:sub(1, 1) ~= "/" then return nil end
  local list = {}
  for text in (path:sub(2) .. "/"):gmatch "([^/]*)/" do
    local inside = text:match "^{(.*)}$"
    if not inside then
      if text:find "[{}]" then return nil end
      list[#list + 1] = text == "*" and { prefix = true } or { text = text }
    elseif inside:find "%.%.%.$" then
      list[#list + 1] = { rest = true }
    else
      list[#list + 1] = { param = true, constraint = inside:match "^[^:]*:(.*)$" }
    end
  end
  return list
end

local function segment_covers(a, b)
  if a.text then return a.text == b.text end
  if b.prefix or b.rest or b.text == "" then return false end
  if not a.constraint then return true end
  if a.constraint == b.constraint then return true end
  return a.constraint == "int" and b.text ~= nil and b.text:find "^%d+$" ~= nil
end

--- Whether the segments `a` match all that `b` does.
function cover.path(a, b)
  for i, segment in ipairs(a) do
    if segment.prefix then return true end
    local other = b[i]
    if not other then return false end
    if segment.rest then return not other.prefix end
    if not segment_covers(segment, other) then return false end
    -- "/a/*" is written as two segments and takes "/a" as well.
    if a[i + 1] and a[i + 1].prefix and not b[i + 1] then return true end
  end
  return #a == #b
end

--- The host patterns that match all that `host` does, itself among them.
function cover.hosts(host)
  host = host:lower()
  local name, port = host:match "^(.-)(:%d+)$"
  name, port = name or host, port or ""
  local names = { name }
  local rest = name:match "^%*?%.?(.*)$"
  local at = name:sub(1, 2) == "*." and rest or name:match "^[^.]+%.(.+)$"
  while at do
    if "*." .. at ~= name then names[#names + 1] = "*." .. at end
    at = at:match "^[^.]+%.(.+)$"
  end
  if name ~= "*" then names[#names + 1] = "*" end
  local list = {}
  for _, one in ipairs(names) do
    if port ~= "" then list[#list + 1] = one .. port end
    list[#list + 1] = one
  end
  return list
end

local function value_covers(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not value_covers(value, b[key]) then return false end
  end
  -- Of a list every item has to be there; a map with fewer names asks for less.
  return #a == #b
end

--- Whether the further conditions `a`, a table by field, hold wherever those of `b` do.
function cover.conditions(a, b)
  for field, value in pairs(a) do
    if not value_covers(value, b[field]) then return false end
  end
  return true
end

return cover
