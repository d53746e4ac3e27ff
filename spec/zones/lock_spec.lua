-- tg.lock: one holder among all workers, and every way in which a lock comes back.

local helper = require("zones.helper")

-- Takes the lock, then waits for the gate "go".
local HOLD = [[
  function ops.hold(ctx)
    local lease, err = tg.lock("shared", "k", { wait = ctx.req:query("wait"), ttl = ctx.req:query("ttl") })
    if not lease then return nil, err end
    note "held"
    if ctx.req:query("drop") then
      lease = nil
      for _ = 1, 20000 do local _ = { {} } end -- enough for the collector
    end
    wait_for(ctx, "go")
    local how = ctx.req:query("how")
    if how == "grow" then grow() end
    if how == "raise" then error("boom") end
    return lease and { how == nil and lease:release(), how == nil and lease:release() } or {}
  end
]]

describe("tg.lock", function()
  local function start(...)
    local z = helper.start(...)
    finally(function() z.g:stop() end)
    return z
  end

  local function hold(z, how)
    local first = z:begin("hold" .. how)
    z:await("noted?key=held", "1")
    return first
  end

  it("has one holder at a time", function()
    local z = start("{}", [[
      function ops.step(ctx)
        local lease = tg.lock("shared", "k", { wait = "30s" })
        local n = tg.dict("shared"):get("steps") or 0
        ctx:sleep("1ms")
        tg.dict("shared"):set("steps", n + 1)
        return lease:release()
      end
    ]])
    for _, text in ipairs(z:together(30, "step")) do assert.equal("true", text) end
    assert.equal("30", z:call("noted?key=steps"))
  end)

  it("is refused at once, or after waiting", function()
    local z = start("{}", HOLD)
    local first = hold(z, "")
    assert.equal("error timeout", z:call("hold"))
    assert.equal("error timeout", z:call("hold?wait=20ms"))
    z:call("open?key=go")
    assert.equal('[true,false]', first.finish().body)
  end)

  for how, status in pairs({ grow = 503, raise = 500, keep = 200 }) do
    it("comes back when its holder ends: " .. how, function()
      local z = start("{}", HOLD)
      local first = hold(z, "?how=" .. how)
      local second = z:begin("hold?wait=30s")
      z:call("open?key=go")
      assert.equal(status, first.finish().status)
      assert.equal(200, second.finish().status)
    end)
  end

  it("comes back when its holder's client goes away", function()
    local z = start("{}", HOLD)
    hold(z, "").abort()
    local second = z:begin("hold?wait=30s")
    z:await("noted?key=held", "2")
    z:call("open?key=go")
    assert.equal(200, second.finish().status)
  end)

  it("is lost when its time is over", function()
    local z = start("{}", HOLD)
    local first = hold(z, "?ttl=20ms")
    local second = z:begin("hold?wait=30s")
    z:await("noted?key=held", "2")
    z:call("open?key=go")
    assert.equal('[false,false]', first.finish().body)
    assert.equal('[true,false]', second.finish().body)
  end)

  it("comes back when the task that took it is killed, not when it ends", function()
    local z = start("{}", [[
      local function take(ctx, name, fn)
        assert(ctx:spawn(function() assert(tg.lock("shared", name)) fn "x" end):wait() ~= nil)
        local lease = tg.lock("shared", name)
        return lease ~= nil
      end
      local function over() return (("x"):rep(300):find ".-.-.-.-y") end -- its budget of steps
      function ops.tasks(ctx)
        return { take(ctx, "killed", over), take(ctx, "failed", error), take(ctx, "done", note) }
      end
    ]])
    assert.equal("[true,false,false]", z:call("tasks"))
  end)

  it("stays with the request when the plugin forgets the lease", function()
    local z = start("{}", HOLD)
    local first = hold(z, "?drop=1")
    assert.equal("error timeout", z:call("hold"))
    z:call("open?key=go")
    first.finish()
    assert.equal(200, z:begin("hold").finish().status)
  end)

  it("tells what was misused", function()
    local z = start("{}", [[
      function ops.zone() return { why = select(2, pcall(tg.lock, "nope", "k")) } end
      function ops.key() return { why = select(2, pcall(tg.lock, "shared")) } end
      function ops.init() return { why = vm_why } end
    ]], [[ vm_why = select(2, pcall(tg.lock, "shared", "k")) ]])
    assert.contains('no dict zone is called \\"nope\\"', z:call("zone"))
    assert.contains("tg.lock(): argument 2 (key): expected a string", z:call("key"))
    assert.contains("tg.lock(): is not for init and configure", z:call("init"))
  end)
end)
