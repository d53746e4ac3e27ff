--- Connections to origins: limits, the queue for them, ages, and what is ready before it is asked for.

local t = require "tidegate.test"

describe("the pool", function()
  local gw

  before_each(t.reset)
  after_each(function() gw:close() end)

  local function start(pool, more)
    local path = ("pool-%d.lua"):format(math.random(1e9))
    gw = t.gateway(path, { files = { [path] = ([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" { targets = { { "10.0.0.11:9000" } }, pool = { %s }, %s }
tg.route "low" { paths = { "/low" }, service = "orders", queue_priority = 1 }
tg.route "all" { service = "orders" }
tg.route "high" { paths = { "/high" }, service = "orders", queue_priority = 9 }
]]):format(pool, more or "") } })
  end

  -- Requests on connections of their own, all under way at once.
  local function send(list)
    local all = {}
    for i, path in ipairs(list) do
      local connection = gw:open()
      all[i] = { connection = connection, result = connection:request { path = path } }
    end
    return all
  end

  local function finish(all)
    for _, one in ipairs(all) do
      one.connection:finish(one.result)
      one.connection:close()
    end
  end

  local function paths()
    local list = {}
    for i, call in ipairs(gw:calls "orders") do list[i] = call.path end
    return list
  end

  it("opens no more connections than it may, and lets requests wait for one", function()
    start "max = 2"
    gw:upstream("orders", t.slow("100ms", { 200 }))
    local all = send { "/1", "/2", "/3", "/4" }
    assert.equal(2, #gw:calls "orders")
    finish(all)
    for _, one in ipairs(all) do assert.equal(200, one.result.status) end
    local seen = paths()
    table.sort(seen)
    assert.same({ "/1", "/2", "/3", "/4" }, seen)
  end)

  it("serves the queue by priority, then first come, and nobody starves", function()
    start "max = 1"
    gw:upstream("orders", t.slow("10ms", { 200 }))
    local all = send { "/0", "/low", "/1", "/high", "/2", "/high", "/high" }
    finish(all)
    assert.same({ "/0", "/high", "/high", "/high", "/low", "/1", "/2" }, paths())
  end)

  it("answers 503 when the queue is full, and when the wait is over", function()
    start [[max = 1, queue = 1, wait = "200ms"]]
    gw:upstream("orders", t.slow("1s", { 200 }))
    local all = send { "/1", "/2", "/3" }
    assert.equal(503, all[3].result.status)
    finish(all)
    assert.equal(200, all[1].result.status)
    assert.equal(503, all[2].result.status)
    assert.equal("pool_full", all[2].result.code)
    assert.equal(0.2, math.floor(all[2].result.elapsed * 1000 + 0.5) / 1000)
    assert.same({ "/1" }, paths())
  end)

  it("forgets who went away while waiting", function()
    start "max = 1"
    gw:upstream("orders", t.slow("100ms", { 200 }))
    local all = send { "/1", "/2", "/3" }
    all[2].connection:close()
    finish { all[1], all[3] }
    assert.equal(200, all[3].result.status)
    assert.same({ "/1", "/3" }, paths())
  end)

  it("makes so many connections at a time", function()
    start "connecting = 1"
    gw:upstream("orders", t.sequence { t.hang "connect", { 200 } })
    local all = send { "/1", "/2" }
    assert.equal(0, #gw:calls "orders")
    t.clock:advance "900ms"
    finish { all[2], all[1] }
    assert.equal(503, all[2].result.status)
    assert.equal("pool_full", all[2].result.code)
    assert.equal(504, all[1].result.status)
  end)

  it("closes connections after so many requests, and at an age", function()
    start "requests = 2"
    gw:upstream("orders", { 200 })
    for _ = 1, 4 do gw:get "/" end
    local before = #gw:calls "orders"
    assert.equal(4, before)
    gw:close()
    start [[lifetime = "10s"]]
    gw:upstream("orders", { 200 })
    gw:get "/"
    t.clock:advance "8s"
    gw:get "/"
    t.clock:advance "3s"
    assert.response(gw:get "/").has.status(200)
  end)

  it("has connections ready before they are asked for", function()
    start "min_idle = 2"
    gw:upstream("orders", { 200 })
    t.clock:advance "1ms"
    local r = gw:get "/"
    assert.response(r).has.status(200)
    assert.equal(0, r.elapsed)
    gw:upstream("orders", t.refuse())
    t.clock:advance "5s"
    gw:upstream("orders", { 200 })
    t.clock:advance "2s"
    assert.response(gw:get "/").has.status(200)
  end)

  it("takes no connection of another address for targets that a plugin sets", function()
    start("")
    local off = gw:attach("service:orders", t.source([[
      local P = { name = "set", version = "1.0.0", api = 1, stage = "guard" }
      function P.access(_, ctx) ctx.upstream:set_target(ctx.req:query "to", 9000) end
      return P
    ]]))
    gw:upstream("orders", function() return { 200 } end)
    for _, to in ipairs { "10.0.0.11", "10.0.0.99", "10.0.0.11", "10.0.0.99" } do
      local r = gw:get("/all?to=" .. to)
      assert.equal(to == "10.0.0.11" and 200 or 502, r.status)
    end
    off()
  end)

  it("grows by a fifth while requests wait, and shrinks while little of it is used", function()
    start "adaptive = { min = 5, max = 7 }"
    gw:upstream("orders", t.slow("300ms", { 200 }))

    -- How many of `n` requests at once find a connection.
    local function burst(n)
      local list, before = {}, #gw:calls "orders"
      for i = 1, n do list[i] = "/" .. i end
      local all = send(list)
      local found = #gw:calls "orders" - before
      finish(all)
      for _, one in ipairs(all) do assert.equal(200, one.result.status) end
      return found
    end

    assert.equal(5, burst(20))
    t.clock:advance "10s"
    assert.equal(6, burst(20))
    t.clock:advance "10s"
    assert.equal(7, burst(20))
    t.clock:advance "10s"
    assert.equal(7, burst(20))
    t.clock:advance "10s"
    assert.equal(3, burst(3)) -- 3 of 7 are 43 %: it stays
    t.clock:advance "10s"
    assert.equal(7, burst(8)) -- one of eight waits 300 ms: 37 on the average
    t.clock:advance "10s"
    burst(2) -- 2 of 7 are 29 %
    t.clock:advance "10s"
    assert.equal(6, burst(7))
    t.clock:advance "60s" -- nothing of it is used
    assert.equal(5, burst(20))
  end)
end)
