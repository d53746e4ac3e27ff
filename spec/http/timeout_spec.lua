-- Times that a client has: between requests, to take an answer; and what a whole request may take.

local proxy = require("support.proxy")

local GET = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

describe("time", function()
  local p

  local function start(limits)
    p = proxy.start({ limits = limits })
    local started = p
    finally(function() started:stop() end)
  end

  it("between requests ends, and the connection closes without a word", function()
    start('connection = { idle_timeout = "1s" }')
    local c, conn = p:exchange(GET)
    conn:reply({})
    assert.status(200, c:response())
    assert.equal("closed", c:wait_end())
  end)

  it("before the first request ends as well", function()
    start('connection = { idle_timeout = "100ms" }')
    assert.equal("closed", p:connect():wait_end())
  end)

  it("for a head does not count while the connection is idle", function()
    start('connection = { head_timeout = "50ms", idle_timeout = "10s" }')
    local c = p:connect()
    assert.is_true(c:silent(0.1))
    c:send(GET)
    p.origin:serve({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("to take an answer ends, and the origin is let go", function()
    start('connection = { write_timeout = "150ms" }')
    local c = p:connect({ rcvbuf = 4096 })
    c:send(GET)
    local conn = p.origin:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    local taken = conn:offer(("x"):rep(65536), 100000000, 3)
    assert.is_true(taken < 100000000)
    conn:receive_rest()
  end)

  it("to take an answer starts anew with every byte taken", function()
    start('connection = { write_timeout = "2s" }')
    local c = p:connect({ rcvbuf = 4096 })
    c:send(GET)
    local conn = p.origin:accept()
    conn:request()
    local piece = 8 * 1024 * 1024 -- more than the kernel keeps for the client
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(8 * piece))
    c:response_head()
    for _ = 1, 8 do -- with pauses that are longer than the time when taken together
      local _, received = require("support.socket").pump(conn, c, { total = piece })
      assert.is_true(received >= piece)
      assert.is_true(c:silent(0.3))
    end
  end)

  it("of a whole request ends with 504, although bytes still come", function()
    start('request = { deadline = "150ms" }, upstream = { response_timeout = "10s" }')
    local c = p:connect()
    c:send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    local conn = p.origin:accept()
    conn:request_head()
    c:send_slowly(("1\r\nx\r\n"):rep(2000), 6, 0.005)
    assert.status(504, c:response())
  end)

  it("to connect ends with 504", function()
    -- A listener whose queue is full takes no more: the kernel leaves the next SYN unanswered.
    local origin = require("support.origin")
    local full = origin.listen({ backlog = 0 })
    local fillers = {}
    for i = 1, 8 do
      fillers[i] = require("support.socket").try_connect({ port = full.port, seconds = 0.2 })
      if not fillers[i] then
        break
      end
    end
    p = proxy.start({
      limits = 'upstream = { connect_timeout = "100ms" }',
      vars = { FULL = full.port },
      more = [[
        tg.service "full" { targets = { { "127.0.0.1:@FULL@" } } }
        tg.route "full" { paths = { "/full" }, service = "full" }
      ]],
    })
    finally(function() p:stop() end)
    local c = p:connect()
    c:send("GET /full HTTP/1.1\r\nHost: a\r\n\r\n")
    local response = c:response()
    assert.status(504, response)
    assert.contains("upstream_connect_timeout", response.body)
  end)
end)
