-- The end of a request as its plugins see it: deferred functions, the client that went away, the time
-- that is left, and contexts that belong to another request.

local client = require("support.client")
local gateway = require("support.gateway")
local variant = require("support.variant")

local spinning = variant.interrupts and it or pending

local HEAD = [[
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "transform" }
]]

describe("the end of a request", function()
  local g

  local function start(body, limits)
    g = gateway.start({
      vars = { LIMITS = limits or 'cpu = "5s", wall = "1m"' },
      files = { ["probe.lua"] = HEAD .. body .. "\nreturn P\n" },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, limits = { plugin = { @LIMITS@, memory = "256KiB" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./probe.lua" {} } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  it("runs deferred functions once, after log, the last one first", function()
    start([[
      function P.access(_, ctx)
        local function note(name)
          return function()
            ctx:sleep "5ms"
            ctx.log:warn("deferred " .. name .. " " .. ctx.phase .. " after " .. tostring(ctx.state.logged))
          end
        end
        ctx:defer(note "first")
        ctx:defer(note "second")
      end
      function P.log(_, ctx) ctx.state.logged = "log" end
    ]])
    assert.status(200, client.get(g.port, "/"))
    g:wait_for_log("deferred first log after log")
    local log = g:stderr()
    assert.contains("deferred second log after log", log)
    assert.is_true(log:find("deferred second", 1, true) < log:find("deferred first", 1, true))
    local _, times = log:gsub("deferred first", "")
    assert.equal(1, times)
  end)

  spinning("runs them after a kill, whatever the plugin held, and after an error", function()
    start([[
      function P.access(_, ctx)
        local how = ctx.req:query "how"
        ctx:defer(function()
          local t = {}
          for i = 1, 1000 do t[i] = { i } end
          ctx.log:warn("cleaned up after " .. how)
        end)
        if how == "cpu" then while true do end end
        if how == "wall" then ctx:sleep "1h" end
        local t = {}
        if how == "memory" then for i = 1, 1e9 do t[i] = { i } end end
        if how == "error" then error "on purpose" end
      end
    ]], 'cpu = "50ms", wall = "1s"')
    for _, how in ipairs { "cpu", "wall", "memory" } do
      assert.contains("plugin_killed", client.get(g.port, "/?how=" .. how).body)
      g:wait_for_log("cleaned up after " .. how)
    end
    assert.contains("plugin_error", client.get(g.port, "/?how=error").body)
    g:wait_for_log("cleaned up after error")
  end)

  it("runs them when the client is gone, and they can tell", function()
    start([[
      function P.access(_, ctx)
        ctx.log:warn("aborted " .. tostring(ctx:aborted()) .. " before")
        ctx:defer(function() ctx.log:warn("aborted " .. tostring(ctx:aborted()) .. " at the end") end)
        ctx:sleep "30s"
      end
    ]])
    local c = client.connect(g.port)
    c:send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    g:wait_for_log("aborted false before")
    c:reset()
    g:wait_for_log("aborted true at the end")
  end)

  spinning("logs what fails in them, and the others run", function()
    start([[
      function P.access(_, ctx)
        ctx:defer(function() ctx.log:warn "the last one" end)
        ctx:defer(function() while true do end end)
        ctx:defer(function() ctx:sleep "1h" end)
        ctx:defer(function() error "inside" end)
        ctx:defer(function() ctx:exit(200) end)
      end
    ]], 'cpu = "20ms", wall = "3s"') -- far apart: a busy machine gives 20 ms late
    local c = client.connect(g.port)
    assert.status(200, c:get("/"))
    assert.status(200, c:get("/"))
    g:wait_for_log("the last one")
    g:wait_for_log("phase=defer")
    g:wait_for_log("inside")
    g:wait_for_log("killed (wall)")
    g:wait_for_log("killed (cpu)")
    g:wait_for_log("ctx:exit() is not available in log")
  end)

  it("refuses what cannot be deferred", function()
    start([[
      function P.access(_, ctx)
        local _, what = pcall(ctx.defer, ctx, "text")
        for _ = 1, 32 do ctx:defer(function() end) end
        local _, many = pcall(ctx.defer, ctx, function() end)
        ctx:exit(200, what .. "\n" .. many)
      end
    ]])
    local body = client.get(g.port, "/").body
    assert.contains("ctx:defer(): argument 1 (fn): expected a function", body)
    assert.contains("ctx:defer(): a plugin defers at most 32 functions in a request", body)
  end)

  it("leaves as much time as the limits say", function()
    start([[
      function P.access(_, ctx)
        local before = ctx:remaining()
        ctx:sleep "100ms"
        ctx:exit(200, ("%.3f %.3f"):format(before, before - ctx:remaining()))
      end
    ]], 'wall = "20s"')
    local before, gone = client.get(g.port, "/").body:match("^(%S+) (%S+)$")
    assert.equal("20.000", before)
    assert.is_true(tonumber(gone) >= 0.1 and tonumber(gone) <= 20)
  end)

  it("keeps requests apart: the ctx of another one is refused", function()
    start([[
      local kept
      function P.access(_, ctx)
        if ctx.req.path == "/keep" then
          kept = ctx
          ctx.log:warn "kept"
          ctx.req:body() -- comes when the other request has been answered
        else
          local what = {}
          for _, call in ipairs { "sleep", "exit", "abort" } do
            what[#what + 1] = select(2, pcall(ctx[call], kept, 200))
          end
          for _, field in ipairs { "id", "state", "req" } do
            what[#what + 1] = select(2, pcall(function() return kept[field] end))
          end
          ctx:exit(200, table.concat(what, "\n"))
        end
      end
    ]])
    local c = client.connect(g.port)
    c:send("POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    g:wait_for_log("kept")
    local response = client.get(g.port, "/use")
    local _, times = response.body:gsub("while another request's plugin runs", "")
    assert.equal(6, times)
    c:send("x")
    assert.status(200, c:response())
  end)
end)
