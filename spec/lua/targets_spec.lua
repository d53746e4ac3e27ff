--- Where targets are and where names are looked up: what is refused, what the message says, what is made
-- of it.

local host = require("support.config_host")

local function load(targets, settings)
  return host.load(([[
local tg = require "tidegate"
tg.settings { %s }
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "back" { targets = { %s } }
tg.route "all" { service = "back" }
]]):format(settings or "", targets), {})
end

local function refuses(message, targets, settings)
  local tree, reports = load(targets, settings)
  assert.is_nil(tree)
  assert.contains(message, reports:render())
end

describe("a target", function()
  for _, case in ipairs({
    { "{ 'a.test:80' }", '"a.test" is a host name; a target needs an address' },
    { "{ 'a.test:80' }", 'write { dns = "a.test:80" }' },
    { "{ '10.0.0.256:80' }", '"10.0.0.256" is not an address' },
    { "{ 'unix:' }", "a unix socket needs a path" },
    { ("{ 'unix:%s' }"):format(("a"):rep(108)), "the path of a unix socket has at most 107 bytes" },
    { "{}", "one of these fields is needed: [1], dns, srv" },
    { "{ '10.0.0.1:80', dns = 'a.test:80' }", "only one of these fields may be set: [1], dns" },
    { "{ dns = 'a.test' }", '"a.test" lacks a port' },
    { "{ dns = '' }", '"" is not a name with a port' },
    { "{ dns = 'a.test:0' }", "port 0 is not a port to connect to" },
    { "{ dns = '10.0.0.1:80' }", '"10.0.0.1:80" is an address: there is nothing to look up' },
    { "{ dns = 'a..b:80' }", '"a..b" is not a host name' },
    { "{ dns = 'a.test:80', refresh = '10ms' }", "refresh: 10ms is below the minimum 1s" },
    { "{ '10.0.0.1:80', refresh = '10s' }", "refresh goes with dns and srv" },
    { "{ srv = 'a.test' }", '"a.test" is not the name of SRV records' },
    { "{ srv = '_http._udp.a.test' }", '"_udp" is not spoken here, _tcp is' },
    { "{ srv = '_http._tcp.a.test', weight = 2 }", "weight does not go with srv" },
    { "{ 'unix:a.sock' } }, tls = { ", "tls needs sni where a target is a unix socket" },
  }) do
    it("is refused: " .. case[1]:sub(1, 60), function() refuses(case[2], case[1]) end)
  end

  local function target_of(targets)
    return load(targets).services[1].targets[1]
  end

  it("that is a name is asked for by it, in lower case, and Host lacks the usual port", function()
    assert.same({ kind = "name", text = "a.test:80", query = "a.test", domain = "a.test", port = 80,
                  host = "a.test", weight = 1 }, target_of "{ dns = 'A.Test:80' }")
    assert.equal("a.test:443", target_of("{ dns = 'a.test:443' }").host)
    local targets = require "tidegate.targets"
    assert.equal("a.test", targets.resolve({ dns = { host = "a.test", port = 443, text = "" } }, true).host)
  end)

  it("of SRV records is called as the name behind them", function()
    assert.same({ kind = "srv", text = "_http._tcp.a.test", query = "_http._tcp.a.test", host = "a.test",
                  domain = "a.test", refresh = 30, weight = 1 },
                target_of "{ srv = '_http._tcp.a.test', refresh = '30s' }")
  end)

  it("that is a unix socket is localhost for its origin", function()
    assert.same({ kind = "address", text = "unix:a.sock", path = "a.sock", host = "localhost", weight = 2 },
                target_of "{ 'unix:a.sock', weight = 2 }")
  end)
end)

describe("settings.dns", function()
  local ONE = "{ '10.0.0.1:80' }"

  it("has the system's files unless said", function()
    assert.same({ hosts = "/etc/hosts", resolv_conf = "/etc/resolv.conf" }, load(ONE).settings.dns)
  end)

  it("takes servers with and without ports", function()
    local dns = load(ONE, "dns = { servers = { '10.0.0.53', '[::1]:5353', '::2' }, hosts = '' }").settings.dns
    assert.equal("10.0.0.53:53,[::1]:5353,[::2]:53", dns.servers)
    assert.equal("", dns.hosts)
  end)

  it("refuses names of servers, and what it does not know", function()
    refuses('"dns.test" is not the address of a DNS server', ONE, "dns = { servers = { 'dns.test' } }")
    refuses('"10.0.0.1:0" is not the address of a DNS server', ONE, "dns = { servers = { '10.0.0.1:0' } }")
    refuses("dns.servers[2]: same as item 1", ONE, "dns = { servers = { '10.0.0.1', '10.0.0.1:53' } }")
    refuses('did you mean "servers"?', ONE, "dns = { server = '10.0.0.1' }")
  end)
end)
