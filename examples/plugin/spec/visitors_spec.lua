--- The specs of the tutorial: README.md walks through them.

local t = require "tidegate.test"

-- Run from the top of the repository or from this example's folder.
local here = debug.getinfo(1, "S").source:match "^@(.-)spec/[^/]*$"
local PLUGIN = here .. "plugins/visitors.lua"

describe("visitors", function()
  local p

  before_each(function()
    t.reset()
    p = t.plugin(PLUGIN, { days = 7 }, { limits = { memory = "64KiB", cpu = "5ms" } })
  end)

  it("gives a newcomer a cookie, and tells the origin", function()
    local r = p:run { path = "/" }
    assert.response(r).has.status(200)
    assert.request(r.upstream).has.header("x-visits", "1")
    assert.response(r).has.header("set-cookie",
      "visitor=1; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax")
  end)

  it("counts on from the cookie", function()
    local r = p:run { headers = { cookie = "theme=dark; visitor=4" } }
    assert.request(r.upstream).has.header("x-visits", "5")
  end)

  it("starts again where the cookie is no number", function()
    for _, value in ipairs { "", "-1", "99999", "4x", "0x10" } do
      local r = p:run { headers = { cookie = "visitor=" .. value } }
      assert.request(r.upstream).has.header("x-visits", "1")
    end
  end)

  it("takes the time from the gateway's clock", function()
    t.clock:advance "1h"
    assert.response(p:run()).has.header("x-visit-at", "Mon, 01 Jan 2024 01:00:00 GMT")
  end)

  it("marks the answer also when the origin fails", function()
    local r = p:run { upstream = t.refuse() }
    assert.response(r).has.status(502)
    assert.response(r).has.header("set-cookie")
  end)

  it("stays within its limits", function()
    local r = p:run { headers = { cookie = ("x=y; "):rep(500) .. "visitor=4" } }
    assert.is_nil(r.killed)
    assert.memory(r).peak_below "32KiB"
    assert.cpu(r).below "5ms"
    assert.memory(p).no_growth(function() p:run { headers = { cookie = "visitor=4" } } end, { rounds = 100 })
  end)

  it("refuses a bad configuration, with the field that is meant", function()
    local ok, messages = t.check_conf(PLUGIN, { day = 3 })
    assert.is_nil(ok)
    assert.equal("day", messages[1].path)
    assert.equal("days", messages[1].suggestion)
  end)

  it("goes on after a reload", function()
    p:run()
    p:reload()
    assert.request(p:run { headers = { cookie = "visitor=1" } }.upstream).has.header("x-visits", "2")
  end)
end)

describe("the example's gateway", function()
  it("serves what the configuration says", function()
    t.reset()
    local gw = t.gateway(here .. "gateway.lua")
    local r = gw:get("/", { headers = { cookie = "visitor=1" } })
    assert.response(r).has.status(200)
    assert.same({ "visitors" }, r.trace:plugins())
    assert.matches('"x%-visits","2"', r.body)
    gw:close()
  end)
end)
