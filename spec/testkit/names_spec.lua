-- Targets that are names, with the DNS in the spec's hand.

local t = require "tidegate.test"

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { limits = { dns = { stale = "10m" } } }
  tg.listener "http" { address = "127.0.0.1:8080" }
  tg.service "catalog" { targets = { { dns = "catalog.internal:8080" } }, retry = { on = { "connect" } } }
  tg.service "shop" { targets = { { srv = "_http._tcp.shop.internal" } } }
  tg.route "catalog" { paths = { "/catalog" }, service = "catalog" }
  tg.route "shop" { paths = { "/shop" }, service = "shop" }
]]

describe("names of targets", function()
  local gw

  before_each(function()
    t.reset()
    gw = t.gateway("gateway.lua", { files = { ["gateway.lua"] = CONFIG } })
  end)

  local function targets(service)
    local list = {}
    for i, target in ipairs(gw:targets(service)) do list[i] = target.target end
    return list
  end

  it("have an address of their own where the spec says nothing", function()
    gw:upstream("catalog", function(req) return { 200, body = req.headers.host } end)
    local r = gw:get "/catalog"
    assert.equal("catalog.internal:8080", r.body)
    assert.equal("198.18.0.2:8080", r.upstream.target)
    assert.response(gw:get "/shop").has.status(200)
  end)

  it("are all of the addresses that the spec says", function()
    gw:dns("catalog.internal", { "10.0.0.1", "10.0.0.2" })
    for _ = 1, 4 do assert.response(gw:get "/catalog").has.status(200) end
    assert.same({ "10.0.0.1:8080", "10.0.0.2:8080" }, targets "catalog")
    assert.equal(2, gw:targets("catalog")[1].requests)
  end)

  it("change when their TTL is over, and what stays keeps its counts", function()
    gw:dns("catalog.internal", { "10.0.0.1", "10.0.0.2", ttl = 10 })
    for _ = 1, 4 do gw:get "/catalog" end
    gw:dns("catalog.internal", { "10.0.0.2", "10.0.0.3", ttl = 10 })
    t.clock:advance(9)
    assert.same({ "10.0.0.1:8080", "10.0.0.2:8080" }, targets "catalog")
    t.clock:advance(2)
    assert.same({ "10.0.0.2:8080", "10.0.0.3:8080" }, targets "catalog")
    assert.equal(2, gw:targets("catalog")[1].requests)
    assert.equal(0, gw:targets("catalog")[2].requests)
  end)

  it("have addresses of the family with more of them", function()
    gw:dns("catalog.internal", { "10.0.0.1", "10.0.0.2", "fd00::1" })
    gw:get "/catalog"
    assert.same({ "10.0.0.1:8080", "10.0.0.2:8080" }, targets "catalog")
  end)

  it("keep what they had while no server answers, for limits.dns.stale", function()
    gw:dns("catalog.internal", { "10.0.0.1", ttl = 10 })
    gw:get "/catalog"
    gw:dns("catalog.internal", "fail")
    t.clock:advance(500)
    assert.response(gw:get "/catalog").has.status(200)
    t.clock:advance(120)
    assert.error_code(gw:get "/catalog", "dns")
  end)

  it("that do not exist are a 503 of their own, and of no other service", function()
    gw:dns("catalog.internal", "none")
    local r = gw:get "/catalog"
    assert.response(r).has.status(503)
    assert.error_code(r, "dns")
    assert.is_false(r.upstream.called)
    assert.response(gw:get "/shop").has.status(200)
  end)

  it("make requests wait for the first answer, and no longer than for a connection", function()
    gw:dns("catalog.internal", "hang")
    local before = t.clock:now()
    assert.error_code(gw:get "/catalog", "dns")
    assert.near(1, t.clock:now() - before, 0.01)
  end)

  it("of SRV records have ports, weights and priorities", function()
    gw:dns("_http._tcp.shop.internal", { srv = {
      { "a.shop.internal", port = 8001, priority = 10, weight = 3 },
      { "b.shop.internal", port = 8002, priority = 10, weight = 1 },
      { "c.shop.internal", port = 8003, priority = 20 },
    } })
    gw:dns("a.shop.internal", { "10.0.0.1" })
    gw:dns("b.shop.internal", { "10.0.0.2" })
    gw:dns("c.shop.internal", { "10.0.0.3" })
    for _ = 1, 8 do assert.response(gw:get "/shop").has.status(200) end
    local requests = {}
    for _, target in ipairs(gw:targets "shop") do requests[target.target] = target.requests end
    assert.same({ ["10.0.0.1:8001"] = 6, ["10.0.0.2:8002"] = 2, ["10.0.0.3:8003"] = 0 }, requests)
  end)

  it("are retried on an address that is new meanwhile", function()
    gw:dns("catalog.internal", { "10.0.0.1", ttl = 10 })
    gw:upstream("catalog", { ["10.0.0.1:8080"] = t.refuse(), ["10.0.0.2:8080"] = { 200 } })
    assert.response(gw:get "/catalog").has.status(502)
    gw:dns("catalog.internal", { "10.0.0.1", "10.0.0.2" })
    t.clock:advance(11)
    for _ = 1, 2 do assert.response(gw:get "/catalog").has.status(200) end
  end)

  it("stay over a reload", function()
    gw:dns("catalog.internal", { "10.0.0.1" })
    gw:get "/catalog"
    gw:dns("catalog.internal", "hang")
    assert.is_true(gw:reload())
    assert.response(gw:get "/catalog").has.status(200)
    assert.equal(2, gw:targets("catalog")[1].requests)
  end)

  it("serve tg.http of plugins too", function()
    gw:dns("catalog.internal", "none")
    local off = gw:attach("route:shop", t.source([[
      local tg = require "tidegate"
      local P = { name = "asks", version = "1.0.0", api = 1, stage = "guard", needs = { http = true } }
      function P.access(_, ctx)
        local response, err = tg.http.get("catalog", "/x")
        ctx:exit(200, response and response.body or err.code)
      end
      return P
    ]]))
    assert.equal("dns", gw:get("/shop").body)
    off()
  end)
end)
