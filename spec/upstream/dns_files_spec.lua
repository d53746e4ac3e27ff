-- Names of the hosts file, servers of resolv.conf, and what happens when these files change.

local client = require("support.client")
local clock = require("support.clock")
local dns = require("support.dns")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings {
    workers = 1,
    dns = { @SERVERS@ hosts = "@DIR@/hosts", resolv_conf = "@DIR@/resolv.conf" },
    limits = { dns = { timeout = "200ms", tries = 1, ttl_min = "100ms" } },
  }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" { targets = { { dns = "back.test:@ORIGIN@" } } }
  tg.route "all" { service = "back" }
]]

describe("a hosts file", function()
  local g, d, o

  before_each(function()
    o = origin.listen({ host = "127.0.0.2" })
    d = dns.start({})
    g = gateway.start({
      config = CONFIG,
      vars = { SERVERS = ('servers = { "127.0.0.1:%d" },'):format(d.port), ORIGIN = o.port },
      files = { hosts = "# names of this machine\n127.0.0.2\tfront.test  BACK.test # and more\n" },
    })
  end)

  after_each(function()
    g:stop()
  end)

  local function reaches(at)
    local c = client.connect(g.port)
    c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    local _, conn = at:serve({ body = "hello" })
    assert.status(200, c:response())
    conn:close()
    c:close()
  end

  it("comes before the DNS", function()
    reaches(o)
    assert.equal(0, d:asked("a", "back.test"))
  end)

  it("that changes is read again #slow", function()
    local other = origin.listen({ host = "127.0.0.3", port = o.port })
    reaches(o)
    o:close()
    g:write("hosts", "127.0.0.3 back.test\n")
    clock.wait_until(function()
      local c = client.connect(g.port)
      c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
      local there = not other:idle()
      c:close()
      return there
    end, 20, "a request at the other address")
  end)
end)

describe("resolv.conf", function()
  it("names the servers and the search list, and is read again when it changes #slow", function()
    local o = origin.listen({ host = "127.0.0.2" })
    -- c-ares takes the port of a server of this file to be 53, which a spec cannot have: so the file names a
    -- server that does not answer, and what is shown is that the gateway lives with that.
    local g = gateway.start({
      config = CONFIG, vars = { SERVERS = "", ORIGIN = o.port },
      files = { hosts = "", ["resolv.conf"] = "nameserver 127.0.0.9\nsearch test\n" },
    })
    local response = client.get(g.port, "/x")
    assert.status(503, response)
    assert.contains('"code":"dns"', response.body)
    g:write("resolv.conf", "nameserver 127.0.0.8\n")
    g:write("hosts", "127.0.0.2 back.test\n")
    local c = client.connect(g.port)
    clock.wait_until(function()
      c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
      local there
      repeat there = not o:idle() until there or not c:silent(0)
      if not there then assert.status(503, c:response()) end
      return there
    end, 20, "a request at the address of the hosts file")
    g:stop()
  end)
end)
