-- Endpoints as they are written: "10.0.0.1:8080", "[::1]:8080", "unix:run/app.sock".
--
-- Purpose    One reading of addresses with ports and of paths of sockets, for listeners, targets and DNS
--            servers.
-- Ownership  Pure functions.

local ip = require "tidegate.ip"
local scalars = require "tidegate.scalars"
local S = require "tidegate.schema"
local quote = scalars.quote

local endpoint = {}

endpoint.HINT = 'an address and a port: "10.0.0.1:8080" or "[::1]:8080"'

local PATH_MAX = 107 -- bytes that a unix socket's address has for it

--- A type of text that `read` makes something of.
function endpoint.type(noun, read)
  return S.custom { noun = noun, lua = "string", read = read,
                    json = function() return { type = "string" } end }
end

--- Reads "address:port" into { host, port, text } with the host in canonical spelling.
-- @tparam function of_name (host, port) -> what is wrong with a host name, and a hint
function endpoint.read(value, of_name, lowest_port)
  if value:find "^unix:" then return nil, "unix sockets are not supported here", endpoint.HINT end
  local host, port = ip.split_endpoint(value)
  if not host then return nil, quote(value) .. " is not an address with a port", endpoint.HINT end
  local bytes = ip.parse(host)
  if not bytes then
    if scalars.is_host(host) then
      local why, hint = of_name(host, port)
      return nil, why, hint or endpoint.HINT
    end
    return nil, quote(host) .. " is not an address", endpoint.HINT
  end
  if port < lowest_port then return nil, "port 0 is not a port to connect to" end
  local canonical = ip.format(bytes)
  local text = (#bytes == 16 and "[%s]:%d" or "%s:%d"):format(canonical, port)
  return { host = canonical, port = port, text = text }
end

--- The path of "unix:PATH"; a relative one is below the folder of the configuration.
function endpoint.read_socket(value, path, hint)
  if path == "" then return nil, "a unix socket needs a path", hint end
  if #path > PATH_MAX or path:find "%z" then
    return nil, ("the path of a unix socket has at most %d bytes"):format(PATH_MAX), hint
  end
  return { path = path, text = value }
end

return endpoint
