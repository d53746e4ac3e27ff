-- tg.limit over real sockets: counted once for both workers, and what outlives a reload or a kill.

local helper = require("zones.helper")

local OPS = [[
  function ops.take(ctx)
    local v, err = tg.limit.window("quota", "k", { limit = 40, per = "1h", kind = ctx.req:query "kind" })
    return v and v.allowed or false, err
  end
  function ops.hold(ctx)
    local permit, err = tg.limit.concurrency("quota", "k", 2)
    if not permit then return nil, err end
    note "held"
    permit = nil
    for _ = 1, 20000 do local _ = { {} } end -- enough for the collector
    wait_for(ctx, "go")
    local how = ctx.req:query "how"
    if how == "grow" then grow() end
    if how == "raise" then error("boom") end
    return "done"
  end
  function ops.try()
    local permit, err = tg.limit.concurrency("quota", "k", 2)
    if not permit then return nil, err end
    return permit:release()
  end
]]

describe("tg.limit", function()
  local z

  before_each(function() z = helper.start("{}", OPS) end)

  after_each(function() z.g:stop() end)

  local function granted(n, path)
    local count = 0
    for _, text in ipairs(z:together(n, path)) do count = count + (text == "true" and 1 or 0) end
    return count
  end

  for _, kind in ipairs { "fixed", "sliding", "log" } do
    it("grants exactly the limit among workers, by " .. kind, function()
      local path = "take?kind=" .. kind
      local calls = z:workers(path)
      assert.equal(40 - calls, granted(80, path))
    end)
  end

  it("goes on counting after a reload", function()
    assert.equal(30, granted(30, "take"))
    z.g:reload(helper.CONFIG)
    assert.equal(10, granted(30, "take"))
  end)

  for how, status in pairs { [""] = 200, ["?how=grow"] = 503, ["?how=raise"] = 500 } do
    it("gets the permit back when the request ends" .. how, function()
      local first, second = z:begin("hold" .. how), z:begin("hold" .. how)
      z:await("noted?key=held", "2")
      assert.equal("error limit", z:call("try"))
      z:call("open?key=go")
      assert.equal(status, first.finish().status)
      assert.equal(status, second.finish().status)
      z:await("try", "true")
    end)
  end

  it("gets it back when the client goes away", function()
    local first, second = z:begin("hold"), z:begin("hold")
    z:await("noted?key=held", "2")
    assert.equal("error limit", z:call("try"))
    first.abort()
    z:await("try", "true")
    z:call("open?key=go")
    assert.equal(200, second.finish().status)
  end)
end)
