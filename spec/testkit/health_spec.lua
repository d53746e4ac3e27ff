--- Active checks of targets, on the gateway's fake clock.

local t = require "tidegate.test"

local A, B = "10.0.0.11:9000", "10.0.0.12:9000"

describe("active checks", function()
  local gw

  before_each(t.reset)
  after_each(function() gw:close() end)

  local function start(check, more)
    local path = ("health-%d.lua"):format(math.random(1e9))
    gw = t.gateway(path, { files = { [path] = ([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" {
  targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } },
  health = { active = { %s }, %s },
}
tg.route "all" { service = "orders" }
]]):format(check, more or "") } })
  end

  local function states()
    local list = {}
    for i, target in ipairs(gw:targets "orders") do list[i] = target.state end
    return table.concat(list, " ")
  end

  -- Origins that are well or not, as the table says, and answer requests with their address.
  local function serve(well)
    local function one(address)
      return function(req)
        if req.path ~= "/healthz" then return { 200, body = address } end
        return { well[address] and 200 or 500, body = "state: fine" }
      end
    end
    gw:upstream("orders", { [A] = one(A), [B] = one(B) })
  end

  it("take a target out after fall bad ones and let it in after rise good ones", function()
    start [[path = "/healthz", every = "5s", timeout = "1s", rise = 2, fall = 3, jitter = 0]]
    local well = { [A] = true, [B] = true }
    serve(well)
    t.clock:advance "1s"
    assert.equal("up up", states())
    well[A] = false
    t.clock:advance "10s"
    assert.equal("up up", states())
    t.clock:advance "5s"
    assert.equal("down up", states())
    for _ = 1, 4 do assert.equal(B, gw:get("/").body) end
    well[A] = true
    t.clock:advance "5s"
    assert.equal("down up", states())
    t.clock:advance "5s"
    assert.equal("up up", states())
  end)

  it("decide at once at the start", function()
    start [[path = "/healthz", jitter = 0]]
    serve { [A] = true }
    t.clock:advance "10ms"
    assert.equal("up down", states())
  end)

  it("ask with the method, path and host that are said, once for each target", function()
    start [[path = "/healthz?deep=1", method = "HEAD", host = "orders.test", jitter = 0]]
    gw:upstream("orders", { 200 })
    t.clock:advance "12s"
    local calls = gw:calls "orders"
    assert.equal(6, #calls)
    assert.equal("HEAD", calls[1].method)
    assert.equal("/healthz?deep=1", calls[1].target)
    assert.equal("orders.test", calls[1].headers.host)
  end)

  it("look for statuses and for a text", function()
    start [[path = "/healthz", statuses = { 204 }, jitter = 0]]
    gw:upstream("orders", { [A] = { 204 }, [B] = { 200 } })
    t.clock:advance "10ms"
    assert.equal("up down", states())
    gw:close()
    start [[path = "/healthz", body = "state: fine", jitter = 0]]
    gw:upstream("orders", { [A] = t.chunks { "sta", "te: fi", "ne" }, [B] = { 200, body = "state: bad" } })
    t.clock:advance "10ms"
    assert.equal("up down", states())
  end)

  it("find out that nobody listens, answers or speaks HTTP", function()
    start [[path = "/healthz", timeout = "1s", jitter = 0]]
    gw:upstream("orders", { [A] = t.refuse(), [B] = t.hang() })
    t.clock:advance "10ms"
    assert.equal("down up", states())
    t.clock:advance "1s"
    assert.equal("down down", states())
    gw:close()
    start [[path = "/healthz", jitter = 0]]
    gw:upstream("orders", { [A] = t.raw("nonsense\r\n\r\n"), [B] = t.reset_conn() })
    t.clock:advance "10ms"
    assert.equal("down down", states())
  end)

  it("only connect where that is said", function()
    start [[type = "tcp", jitter = 0]]
    gw:upstream("orders", { [A] = t.hang(), [B] = t.refuse() })
    t.clock:advance "10ms"
    assert.equal("up down", states())
  end)

  it("end in panic when too few targets are left, unless that is off", function()
    start([[path = "/healthz", jitter = 0]], "panic = 0.5")
    serve {}
    t.clock:advance "10ms"
    assert.equal("down down", states())
    assert.response(gw:get "/").has.status(200)
    gw:close()
    start([[path = "/healthz", jitter = 0]], "panic = 0")
    serve {}
    t.clock:advance "10ms"
    local r = gw:get "/"
    assert.response(r).has.status(503)
    assert.error_code(r, "no_healthy_target")
  end)

  it("go with their configuration", function()
    start [[path = "/healthz", jitter = 0]]
    serve { [A] = true }
    t.clock:advance "10ms"
    assert.equal("up down", states())
    gw:upstream("orders", { 200 })
    local path = ("health-%d.lua"):format(math.random(1e9))
    local file = io.open(path, "w")
    file:write([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" { targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } } }
tg.route "all" { service = "orders" }
]])
    file:close()
    local ok = gw:reload(path)
    os.remove(path)
    assert.is_true(ok)
    assert.equal("up up", states())
    local before = #gw:calls "orders"
    t.clock:advance "1m"
    assert.equal(before, #gw:calls "orders")
  end)
end)
