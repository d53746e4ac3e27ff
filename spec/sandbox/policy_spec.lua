-- What becomes of a request whose plugin was killed: its on_error decides, the plugin takes no further part
-- in the request, and another instance of it is not skipped in silence.

local client = require("support.client")
local gateway = require("support.gateway")

-- Killed in access when the client says so; otherwise it marks what passes through it.
local PLUGIN = [[
local S = require "tidegate.schema"
local P = { name = "marker", version = "1.0.0", api = 1, stage = "guard",
  schema = S.record { dies = S.bool():default(false), mark = S.string():default("m") } }
function P.access(conf, ctx)
  if conf.dies and ctx.req:query "die" then return ("x"):rep(1e9) end
end
function P.header_filter(conf, ctx) ctx.resp:add_header("x-mark", conf.mark) end
function P.body_filter(_, ctx, chunk, eof)
  if eof then return { chunk, "filtered" } end
end
function P.log(_, ctx) ctx.log:warn("logged", { path = ctx.req.raw_path }) end
return P
]]

describe("a request whose plugin was killed", function()
  local g

  local function start(plugins, kills)
    g = gateway.start({
      files = { ["marker.lua"] = PLUGIN },
      vars = { PLUGINS = plugins, KILLS = kills or 1000000 },
      config = [[
        local tg = require "tidegate"
        tg.settings {
          workers = 1, limits = { plugin_vm = { kills = @KILLS@, pause = "1h", pause_max = "1h" } },
        }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { @PLUGINS@ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  local function assert_whole(response)
    assert.status(200, response)
    assert.equal("m", response.headers["x-mark"])
    assert.matches("filtered$", response.body)
  end

  local function assert_problem(code, response)
    assert.status(503, response)
    assert.contains('"code":"' .. code .. '"', response.body)
    assert.is_nil(response.body:find("filtered", 1, true))
    assert.no_header("x-mark", response)
  end

  it("is answered 503, which the plugin does not touch, when its policy is fail", function()
    start('tg.use "./marker.lua" { dies = true }')
    assert_problem("plugin_killed", client.get(g.port, "/?die=1"))
    assert_whole(client.get(g.port, "/"))
    g:wait_for_log("logged")
    assert.equal(1, select(2, g:stderr():gsub("logged", "")))
  end)

  it("goes on without the plugin when its policy is skip", function()
    start('tg.use("./marker.lua", { on_error = "skip" }) { dies = true }')
    local response = client.get(g.port, "/?die=1")
    assert.status(200, response)
    assert.no_header("x-mark", response)
    assert.is_nil(response.body:find("filtered", 1, true))
    assert_whole(client.get(g.port, "/"))
  end)

  it("ends with its connection when its policy is close", function()
    start('tg.use("./marker.lua", { on_error = "close" }) { dies = true }')
    local c = client.connect(g.port)
    c:send("GET /?die=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("", (c:receive_rest()))
    assert_whole(client.get(g.port, "/"))
  end)

  it("does not slip past another instance of the plugin that must not fail", function()
    start('tg.use("./marker.lua", { id = "a", on_error = "skip" }) { dies = true }, '
      .. 'tg.use("./marker.lua", { id = "b" }) { mark = "n" }')
    assert_problem("plugin_killed", client.get(g.port, "/?die=1"))
    assert.status(200, client.get(g.port, "/"))
  end)

  it("is answered 503 while the plugin is in quarantine, though it filters bodies", function()
    start('tg.use "./marker.lua" { dies = true }', 1)
    for _ = 1, 2 do
      assert_problem("plugin_killed", client.get(g.port, "/?die=1"))
    end
    g:wait_for_log("a plugin is in quarantine")
    assert_problem("plugin_quarantined", client.get(g.port, "/"))
  end)
end)
