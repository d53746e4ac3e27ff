-- What sides of an inspected WebSocket may not do, and what becomes of it: sizes, rates, broken frames,
-- silence.

local ws = require("support.websocket")

describe("bounds on a WebSocket", function()
  local p, descriptors

  local function start(fields, options)
    p, descriptors = ws.start(finally, fields, options)
  end

  -- Both sides have been told what they should be, and both connections end.
  local function over(c, to_client, conn, to_origin)
    ws.expect_close(c, to_client)
    ws.expect_close(conn, to_origin)
    c:send(ws.frame({ close = to_client, mask = true }))
    conn:send(ws.frame({ close = to_origin }))
    c:wait_end()
    conn:wait_end()
    c:close()
    conn:close()
    p:wait_for_descriptors(descriptors)
  end

  it("hold for the size of a client's message, in one frame or many", function()
    start('from_client = { max_message = "10B" }')
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "0123456789", mask = true }))
    ws.expect(conn, { text = "0123456789" })
    conn:send(ws.frame({ text = "what an origin sends has bounds of its own" }))
    ws.read(c)
    c:send(ws.frame({ text = "0123456789a", mask = true }))
    over(c, 1009, conn, 1001)
    c, conn = ws.open(p)
    c:send(ws.frame({ text = "0123456", mask = true, final = false }))
    c:send(ws.frame({ more = "0123456", mask = true, final = false }))
    over(c, 1009, conn, 1001)
  end)

  it("hold for what a frame only announces", function()
    start()
    local c, conn = ws.open(p)
    c:send(ws.frame({ binary = "", mask = true, length = "\255\0\0\1\0\0\0\0\0" }))
    over(c, 1009, conn, 1001)
  end)

  it("hold for an origin, whose fault is no client's", function()
    start('from_origin = { max_message = "10B" }')
    local c, conn = ws.open(p)
    conn:send(ws.frame({ binary = "0123456789a" }))
    over(c, 1011, conn, 1009)
  end)

  it("hold for the rate of messages, pings among them", function()
    start("from_client = { rate = 1, burst = 3 }")
    for _, kind in ipairs({ "text", "ping" }) do
      local c, conn = ws.open(p)
      local frames = {}
      for i = 1, 4 do frames[i] = ws.frame({ [kind] = tostring(i), mask = true }) end
      c:send(table.concat(frames)) -- at once: a second would allow one more
      for i = 1, 3 do ws.expect(conn, { [kind] = tostring(i) }) end
      over(c, 1008, conn, 1001)
    end
  end)

  it("hold for the rate of an origin", function()
    start("from_origin = { rate = 1, burst = 2 }")
    local c, conn = ws.open(p)
    conn:send(ws.frame({ text = "1" }) .. ws.frame({ text = "2" }) .. ws.frame({ text = "3" }))
    for i = 1, 2 do ws.expect(c, { text = tostring(i) }) end
    over(c, 1011, conn, 1008)
  end)

  it("end who breaks the protocol, and say so to the other", function()
    start()
    for _, case in ipairs({
      { { text = "not masked" }, 1002 },
      { { text = "x", mask = true, reserved = 64 }, 1002 },
      { { opcode = 3, mask = true }, 1002 },
      { { more = "of nothing", mask = true }, 1002 },
      { { ping = "in pieces", mask = true, final = false }, 1002 },
      { { payload = "", opcode = 9, mask = true, length = "\254\0\126" }, 1002 },
      { { close = 1005, mask = true }, 1002 },
      { { opcode = 8, payload = "x", mask = true }, 1002 },
      { { text = "\255", mask = true }, 1007 },
      { { close = 1000, reason = "\255", mask = true }, 1007 },
    }) do
      local c, conn = ws.open(p)
      c:send(ws.frame(case[1]))
      over(c, case[2], conn, 1001)
    end
    for _, case in ipairs({ { { text = "x", mask = true }, 1002 }, { { text = "\192\128" }, 1007 } }) do
      local c, conn = ws.open(p)
      conn:send(ws.frame(case[1]))
      over(c, 1011, conn, case[2])
    end
  end)

  it("keep part of a bad message from the other side", function()
    start()
    local c, conn = ws.open(p)
    c:send(ws.frame({ text = "begins well ", mask = true, final = false }))
    c:send(ws.frame({ more = "and ends \255", mask = true }))
    over(c, 1007, conn, 1001)
  end)

  it("do not let a client that was refused send on", function()
    start('from_client = { max_message = "1KiB" }', { limits = 'websocket = { close_timeout = "200ms" }' })
    local c, conn = ws.open(p)
    c:send(ws.frame({ binary = ("x"):rep(2000), mask = true }))
    ws.expect_close(c, 1009)
    ws.expect_close(conn, 1001)
    conn:close()
    c:offer(("x"):rep(65536), 64 * 1024 * 1024)
    c:close()
    p:wait_for_descriptors(descriptors)
  end)

  it("end a WebSocket without messages", function()
    start('idle_timeout = "2s"')
    local c, conn = ws.open(p)
    for i = 1, 4 do
      assert.is_true(c:silent(0.6))
      local from, to = c, conn
      if i % 2 == 0 then from, to = conn, c end
      from:send(ws.frame({ text = "x", mask = from == c }))
      ws.expect(to, { text = "x" })
    end
    over(c, 1001, conn, 1001)
  end)

  it("ping a client that is silent, and end one that does not answer", function()
    start('ping = "100ms", pong_timeout = "2s"')
    local c, conn = ws.open(p)
    for _ = 1, 3 do
      local ping = ws.read(c)
      assert.equal(9, ping.opcode)
      c:send(ws.frame({ pong = ping.payload, mask = true }))
    end
    assert.is_true(conn:silent(0.01))
    assert.equal(9, ws.read(c).opcode)
    ws.expect_close(c, 1011)
    ws.expect_close(conn, 1001)
    c:close()
    conn:close()
    p:wait_for_descriptors(descriptors)
  end)
end)
