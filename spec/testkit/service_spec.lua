--- Plugins that ask services, keep what they learned, and work on their own: tg.http, tg.cache, tg.timer.

local t = require "tidegate.test"

-- Keys come from a service and are kept for a minute.
local KEYS = t.source [[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = {
  name = "hmac", version = "1.0.0", api = 1, stage = "auth",
  schema = S.record { keys = S.ref "service" },
  needs = { http = true, cache = "1MiB", body = "request" },
}
function P.access(conf, ctx)
  local id, mac = (ctx.req:header "x-signature" or ""):match "^(%w+)%.(%x+)$"
  if not id then ctx:exit(401, { error = "malformed" }) end
  local key, err = tg.cache():fetch(id, { ttl = "60s", negative_ttl = "5s" }, function()
    local res, why = tg.http.get(conf.keys, "/keys/" .. id, { timeout = "300ms" })
    if not res then return nil, why end
    return res.status == 200 and res.body or nil
  end)
  if err then ctx:fail(err) end
  if not key then ctx:exit(401, { error = "unknown key" }) end
  local want = tg.crypto.hmac("sha256", key, ctx.req:body { max = "1KiB" } or "")
  if not tg.crypto.equal(want, tg.hex.decode(mac)) then ctx:exit(401, { error = "mismatch" }) end
  ctx.upstream:set_header("x-key-id", id):remove_header "x-signature"
end
return P
]]

local function signed(id, body)
  return { method = "POST", body = body,
           headers = { ["x-signature"] = id .. "." .. t.hex(t.hmac("sha256", "sekret", body)) } }
end

describe("a plugin that asks a service", function()
  local p, keys

  before_each(function()
    t.reset()
    keys = t.mock_service("keysvc", function(req)
      if req.path == "/keys/alice" then return { 200, body = "sekret" } end
      return { 404 }
    end)
    p = t.plugin(KEYS, { keys = "keysvc" })
  end)

  it("gets its answer", function()
    local r = p:run(signed("alice", "hello"))
    assert.response(r).has.status(200)
    assert.request(r.upstream).has.header("x-key-id", "alice")
    assert.request(r.upstream).has.no.header "x-signature"
    assert.request(r.upstream).has.body "hello"
    assert.response(p:run(signed("mallory", "hello"))).has.json { error = "unknown key" }
  end)

  it("asks once a minute, on the clock of the spec", function()
    for _ = 1, 3 do p:run(signed("alice", "")) end
    assert.equal(1, #keys.calls)
    t.clock:advance "61s"
    p:run(signed("alice", ""))
    assert.equal(2, #keys.calls)
  end)

  it("fails closed when the service is slow, after its own timeout", function()
    keys:handle(t.hang())
    local r = p:run(signed("alice", ""))
    assert.response(r).has.status(503)
    assert.error_code(r, "plugin_failed")
    assert.elapsed(r).at_most "300ms"
    assert.elapsed(r).at_least "300ms"
  end)

  it("finds an empty cache in the next test", function()
    p:run(signed("alice", ""))
    assert.equal(1, #keys.calls)
  end)
end)

describe("a plugin with a timer", function()
  it("works when the clock gets there", function()
    t.reset()
    local p = t.plugin(t.source [[
      local tg = require "tidegate"
      local ticks = 0
      return { name = "ticker", version = "1", api = 1, stage = "guard",
        init = function() tg.timer.every("10s", function() ticks = ticks + 1 end) end,
        access = function(conf, ctx) ctx:exit(200, tostring(ticks)) end }]])
    assert.equal("0", p:run().body)
    t.clock:advance "35s"
    assert.equal("3", p:run().body)
  end)

  it("tells its failures in the log", function()
    t.reset()
    local p = t.plugin(t.source [[
      local tg = require "tidegate"
      return { name = "fails", version = "1", api = 1, stage = "guard",
        init = function() tg.timer.after("5s", function() error "in the timer" end) end,
        log = function() end }]])
    t.clock:advance "4s"
    assert.has_error(function() assert.logged(p, "error", "in the timer") end)
    t.clock:advance "1s"
    assert.logged(p, "error", "a plugin failed error=.*:3: in the timer phase=timer")
  end)

  it("is named when its work is not over at the end", function()
    t.reset()
    local gw = t.gateway("gw.lua", { files = { ["gw.lua"] = [[
      local tg = require "tidegate"
      tg.listener "http" { address = "127.0.0.1:80" }
      tg.service "slow" { targets = { { "10.0.0.1:80" } } }
      tg.route "all" { service = "slow" }
      tg.global { tg.use "./asks.lua" {} }]], ["asks.lua"] = [[
      local tg = require "tidegate"
      return { name = "asks", version = "1", api = 1, stage = "guard", needs = { http = true },
        init = function() tg.timer.after("1s", function() tg.http.get("slow", "/") end) end,
        log = function() end }]] } })
    gw:upstream("slow", t.hang())
    gw.clock:advance "2s"
    local ok, why = pcall(gw.close, gw)
    assert.is_false(ok)
    assert.matches("work that is not over: plugin asks waits in .* %(asks.lua%)", why)
  end)
end)
