-- WebSockets to origins that speak HTTP/2 (RFC 8441): streams of a connection that they share with other
-- requests. The origin is node's http2 with the `ws` package, or scripted frame by frame.

local cjson = require("cjson")
local client = require("support.client")
local frames = require("support.frames")
local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")
local peer = require("support.peer")
local tls = require("support.tls")
local ws = require("support.websocket")

local FILES = tls.files({
  ca = { cn = "authority" },
  back = { names = { "back.test", "127.0.0.1" }, signer = "ca" },
})

local TAKES_TUNNELS = { [8] = 1 }
local CANCEL = 8
local OVER_TLS = 'http = "auto", tls = { ca = tg.file "ca.pem" }'

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, %s }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, %s }
  tg.route "seen" { paths = { "/seen" }, service = "back", websocket = {} }
  tg.route "kept" { paths = { "/kept" }, service = "back",
    websocket = { reconnect = { backoff = "20ms" } } }
  tg.route "chat" { paths = { "/chat/{how}" }, service = "back", rewrite = { path = "/chat" } }
  tg.route "look" { paths = { "/look" }, service = "back", rewrite = { path = "/chat" }, websocket = {} }
  tg.route "all" { service = "back" }
]]

local g

local function start(port, service, settings)
  g = gateway.start({ config = CONFIG:format(settings or "", service or 'http = "2"'), files = FILES,
                      vars = { ORIGIN = port } })
  local started = g
  finally(function() started:stop() end)
end

describe("a WebSocket to an origin of HTTP/2", function()
  local paths = tls.on_disk(FILES, { "back.pem", "back.key" })

  local function node(...)
    local o = peer.start("http2_origin.js", ...)
    finally(function() o:stop() end)
    return o
  end

  local function talk(path, ...)
    local r = peer.run("ws_client.js", ("ws://127.0.0.1:%d%s"):format(g.port, path), ...)
    assert.equal("", r.err)
    return cjson.decode(r.out)
  end

  for _, path in ipairs({ "/chat/raw", "/look" }) do
    it("is a stream of the connection that other requests use, " .. path, function()
      start(node("connect").port)
      local before = cjson.decode(client.get(g.port, "/sessions").body)
      local r = talk(path, "hello", "binary 1000000", "version", "ping x")
      assert.same({ "hello", 1000000, "2", "pong x" }, r.answers)
      assert.equal(1000, r.code)
      local after = cjson.decode(client.get(g.port, "/sessions").body)
      assert.equal(1, before.opened)
      assert.equal(1, after.opened)
    end)
  end

  it("goes by HTTP/1.1 where the origin takes none and ALPN allows it", function()
    start(node("alpn", paths[1], paths[2]).port, OVER_TLS)
    assert.same({ "hello", "1.1" }, talk("/look", "hello", "version").answers)
    assert.same({ "hello", "1.1" }, talk("/chat/raw", "hello", "version").answers)
  end)

  it("goes by HTTP/2 where ALPN agrees to it and the origin takes it", function()
    start(node("alpn", paths[1], paths[2], "connect").port, OVER_TLS)
    assert.same({ "hello", "2" }, talk("/look", "hello", "version").answers)
  end)

  it("is refused with the reason where nothing says that HTTP/1.1 is spoken", function()
    start(node().port, 'http = "2", health = { passive = { failures = 1 } }')
    local c = client.connect(g.port)
    c:send(ws.request())
    local response = c:response()
    assert.status(502, response)
    assert.contains("upstream_no_websockets", response.body)
    g:wait_for_log("it takes no WebSockets over HTTP/2")
    assert.status(404, client.get(g.port, "/other")) -- the target is as healthy as before
  end)
end)

