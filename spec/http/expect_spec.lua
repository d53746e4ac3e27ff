-- Expect: 100-continue (RFC 9110, 10.1.1), whatever the origin does.

local proxy = require("support.proxy")

local HEAD = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

describe("a client that waits for 100", function()
  local p

  setup(function()
    p = proxy.start({ limits = "upstream = { keepalive = 0 }" })
  end)

  teardown(function()
    p:stop()
  end)

  local function wait_for_head()
    local c = p:connect()
    c:send(HEAD)
    local conn = p.origin:accept()
    local request = conn:request_head()
    assert.equal("100-continue", request.headers.expect)
    assert.equal("5", request.headers["content-length"])
    return c, conn
  end

  it("gets the origin's", function()
    local c, conn = wait_for_head()
    assert.is_true(c:silent(0.02))
    conn:send("HTTP/1.1 100 Continue\r\n\r\n")
    assert.equal(100, c:response_head().status)
    c:send("hello")
    assert.equal("hello", conn:receive(5))
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("gets the origin's refusal, and sends no body", function()
    local c, conn = wait_for_head()
    conn:reply({ status = 417, body = "no" })
    local response = c:response()
    assert.status(417, response)
    assert.equal(0, #response.informational)
    -- Nobody knows whether the body will come: the connection cannot be used again.
    assert.equal("close", response.headers.connection)
    c:wait_end()
    conn:wait_end()
  end)

  it("gets ours when the origin is silent", function()
    local c, conn = wait_for_head()
    assert.equal(100, c:response_head(3).status)
    c:send("hello")
    assert.equal("hello", conn:receive(5))
    conn:send("HTTP/1.1 100 Continue\r\n\r\n") -- late: it has been said
    conn:reply({ body = "ok" })
    local response = c:response()
    assert.equal(0, #response.informational)
    assert.equal("ok", response.body)
  end)

  it("may send without waiting", function()
    local c, conn, request = p:exchange(HEAD .. "hello")
    assert.equal("hello", request.body)
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("of HTTP/1.0 is not answered with one", function()
    local c, conn, request = p:exchange(
      "POST /a HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
    assert.equal("hello", request.body)
    assert.is_nil(request.headers.expect)
    conn:reply({ body = "ok" })
    local response = c:response()
    assert.equal(0, #response.informational)
    assert.equal("ok", response.body)
  end)

  it("but sends no body need not wait", function()
    local c, conn, request = p:exchange("GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
    assert.is_nil(request.headers.expect)
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("is told once that its body is too large", function()
    local c = p:connect()
    c:send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
    local response = c:response()
    assert.status(413, response)
    assert.equal(0, #response.informational)
    c:wait_end()
  end)
end)
