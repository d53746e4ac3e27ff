-- WebSockets that are inspected: the handshake on both sides, messages as they pass, and closing.

local ws = require("support.websocket")

describe("an inspected WebSocket", function()
  local p, descriptors

  local function start(fields, options)
    p, descriptors = ws.start(finally, fields, options)
  end

  local function refused(head)
    local c = p:connect()
    c:send(head)
    return c:response()
  end

  it("shakes hands with both sides for itself", function()
    start()
    local _, _, request, response = ws.open(p, "Sec-WebSocket-Extensions: permessage-deflate\r\n" ..
      "Sec-WebSocket-Protocol: chat, v2.chat\r\n", "Sec-WebSocket-Protocol: v2.chat\r\n")
    assert.no_header("sec-websocket-extensions", request)
    assert.is_not.equal("dGhlIHNhbXBsZSBub25jZQ==", request.headers["sec-websocket-key"])
    assert.header("sec-websocket-version", "13", request)
    assert.header("sec-websocket-protocol", "chat, v2.chat", request)
    assert.header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", response)
    assert.header("sec-websocket-protocol", "v2.chat", response)
  end)

  it("refuses a handshake that is none", function()
    start()
    local good = ws.request()
    local response = refused((good:gsub("Version: 13", "Version: 8")))
    assert.status(426, response)
    assert.header("sec-websocket-version", "13", response)
    assert.contains("bad_websocket_handshake", response.body)
    for _, bad in ipairs({
      (good:gsub("Sec%-WebSocket%-Key: [^\r]*\r\n", "")),
      (good:gsub("nonce", "non")),
      (good:gsub("dGhlIHNhbXBsZSBub25jZQ==", "short")),
      ws.request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    }) do
      if bad ~= good then
        response = refused(bad)
        assert.status(400, response)
        assert.contains("Sec-WebSocket-Key must be there once", response.body)
      end
    end
    assert.status(400, refused((good:gsub("^GET", "DELETE"))))
  end)

  it("passes no other upgrade on", function()
    start()
    local request = p:forwarded("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: tail\r\n\r\n")
    assert.no_header("upgrade", request)
  end)

  it("is refused with 502 where the origin's answer does not fit", function()
    start()
    for _, answer in ipairs({
      function() return ws.answer({ headers = { ["sec-websocket-key"] = "other" } }) end,
      function(request) return ws.answer(request, "Sec-WebSocket-Extensions: permessage-deflate\r\n") end,
      function(request) return ws.answer(request, "Sec-WebSocket-Protocol: chat\r\n") end,
      function(request) return ws.answer(request, ("Sec-WebSocket-Protocol: a\r\n"):rep(2)) end,
      function(request) return (ws.answer(request):gsub("Upgrade: websocket", "Upgrade: tail")) end,
    }) do
      local c, conn, request = p:exchange(ws.request("Sec-WebSocket-Protocol: a, b\r\n"))
      conn:send(answer(request))
      assert.status(502, c:response())
      conn:receive_rest()
      c:close()
    end
    p.gateway:wait_for_log("Sec-WebSocket-Accept does not fit the key", 1)
  end)

  it("may be declined by an ordinary answer", function()
    start()
    local c, conn = p:exchange(ws.request())
    conn:reply({ status = 403, body = "no" })
    assert.status(403, c:response())
  end)

  it("carries messages both ways, masked as each side must", function()
    start()
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "hello", mask = true }))
    assert.is_true(ws.expect(conn, { text = "hello" }).masked)
    conn:send(ws.frame({ binary = "\0\255" }))
    assert.is_false(ws.expect(c, { binary = "\0\255" }).masked)
    c:send(ws.frame({ ping = "are you", mask = true }))
    ws.expect(conn, { ping = "are you" })
    conn:send(ws.frame({ pong = "are you" }))
    ws.expect(c, { pong = "are you" })
  end)

  it("makes one frame of fragments and of pieces", function()
    start()
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "one ", mask = true, final = false }))
    c:send(ws.frame({ ping = "x", mask = true }))
    ws.expect(conn, { ping = "x" })
    c:send(ws.frame({ more = "message", mask = true }))
    assert.is_true(ws.expect(conn, { text = "one message" }).masked)
    local large = ("0123456789"):rep(20000)
    conn:send(ws.frame({ text = large }))
    ws.expect(c, { text = large })
    c:send(ws.frame({ binary = large, mask = true }))
    ws.expect(conn, { binary = large })
    for byte in ws.frame({ text = "slow", mask = true }):gmatch(".") do c:send(byte) end
    ws.expect(conn, { text = "slow" })
  end)

  it("keeps many small messages in order", function()
    start()
    local c, conn = ws.open(p)
    local frames = {}
    for i = 1, 500 do frames[i] = ws.frame({ text = tostring(i), mask = true, final = true }) end
    c:send(table.concat(frames))
    for i = 1, 500 do ws.expect(conn, { text = tostring(i) }) end
  end)

  it("carries what came with the heads", function()
    start()
    local c = p:connect()
    c:send(ws.request() .. ws.frame({ text = "early", mask = true }))
    local conn = p.origin:accept()
    local request = conn:request()
    conn:send(ws.answer(request) .. ws.frame({ text = "prompt" }))
    assert.status(101, c:response())
    ws.expect(c, { text = "prompt" })
    ws.expect(conn, { text = "early" })
  end)

  it("closes as either side says, and ends both", function()
    start()
    for _, first in ipairs({ "client", "origin" }) do
      local c, conn = ws.open(p)
      local one, other = c, conn
      if first == "origin" then one, other = conn, c end
      one:send(ws.frame({ close = 4001, reason = "enough", mask = first == "client" }))
      assert.equal("enough", ws.expect_close(other, 4001).reason)
      other:send(ws.frame({ close = 4001, mask = first == "origin" }))
      ws.expect_close(one, 4001)
      c:wait_end()
      c:close()
      conn:wait_end()
      conn:close()
    end
    p:wait_for_descriptors(descriptors)
  end)

  it("tells one side when the other is gone without a word", function()
    start()
    local c, conn = ws.open(p)
    c:close()
    ws.expect_close(conn, 1001)
    conn:close()
    c, conn = ws.open(p)
    conn:close()
    ws.expect_close(c, 1011)
    c:close()
    c, conn = ws.open(p)
    conn:reset()
    ws.expect_close(c, 1011)
    c:close()
    c, conn = ws.open(p)
    c:reset()
    conn:receive_rest()
    p:wait_for_descriptors(descriptors)
  end)

  it("does not wait for ever for a side that was told to close", function()
    start(nil, { limits = 'websocket = { close_timeout = "100ms" }' })
    local c, conn = ws.open(p)
    c:send(ws.frame({ close = 1000, mask = true }))
    ws.expect_close(conn, 1000)
    c:receive_rest()
    conn:receive_rest()
    p:wait_for_descriptors(descriptors)
  end)

  it("has back-pressure in both directions", function()
    start()
    for _, direction in ipairs({ "up", "down" }) do
      local c, conn = ws.open(p)
      local from, to = c, conn
      if direction == "down" then from, to = conn, c end
      local piece = ws.frame({ binary = ("x"):rep(30000), mask = direction == "up" })
      local limit = 64 * 1024 * 1024
      local sent = from:offer(piece, limit)
      assert.is_true(sent < limit, "it took 64 MiB that nobody read")
      local whole = math.floor(sent / #piece)
      for _ = 1, whole do assert.equal(30000, #ws.read(to).payload) end
      from:close()
      to:close()
    end
  end)
end)
