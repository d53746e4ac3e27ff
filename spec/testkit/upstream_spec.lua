--- What fake origins can do, and what the gateway makes of it.

local t = require "tidegate.test"

local QUIET = t.source [[
return { name = "quiet", version = "1.0.0", api = 1, stage = "observe", log = function() end }]]

local TWO = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" {
  targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } },
  timeout = { connect = "1s", response = "5s" },
}
tg.route "all" { service = "orders" }
]]

describe("a fake origin", function()
  local p

  before_each(function()
    t.reset()
    p = t.plugin(QUIET)
  end)

  it("answers", function()
    local r = p:run { upstream = { 201, body = "made", headers = { ["x-a"] = "1" } } }
    assert.response(r).has.status(201)
    assert.response(r).has.body("made")
    assert.response(r).has.header("x-a", "1")
    local function tell(req) return { 200, body = req.method .. " " .. req.path } end
    r = p:run { path = "/p", upstream = tell }
    assert.equal("GET /p", r.body)
  end)

  it("refuses, resets, hangs", function()
    local r = p:run { upstream = t.refuse() }
    assert.response(r).has.status(502)
    assert.error_code(r, "upstream_unreachable")
    assert.equal(0, r.elapsed)

    assert.error_code(p:run { upstream = t.reset_conn() }, "upstream_closed")

    r = p:run { upstream = t.hang() }
    assert.response(r).has.status(504)
    assert.error_code(r, "upstream_timeout")

    r = p:run { upstream = t.hang "connect" }
    assert.error_code(r, "upstream_connect_timeout")
  end)

  it("breaks off in the middle of a body", function()
    local r = p:run { upstream = t.reset_conn(60, { 200, body = ("y"):rep(100) }) }
    assert.equal(200, r.status)
    assert.is_false(r.complete)
    assert.is_true(r.aborted)
    assert.is_true(#r.body > 0 and #r.body < 100)
  end)

  it("is slow on the gateway's clock only", function()
    local r = p:run { upstream = t.slow("3s", { 200, body = "late" }) }
    assert.equal("late", r.body)
    assert.equal(3, r.elapsed)
    assert.equal(1704067203, t.clock:now())
  end)

  it("sends chunks one by one", function()
    local r = p:run { upstream = t.chunks { "a", "bc", "def", delay = "1s" } }
    assert.same({ "a", "bc", "def" }, r.chunks)
    assert.is_true(r.complete)
  end)

  it("does one thing after the other", function()
    local steps = t.sequence { { 500 }, t.refuse(), { 200 } }
    assert.equal(500, p:run { upstream = steps }.status)
    assert.equal(502, p:run { upstream = steps }.status)
    assert.equal(200, p:run { upstream = steps }.status)
    assert.equal(200, p:run { upstream = steps }.status)
  end)

  it("sends bytes that are no HTTP", function()
    assert.error_code(p:run { upstream = t.raw("SSH-2.0-OpenSSH\r\n\r\n", true) }, "upstream_protocol_error")
    local r = p:run { upstream = t.raw("HTTP/1.0 200 OK\r\n\r\nto the end", true) }
    assert.equal("to the end", r.body)
  end)

  it("is asked again on a fresh connection when a kept one has died", function()
    assert.equal(200, p:run { upstream = { 200 } }.status)
    local r = p:run { upstream = t.sequence { t.reset_conn(), { 202 } } }
    assert.equal(202, r.status)
    assert.equal(2, #r.upstream.attempts)
  end)
end)

describe("a service with two targets", function()
  local gw

  before_each(function()
    t.reset()
    gw = t.gateway("two.lua", { files = { ["two.lua"] = TWO } })
  end)

  it("is answered by the other target when one refuses", function()
    gw:upstream("orders", { ["10.0.0.11:9000"] = t.refuse(), ["10.0.0.12:9000"] = { 200 } })
    local r = gw:get "/"
    assert.response(r).has.status(200)
    assert.equal(2, #r.upstream.attempts)
    assert.equal("connect", r.upstream.attempts[1].error)
    assert.equal("10.0.0.12:9000", r.upstream.attempts[2].target)
    assert.equal(200, r.upstream.attempts[2].status)
  end)

  it("keeps what it was asked", function()
    gw:upstream("orders", { 204 })
    gw:post("/a?b=c", { body = "x" })
    local call = gw:calls("orders")[1]
    assert.same({ "POST", "/a", "b=c", "x" }, { call.method, call.path, call.query, call.body })
    assert.equal("10.0.0.11:9000", call.address)
  end)

  it("knows its services", function()
    assert.error_matches(function() gw:upstream("order", { 200 }) end, 'no service "order"')
    assert.error_matches(function() gw:upstream("orders", "x") end, "t.refuse")
  end)
end)

describe("the deadline of a route", function()
  local CONFIG = [[
local tg = require "tidegate"
tg.settings { limits = { request = { deadline = "10s" } } }
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "app" { targets = { { "10.0.0.1:80" } }, timeout = { response = "1h" } }
tg.route "usual" { paths = { "/usual" }, service = "app" }
tg.route "patient" { paths = { "/patient" }, service = "app", timeout = { deadline = "5m" } }
tg.route "hasty" { paths = { "/hasty" }, service = "app", timeout = { deadline = "2s" } }
]]

  it("stands in place of that of the settings, longer or shorter", function()
    t.reset()
    local gw = t.gateway("gateway.lua", { files = { ["gateway.lua"] = CONFIG } })
    gw:upstream("app", t.hang())
    for path, seconds in pairs { ["/usual"] = 10, ["/patient"] = 300, ["/hasty"] = 2 } do
      local r = gw:get(path)
      assert.response(r).has.status(504)
      assert.error_code(r, "upstream_timeout")
      assert.equal(seconds, math.floor(r.elapsed + 0.5))
    end
    gw:close()
  end)
end)
