-- Tunnels behind Upgrade: bytes both ways, ends by halves, and their idle timeout.

local proxy = require("support.proxy")

local UPGRADE = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n" ..
  "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
local SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" ..
  "Sec-WebSocket-Accept: x\r\n\r\n"

describe("an upgrade", function()
  local p, descriptors

  local function start(options)
    p = proxy.start(options)
    local started = p
    finally(function() started:stop() end)
    assert.is_true(p:serves())
    descriptors = p:descriptors()
  end

  local function open()
    local c, conn, request = p:exchange(UPGRADE)
    assert.header("upgrade", "websocket", request)
    assert.header("connection", "upgrade", request)
    assert.header("sec-websocket-key", "k", request)
    conn:send(SWITCHED)
    local response = c:response()
    assert.status(101, response)
    assert.header("upgrade", "websocket", response)
    assert.equal("upgrade", response.headers.connection:lower())
    assert.header("sec-websocket-accept", "x", response)
    return c, conn
  end

  it("is a tunnel of raw bytes", function()
    start()
    local c, conn = open()
    c:send("\0\1GET / HTTP/1.1\r\n\r\n")
    assert.equal("\0\1GET / HTTP/1.1\r\n\r\n", conn:receive(20))
    conn:send("\255\r\n\n\0")
    assert.equal("\255\r\n\n\0", c:receive(5))
  end)

  it("carries what came with the heads", function()
    start()
    local c = p:connect()
    c:send(UPGRADE .. "early")
    local conn = p.origin:accept()
    conn:request()
    conn:send(SWITCHED .. "prompt")
    c:response()
    assert.equal("prompt", c:receive(6))
    assert.equal("early", conn:receive(5))
  end)

  it("ends by halves, from either side", function()
    start()
    for _, first in ipairs({ "client", "origin" }) do
      local c, conn = open()
      local one, other = c, conn
      if first == "origin" then
        one, other = conn, c
      end
      one:send("bye"):half_close()
      assert.equal("bye", other:receive(3))
      other:wait_end()
      other:send("still here")
      assert.equal("still here", one:receive(10))
      other:close()
      one:wait_end()
    end
    p:wait_for_descriptors(descriptors)
  end)

  it("ends for one side when the other resets", function()
    start()
    local c, conn = open()
    c:reset()
    conn:receive_rest()
    c, conn = open()
    conn:reset()
    c:receive_rest()
    p:wait_for_descriptors(descriptors)
  end)

  it("has an idle timeout, which bytes in either direction put off", function()
    start({ limits = 'connection = { tunnel_idle_timeout = "3s", idle_timeout = "1s" }' })
    local c, conn = open()
    for i = 1, 3 do
      local from, to = c, conn
      if i % 2 == 0 then
        from, to = conn, c
      end
      assert.is_true(to:silent(1.2))
      from:send("x")
      assert.equal("x", to:receive(1))
    end
    c:receive_rest()
    conn:receive_rest()
    p:wait_for_descriptors(descriptors)
  end)

  it("may be declined by an ordinary answer", function()
    start()
    local c, conn = p:exchange(UPGRADE)
    conn:reply({ status = 426, body = "no" })
    assert.status(426, c:response())
    c:send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("/next", conn:request().target)
  end)

  it("that nobody asked for is a 502", function()
    start()
    local c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:send(SWITCHED)
    assert.status(502, c:response())
    conn:receive_rest()
  end)

  it("is not asked for by Upgrade alone, nor with a body", function()
    start()
    local request = p:forwarded("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
    assert.no_header("upgrade", request)
    request = p:forwarded("POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" ..
      "Content-Length: 1\r\n\r\nx")
    assert.no_header("upgrade", request)
    assert.no_header("connection", request)
  end)

  it("is not asked for where it would carry requests past routes and plugins", function()
    start()
    for _, protocol in ipairs({ "h2c", "websocket, h2c", "websocket\r\nUpgrade: h2c", "TLS/1.2" }) do
      local request = p:forwarded("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n" ..
        "HTTP2-Settings: AAMAAABkAAQAoAAA\r\nUpgrade: " .. protocol .. "\r\n\r\n")
      assert.no_header("upgrade", request)
      assert.no_header("connection", request)
      assert.no_header("http2-settings", request)
    end
  end)

  it("has back-pressure in both directions", function()
    start()
    for _, direction in ipairs({ "up", "down" }) do
      local c, conn = open()
      local from, to = c, conn
      if direction == "down" then
        from, to = conn, c
      end
      local piece = ("x"):rep(65536)
      local limit = 64 * 1024 * 1024
      local sent = from:offer(piece, limit)
      assert.is_true(sent < limit, "a tunnel took 64 MiB that nobody read")
      local got = 0
      while got < sent do
        got = got + #to:read()
      end
      assert.equal(sent, got)
      from:close()
      to:receive_rest()
      to:close()
    end
  end)
end)
