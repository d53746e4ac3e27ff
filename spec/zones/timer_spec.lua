-- tg.timer: functions without a request: once, again and again, in one worker, cancelled, bounded.

local clock = require("support.clock")
local helper = require("zones.helper")

describe("tg.timer", function()
  local function start(...)
    local z = helper.start(...)
    finally(function() z.g:stop() end)
    return z
  end

  it("runs a function once, with its arguments, in each worker", function()
    local z = start("{}", "", [[
      tg.timer.after("1ms", function(...)
        note("args-" .. select("#", ...) .. tostring((select(2, ...))) .. (select(3, ...)))
      end, 1, nil, "x")
    ]])
    z:await("noted?key=args-3nilx", "2")
  end)

  it("runs a function again and again, by a leader once for the process", function()
    local z = start("{}", [[
      function ops.own()
        local d = tg.dict("shared")
        return { d:get("all-" .. vm) or 0, d:get("one-" .. vm) or 0 }
      end
    ]], [[
      tg.timer.every("2ms", function() note("all-" .. vm) end, { jitter = "1ms" })
      tg.timer.every("2ms", function() note("one-" .. vm) end, { leader = true })
    ]])
    local leads = {} -- by worker, once it has ticked often enough to show
    clock.wait_until(function()
      local response = z:begin("own").finish()
      local all, one = response.body:match("^%[(%d+),(%d+)%]$")
      if tonumber(all) >= 20 then leads[response.headers["x-vm"]] = one ~= "0" end
      local answers = {}
      for _, answer in pairs(leads) do answers[#answers + 1] = tostring(answer) end
      return #answers == 2 and table.concat(answers):gsub("falsetrue", "truefalse") == "truefalse"
    end, 5, "both workers to tick, one of them to lead")
  end)

  it("may be set by requests, may wait, and may be cancelled", function()
    local z = start("{ timers = true }", [[
      function ops.after() return tostring(tg.timer.after("1ms", function()
        local lease = tg.lock("shared", "k", { wait = "30s" })
        note "locked"
        lease:release()
      end)) end
      function ops.cancel()
        local t = tg.timer.after("60s", print)
        return { t:cancel(), t:cancel() }
      end
    ]])
    assert.equal("timer", z:call("after"))
    z:await("noted?key=locked", "1")
    assert.equal("[true,false]", z:call("cancel"))
  end)

  it("cancels itself", function()
    local z = start("{}", "", [[
      local ticker
      ticker = tg.timer.every("1ms", function()
        note "ticks"
        note(tostring(ticker:cancel()))
        note(tostring(ticker:cancel()))
      end)
    ]])
    z:await("noted?key=ticks", "2")
    assert.equal("2", z:call("noted?key=true"))
    assert.equal("2", z:call("noted?key=false"))
  end)

  it("is bounded like a phase, and its failures are logged", function()
    local z = start("{ timers = true }, limits = { cpu = '20ms' }", [[
      function ops.spin()
        tg.timer.after(0, function() while true do pcall(function() while true do end end) end end)
      end
      function ops.raise() tg.timer.after(0, function() error "boom" end) end
      function ops.grow() tg.timer.after(0, grow) end
    ]])
    local lines = { raise = "boom", grow = "killed (memory)", spin = "killed (cpu)" }
    if os.getenv("TIDEGATE_BUILD") == "tsan" then lines.spin = nil end -- it holds signals back
    for op, line in pairs(lines) do
      assert.equal("nil", z:call(op))
      z.g:wait_for_log(line)
    end
    assert.equal("0", z:call("noted?key=x")) -- the process serves on
  end)

  it("has the limits of its plugin", function()
    local z = start("{}, limits = { wall = '50ms' }", "", [[
      tg.timer.after(0, function()
        tg.lock("shared", "k")
        note "locked"
        tg.lock("shared", "k", { wait = "60s" })
      end)
    ]])
    z.g:wait_for_log("killed (wall)")
    z:await("noted?key=locked", "2") -- a kill gives the lock back
  end)

  it("has a bound of 64, and belongs to the VM", function()
    local z = start("{ timers = true }", [[
      function ops.many()
        for i = 1, 64 do
          local t, err = tg.timer.after("60s", print)
          if not t then return nil, err end
        end
        return tg.timer.after("60s", print)
      end
      function ops.tick() tg.timer.every("1ms", function() note("ticks-" .. vm) end) return vm end
    ]])
    assert.equal("error limit", z:call("many"))
    z.g:reload(helper.changed(1))
    z.g:wait_for_log("revision 2")
    local vm = z:call("tick")
    z:workers("noted?key=x")
    z.g:reload(helper.changed(2))
    z.g:wait_for_log("revision 3")
    local at = z:call("noted?key=ticks-" .. vm)
    z:workers("noted?key=x") -- rounds of both loops
    assert.equal(at, z:call("noted?key=ticks-" .. vm))
  end)

  it("cannot use the ctx of the request that set it", function()
    local z = start("{ timers = true }", [[
      function ops.keep(ctx)
        tg.timer.after(0, function() ctx:sleep(0) end)
        wait_for(ctx, "go")
      end
    ]])
    local call = z:begin("keep")
    z.g:wait_for_log("request context used while another")
    z:call("open?key=go")
    assert.equal(200, call.finish().status)
  end)

  local MISUSE = {
    { "after, 'soon', print", "tg.timer.after(): argument 1 (delay): expected seconds" },
    { "after, 1", "tg.timer.after(): argument 2 (fn): expected a function" },
    { "every, 0, print", 'tg.timer.every(): argument 1 (interval): expected at least "1ms"' },
    { "every, 1, print, { leaders = true }", "argument 3 (options): there is no option leaders" },
  }

  it("tells what was misused", function()
    local lines = {}
    for i, case in ipairs(MISUSE) do
      lines[i] = ("function ops.m%d() return { why = select(2, pcall(tg.timer.%s)) } end"):format(i, case[1])
    end
    local z = start("{ timers = true }", table.concat(lines, "\n"))
    for i, case in ipairs(MISUSE) do
      assert.contains(case[2], (z:call("m" .. i):gsub('\\"', '"')))
    end
  end)

  it("has to be declared for use in requests", function()
    local z = start("{}", [[
      function ops.use() return { why = select(2, pcall(tg.timer.after, 1, print)) } end
    ]])
    assert.contains("tg.timer.after(): the plugin does not declare needs = { timers = true }", z:call("use"))
  end)
end)
