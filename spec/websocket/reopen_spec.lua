-- WebSockets that survive the loss of their origin: reconnection, and what the client sends meanwhile.

local client = require("support.client")
local clock = require("support.clock")
local origin = require("support.origin")
local ws = require("support.websocket")

describe("a WebSocket that reconnects", function()
  local p, descriptors

  local function start(reconnect, options)
    local fields = ("reconnect = { %s }"):format(reconnect or 'backoff = "20ms"')
    p, descriptors = ws.start(finally, fields, options)
  end

  local function break_off(conn, how)
    if how == "reset" then conn:reset() else conn:close() end
  end

  it("goes on with another connection, whether the old one ended or broke", function()
    start()
    for _, how in ipairs({ "end", "reset" }) do
      local c, conn, request = ws.open(p, "Sec-WebSocket-Protocol: a, b\r\n", "Sec-WebSocket-Protocol: b\r\n")
      break_off(conn, how)
      local again, second = ws.accept_again(p, "Sec-WebSocket-Protocol: b\r\n")
      assert.is_not.equal(request.headers["sec-websocket-key"], second.headers["sec-websocket-key"])
      assert.header("sec-websocket-protocol", "b", second)
      assert.equal(request.target, second.target)
      again:send(ws.frame({ text = "back" }))
      ws.expect(c, { text = "back" })
      c:send(ws.frame({ text = "good", mask = true }))
      ws.expect(again, { text = "good" })
      break_off(again, how)
      again = ws.accept_again(p, "Sec-WebSocket-Protocol: b\r\n")
      again:send(ws.frame({ text = "again" }))
      ws.expect(c, { text = "again" })
      c:send(ws.frame({ close = 1000, mask = true }))
      ws.expect_close(again, 1000)
      again:send(ws.frame({ close = 1000 }))
      ws.expect_close(c, 1000)
      c:wait_end()
      c:close()
      again:close()
    end
    p:wait_for_descriptors(descriptors)
  end)

  it("keeps what the client sends meanwhile, in order", function()
    start()
    local c, conn = ws.open(p)
    conn:close()
    local again = p.origin:accept()
    local request = again:request()
    for i = 1, 20 do c:send(ws.frame({ text = "message " .. i, mask = true })) end
    c:send(ws.frame({ ping = "there?", mask = true }))
    ws.expect(c, { pong = "there?" })
    again:send(ws.answer(request))
    for i = 1, 20 do ws.expect(again, { text = "message " .. i }) end
  end)

  it("answers no more pings meanwhile than the client takes answers to", function()
    start()
    local c, conn = ws.open(p)
    conn:close()
    local again = p.origin:accept()
    local request = again:request()
    local limit = 64 * 1024 * 1024
    assert.is_true(c:offer(ws.frame({ ping = ("?"):rep(120), mask = true }):rep(500), limit) < limit)
    local back, got = ws.frame({ text = "back" }), ""
    again:send(ws.answer(request) .. back)
    repeat got = (got .. c:read()):sub(-#back) until got == back
  end)

  it("sees the end of a client that waited for the origin to take more", function()
    start()
    local c, conn = ws.open(p)
    local limit = 64 * 1024 * 1024
    assert.is_true(c:offer(ws.frame({ text = ("x"):rep(500), mask = true }):rep(100), limit) < limit)
    conn:reset()
    local again = p.origin:accept()
    c:close()
    again:receive_rest()
    again:close()
    p:wait_for_descriptors(descriptors)
  end)

  it("drops half a message of the origin, and begins with the next", function()
    start()
    local c, conn = ws.open(p)
    conn:send(ws.frame({ text = "half", final = false }))
    conn:close()
    local again = ws.accept_again(p)
    again:send(ws.frame({ text = "whole" }))
    ws.expect(c, { text = "whole" })
  end)

  it("is closed with 1013 when too much waits", function()
    start('buffer = "1KiB", backoff = "20ms"')
    local c, conn = ws.open(p)
    conn:close()
    local again = p.origin:accept()
    again:request()
    for _ = 1, 3 do c:send(ws.frame({ text = ("x"):rep(500), mask = true })) end
    ws.expect_close(c, 1013)
    again:receive_rest()
    again:close()
    c:close()
    p:wait_for_descriptors(descriptors)
  end)

  it("tries again until its deadline, and then is closed with 1011", function()
    start('backoff = "10ms", max_backoff = "20ms", deadline = "2s"')
    local c, conn = ws.open(p)
    conn:close()
    local refused = p.origin:accept()
    refused:request()
    refused:reply({ status = 503, headers = { Connection = "close" } })
    local broken = p.origin:accept()
    broken:request()
    broken:close()
    local silent = p.origin:accept()
    silent:request()
    ws.expect_close(c, 1011)
    silent:receive_rest()
    c:send(ws.frame({ close = 1011, mask = true }))
    c:wait_end()
    c:close()
    p:wait_for_descriptors(descriptors)
    p.gateway:wait_for_log("no new connection to the origin in time")
  end)

  it("does not come back for an origin that closed as it should", function()
    start()
    local c, conn = ws.open(p)
    conn:send(ws.frame({ close = 1001 }))
    ws.expect_close(c, 1001)
    c:send(ws.frame({ close = 1001, mask = true }))
    ws.expect_close(conn, 1001)
    conn:close()
    c:wait_end()
    assert.is_true(p.origin:idle(0.1))
  end)

  it("is given up when the client leaves meanwhile", function()
    start()
    local c, conn = ws.open(p)
    conn:close()
    local again = p.origin:accept()
    again:request()
    c:send(ws.frame({ close = 1000, mask = true }))
    ws.expect_close(c, 1000)
    again:receive_rest()
    c:close()
    p:wait_for_descriptors(descriptors)
    c, conn = ws.open(p)
    conn:close()
    again = p.origin:accept()
    c:reset()
    again:receive_rest()
    again:close()
    p:wait_for_descriptors(descriptors)
  end)

  it("finds another target", function()
    local other = origin.listen()
    start(nil, { vars = { OTHER = other.port },
      service = 'balance = { "round-robin" }, retry = { attempts = 0 }',
      more = 'tg.service "pair" { targets = { { "127.0.0.1:@ORIGIN@" }, { "127.0.0.1:@OTHER@" } } }\n' ..
        'tg.route "pair" { paths = { "/chat" }, service = "pair", ' ..
        'websocket = { reconnect = { backoff = "10ms" } } }' })
    local c = p:connect()
    c:send(ws.request())
    local conns = { p.origin, other }
    local function take()
      return unpack(clock.wait_until(function()
        for i, o in ipairs(conns) do
          local ok, conn = pcall(o.accept, o, 0)
          if ok then
            conn:send(ws.answer(conn:request()))
            return { conn, i }
          end
        end
      end, 5, "a target to be asked"))
    end
    local conn, first = take()
    assert.status(101, c:response())
    local gone = table.remove(conns, first)
    gone:close()
    conn:close()
    local again = take()
    c:send(ws.frame({ text = "to the other", mask = true }))
    ws.expect(again, { text = "to the other" })
  end)

  it("is seen in log and metrics", function()
    start(nil, { settings = 'admin = { listen = "unix:admin.sock" }' })
    local _, conn = ws.open(p)
    conn:close()
    ws.accept_again(p)
    p.gateway:wait_for_log("another connection is sought")
    p.gateway:wait_for_log("a new connection to the origin")
    local admin = { unix = p.gateway.dir .. "/admin.sock" }
    clock.wait_until(function()
      local metrics = client.get(admin, "/metrics", { Host = "a" }).body
      return metrics:find('tidegate_websocket_reconnects_total{result="good"} 1', 1, true)
    end, 5, "the count")
  end)
end)
