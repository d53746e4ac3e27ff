-- Consumers in t.plugin: requests that are somebody's, and who else is declared.

local t = require "tidegate.test"

local SHOW = t.source [[
  local tg = require "tidegate"
  local P = { name = "show", version = "1.0.0", api = 1, stage = "guard" }
  function P.access(_, ctx)
    local known = tg.consumers.by_credential("key", ctx.req:header "x-key" or "")
    if known then ctx.consumer:authenticate(known) end
    ctx.upstream:set_header("x-name", tostring(ctx.consumer.name))
  end
  function P.header_filter(_, ctx) ctx.resp:set_header("x-gold", tostring(ctx.consumer:in_group "gold")) end
  return P
]]

describe("a plugin under test", function()
  before_each(function() t.reset() end)

  it("sees nobody unless it is told of somebody", function()
    local r = t.plugin(SHOW):run {}
    assert.request(r.upstream).has.header("x-name", "nil")
    assert.response(r).has.header("x-gold", "false")
    assert.same({}, r.consumer)
  end)

  it("sees the consumer of the options", function()
    local p = t.plugin(SHOW, {}, { consumer = { name = "acme", groups = { "gold" }, custom_id = "47" } })
    local r = p:run {}
    assert.request(r.upstream).has.header("x-name", "acme")
    assert.response(r).has.header("x-gold", "true")
    assert.same({ name = "acme", id = "acme", custom_id = "47", groups = { "gold" }, credential = "test" },
                r.consumer)
    assert.equal("test", t.plugin(SHOW, {}, { consumer = {} }):run({}).consumer.name)
  end)

  it("sees it in a single phase", function()
    local p = t.plugin(SHOW, {}, { consumer = { groups = { "gold" } } })
    assert.response(p:phase("header_filter", {})).has.header("x-gold", "true")
  end)

  it("finds those that are declared, by keys in the clear", function()
    local p = t.plugin(SHOW, {}, { consumers = {
      acme = { credentials = { key = { "k1", "k2" } } },
      bob = { credentials = { key = "k3", subject = "b" } },
    }, consumer = { name = "me" } })
    assert.equal("me", p:run({}).consumer.name)
    assert.equal("bob", p:run({ headers = { ["x-key"] = "k3" } }).consumer.name)
    assert.equal("key:1", p:run({ headers = { ["x-key"] = "k1" } }).consumer.credential)
  end)

  it("is not made with a consumer that is wrong", function()
    local ok, why = pcall(t.plugin, SHOW, {}, { consumer = { groups = "gold" } })
    assert.is_false(ok)
    assert.matches("consumers.test.groups: expected a list", why, 1, true)
  end)
end)
