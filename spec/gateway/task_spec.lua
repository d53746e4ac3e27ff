-- ctx:spawn(): functions beside the phases of a request: what they return, how they fail, and that
-- they end with their request.

local client = require("support.client")
local gateway = require("support.gateway")
local variant = require("support.variant")

local spinning = variant.interrupts and it or pending

local HEAD = [[
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "auth", needs = { http = true } }
]]

describe("tasks", function()
  local g

  local function start(body, limits)
    g = gateway.start({
      vars = { LIMITS = limits or 'cpu = "5s", wall = "1m"' },
      files = { ["probe.lua"] = HEAD .. body .. "\nreturn P\n" },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, limits = { plugin = { @LIMITS@ } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./probe.lua" {} } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  it("run side by side, and give back what they return", function()
    start([[
      function P.access(_, ctx)
        local tasks, begun = {}, 0
        for i = 1, 16 do
          tasks[i] = ctx:spawn(function(a, b)
            begun = begun + 1
            while begun < 16 do ctx:sleep "1ms" end -- one after the other, none would end
            local res = assert(tg.http.get("echo", "/" .. a))
            return res.status, a + b, nil
          end, i, 10)
        end
        local all = {}
        for i = 1, 16 do
          local ok, status, sum, none = tasks[i]:wait()
          all[i] = tostring(ok) .. status .. tostring(sum) .. tostring(none)
        end
        ctx:exit(200, table.concat(all, " "))
      end
    ]])
    local body = client.get(g.port, "/").body
    assert.contains("true20011nil true20012nil", body)
    assert.contains("true20026nil", body)
  end)

  spinning("tell how they failed, and whoever asks", function()
    start([[
      function P.access(_, ctx)
        local said = {}
        local function note(task, ...)
          local ok, err = task:wait(...)
          said[#said + 1] = ("%s %s %s"):format(tostring(ok), err.code, err.message)
        end
        local failing = ctx:spawn(function() error "on purpose" end)
        note(failing)
        note(failing)
        note(ctx:spawn(function() while true do end end))
        note(ctx:spawn(function() ctx:exit(204) end))
        local slow = ctx:spawn(function() ctx:sleep "30s" return "late" end)
        note(slow, "10ms")
        local other = ctx:spawn(function() return slow:wait() end)
        slow:cancel()
        note(slow)
        local ok, inner, err = other:wait()
        said[#said + 1] = tostring(ok) .. tostring(inner) .. err.code .. tostring(slow:cancel())
        local unborn = ctx:spawn(function() return 1 end)
        unborn:cancel()
        note(unborn)
        ctx:exit(200, table.concat(said, "\n"))
      end
    ]], 'cpu = "50ms", wall = "1m"')
    local body = client.get(g.port, "/").body
    local lines = {}
    for line in body:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.contains("false error probe.lua:", lines[1])
    assert.equal(lines[1], lines[2])
    assert.contains("false killed ", lines[3])
    assert.contains("not for tasks to do", lines[4])
    assert.equal("nil timeout the task goes on", lines[5])
    assert.equal("false cancelled the task was cancelled", lines[6])
    assert.equal("truefalsecancelledfalse", lines[7])
    assert.equal("false cancelled the task was cancelled", lines[8])
  end)

  it("end with their request, and with a client that goes", function()
    start([[
      function P.access(_, ctx)
        local deferred = ctx.req.path
        ctx:defer(function() ctx.log:warn("over " .. deferred) end)
        for _ = 1, 3 do
          ctx:spawn(function()
            ctx:sleep "100ms"
            if deferred ~= "/wait" then ctx.log:error "a task outlived its request" end
          end)
        end
        ctx:spawn(function() return 1 end)
        if deferred == "/wait" then ctx:spawn(function() ctx:sleep "1h" end):wait() end
        ctx:exit(200)
      end
    ]], 'cpu = "5s", wall = "500ms"')
    for _ = 1, 5 do assert.status(200, client.get(g.port, "/")) end
    local c = client.connect(g.port)
    c:send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    c:reset()
    g:wait_for_log("over /wait")
    assert.is_true(client.get(g.port, "/wait").status == 503)
    assert.is_nil(g:stderr():find("outlived", 1, true))
  end)

  it("have time of their own, and defer and spawn as their plugin does", function()
    start([[
      function P.access(_, ctx)
        ctx:sleep "100ms"
        local task = ctx:spawn(function()
          ctx:defer(function() ctx.log:warn "deferred by a task" end)
          local inner = ctx:spawn(function() return "inner" end)
          return ctx:remaining(), select(2, inner:wait())
        end)
        local _, left, inner = task:wait()
        ctx:exit(200, ("%s %s"):format(inner, tostring(left > ctx:remaining())))
      end
    ]])
    assert.equal("inner true", client.get(g.port, "/").body)
    g:wait_for_log("deferred by a task")
  end)

  it("are at most 16, and of functions", function()
    start([[
      function P.access(_, ctx)
        local _, what = pcall(ctx.spawn, ctx, "text")
        for _ = 1, 16 do ctx:spawn(function() end) end
        local _, many = pcall(ctx.spawn, ctx, function() end)
        ctx:exit(200, what .. "\n" .. many)
      end
    ]])
    local body = client.get(g.port, "/").body
    assert.contains("ctx:spawn(): argument 1 (fn): expected a function", body)
    assert.contains("ctx:spawn(): a plugin runs at most 16 tasks", body)
  end)
end)
