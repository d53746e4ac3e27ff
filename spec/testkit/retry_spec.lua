--- Retries by class, breakers, passive health and balancing, on the gateway's fake clock.

local t = require "tidegate.test"

local function config(fields, plugins)
  local path = ("up-%d.lua"):format(math.random(1e9))
  local text = ([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" {
  targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } },
  timeout = { connect = "1s", response = "5s" },
  %s
}
tg.route "all" { service = "orders", plugins = { %s } }
]]):format(fields, plugins or "")
  return path, { files = { [path] = text } }
end

local A, B = "10.0.0.11:9000", "10.0.0.12:9000"

describe("a service with retries", function()
  local gw

  before_each(t.reset)
  after_each(function() if gw then gw:close() end end)

  local function start(fields, files)
    gw = nil
    local path, options = config(fields)
    for name, text in pairs(files or {}) do options.files[name] = text end
    gw = t.gateway(path, options)
    return gw
  end

  local function errors_of(r)
    local list = {}
    for i, attempt in ipairs(r.upstream.attempts) do list[i] = attempt.error or attempt.status end
    return list
  end

  it("dials a target that a plugin chose once, however many the service has", function()
    local path, options = config("", [[tg.use "plugins/picks.lua" {}]])
    options.files["plugins/picks.lua"] = [[
      local P = { name = "picks", version = "1.0.0", api = 1, stage = "traffic" }
      function P.access(_, ctx) ctx.upstream:set_target("10.0.0.99", 9000) end
      return P]]
    gw = t.gateway(path, options)
    gw:upstream("orders", t.refuse())
    local r = gw:get "/"
    assert.response(r).has.status(502)
    assert.same({ "connect" }, errors_of(r))
  end)

  it("tries a refused connection on the other target, also without retry", function()
    start ""
    gw:upstream("orders", { [A] = t.refuse(), [B] = { 200 } })
    for _ = 1, 4 do assert.response(gw:get "/").has.status(200) end
    gw:upstream("orders", t.refuse())
    local r = gw:get "/"
    assert.response(r).has.status(502)
    assert.same({ "connect", "connect" }, errors_of(r))
    assert.not_equal(r.upstream.attempts[1].target, r.upstream.attempts[2].target)
  end)

  it("repeats nothing else without retry", function()
    start ""
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    assert.response(gw:get "/").has.status(503)
    gw:upstream("orders", t.sequence { t.reset_conn(), { 200 } })
    assert.response(gw:get "/").has.status(502)
  end)

  it("repeats listed statuses on another target first, and tells each attempt", function()
    start [[retry = { attempts = 2, on = { "connect", 502, 503 } }]]
    gw:upstream("orders", { [A] = { 503 }, [B] = { 200, body = "b" } })
    for _ = 1, 4 do
      local r = gw:get "/"
      assert.response(r).has.body "b"
      assert.equal(B, r.upstream.attempts[#r.upstream.attempts].target)
      if #r.upstream.attempts > 1 then assert.same({ "status", 200 }, errors_of(r)) end
    end
    gw:upstream("orders", { 500 })
    assert.same({ 500 }, errors_of(gw:get "/"))
  end)

  it("gives the last answer when all attempts have failed", function()
    start [[retry = { attempts = 2, on = { 503 } }]]
    gw:upstream("orders", { 503, body = "sorry" })
    local r = gw:get "/"
    assert.response(r).has.status(503)
    assert.response(r).has.body "sorry"
    assert.equal(3, #r.upstream.attempts)
  end)

  it("repeats a reset before the head, and a time that is over", function()
    start [[retry = { attempts = 1, on = { "reset", "timeout" }, per_try = "300ms" }]]
    gw:upstream("orders", t.sequence { t.reset_conn(), { 200 } })
    assert.same({ "reset", 200 }, errors_of(gw:get "/"))
    gw:upstream("orders", t.sequence { t.reset_conn(20), { 200 } })
    assert.same({ "reset", 200 }, errors_of(gw:get "/"))
    gw:upstream("orders", t.sequence { t.hang(), { 200 } })
    local r = gw:get "/"
    assert.same({ "timeout", 200 }, errors_of(r))
    assert.is_true(r.elapsed >= 0.3 and r.elapsed < 0.4)
  end)

  it("repeats idempotent methods only, unless told", function()
    start [[retry = { attempts = 1, on = { "reset", 503 } }]]
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    assert.response(gw:post("/", { body = "x" })).has.status(503)
    assert.response(gw:request { method = "PUT", path = "/", body = "x" }).has.status(200)
    gw:close()
    start [[retry = { attempts = 1, on = { 503 }, methods = { "POST" } }]]
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    assert.response(gw:post("/", { body = "x" })).has.status(200)
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    assert.response(gw:get "/").has.status(503)
  end)

  it("sends a body again as far as it is kept, and no further", function()
    start [[retry = { attempts = 1, on = { 503 }, buffer = "4KiB" }]]
    local whole, large = ("w"):rep(4096), ("l"):rep(4097)
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    local r = gw:request { method = "PUT", path = "/", body = whole }
    assert.response(r).has.status(200)
    assert.equal(whole, r.upstream.body)
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    r = gw:request { method = "PUT", path = "/", chunks = { "one", "two", "three" } }
    assert.response(r).has.status(200)
    assert.equal("onetwothree", r.upstream.body)
    gw:upstream("orders", t.sequence { { 503 }, { 200 } })
    assert.response(gw:request { method = "PUT", path = "/", body = large }).has.status(503)
  end)

  it("waits between attempts, and as long as the origin asks where there is no other target", function()
    start [[retry = { attempts = 3, on = { 503 }, backoff = { base = "100ms", max = "100ms" } }]]
    local function busy(seconds) return { 503, headers = { ["retry-after"] = seconds } } end
    gw:upstream("orders", t.sequence { busy "2", { 200 } })
    local r = gw:get "/"
    assert.response(r).has.status(200)
    assert.is_true(r.elapsed < 0.2)
    gw:upstream("orders", t.sequence { { 503 }, busy "2", { 200 } })
    r = gw:get "/"
    assert.response(r).has.status(200)
    assert.is_true(r.elapsed >= 2 and r.elapsed < 2.3)
    gw:upstream("orders", t.sequence { { 503 }, busy "3600", { 200 } })
    r = gw:get "/"
    assert.response(r).has.status(503)
    assert.is_true(r.elapsed < 0.3)
  end)

  it("ends within the request's deadline", function()
    local path, options = config [[retry = { attempts = 10, on = { "timeout" }, per_try = "1s" }]]
    options.files[path] = [[local tg = require "tidegate"
      tg.settings { limits = { request = { deadline = "3s" } } }
      ]] .. options.files[path]:gsub("^local tg[^\n]*\n", "")
    gw = t.gateway(path, options)
    gw:upstream("orders", t.hang())
    local r = gw:get "/"
    assert.response(r).has.status(504)
    assert.is_true(r.elapsed <= 3.01)
    assert.is_true(#r.upstream.attempts >= 2)
  end)

  it("opens the breaker, then probes after the cooldown", function()
    start [[breaker = { ratio = 0.5, volume = 20, window = "10s", cooldown = "15s", probes = 3 }]]
    gw:upstream("orders", { 503 })
    for _ = 1, 20 do gw:get "/" end
    assert.equal("open", gw:breaker("orders").state)
    local before = #gw:calls "orders"
    local r = gw:get "/"
    assert.response(r).has.status(503)
    assert.error_code(r, "breaker_open")
    assert.equal(before, #gw:calls "orders")
    gw:upstream("orders", { 200 })
    t.clock:advance "15s"
    assert.response(gw:get "/").has.status(200)
    assert.equal("half-open", gw:breaker("orders").state)
    for _ = 1, 2 do assert.response(gw:get "/").has.status(200) end
    assert.same({ state = "closed", opened = 1 }, gw:breaker "orders")
  end)

  it("leaves a target out that fails, and takes it back after its pause", function()
    start [[health = { passive = { failures = 3, window = "10s", eject = "30s" } }]]
    gw:upstream("orders", { [A] = { 500 }, [B] = { 200 } })
    for _ = 1, 6 do gw:get "/" end
    assert.equal("ejected", gw:targets("orders")[1].state)
    for _ = 1, 10 do assert.response(gw:get "/").has.status(200) end
    gw:upstream("orders", { 200 })
    t.clock:advance "29s"
    local before = #gw:calls "orders"
    for _ = 1, 4 do gw:get "/" end
    for i = before + 1, before + 4 do assert.equal(B, gw:calls("orders")[i].address) end
    t.clock:advance "1s"
    for _ = 1, 4 do gw:get "/" end
    assert.equal("up", gw:targets("orders")[1].state)
    local seen = {}
    for i = before + 5, before + 8 do seen[gw:calls("orders")[i].address] = true end
    assert.is_true(seen[A])
  end)

  it("counts slow answers as failures where that is asked for", function()
    start [[health = { passive = { failures = 3, latency = "1s" } }]]
    gw:upstream("orders", { [A] = t.slow("1.5s", { 200 }), [B] = { 200 } })
    for _ = 1, 6 do gw:get "/" end
    assert.equal("ejected", gw:targets("orders")[1].state)
    assert.equal("up", gw:targets("orders")[2].state)
  end)

  it("keeps what it knows of targets over a reload", function()
    start [[health = { passive = { failures = 3 } }]]
    gw:upstream("orders", { [A] = { 500 }, [B] = { 200 } })
    for _ = 1, 6 do gw:get "/" end
    assert.is_true(gw:reload())
    assert.equal("ejected", gw:targets("orders")[1].state)
    assert.response(gw:get "/").has.status(200)
  end)

  it("keeps a key with its target", function()
    start [[balance = { "hash", by = "header:x-user" }]]
    gw:upstream("orders", { 200 })
    local seen = {}
    for user = 1, 20 do
      for _ = 1, 3 do
        local r = gw:get("/", { headers = { ["x-user"] = "u" .. user } })
        local target = r.upstream.attempts[1].target
        assert.equal(seen[user] or target, target)
        seen[user] = target
      end
    end
    local counts = { [A] = 0, [B] = 0 }
    for _, target in ipairs(seen) do counts[target] = counts[target] + 1 end
    assert.is_true(counts[A] > 3 and counts[B] > 3)
  end)
end)
