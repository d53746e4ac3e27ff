-- Where the targets of a service are: addresses, unix sockets, names, services of the DNS.
--
-- Purpose    The schema of a target and of settings.dns, and what core/config/build_target.c gets of them.
-- Invariants Nothing is looked up here: a configuration is checked without a network.
-- Ownership  Pure functions.

local S = require "tidegate.schema"
local endpoint = require "tidegate.endpoint"
local ip = require "tidegate.ip"
local scalars = require "tidegate.scalars"
local quote = scalars.quote

local targets = {}

local SOCKET_HINT = 'a path: "unix:run/app.sock"'
local NAME_HINT = 'a name and a port: "app.internal:8080"'
local SRV_HINT = '_SERVICE._tcp.NAME: "_http._tcp.app.internal"'
local NAME_MAX = 253

local address = endpoint.type("an address with a port", function(_, value)
  local path = value:match "^unix:(.*)$"
  if path then return endpoint.read_socket(value, path, SOCKET_HINT) end
  return endpoint.read(value, function(host, port)
    return quote(host) .. " is a host name; a target needs an address",
      ('to have it looked up, write { dns = "%s:%d" }'):format(host, port)
  end, 1)
end)

local name = endpoint.type("a name with a port", function(_, value)
  local host, port = ip.split_endpoint(value)
  if not host then
    return nil, scalars.is_host(value) and quote(value) .. " lacks a port"
      or quote(value) .. " is not a name with a port", NAME_HINT
  end
  if ip.parse(host) then
    return nil, quote(value) .. " is an address: there is nothing to look up", ("write { %q }"):format(value)
  end
  if not scalars.is_host(host) then return nil, quote(host) .. " is not a host name", NAME_HINT end
  if port == 0 then return nil, "port 0 is not a port to connect to", NAME_HINT end
  return { host = host:lower(), port = port, text = ("%s:%d"):format(host:lower(), port) }
end)

local service = endpoint.type("a service of the DNS", function(_, value)
  local what, protocol, host = value:match "^(_[%w-]+)%.(_[%w-]+)%.(.+)$"
  if not what or not scalars.is_host(host) or ip.parse(host) or #value > NAME_MAX then
    return nil, quote(value) .. " is not the name of SRV records", SRV_HINT
  end
  if protocol:lower() ~= "_tcp" then
    return nil, ("%s is not spoken here, _tcp is"):format(quote(protocol)), SRV_HINT
  end
  return { host = host:lower(), text = value:lower() }
end)

local function check(target)
  if target.refresh and target[1] then
    return nil, "refresh goes with dns and srv: an address is not looked up"
  end
  if target.srv and target.weight then
    return nil, "weight does not go with srv: SRV records have weights of their own"
  end
  return true
end

--- The schema of service.targets.
-- @tparam table place the fields zone and region
function targets.schema(place)
  return S.list(S.record {
    [1] = address:optional():doc "where the origin listens: ADDRESS:PORT or unix:PATH",
    dns = name:optional():doc "a name with a port; each of its addresses is a target",
    srv = service:optional():doc "a name of SRV records, which tell hosts, ports, weights and priorities",
    refresh = S.duration { min = "1s", max = "24h" }:optional()
      :doc "time after which a name is looked up again at the latest; by default its TTL says",
    weight = S.int { min = 1, max = 1000 }:optional():doc "its share of the requests; 1 unless said",
    zone = place.zone, region = place.region,
  }:rules { S.exactly_one(1, "dns", "srv") }:check(check), { min = 1, max = 1024 })
end

-- Without the port that a client would not write either.
local function authority(host, port, tls)
  if port == (tls and 443 or 80) then return host end
  return ("%s:%d"):format(host, port)
end

--- A checked target as core/config takes it.
-- @tparam table target
-- @tparam boolean tls the service speaks TLS
function targets.resolve(target, tls)
  local out = { weight = target.weight or 1, zone = target.zone, region = target.region,
                refresh = target.refresh }
  if target.dns then
    local dns = target.dns
    out.kind, out.text = "name", dns.text
    out.query, out.domain, out.port = dns.host, dns.host, dns.port
    out.host = authority(dns.host, dns.port, tls)
  elseif target.srv then
    out.kind, out.text, out.query = "srv", target.srv.text, target.srv.text
    out.host, out.domain = target.srv.host, target.srv.host
  else
    out.kind, out.text, out.path = "address", target[1].text, target[1].path
    out.host = target[1].path and "localhost" or nil
  end
  return out
end

--- What is wrong with a service's targets and TLS together; nil: nothing.
function targets.conflict(value)
  if not value.tls or value.tls.sni then return nil end
  for _, target in ipairs(value.targets or {}) do
    if target[1] and target[1].path then
      return "tls needs sni where a target is a unix socket: " ..
        "there is no address that a certificate could be for"
    end
  end
  return nil
end

-- ---- settings.dns ---------------------------------------------------------------------------------------

local SERVER_HINT = 'an address, with or without a port: "10.0.0.53", "[::1]:53"'

local server = endpoint.type("the address of a DNS server", function(_, value)
  local bytes = ip.parse((value:gsub("^%[(.*)%]$", "%1")))
  if bytes then
    return (#bytes == 16 and "[%s]:53" or "%s:53"):format(ip.format(bytes))
  end
  local read = endpoint.read(value, function() return "" end, 1)
  if read then return read.text end
  return nil, quote(value) .. " is not the address of a DNS server", SERVER_HINT
end)

local function file_path(value)
  if value:find "%z" then return nil, "a path has no zero bytes" end
  return true
end

targets.dns = S.record {
  servers = S.list(server, { min = 1, max = 8, unique = true }):optional()
    :doc "who is asked; by default the servers of resolv_conf",
  hosts = S.string { max = 1024 }:check(file_path):default "/etc/hosts"
    :doc "file whose names come first; empty: none",
  resolv_conf = S.string { min = 1, max = 1024 }:check(file_path):default "/etc/resolv.conf"
    :doc "file with the servers and the search list, where servers are not given",
}:default {}

--- settings.dns as core/config takes it.
function targets.resolve_dns(dns)
  return { servers = dns.servers and table.concat(dns.servers, ","), hosts = dns.hosts,
           resolv_conf = dns.resolv_conf }
end

return targets
