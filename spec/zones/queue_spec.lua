-- tg.queue: batches, flushes, retries, bounds, and that nothing is lost at a reload or at the end.

local client = require("support.client")
local helper = require("zones.helper")

local QUEUE = [[
  queue = tg.queue { name = "mail", %s, handler = function(items)
    note("batches")
    note("items", #items)
    if items[1] == "raise" then error("handled " .. #items) end
    if items[1] == "refuse" then return nil, "not now" end
    if items[1] == "once" and note "tries" < 3 then return false end
    for _, item in ipairs(items) do note("sum", type(item) == "number" and item or 0) end
  end }
]]

local PUSH = [[
  function ops.push(ctx)
    for i = 1, tonumber(ctx.req:query("n")) do
      local ok, err = queue:push(ctx.req:query("v") or i)
      if not ok then return nil, err end
    end
    return "pushed"
  end
]]

describe("tg.queue", function()
  local function start(options, body)
    local z = helper.start("{}", "local queue " .. PUSH .. (body or "") ..
                           "function P.init() vm = tg.uuid.v4()" .. QUEUE:format(options) .. " end")
    finally(function() z.g:stop() end)
    return z
  end

  it("hands full batches on at once", function()
    local z = start('batch = 4, flush = "60s"')
    assert.equal("pushed", z:call("push?n=4"))
    z:await("noted?key=sum", "10")
    assert.equal("1", z:call("noted?key=batches"))
  end)

  it("hands on what there is when it is time", function()
    local z = start('batch = 100, flush = "5ms"')
    z:call("push?n=4")
    z:await("noted?key=sum", "10")
    assert.equal("1", z:call("noted?key=batches"))
  end)

  it("tries a batch again that was refused", function()
    local z = start('flush = 0, retry = 5')
    z:call("push?n=1&v=once")
    z:await("noted?key=tries", "3")
    assert.equal("3", z:call("noted?key=batches"))
  end)

  for _, how in ipairs({ "raise", "refuse" }) do
    it("drops a batch that always fails, and says so: " .. how, function()
      local z = start('flush = 0, retry = 1')
      z:call("push?n=2&v=" .. how)
      z.g:wait_for_log("a queue has lost items plugin=probe queue=mail items=2")
      assert.equal("2", z:call("noted?key=batches"))
    end)
  end

  it("refuses items beyond max_bytes", function()
    local z = start('flush = "60s", max_bytes = "4KiB", batch = 1000')
    assert.equal("error limit", z:call("push?n=200&v=" .. ("x"):rep(100)))
    assert.equal("error too_large", z:call("push?n=1&v=" .. ("x"):rep(5000)))
  end)

  it("hands on smaller batches where the plugin has no memory for a whole one", function()
    local z = helper.start("{}, limits = { memory = '64KiB' }", [[
      local queue
      function ops.push()
        local one, item = {}, {}
        for i = 1, 200 do item[i] = one end -- as plain data 200 tables, some 14 KiB
        for _ = 1, 30 do assert(queue:push(item)) end
        return "pushed"
      end
      function P.init()
        vm = tg.uuid.v4()
        queue = tg.queue { name = "large", batch = 30, flush = "60s", handler = function(items)
          note("sum", #items)
          note "batches"
        end }
      end
    ]])
    finally(function() z.g:stop() end)
    assert.equal("pushed", z:call("push"))
    z:await("noted?key=sum", "30")
    assert.is_true(tonumber(z:call("noted?key=batches")) > 7)
    assert.is_nil(z.g:stderr():find("lost items", 1, true))
  end)

  it("loses an item that does not fit the plugin's memory, and no other", function()
    local z = helper.start("{}, limits = { memory = '64KiB' }", [[
      local queue
      function ops.push()
        local few, many = {}, {}
        for i = 1, 90 do few[i] = {} end
        for i = 1, 100 do many[i] = few end -- as plain data 9000 tables
        return queue:push(many) and queue:push(1) and queue:push(2)
      end
      function P.init()
        vm = tg.uuid.v4()
        queue = tg.queue { name = "large", batch = 3, retry = 1, flush = "1ms", handler = function(items)
          note("sum", #items)
        end }
      end
    ]])
    finally(function() z.g:stop() end)
    assert.equal("true", z:call("push"))
    z.g:wait_for_log("a queue has lost items plugin=probe queue=large items=1")
    z:await("noted?key=sum", "2")
  end)

  it("hands on what is left when a configuration takes over", function()
    local z = start('flush = "60s", batch = 3')
    z:call("push?n=2")
    z.g:reload(helper.changed(1))
    z:await("noted?key=sum", "3")
  end)

  it("hands on what is left as soon as there is room for it", function()
    local z = helper.start("{ timers = true }", [[
      local queue
      function P.init()
        vm = tg.uuid.v4()
        queue = tg.queue { name = "last", flush = "60s", handler = function() note "handled" end }
      end
      function ops.hold(ctx)
        local lease = assert(tg.lock("shared", "gate"))
        note "held"
        wait_for(ctx, "go")
        return lease:release()
      end
      function ops.push()
        for _ = 1, 16 do -- as many as may run at a time
          tg.timer.after(0, function()
            note "begun"
            tg.lock("shared", "gate", { wait = "30s" }):release()
          end)
        end
        return queue:push(1)
      end
    ]])
    finally(function() z.g:stop() end)
    local holder = z:begin("hold")
    z:await("noted?key=held", "1")
    assert.equal("true", z:call("push"))
    z:await("noted?key=begun", "16")
    z.g:reload(helper.changed(1))
    z.g:wait_for_log("revision 2")
    z:workers("noted?key=x")
    assert.equal("0", z:call("noted?key=handled"))
    z:call("open?key=go")
    assert.equal("true", holder.finish().body)
    z:await("noted?key=handled", "1")
  end)

  it("finds its timers gone when a configuration takes over", function()
    local z = helper.start("{}", [[
      local queue, timer
      function ops.push() return queue:push(1) end
      function P.init()
        vm = tg.uuid.v4()
        queue = tg.queue { name = "last", flush = "60s", handler = function()
          note("cancelled " .. tostring(timer:cancel()))
        end }
        timer = tg.timer.after("60s", print)
      end
    ]])
    finally(function() z.g:stop() end)
    assert.equal("true", z:call("push"))
    z.g:reload(helper.changed(1))
    z:await("noted?key=cancelled%20false", "1")
  end)

  it("takes nothing when the plugin stops", function()
    local z = helper.start("{}", [[
      local queue
      function P.init()
        vm = tg.uuid.v4()
        queue = tg.queue { name = "late", handler = note }
      end
      function P.stop()
        local _, err = queue:push "last words"
        tg.dict("shared"):set("stop", err and err.code or "queued")
      end
    ]])
    finally(function() z.g:stop() end)
    z.g:reload(helper.changed(1))
    z:await("noted?key=stop", "unavailable")
  end)

  it("hands on what is left when the VM is made anew after kills", function()
    local z = start('flush = "60s", batch = 3', "function ops.grow() grow() end\n")
    local c = client.connect(z.g.port) -- one connection, one worker
    assert.equal("pushed", c:get("/push?n=2").body)
    for _ = 1, 3 do assert.equal(503, c:get("/grow").status) end
    z.g:wait_for_log("made anew")
    z:await("noted?key=sum", "3")
    assert.equal("pushed", c:get("/push?n=3").body)
    z:await("noted?key=sum", "9")
  end)

  it("hands on what is left when the process ends", function()
    local z = start('flush = "60s", batch = 3')
    assert.equal("pushed", z:call("push?n=2&v=raise"))
    z.g:stop()
    assert.contains("handled 2", z.g:stderr())
  end)

  it("tells what was misused", function()
    local z = start("batch = 1", [[
      local function try(f, ...) return { why = select(2, pcall(f, ...)) } end
      function ops.late() return try(tg.queue, { name = "x", handler = print }) end
      function ops.item() return try(queue.push, queue, { f = print }) end
      function ops.none() return try(queue.push, queue) end
    ]])
    assert.contains("tg.queue(): is for init and configure", z:call("late"))
    assert.contains("queue:push(): argument 1 (item): item.f: a function cannot cross", z:call("item"))
    assert.contains("queue:push(): argument 1 (item): expected a value", z:call("none"))
  end)
end)
