-- How important a request is, and where it waits for a connection, by whose it is.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1, admin = { listen = "unix:admin.sock" },
              limits = { request = { in_flight = 10 }, connection = { drain_timeout = "0s" } } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, pool = { @POOL@ } }
local auth = tg.use "key-auth" {}
for name, fields in pairs {
  gold = { importance = "high", queue_priority = 9 }, bronze = { importance = "low", queue_priority = 1 },
  plain = {},
} do
  fields.credentials = { key = tg.secret("env:" .. name:upper()) }
  tg.consumer(name)(fields)
end
tg.route "all" { service = "back", plugins = { auth } }
tg.route "low" { paths = { "/low/*" }, service = "back", importance = "low", plugins = { auth } }
tg.route "open" { paths = { "/open/*" }, service = "back" }
]]

describe("the importance of a consumer", function()
  local g, o

  local function start(pool)
    o = origin.listen()
    g = gateway.start({
      config = CONFIG, vars = { ORIGIN = o.port, POOL = pool or "max_idle = 0" },
      env = { GOLD = "key-of-gold", BRONZE = "key-of-bronze", PLAIN = "key-of-plain" },
    })
  end

  local function request(path, name)
    local key = name and ("x-api-key: key-of-%s\r\n"):format(name) or ""
    return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, key)
  end

  local function send(path, name)
    local c = client.connect(g.port)
    c:send(request(path, name))
    return c
  end

  local function status(path, name)
    local response = send(path, name):response()
    return response.status, response
  end

  -- A request that the origin has and does not answer.
  local function hold(path, name)
    local c = send(path, name)
    local conn = o:accept()
    conn:request()
    return { client = c, origin = conn }
  end

  local function hold_many(from, to, path, name)
    local list = {}
    for i = from, to do list[i] = hold(path, name) end
    return list
  end

  local function ask(path)
    return client.get({ unix = g.dir .. "/admin.sock" }, path).body
  end

  local function metrics()
    return ask "/metrics"
  end

  -- A request ends just after its answer.
  local function wait_for_use(n)
    clock.wait_until(function()
      return metrics():find(('tidegate_limit_use{limit="request.in_flight"} %d\n'):format(n), 1, true)
    end, 5, n .. " requests in flight")
  end

  it("holds in place of the route's, both ways", function()
    start()
    hold_many(1, 6, "/", "plain")
    local code, response = status("/", "bronze")
    assert.equal(503, code)
    assert.contains('"code":"overloaded"', response.body)
    assert.is_truthy(response.headers["retry-after"]:find "^[123]$")
    assert.equal(503, (status("/low/", "plain"))) -- says nothing: the route's
    hold_many(7, 9, "/low/", "gold")
    assert.equal(503, (status("/", "plain")))
    hold("/low/", "gold")
    assert.equal(503, (status("/low/", "gold"))) -- all there is
    assert.contains('tidegate_requests_shed_total{reason="in_flight"} 4', metrics())
    assert.contains('tidegate_limit_use{limit="request.in_flight"} 10', metrics())
    g:stop()
  end)

  it("is asked for once the request is somebody's, and gives back what it took", function()
    start()
    local held = hold_many(1, 9, "/", "plain")
    for _ = 1, 20 do
      assert.equal(503, (status("/", "plain")))
      assert.equal(401, (status "/"))
      assert.equal(503, (status "/open/")) -- no plugin could tell whose it is: refused at once
    end
    wait_for_use(9)
    for _, one in ipairs(held) do
      one.origin:reply({ status = 200, body = "ok" })
      assert.status(200, one.client:response())
    end
    wait_for_use(0)
    g:stop()
  end)

  it("decides who gets a connection to the origin first", function()
    start 'max = 1, wait = "30s"'
    local first = send("/", "plain")
    local conn = o:accept()
    local order = { conn:request().target }
    local waiting = { send("/bronze", "bronze"), send("/plain", "plain"), send("/gold", "gold") }
    clock.wait_until(function() -- each is in the queue before the first is answered
      return ask("/upstreams"):find('"waiting":3', 1, true)
    end, 5, "three to wait")
    for i = 1, 4 do
      conn:reply({ status = 200, body = "ok" })
      if i < 4 then order[#order + 1] = conn:request().target end
    end
    assert.status(200, first:response())
    for _, c in ipairs(waiting) do assert.status(200, c:response()) end
    assert.same({ "/", "/gold", "/plain", "/bronze" }, order)
    g:stop()
  end)
end)
