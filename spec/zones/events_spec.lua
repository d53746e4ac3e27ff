-- tg.events: what one worker publishes reaches the subscribers of all, in order and within bounds.

local helper = require("zones.helper")

describe("tg.events", function()
  local function start(...)
    local z = helper.start(...)
    finally(function() z.g:stop() end)
    return z
  end

  it("reaches all workers with a copy of the data", function()
    local z = start("{ events = true }", [[
      function ops.publish() return tg.events.publish("news", { list = { 1, "two" } }) end
    ]], [[
      tg.events.subscribe("news", function(data, topic) note(topic .. data.list[2]) end)
      tg.events.subscribe("other", function() note "other" end)
    ]])
    assert.equal("true", z:call("publish"))
    z:await("noted?key=newstwo", "2")
    assert.equal("0", z:call("noted?key=other"))
  end)

  it("comes one at a time, in order, also when the handler waits", function()
    local z = start("{ events = true }", [[
      function ops.publish() for i = 1, 20 do tg.events.publish("n", i) end end
    ]], [[
      local last = 0
      tg.events.subscribe("n", function(n)
        tg.lock("shared", "x", { wait = "30s" }):release()
        note(n == last + 1 and "ordered" or "disordered")
        last = n
      end)
    ]])
    z:call("publish")
    z:await("noted?key=ordered", "40")
    assert.equal("0", z:call("noted?key=disordered"))
  end)

  it("loses the event of a handler that fails, and goes on", function()
    local z = start("{ events = true }", [[
      function ops.publish() tg.events.publish("n", "bad") tg.events.publish("n", "good") end
    ]], [[
      tg.events.subscribe("n", function(data)
        if data == "bad" then error "boom" end
        note(data)
      end)
    ]])
    z:call("publish")
    z:await("noted?key=good", "2")
    z.g:wait_for_log('phase=event error="probe.lua:')
  end)

  it("may cancel a timer", function()
    local z = start("{ events = true }", [[
      function ops.publish() return tg.events.publish("n") end
    ]], [[
      local timer
      tg.events.subscribe("n", function() note(tostring(timer:cancel())) end)
      timer = tg.timer.after("60s", print)
      tg.events.subscribe("n", function() note "next" end)
    ]])
    z:call("publish")
    z:await("noted?key=true", "2")
    z:await("noted?key=next", "2")
  end)

  it("refuses what it has no room for, and says so", function()
    local z = start("{ events = true }", [[
      function ops.flood()
        local why
        table.sort({ 1, 2 }, function(a, b) -- under a C function the loop cannot go round
          for i = 1, 1025 do why = select(2, tg.events.publish("n", i)) or why end
          return a < b
        end)
        return nil, why
      end
      function ops.large() return tg.events.publish("n", ("x"):rep(300 * 1024)) end
    ]])
    assert.equal("error limit", z:call("flood"))
    assert.equal("error too_large", z:call("large"))
  end)

  it("goes to the configuration in force only", function()
    local z = start("{ events = true }", [[
      function ops.publish() return tg.events.publish("n") end
    ]], [[ tg.events.subscribe("n", function() note "got" end) ]])
    z.g:reload(helper.changed(1))
    z.g:wait_for_log("revision 2")
    z:call("publish")
    z:await("noted?key=got", "2")
    z:workers("noted?key=x")
    assert.equal("2", z:call("noted?key=got"))
  end)

  it("tells what was misused", function()
    local z = start("{ events = true }", [[
      local function try(f, ...) return { why = select(2, pcall(f, ...)) } end
      function ops.topic() return try(tg.events.publish, "") end
      function ops.data() return try(tg.events.publish, "t", { print }) end
      function ops.late() return try(tg.events.subscribe, "t", print) end
    ]])
    assert.contains("tg.events.publish(): argument 1 (topic): a topic has", z:call("topic"))
    assert.contains("tg.events.publish(): argument 2 (data): data[1]: a function", z:call("data"))
    assert.contains("tg.events.subscribe(): is for init and configure", z:call("late"))
  end)

  it("has to be declared", function()
    local z = start("{}", [[
      function ops.publish() return { why = select(2, pcall(tg.events.publish, "t")) } end
    ]])
    assert.contains("the plugin does not declare needs = { events = true }", z:call("publish"))
  end)
end)
