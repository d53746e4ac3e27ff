-- Targets that are names: what a DNS server says, does not say, and says otherwise a second later.

local admin = require("admin.helper")
local client = require("support.client")
local clock = require("support.clock")
local dns = require("support.dns")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings {
    workers = 1, admin = { listen = "unix:admin.sock" },
    dns = { servers = { "127.0.0.1:@DNS@" } },
    limits = { dns = { timeout = "@TIMEOUT@", tries = 1, ttl_min = "100ms", stale = "@STALE@" } },
  }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" { targets = { { @TARGET@ } }, pool = { wait = "30s" } }
  tg.route "all" { service = "back" }
]]

describe("a target that is a name", function()
  local d, g, o

  before_each(function()
    o = origin.listen({ host = "127.0.0.2" })
    d = dns.start({})
  end)

  -- What the gateway's end is asserted on belongs to the spec that starts it.
  local function case(name, run)
    it(name, function()
      run()
      g:stop()
    end)
  end

  -- @param timeout of a query: short where nobody answers
  local function start(target, stale, timeout)
    g = gateway.start({
      config = CONFIG,
      vars = { DNS = d.port, TARGET = target or ('dns = "back.test:%d"'):format(o.port),
               STALE = stale or "1h", TIMEOUT = timeout or "10s" },
    })
    g:wait_for_log(" serves after ")
  end

  -- Sends a request that `at` gets, and returns what it got.
  local function reaches(at)
    local c = client.connect(g.port)
    c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    local request, conn = at:serve({ body = "hello" })
    assert.status(200, c:response())
    conn:close()
    c:close()
    return request
  end

  local function refused(code)
    local response = client.get(g.port, "/x")
    assert.status(503, response)
    assert.contains('"code":"' .. code .. '"', response.body)
  end

  local function known()
    return admin.get(admin.socket(g), "/upstreams").json.upstreams[1].names[1]
  end

  case("is looked up, and gets its own name in Host", function()
    d:set("back.test", { a = { "127.0.0.2" }, ttl = 60 })
    start()
    local request = reaches(o)
    assert.equal("back.test:" .. o.port, request.headers.host)
    assert.equal(1, d:asked("a", "back.test"))
    assert.equal(1, d:asked("aaaa", "back.test"))
  end)

  case("is found behind a CNAME, and by a name of capitals", function()
    d:set("back.test", { cname = "real.test", a = { "127.0.0.2" }, ttl = 60 })
    start(('dns = "Back.TEST:%d"'):format(o.port))
    reaches(o)
  end)

  case("that does not exist answers 503 with the reason dns, and the gateway starts all the same", function()
    start()
    refused("dns")
    g:wait_for_log("a name has no address")
    assert.contains("Domain name not found", g:stderr())
  end)

  case("comes into use when it exists at last", function()
    start()
    refused("dns")
    d:set("back.test", { a = { "127.0.0.2" } })
    g:wait_for_log("a name is found again")
    reaches(o)
  end)

  case("follows a change of its addresses after its TTL", function()
    local other = origin.listen({ host = "127.0.0.3", port = o.port })
    d:set("back.test", { a = { "127.0.0.2" }, ttl = 0 })
    start()
    reaches(o)
    d:set("back.test", { a = { "127.0.0.3" }, ttl = 0 })
    local asked = d:asked("a", "back.test")
    clock.wait_until(function() return d:asked("a", "back.test") > asked + 1 end, 5, "two more queries")
    reaches(other)
  end)

  case("is gone when the DNS says that it has no address any more", function()
    d:set("back.test", { a = { "127.0.0.2" }, ttl = 0 })
    start()
    reaches(o)
    d:set("back.test", { negative = 1 })
    g:wait_for_log("a name has no address")
    refused("dns")
  end)

  case("keeps its addresses while the server fails", function()
    d:set("back.test", { a = { "127.0.0.2" }, ttl = 0 })
    start()
    reaches(o)
    d:set("back.test", { rcode = 2 })
    g:wait_for_log("its old addresses stay in use")
    reaches(o)
    d:set("back.test", { a = { "127.0.0.2" }, ttl = 0 })
    g:wait_for_log("a name is found again")
  end)

  case("keeps its addresses while no server answers, but no longer than limits.dns.stale", function()
    d:set("back.test", { a = { "127.0.0.2" }, ttl = 0 })
    start(nil, "0s", "1s")
    reaches(o)
    d:set("back.test", { mute = true })
    g:wait_for_log("a name has no address")
    refused("dns")
  end)

  case("is asked for by TCP when the answer was cut", function()
    d:set("back.test", { a = { "127.0.0.2" }, cut = true, ttl = 60 })
    start()
    reaches(o)
    assert.is_true(d:asked("a", "back.test", "tcp") >= 1)
  end)

  case("does not exist for a server that answers garbage", function()
    d:set("back.test", { garbage = true })
    start(nil, nil, "1s")
    refused("dns")
    d:set("back.test", { a = { "127.0.0.2" } })
    g:wait_for_log("a name is found again")
    reaches(o)
  end)

  case("makes requests wait for the first answer", function()
    d:set("back.test", { mute = true })
    start(nil, nil, "1s")
    local c = client.connect(g.port)
    c:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    clock.wait_until(function() return d:asked("a", "back.test") > 0 end, 5, "a query")
    assert.is_true(c:silent(0.05))
    local response = c:response() -- after limits.dns.timeout
    assert.status(503, response)
    assert.contains('"code":"dns"', response.body)
  end)

  case("of SRV records has the ports that they say", function()
    local other = origin.listen({ host = "127.0.0.3" })
    d:set("_http._tcp.back.test", { srv = { { 10, 0, o.port, "a.test" }, { 20, 0, other.port, "b.test" } },
                                   ttl = 60 })
    d:set("a.test", { a = { "127.0.0.2" }, ttl = 60 })
    d:set("b.test", { a = { "127.0.0.3" }, ttl = 60 })
    start('srv = "_http._tcp.back.test"')
    clock.wait_until(function() return #known().addresses == 2 end, 5, "both servers")
    for _ = 1, 4 do
      assert.equal("back.test", reaches(o).headers.host) -- the lower priority takes all
    end
    o:close()
    reaches(other)
  end)

  case("is shown by `tidegate upstreams`, with its addresses and when it is asked for again", function()
    d:set("back.test", { a = { "127.0.0.2", "127.0.0.3" }, ttl = 60 })
    start()
    clock.wait_until(function() return known().state == "found" end, 5, "an answer")
    local code, out = admin.run(g, "upstreams")
    assert.equal(0, code)
    assert.matches(("back +127%%.0%%.0%%.2:%d +up "):format(o.port), out)
    assert.matches(("back +back%%.test:%d +found +[%%d.]+s +127%%.0%%.0%%.2:%d 127%%.0%%.0%%.3:%d\n"):format(
      o.port, o.port, o.port), out)
    d:set("back.test", nil)
  end)

  case("is counted in the metrics, and so are requests that fail for it", function()
    start()
    refused("dns")
    local _, metrics = admin.run(g, "metrics")
    assert.contains('tidegate_upstream_failures_total{reason="dns"} 1\n', metrics)
    assert.matches('tidegate_dns_answers_total{result="none"} [1-9]', metrics)
  end)
end)
