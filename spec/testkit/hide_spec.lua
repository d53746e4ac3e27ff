-- ctx.upstream:remove_query and :remove_cookie: what goes, and that the rest stays as it was.

local t = require "tidegate.test"

local HIDE = t.source [[
  local P = { name = "hide", version = "1.0.0", api = 1, stage = "auth" }
  function P.access(_, ctx)
    local before = ctx.req:header "x-before"
    if before then ctx.upstream:set_query(before) end
    ctx.upstream:remove_query("key"):remove_cookie("key")
  end
  return P
]]

describe("what is removed from a request", function()
  local p
  before_each(function()
    t.reset()
    p = t.plugin(HIDE)
  end)

  local QUERIES = {
    ["?key=1"] = "", ["?key"] = "", ["?key=&key"] = "", ["?a=1&key=2&b=3"] = "a=1&b=3", ["?a&key=1"] = "a",
    ["?keys=1&ke=2&KEY=3"] = "keys=1&ke=2&KEY=3", ["?k%65y=1&a=%6B"] = "a=%6B", ["?a=key"] = "a=key",
    ["?a=1&&b=2"] = "a=1&&b=2", ["?&key=1&"] = "", ["?a=key=1"] = "a=key=1", ["?%zz=1&key=2"] = "%zz=1",
  }
  for query, expected in pairs(QUERIES) do
    it("of " .. query, function()
      local r = p:run { path = "/p" .. query }
      assert.response(r).has.status(200)
      assert.equal(expected, r.upstream.query or "")
      assert.equal("/p", r.upstream.path)
    end)
  end

  it("is taken out of what a plugin set before", function()
    assert.equal("b=2", p:run({ path = "/?key=1", headers = { ["x-before"] = "key=3&b=2" } }).upstream.query)
  end)

  local COOKIES = {
    ["key=1"] = false, ["a=1; key=2; b=3"] = "a=1; b=3", ["keys=1; a=key"] = "keys=1; a=key",
    ['key="x;y"; a=1'] = 'y"; a=1', ["key = 1;a=2"] = "a=2", ["key"] = "key", [";;a=1;"] = ";;a=1;",
  }
  for cookie, expected in pairs(COOKIES) do
    it("of the cookies " .. cookie, function()
      local r = p:run { headers = { cookie = cookie } }
      if expected then
        assert.equal(expected, r.upstream.headers.cookie)
      else
        assert.is_nil(r.upstream.headers.cookie)
      end
    end)
  end

  it("is taken out of every Cookie header", function()
    local r = p:run { headers = { cookie = { "a=1; key=2", "key=3", "b=4" } } }
    assert.equal("a=1; b=4", r.upstream.headers.cookie)
  end)
end)
