-- The DNS of a gateway under test: what names stand for is said by the spec.
--
-- Purpose    Answers the queries of the gateway (gw:dns), and tells the origins which service an address that
--            was found belongs to. A name that the spec says nothing of has one address of its own, from the
--            networks for benchmarks (198.18.0.0/15), so that most specs need not know that it is a name.
-- Invariants A change is seen as in production: when the gateway asks again, after the answer's TTL.
-- Ownership  Belongs to a world.

local names = {}
names.__index = names

local TTL = 60

--- The names of a world.
function names.new(world)
  return setmetatable({ world = world, said = {}, made = {}, count = 0, ports = {} }, names)
end

--- A service has this target: what it stands for belongs to the service.
-- @tparam string target as declared: "catalog.internal:8080", "_http._tcp.catalog.internal", "10.0.0.1:80"
function names:declare(target, service)
  local name, port = target:match "^([^:]+):(%d+)$"
  local key = name or target
  self.ports[key] = self.ports[key] or {}
  table.insert(self.ports[key], { port = tonumber(port), service = service })
end

local KINDS = { none = "none", fail = "failed", hang = "hang" }

--- What a name stands for from now on; see gw:dns().
function names:set(name, answer, level)
  if type(answer) == "string" and not KINDS[answer] then
    error('an answer is a list of addresses, { srv = … }, "none", "fail" or "hang"', level + 1)
  end
  if answer ~= nil and type(answer) ~= "string" and type(answer) ~= "table" then
    error(("an answer is not a %s"):format(type(answer)), level + 1)
  end
  self.said[name:lower()] = answer
end

-- An address that nobody else has.
local function own_address(self, name)
  if not self.made[name] then
    self.count = self.count + 1
    self.made[name] = ("198.18.%d.%d"):format(math.floor(self.count / 250), self.count % 250 + 1)
  end
  return self.made[name]
end

local function default(self, event)
  if event.question == "address" then return { own_address(self, event.name) } end
  return { srv = { { event.name:gsub("^_[^.]+%._[^.]+%.", ""), port = 80 } } }
end

local function servers(self, event, answer)
  local records = {}
  for i, server in ipairs(answer.srv) do
    local host = server[1]:lower()
    records[i] = { host, server.port or 80, server.priority or 0, server.weight or 0 }
    self.ports[host] = self.ports[host] or {}
    for _, declared in ipairs(self.ports[event.name] or {}) do
      table.insert(self.ports[host], { port = server.port or 80, service = declared.service })
    end
  end
  return records
end

local function addresses(self, event, answer)
  for _, address in ipairs(answer) do
    for _, declared in ipairs(self.ports[event.name] or {}) do
      local form = address:find(":", 1, true) and "[%s]:%d" or "%s:%d"
      if declared.port then
        self.world.origins:name(form:format(address, declared.port), declared.service)
      end
    end
  end
  return { unpack(answer) }
end

--- The gateway asks; true when that was answered.
function names:query(event)
  local answer = self.said[event.name]
  if answer == nil then answer = default(self, event) end
  if answer == "hang" then return false end
  if type(answer) == "string" then
    return self.world.core:answer(event.id, KINDS[answer], TTL, {})
  end
  local records = event.question == "srv" and servers(self, event, { srv = answer.srv or {} })
                  or addresses(self, event, answer)
  return self.world.core:answer(event.id, #records > 0 and "records" or "none", answer.ttl or TTL, records)
end

return names
