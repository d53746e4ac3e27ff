-- What is turned away when there is too much to do, and what the admin listener tells of it.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
local tg = require "tidegate"
tg.settings {
  workers = 1, admin = { listen = "unix:admin.sock" }, @SETTINGS@
}
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, pool = { max_idle = 0 } }
tg.service "echo" { builtin = "echo" }
tg.route "echo" { paths = { "/echo" }, service = "echo" }
tg.route "low" { paths = { "/low" }, service = "back", importance = "low" }
tg.route "normal" { paths = { "/normal" }, service = "back" }
tg.route "high" { paths = { "/high" }, service = "back", importance = "high" }
]]

describe("too much to do", function()
  local g, o

  local function start(settings)
    o = origin.listen()
    g = gateway.start({ config = CONFIG, vars = { ORIGIN = o.port, SETTINGS = settings } })
  end

  local function ask(path)
    return client.get({ unix = g.dir .. "/admin.sock" }, path).body
  end

  local function metrics()
    return ask "/metrics"
  end

  -- A request that the origin has and does not answer.
  local function hold(path)
    local c = client.connect(g.port)
    c:send("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
    local conn = o:accept()
    conn:request()
    return { client = c, origin = conn }
  end

  local function answer(held)
    held.origin:reply({ status = 200, body = "ok" })
    return held.client:response()
  end

  it("turns the less important away first, with 503 and Retry-After", function()
    start 'limits = { request = { in_flight = 10 } },'
    local held = {}
    for i = 1, 6 do held[i] = hold "/low" end
    local response = client.get(g.port, "/low")
    assert.status(503, response)
    assert.is_truthy(response.headers["retry-after"]:find "^[123]$")
    assert.contains('"code":"overloaded"', response.body)
    for i = 7, 9 do held[i] = hold "/normal" end
    assert.status(503, client.get(g.port, "/normal"))
    held[10] = hold "/high"
    assert.status(503, client.get(g.port, "/high"))
    assert.contains('tidegate_requests_shed_total{reason="in_flight"} 3', metrics())
    assert.contains('tidegate_limit_use{limit="request.in_flight"} 10', metrics())
    for i = 1, 10 do assert.status(200, answer(held[i])) end
    clock.wait_until(function() -- the last one ends just after its answer
      return metrics():find('tidegate_limit_use{limit="request.in_flight"} 0', 1, true)
    end, 5, "no request to be in flight")
    assert.contains('tidegate_limit_use_max{limit="request.in_flight"} 10', metrics())
    assert.status(200, answer(hold "/low"))
    g:stop()
  end)

  it("learns from late answers how many it can have at once", function()
    start 'overload = { adaptive = { latency = "20ms", min = 1 } }, limits = { request = { in_flight = 2 } },'
    for _ = 1, 5 do
      local held = hold "/high"
      held.client:silent(0.03)
      assert.status(200, answer(held))
    end
    local held = hold "/high"
    assert.status(503, client.get(g.port, "/high"))
    assert.contains('tidegate_requests_shed_total{reason="latency"} 1', metrics())
    assert.status(200, answer(held))
    g:stop()
  end)

  it("reaps a client that sends its body too slowly", function()
    start 'limits = { connection = { read_rate = "1KiB", rate_grace = "200ms" } },'
    local c = client.connect(g.port)
    c:send("POST /normal HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
    assert.status(408, c:response())
    c:wait_end()
    assert.contains('tidegate_limit_hits_total{limit="connection.read_rate"} 1', metrics())
    g:stop()
  end)

  it("keeps the last quarter of memory from uploads, so that others are served", function()
    start 'memory = { total = "256MiB", shares = { connections = 3 } },'
    local POST = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    local proven = client.connect(g.port)
    proven:send "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.status(200, proven:response())
    local uploads, refused = {}, false
    clock.wait_until(function()
      local c = client.connect(g.port)
      c:send(POST)
      local status = c:response_head().status
      uploads[#uploads + 1] = c
      local cap, used = ask("/limits"):match '"memory.connections","unit":"bytes","value":(%d+),"use":(%d+)'
      refused = status == 503 and used / cap
      return refused and refused > 0.7
    end, 20, "an upload to be turned away")
    assert.is_true(refused < 0.85, refused)
    assert.status(200, client.get(g.port, "/echo"))
    proven:send(POST)
    assert.equal(100, proven:response_head().status)
    proven:send "123456789"
    assert.contains('"body":"123456789"', proven:response().body)
    for _, c in ipairs(uploads) do c:close() end
    g:stop()
  end)

  -- A share smaller than what a worker keeps for later use.
  it("has memory again when the uploads that held it are gone", function()
    start 'memory = { total = "64MiB", shares = { connections = 5 } },'
    local uploads = {}
    for i = 1, 80 do
      uploads[i] = client.connect(g.port)
      uploads[i]:send "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
      pcall(uploads[i].send, uploads[i], ("x"):rep(30000)) -- which may have been turned away
    end
    clock.wait_until(function() return metrics():find 'shed_total{reason="memory"} [1-9]' end, 10,
      "an upload to be turned away")
    for _, c in ipairs(uploads) do c:close() end
    clock.wait_until(function()
      return ask("/readyz"):find('"pressure":"none"', 1, true)
        and client.request(g.port, { method = "POST", target = "/echo", body = "x" }).status == 200
    end, 10, "memory to be there again")
    g:stop()
  end)

  it("ends the uploads that have lasted longest when they hold all the memory there is #slow", function()
    start [[memory = { total = "256MiB", shares = { connections = 3 } },
            limits = { connection = { drain_timeout = "0s" } },]]
    local function upload()
      local c = client.connect(g.port)
      c:send "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
      c:send(("x"):rep(60000)) -- which the echo keeps
      return c, clock.now()
    end
    local uploads, since = {}, {}
    for i = 1, 150 do uploads[i], since[i] = upload() end
    -- The answer of one that was ended so. Others are turned away at once, or have no memory at all, here or
    -- in the echo: a new one takes their place, so that memory stays full.
    local response
    clock.wait_until(function()
      for i, c in ipairs(uploads) do
        local ok, found = pcall(c.response, c, { seconds = 0.002 })
        local lasted = clock.now() - since[i] > 4
        if ok and lasted and found.body:find('"code":"memory_full"', 1, true) then response = found end
        if not pcall(c.send, c, ("x"):rep(100)) then -- none is slow
          c:close()
          local opened, other = pcall(upload)
          uploads[i], since[i] = opened and other or c, clock.now()
        end
      end
      return response
    end, 30, "an upload to be ended and told")
    assert.status(503, response)
    assert.is_truthy(response.headers["retry-after"]:find "^[123]$")
    for _, c in ipairs(uploads) do c:close() end
    clock.wait_until(function() -- until then newcomers may be told 503, or find no memory for a connection
      local ok, found = pcall(client.get, g.port, "/nowhere")
      return ok and found.status == 404
    end, 10, "newcomers to be served again")
    g:stop()
  end)

  it("shows memory by its parts, and how late each worker is", function()
    start 'memory = { total = "5GiB", shares = { cache = 20 } },'
    clock.wait_until(function()
      local ok, body = pcall(ask, "/readyz") -- the listener itself may not be there yet
      return ok and body:find('"status":"ready","pressure":"none"', 1, true)
    end, 5, "the gateway to be ready")
    local limits = ask "/limits"
    assert.contains('"path":"memory.total","unit":"bytes","value":5368709120,"use":', limits)
    assert.contains('"path":"memory.cache","unit":"bytes","value":1073741820,"use":', limits)
    assert.matches('tidegate_loop_lag_last_seconds{worker="0"} %d+%.%d%d%d%d%d%d\n', metrics())
    g:stop()
  end)
end)
