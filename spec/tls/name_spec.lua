-- TLS to targets that are names or unix sockets: what the certificate has to be for.

local client = require("support.client")
local dns = require("support.dns")
local gateway = require("support.gateway")
local tls = require("support.tls")

local FILES = tls.files({
  ca = { cn = "authority" },
  back = { names = { "back.test" }, signer = "ca" },
})

local ORIGIN = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "https" { address = "127.0.0.1:@PORT@", tls = {
    certificates = { { cert = tg.file "back.pem", key = tg.file "back.key" } } } }
  tg.listener "local" { address = "unix:origin.sock", tls = {
    certificates = { { cert = tg.file "back.pem", key = tg.file "back.key" } } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo", preserve_host = true }
]]

local FRONT = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, dns = { servers = { "127.0.0.1:@DNS@" } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "right" { targets = { { dns = "back.test:@ORIGIN@" } }, tls = { ca = tg.file "ca.pem" } }
  tg.service "wrong" { targets = { { dns = "other.test:@ORIGIN@" } }, tls = { ca = tg.file "ca.pem" } }
  tg.service "local" { targets = { { "unix:@SOCKET@" } },
                       tls = { ca = tg.file "ca.pem", sni = "back.test" } }
  for _, name in ipairs { "right", "wrong", "local" } do
    tg.route(name) { paths = { "/" .. name }, service = name }
  end
]]

describe("TLS to a target", function()
  local o, d, g

  setup(function()
    o = gateway.start({ config = ORIGIN, files = FILES })
    d = dns.start({ ["back.test"] = { a = { "127.0.0.1" }, ttl = 60 },
                    ["other.test"] = { a = { "127.0.0.1" }, ttl = 60 } })
    g = gateway.start({ config = FRONT, files = FILES,
                        vars = { ORIGIN = o.port, DNS = d.port, SOCKET = o.dir .. "/origin.sock" } })
  end)

  teardown(function()
    g:stop()
    o:stop()
    d:stop()
  end)

  it("that is a name verifies the name, and says it in Host", function()
    local response = client.get(g.port, "/right")
    assert.status(200, response)
    assert.contains("back.test:" .. o.port, response.body)
  end)

  it("that is another name of the same address is not that connection", function()
    assert.status(200, client.get(g.port, "/right"))
    local response = client.get(g.port, "/wrong")
    assert.status(502, response)
    assert.contains('"code":"upstream_untrusted"', response.body)
    g:wait_for_log("hostname mismatch")
  end)

  it("that is a unix socket verifies what sni says", function()
    assert.status(200, client.get(g.port, "/local"))
  end)
end)
