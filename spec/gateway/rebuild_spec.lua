-- Plugins that are killed repeatedly: their VM is made anew, and after more kills they are left out
-- for pauses that double; on_error answers meanwhile, and the log tells.

local client = require("support.client")
local gateway = require("support.gateway")
local variant = require("support.variant")

local spinning = variant.interrupts and it or pending

local PROBE = [[
local P = { name = "probe", version = "1.0.0", api = 1, stage = "guard" }
local count = 0
function P.init() count = 100 end
function P.configure(conf) return { count = count } end
function P.access(conf, ctx)
  count = count + 1
  if ctx.req.path == "/die" then while true do end end
  if ctx.req.path == "/wait" then
    ctx.log:warn "waits"
    ctx.req:body() -- comes when the spec likes
  end
  ctx:exit(200, count .. " " .. conf.compiled.count)
end
function P.stop() print "stopped" end
return P
]]

describe("a plugin that is killed repeatedly", function()
  local g

  local function start(use, kills, pause)
    g = gateway.start({
      files = { ["probe.lua"] = PROBE },
      vars = { USE = use or "{}", KILLS = kills or 1000, PAUSE = pause or "50ms" },
      config = [[
        local tg = require "tidegate"
        tg.settings {
          workers = 1, log = { level = "debug" },
          limits = { plugin = { cpu = "20ms", wall = "1m" },
                     plugin_vm = { kills = @KILLS@, pause = "@PAUSE@" } },
        }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use("./probe.lua", @USE@) {} } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  local function die(times)
    local c = client.connect(g.port)
    for _ = 1, times do
      assert.contains("plugin_killed", c:get("/die").body)
    end
  end

  spinning("runs in a new VM after three kills, and requests that run keep the old one", function()
    start()
    assert.equal("101 100", client.get(g.port, "/").body)
    die(2)
    assert.equal("104 100", client.get(g.port, "/").body)
    local waiting = client.connect(g.port)
    waiting:send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    g:wait_for_log("waits")
    die(1)
    g:wait_for_log("a plugin's VM was made anew after three kills in 10 s plugin=probe")
    assert.equal("101 100", client.get(g.port, "/").body)
    assert.is_nil(g:stderr():find("stopped", 1, true))
    waiting:send("x")
    assert.equal("106 100", waiting:response().body)
    g:wait_for_log("stopped")
    assert.equal("102 100", client.get(g.port, "/").body)
  end)

  spinning("is left out, and on_error answers: fail", function()
    start("{}", 2, "1h")
    die(3)
    local response = client.get(g.port, "/")
    assert.status(503, response)
    assert.contains("plugin_quarantined", response.body)
  end)

  spinning("is left out for pauses that double", function()
    start("{}", 2)
    die(3)
    g:wait_for_log("quarantine after too many kills plugin=probe milliseconds=50")
    local c = client.connect(g.port)
    repeat
      local again = c:get("/die") -- the trial, once the pause is over
    until again.body:find("plugin_killed", 1, true)
    g:wait_for_log("milliseconds=100")
  end)

  spinning("is left out, and on_error answers: skip", function()
    start('{ on_error = "skip" }', 1, "1h")
    local c = client.connect(g.port)
    c:get("/die")
    c:get("/die")
    g:wait_for_log("quarantine after too many kills")
    local response = c:get("/")
    assert.status(200, response)
    assert.contains('"target":"/"', response.body) -- the origin's answer, not the plugin's
  end)

  spinning("is left out, and on_error answers: close", function()
    start('{ on_error = "close" }', 1, "1h")
    for _ = 1, 3 do
      local c = client.connect(g.port)
      c:send("GET /die HTTP/1.1\r\nHost: a\r\n\r\n")
      c:wait_end()
    end
    g:wait_for_log("quarantine after too many kills")
  end)
end)