describe("a WebSocket to a scripted origin of HTTP/2", function()
  local o

  local function open(service, settings)
    o = origin.listen()
    start(o.port, service, settings)
    local listener = o
    finally(function() listener:close() end)
  end

  -- What comes on a stream as DATA, to be read as bytes; ends where the stream does.
  local function bytes_of(f, stream)
    local reader = { kept = "" }
    function reader:receive(n)
      while #self.kept < n do
        local frame = f:expect(frames.DATA)
        assert.equal(stream, frame.stream)
        self.kept = self.kept .. frame.payload
      end
      local bytes = self.kept:sub(1, n)
      self.kept = self.kept:sub(n + 1)
      return bytes
    end
    return reader
  end

  -- A client's WebSocket, and the stream that it is for the origin.
  local function connect(path)
    local c = client.connect(g.port)
    c:send((ws.request():gsub("/chat", path)))
    local f = frames.accept(o, TAKES_TUNNELS)
    local id = f:request()
    f:headers(id, { { ":status", "200" } })
    local response = c:response()
    assert.status(101, response)
    assert.header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", response)
    return c, f, id
  end

  for _, path in ipairs({ "/seen", "/tunnel" }) do
    describe("on " .. path, function()
      it("carries messages, and the end of either side", function()
        open()
        local c, f, id = connect(path)
        c:send(ws.frame({ text = "up", mask = true }))
        ws.expect(bytes_of(f, id), { text = "up" })
        f:data(id, ws.frame({ text = "down" }))
        ws.expect(c, { text = "down" })
        c:send(ws.frame({ close = 1000, mask = true }))
        ws.expect_close(bytes_of(f, id), 1000)
        f:data(id, ws.frame({ close = 1000 }), true)
        ws.expect_close(c, 1000)
        c:half_close()
        c:wait_end()
      end)

      it("breaks when the stream is reset, and the connection goes on", function()
        open()
        local c, f, id = connect(path)
        f:reset(id, CANCEL)
        if path == "/seen" then
          ws.expect_close(c, 1011)
          c:send(ws.frame({ close = 1011, mask = true }))
        end
        pcall(c.wait_end, c) -- by an end, or a reset
        local other = client.connect(g.port)
        other:send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        f:answer(f:request(), 200, "here")
        assert.equal("here", other:response().body)
      end)

      it("resets its stream when the client breaks off", function()
        open()
        local c, f, id = connect(path)
        c:reset()
        assert.equal(id, f:expect(frames.RST_STREAM).stream)
      end)
    end)
  end

  it("is over when nothing moves for long", function()
    open(nil, 'limits = { connection = { tunnel_idle_timeout = "100ms" } }')
    local _, f, id = connect("/tunnel")
    assert.equal(id, f:expect(frames.RST_STREAM).stream)
  end)

  it("holds a client up whose bytes the origin does not take", function()
    open()
    local c, f, id = connect("/tunnel")
    local message = ws.frame({ binary = ("x"):rep(60000), mask = true })
    c:send(message)
    c:send(message:sub(1, 20000))
    local got = 0
    while got < 65535 do -- the window of a stream, of which none is given back
      got = got + #f:expect(frames.DATA).payload
    end
    assert.equal(65535, got)
    f:send(frames.WINDOW_UPDATE, 0, 0, frames.number(1000000, 4))
    f:send(frames.WINDOW_UPDATE, 0, id, frames.number(1000000, 4))
    while got < #message + 20000 do
      got = got + #f:expect(frames.DATA).payload
    end
  end)

  it("is sought anew when its connection is lost, where the route asks for that", function()
    open()
    local c, f = connect("/kept")
    f:close()
    local again = frames.accept(o, TAKES_TUNNELS)
    local id = again:request()
    c:send(ws.frame({ text = "meanwhile", mask = true }))
    again:headers(id, { { ":status", "200" } })
    ws.expect(bytes_of(again, id), { text = "meanwhile" })
    again:data(id, ws.frame({ text = "back" }))
    ws.expect(c, { text = "back" })
  end)

  it("may be one over HTTP/2 for its client too", function()
    open()
    local c = h2.connect(g.port)
    c:headers(1, {
      { ":method", "CONNECT" }, { ":protocol", "websocket" }, { ":scheme", "http" },
      { ":authority", "a.test" }, { ":path", "/tunnel" }, { "sec-websocket-version", "13" },
    })
    local f = frames.accept(o, TAKES_TUNNELS)
    local id = f:request()
    f:headers(id, { { ":status", "200" }, { "x-own", "kept" } })
    local head = {}
    for _, field in ipairs(c:expect("HEADERS", 1).fields) do
      head[field[1]] = field[2]
    end
    assert.equal("200", head[":status"])
    assert.equal("kept", head["x-own"])
    assert.is_nil(head["sec-websocket-accept"])
    c:data(1, "up")
    assert.equal("up", f:expect(frames.DATA).payload)
    f:data(id, "down", true)
    c:data(1, "", true)
    assert.equal("down", c:response(1).body)
  end)
end)
