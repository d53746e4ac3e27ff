-- The `ws` package of node on both sides of the gateway, as most programs that speak WebSocket have it.

local cjson = require("cjson")
local gateway = require("support.gateway")
local peer = require("support.peer")

local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1 }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "chat" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "raw" { paths = { "/raw" }, service = "chat" }
tg.route "seen" { paths = { "/seen" }, service = "chat",
  websocket = { from_client = { max_message = "2MiB" }, from_origin = { max_message = "2MiB" },
                ping = "50ms" } }
tg.route "small" { paths = { "/small" }, service = "chat",
  websocket = { from_client = { max_message = "1KiB" } } }
tg.route "loud" { paths = { "/loud" }, service = "chat", plugins = { tg.use "./loud.lua" {} } }
]]

local LOUD = [[
return { name = "loud", version = "1", api = 1, stage = "transform",
  message = function(_, _, data, kind, from)
    if kind == "text" and from == "client" then return data:upper() end
  end }
]]

describe("the ws package", function()
  local g, origin

  setup(function()
    origin = peer.start("ws_origin.js")
    g = gateway.start({ vars = { ORIGIN = origin.port }, config = CONFIG, files = { ["loud.lua"] = LOUD } })
  end)

  teardown(function()
    g:stop()
    origin:stop()
  end)

  local function talk(path, ...)
    local r = peer.run("ws_client.js", ("ws://127.0.0.1:%d%s"):format(g.port, path), ...)
    assert.equal("", r.err)
    return cjson.decode(r.out)
  end

  it("talks through a tunnel, compression and all", function()
    local r = talk("/raw", "hello", "binary 1000000", "ping x")
    assert.same({ "hello", 1000000, "pong x" }, r.answers)
    assert.equal("permessage-deflate", r.extensions)
    assert.equal("second", r.protocol)
    assert.equal(1000, r.code)
  end)

  it("talks under inspection, without compression", function()
    local r = talk("/seen", "hello", "binary 1000000", "ping x", "binary 0", "\195\164\226\130\172")
    assert.same({ "hello", 1000000, "pong x", 0, "\195\164\226\130\172" }, r.answers)
    assert.equal("", r.extensions)
    assert.equal("second", r.protocol)
    assert.equal(1000, r.code)
  end)

  it("hears what it did wrong", function()
    local r = talk("/small", "hello", "binary 1025")
    assert.same({ "hello" }, r.answers)
    assert.equal(1009, r.code)
    assert.equal("a message is larger than allowed", r.reason)
  end)

  it("hears what the origin says", function()
    local r = talk("/seen", "close 4321")
    assert.equal(4321, r.code)
    assert.equal("as asked", r.reason)
    assert.equal(1011, talk("/seen", "break").code)
  end)

  it("gets what a plugin makes of messages", function()
    assert.same({ "HELLO" }, talk("/loud", "hello").answers)
  end)
end)
