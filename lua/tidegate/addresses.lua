-- Who listens where: listeners, and the admin listener.
--
-- Purpose    Two sockets of one gateway cannot have one path, nor one port of one address; nor can one of
--            them have the port of every address ("0.0.0.0", "[::]") and the other that of a single one. The
--            system would refuse it when the gateway starts, or worse, hand over the path; here it is told
--            before.
-- Ownership  Borrows declarations.
-- Cost       A few look-ups for each listener.

local quote = require("tidegate.scalars").quote

local addresses = {}

local EVERY = { ["0.0.0.0"] = true, ["::"] = true }

local taken = {}
taken.__index = taken

-- Notes that `owner` listens on `address` (endpoint.lua); who stands in its way.
function taken:claim(address, owner)
  if address.port == 0 then return nil end
  local first = self.one[address.text]
  if address.port then
    local port = (address.host:find(":", 1, true) and "6:" or "4:") .. address.port
    first = first or self.every[port] or EVERY[address.host] and self.any[port] or nil
    self.any[port] = self.any[port] or owner
    if EVERY[address.host] then self.every[port] = self.every[port] or owner end
  end
  self.one[address.text] = self.one[address.text] or owner
  return first
end

-- What is wrong with listening on `address` beside `first`, and what to do about it.
local function describe(address, first)
  if first.address == address.text then
    return ("%s has the address %s already; give one of the two another"):format(first.noun, first.address)
  end
  local port = ("port %d of every %s address"):format(address.port,
    address.host:find(":", 1, true) and "IPv6" or "IPv4")
  local text = EVERY[address.host]
    and ("%s takes %s, %s of %s included"):format(address.text, port, first.address, first.noun)
    or ("%s, at %s, has %s already, %s included"):format(first.noun, first.address, port, address.text)
  return text .. "; give one of the two another port"
end

local function report(session, declaration, root, first)
  session:report(declaration.where, {
    code = "conflict", path = root .. ".address",
    message = describe(declaration.checked.address, first),
    hint = first.noun .. " is declared at " .. session.cite(first.where),
  }, { "address" })
end

--- Reports listeners that stand in each other's way, or in that of the admin listener.
-- @tparam table session see script.lua
-- @tparam table|nil settings { value, where }, checked
-- @tparam table listeners checked declarations
-- @tparam function root_of path of a declaration as text
function addresses.check(session, settings, listeners, root_of)
  local known = setmetatable({ one = {}, any = {}, every = {} }, taken)
  local function claim(address, noun, where)
    return known:claim(address, { noun = noun, address = address.text, where = where })
  end
  local admin = settings and settings.value.admin
  if admin then claim(admin.listen, "settings.admin", settings.where) end
  for _, declaration in ipairs(listeners) do
    local noun = "listener " .. quote(declaration.name)
    local first = claim(declaration.checked.address, noun, declaration.where)
    if first then report(session, declaration, root_of(declaration), first) end
  end
end

return addresses
