-- Lets clients in by their addresses.
--
-- Networks are compiled once into sets (tg.ip.set): sorted ranges, asked by a binary search. An IPv4
-- address that is written as IPv6 (::ffff:a.b.c.d) is the IPv4 address, in the configuration and in clients.
-- The address is that of the client as trusted proxies tell it: see `trusted` of a listener.

local S = require "tidegate.schema"
local tg = require "tidegate"

local networks = S.list(S.cidr(), { min = 1, max = 100000 })

local P = {
  name = "ip-restriction",
  version = "1.0.0",
  api = 1,
  stage = "guard",
  priority = 50, -- before what costs more
  schema = S.record {
    allow = networks:optional():doc "addresses and networks that may pass; all others may not",
    deny = networks:optional():doc "addresses and networks that may not pass, also where allow has them",
    peer = S.bool():default(false):doc "look at the other end of the connection, whatever proxies tell",
  }:check(function(conf)
    if not conf.allow and not conf.deny then return nil, "one of these fields is needed: allow, deny" end
    return true
  end),
  metrics = {
    rejected = { type = "counter", labels = { "reason" }, help = "Requests refused for their address." },
  },
}

function P.configure(conf)
  return { allow = conf.allow and tg.ip.set(conf.allow), deny = conf.deny and tg.ip.set(conf.deny) }
end

-- Why the address may not pass; nil when it may.
local function verdict(compiled, ip)
  if compiled.deny and compiled.deny:contains(ip) then return "denied" end
  if compiled.allow and not compiled.allow:contains(ip) then return "not_allowed" end
end

local function restrict(conf, ctx)
  local client = ctx.client
  local reason = verdict(conf.compiled, conf.peer and client.peer_ip or client.ip)
  if not reason then return end
  ctx.metrics:inc("rejected", { reason = reason })
  ctx:exit(403, {
    title = "Forbidden", status = 403, code = "address_not_allowed",
    detail = "requests from this address are not served", request_id = ctx.id,
  }, { ["content-type"] = "application/problem+json" })
end

--- Refuses before routing where the instance is global or a listener's.
P.rewrite = restrict
--- Refuses on a route, service or consumer.
P.access = restrict

return P
