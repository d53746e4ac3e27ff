-- Bodies both ways, by length, chunked and to close, with trailers; answers that have none.

local http = require("support.http")
local proxy = require("support.proxy")

local GET = "GET /a HTTP/1.1\r\nHost: a\r\n%s\r\n"
local POST = "POST /a HTTP/1.1\r\nHost: a\r\n%s\r\n"

describe("a body", function()
  local p

  setup(function()
    p = proxy.start({ limits = "upstream = { keepalive = 0 }" })
  end)

  teardown(function()
    p:stop()
  end)

  local function finish(c, conn)
    conn:reply({ body = "done" })
    assert.equal("done", c:response().body)
    c:close()
    conn:close()
  end

  it("of a request goes by length", function()
    local c, conn, request = p:exchange(POST:format("Content-Length: 5\r\n") .. "hello")
    assert.equal("hello", request.body)
    assert.equal("length", request.framing)
    assert.is_nil(request.headers["transfer-encoding"])
    finish(c, conn)
  end)

  it("of a request streams before it is whole", function()
    local c = p:connect()
    c:send(POST:format("Content-Length: 10\r\n") .. "hello")
    local conn = p.origin:accept()
    conn:receive_until("\r\n\r\nhello")
    c:send("world")
    assert.equal("world", conn:receive(5))
    finish(c, conn)
  end)

  it("of a request goes chunked, with trailers", function()
    local c, conn, request = p:exchange(POST:format("Transfer-Encoding: chunked\r\n") ..
      "3;ext=1\r\nabc\r\n00004\r\ndefg\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n")
    assert.equal("abcdefg", request.body)
    assert.equal("chunked", request.framing)
    assert.equal("7", request.trailers["x-sum"])
    assert.is_nil(request.trailers["content-length"])
    assert.is_nil(request.raw:find("ext", 1, true))
    finish(c, conn)
  end)

  it("of a request may be empty either way", function()
    local c, conn, request = p:exchange(POST:format("Content-Length: 0\r\n"))
    assert.equal("", request.body)
    finish(c, conn)
    c, conn, request = p:exchange(POST:format("Transfer-Encoding: chunked\r\n") .. "0\r\n\r\n")
    assert.equal("chunked", request.framing)
    assert.equal("", request.body)
    finish(c, conn)
  end)

  it("of a request in one-byte chunks and segments arrives whole", function()
    local pieces = {}
    for letter in ("the quick brown fox"):gmatch(".") do
      table.insert(pieces, letter)
    end
    local c = p:connect()
    local raw = POST:format("Transfer-Encoding: chunked\r\n") .. http.chunked(pieces)
    assert.equal(#raw, c:send_slowly(raw, 1, 0))
    local conn = p.origin:accept()
    assert.equal("the quick brown fox", conn:request().body)
    finish(c, conn)
  end)

  -- What the origin says -> the framing and body that a client of HTTP/1.1 sees.
  local ANSWERS = {
    ["by length"] = { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "length", "hello" },
    ["of length 0"] = { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "length", "" },
    ["chunked"] = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
      "chunked", "hello" },
    ["to close"] = { "HTTP/1.1 200 OK\r\n\r\nhello", "chunked", "hello", close = true },
    ["to close of HTTP/1.0"] = { "HTTP/1.0 200 OK\r\n\r\nhello", "chunked", "hello", close = true },
  }

  for what, case in pairs(ANSWERS) do
    it("of an answer goes " .. what, function()
      local c, conn = p:exchange(GET:format(""))
      conn:send(case[1])
      if case.close then
        conn:close()
      end
      local response = c:response()
      assert.status(200, response)
      assert.equal(case[2], response.framing)
      assert.equal(case[3], response.body)
      assert.is_nil(response.headers.connection) -- ours stays
      c:close()
      conn:close()
    end)
  end

  it("of an answer streams before it is whole", function()
    local c, conn = p:exchange(GET:format(""))
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    c:receive_until("5\r\nhello\r\n")
    conn:send("5\r\nworld\r\n")
    c:receive_until("5\r\nworld\r\n")
    conn:send("0\r\n\r\n")
    c:receive_until("0\r\n\r\n")
    c:close()
    conn:close()
  end)

  it("of an answer brings its trailers", function()
    local c, conn = p:exchange(GET:format("TE: trailers\r\nConnection: TE\r\n"))
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" ..
      "1\r\nx\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n")
    local response = c:response()
    assert.equal("1", response.trailers["x-sum"])
    assert.is_nil(response.trailers["set-cookie"])
    c:close()
    conn:close()
  end)

  it("is not there in an answer to HEAD", function()
    for _, fields in ipairs({ "Content-Length: 500\r\n", "Transfer-Encoding: chunked\r\n", "" }) do
      local c, conn = p:exchange("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:send("HTTP/1.1 200 OK\r\n" .. fields .. "\r\n")
      local response = c:response({ method = "HEAD" })
      assert.status(200, response)
      assert.equal(fields:match("Content%-Length: (%d+)"), response.headers["content-length"])
      assert.is_true(c:silent(0.02))
      c:close()
      conn:close()
    end
  end)

  it("is not there in a 204 and a 304", function()
    for _, status in ipairs({ 204, 304 }) do
      local c, conn = p:exchange(GET:format(""))
      conn:send(("HTTP/1.1 %d X\r\nETag: \"e\"\r\n\r\n"):format(status))
      local response = c:response()
      assert.status(status, response)
      assert.equal('"e"', response.headers.etag)
      assert.is_nil(response.headers["content-length"])
      assert.is_nil(response.headers["transfer-encoding"])
      assert.is_true(c:silent(0.02))
      c:close()
      conn:close()
    end
  end)

  it("comes after early hints, which are passed on", function()
    local c, conn = p:exchange(GET:format(""))
    conn:send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n" ..
      "X-Hop: 1\r\nConnection: x-hop\r\n\r\n")
    local hint = c:response_head()
    assert.equal(103, hint.status)
    assert.equal("</a.css>", hint.headers.link)
    assert.is_nil(hint.headers.connection)
    assert.is_nil(hint.headers["x-hop"])
    conn:reply({ body = "x" })
    assert.equal("x", c:response().body)
    c:close()
    conn:close()
  end)

  it("is not disturbed by a 1xx for a client of HTTP/1.0", function()
    local c, conn = p:exchange("GET /a HTTP/1.0\r\n\r\n")
    conn:send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" ..
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    local response = c:response()
    assert.equal(0, #response.informational)
    assert.equal("x", response.body)
    c:close()
    conn:close()
  end)

  it("comes with a Date, the origin's or else the gateway's", function()
    local c, conn = p:exchange(GET:format(""))
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", c:response().headers.date)
    c:close()
    conn:close()
    c, conn = p:exchange(GET:format(""))
    conn:send("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n")
    assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", c:response().headers.date)
    c:close()
    conn:close()
  end)

  it("of which a little is left when the answer is out is dropped", function()
    local c = p:connect()
    c:send(POST:format("Content-Length: 10\r\n") .. "hello")
    local conn = p.origin:accept()
    conn:receive_until("hello")
    conn:reply({ status = 403, body = "no" })
    assert.status(403, c:response())
    c:send("world" .. GET:format(""))
    local fresh = p.origin:accept()
    assert.equal("GET", fresh:request().method)
    finish(c, fresh)
    conn:close()
  end)

  it("of which much is left ends the connection, behind the answer", function()
    local c = p:connect()
    c:send(POST:format("Content-Length: 1000000\r\n") .. "hello")
    local conn = p.origin:accept()
    conn:receive_until("hello")
    conn:reply({ status = 403, body = "no" })
    local response = c:response()
    assert.status(403, response)
    assert.equal("close", response.headers.connection)
    c:wait_end()
    conn:close()
  end)
end)
