-- tg.cache: one computes, the others wait; what happens when the one fails, is killed or takes long.

local helper = require("zones.helper")

-- Computes under the key that the request names once the spec has opened the gate of that name.
local FETCH = [[
  local function compute(ctx, key)
    return function()
      note("begun-" .. key)
      wait_for(ctx, key)
      local how = ctx.req:query("how")
      if how == "fail" then return nil, { code = "refused", message = "no" } end
      if how == "raise" then error("boom") end
      if how == "grow" then grow() end
      if how == "exit" then ctx:exit(204) end
      if how == "none" then return nil end
      return "value-" .. note("computed-" .. key)
    end
  end
  function ops.fetch(ctx)
    local key = ctx.req:query("key")
    return tg.cache("pages"):fetch(key, { ttl = ctx.req:query("ttl") or "60s", negative_ttl = "60s",
      wait = ctx.req:query("wait"), stale = ctx.req:query("stale") }, compute(ctx, key))
  end
]]

describe("tg.cache", function()
  local function start(...)
    local z = helper.start(...)
    finally(function() z.g:stop() end)
    return z
  end

  it("computes a value once for all workers", function()
    local z = start("{}", FETCH)
    local calls = {}
    for i = 1, 20 do calls[i] = z:begin("fetch?key=a") end
    z:await("noted?key=begun-a", "1")
    z:call("open?key=a")
    for i = 1, 20 do assert.equal("value-1", calls[i].finish().body) end
    z:workers("fetch?key=a")
    assert.equal("1", z:call("noted?key=computed-a"))
  end)

  it("lets the next compute when the first is killed, raises or ends its request", function()
    local z = start("{}", FETCH)
    local statuses = { grow = 503, raise = 500, exit = 204 }
    for how, status in pairs(statuses) do
      local first = z:begin(("fetch?key=%s&how=%s"):format(how, how))
      z:await("noted?key=begun-" .. how, "1")
      local second, third = z:begin("fetch?key=" .. how), z:begin("fetch?key=" .. how)
      z:call("open?key=" .. how)
      assert.equal(status, first.finish().status)
      assert.equal("value-1", second.finish().body)
      assert.equal("value-1", third.finish().body)
      assert.equal("2", z:call("noted?key=begun-" .. how))
    end
  end)

  it("lets the next compute when the client of the first goes away", function()
    local z = start("{}", FETCH)
    local first = z:begin("fetch?key=a")
    z:await("noted?key=begun-a", "1")
    local second = z:begin("fetch?key=a")
    first.abort()
    z:await("noted?key=begun-a", "2")
    z:call("open?key=a")
    assert.equal("value-1", second.finish().body)
  end)

  it("looks once more when the turn has come: what was stored meanwhile is not computed again", function()
    local z = start("{}", FETCH .. [[
      function ops.set_and_fail(ctx)
        return tg.cache("pages"):fetch("a", {}, function()
          note("begun-a")
          wait_for(ctx, "a")
          tg.cache("pages"):set("a", "set-aside")
          return nil, { code = "refused", message = "no" }
        end)
      end
    ]])
    local first = z:begin("set_and_fail")
    z:await("noted?key=begun-a", "1")
    local others = {}
    for i = 1, 4 do others[i] = z:begin("fetch?key=a") end
    z:call("open?key=a")
    first.finish()
    for i = 1, 4 do assert.equal("set-aside", others[i].finish().body) end
    assert.equal("1", z:call("noted?key=begun-a"))
  end)

  it("gives each its own error when computing fails, and keeps none", function()
    local z = start("{}", FETCH)
    local first = z:begin("fetch?key=a&how=fail")
    z:await("noted?key=begun-a", "1")
    local second = z:begin("fetch?key=a&how=fail")
    z:call("open?key=a")
    assert.equal("error refused", first.finish().body)
    assert.equal("error refused", second.finish().body)
    assert.equal("value-1", z:call("fetch?key=a"))
  end)

  it("keeps what does not exist for negative_ttl", function()
    local z = start("{}", FETCH)
    z:call("open?key=a")
    assert.equal("nil", z:call("fetch?key=a&how=none"))
    assert.equal("nil", z:call("fetch?key=a"))
    assert.equal("1", z:call("noted?key=begun-a"))
  end)

  it("serves a stale value when no new one can be had", function()
    local z = start("{}", FETCH)
    z:call("open?key=a")
    assert.equal("value-1", z:call("fetch?key=a&ttl=1us&stale=60s"))
    assert.equal("value-1", z:call("fetch?key=a&how=fail"))
    assert.equal("value-2", z:call("fetch?key=a"))
  end)

  it("does not wait longer than it is told", function()
    local z = start("{}", FETCH)
    local first = z:begin("fetch?key=a")
    z:await("noted?key=begun-a", "1")
    assert.equal("error timeout", z:call("fetch?key=a&wait=20ms"))
    z:call("open?key=a")
    assert.equal("value-1", first.finish().body)
  end)

  it("gets, sets and deletes", function()
    local z = start("{ cache = '64KiB' }", [[
      function ops.steps()
        local c = tg.cache()
        return { c:set("k", { 1 }), c:get("k"), c:delete("k"), c:delete("k"), c:get("k") == nil,
                 c:set("s", "x", { ttl = "1us" }) }
      end
      function ops.gone() return tg.cache():get("s") end
    ]])
    assert.equal("[true,[1],true,false,true,true]", z:call("steps"))
    z:await("gone", "nil")
  end)

  it("tells what was misused", function()
    local z = start("{}", [[
      local function try(f) return { why = select(2, pcall(f)) } end
      function ops.nofn() return try(function() tg.cache("pages"):fetch("k", {}) end) end
      function ops.value()
        return try(function() tg.cache("pages"):fetch("k", {}, function() return print end) end)
      end
      function ops.again() return tg.cache("pages"):fetch("k", {}, function() return 1 end) end
      function ops.sort()
        return try(function()
          table.sort({ 1, 2 }, function(a, b)
            tg.cache("pages"):fetch("x", nil, function() return 1 end)
            return a < b
          end)
        end)
      end
    ]])
    assert.contains("cache:fetch(): argument 3 (compute): expected a function", z:call("nofn"))
    assert.contains("what the function returned cannot be stored", z:call("value"))
    assert.equal("1", z:call("again"))
    assert.contains("cannot wait inside a function that C calls", z:call("sort"))
  end)
end)
