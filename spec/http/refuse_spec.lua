-- What is refused: raw bytes in, the status and a closed connection out, and nothing at the origin.

local http = require("support.http")
local proxy = require("support.proxy")

local GOOD = "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n"

-- What a client may send -> the status that it gets. A second request hides behind each.
local REFUSED = {
  ["both Content-Length and Transfer-Encoding"] =
    { 400, GOOD:format("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") .. "0\r\n\r\n" },
  ["Transfer-Encoding and then Content-Length"] =
    { 400, GOOD:format("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n") .. "0\r\n\r\n" },
  ["differing Content-Length"] = { 400, GOOD:format("Content-Length: 4\r\nContent-Length: 5\r\n") .. "abcd" },
  ["repeated Content-Length"] = { 400, GOOD:format("Content-Length: 4\r\nContent-Length: 4\r\n") .. "abcd" },
  ["a list as Content-Length"] = { 400, GOOD:format("Content-Length: 4, 4\r\n") .. "abcd" },
  ["a signed Content-Length"] = { 400, GOOD:format("Content-Length: +4\r\n") .. "abcd" },
  ["a negative Content-Length"] = { 400, GOOD:format("Content-Length: -4\r\n") },
  ["a hexadecimal Content-Length"] = { 400, GOOD:format("Content-Length: 0x4\r\n") .. "abcd" },
  ["an empty Content-Length"] = { 400, GOOD:format("Content-Length:\r\n") },
  ["a Content-Length beyond all numbers"] = { 400, GOOD:format("Content-Length: 99999999999999999999\r\n") },
  ["Transfer-Encoding without chunked"] = { 400, GOOD:format("Transfer-Encoding: gzip\r\n") },
  ["chunked that is not final"] = { 400, GOOD:format("Transfer-Encoding: chunked, gzip\r\n") },
  ["chunked twice"] = { 400, GOOD:format("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") },
  ["identity before chunked"] = { 400, GOOD:format("Transfer-Encoding: identity, chunked\r\n") },
  ["a tab inside Transfer-Encoding"] = { 400, GOOD:format("Transfer-Encoding: \vchunked\r\n") },
  ["Transfer-Encoding in HTTP/1.0"] =
    { 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  ["a bare LF behind a line"] = { 400, "GET / HTTP/1.1\nHost: a\r\n\r\n" },
  ["a bare LF at the end"] = { 400, "GET / HTTP/1.1\r\nHost: a\r\n\n" },
  ["a bare CR in a value"] = { 400, GOOD:format("X: a\rb\r\n") },
  ["a bare CR between lines"] = { 400, "GET / HTTP/1.1\rHost: a\r\n\r\n" },
  ["NUL in a value"] = { 400, GOOD:format("X: a\0b\r\n") },
  ["NUL in the target"] = { 400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["a folded line"] = { 400, GOOD:format("X: a\r\n b\r\n") },
  ["a line folded by a tab"] = { 400, GOOD:format("X: a\r\n\tb\r\n") },
  ["a space before the first field"] = { 400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n" },
  ["a space before the colon"] = { 400, GOOD:format("X : a\r\n") },
  ["a tab before the colon"] = { 400, GOOD:format("X\t: a\r\n") },
  ["a space before the colon of Content-Length"] = { 400, GOOD:format("Content-Length : 4\r\n") .. "abcd" },
  ["a line without a colon"] = { 400, GOOD:format("nothing\r\n") },
  ["an empty name"] = { 400, GOOD:format(": a\r\n") },
  ["a name with a bracket"] = { 400, GOOD:format("X(a): b\r\n") },
  ["a name beyond ASCII"] = { 400, GOOD:format("X\195\164: b\r\n") },
  ["a control character in a value"] = { 400, GOOD:format("X: a\1b\r\n") },
  ["DEL in a value"] = { 400, GOOD:format("X: a\127b\r\n") },
  ["no Host"] = { 400, "GET / HTTP/1.1\r\n\r\n" },
  ["Host twice"] = { 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" },
  ["an empty Host"] = { 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
  ["a Host with a path"] = { 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
  ["a Host with a user"] = { 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" },
  ["a Host with a list"] = { 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n" },
  ["a Host with a bad port"] = { 400, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n" },
  ["a Host with half an escape"] = { 400, "GET / HTTP/1.1\r\nHost: a%4\r\n\r\n" },
  ["two spaces in the request line"] = { 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["a path above the root"] = { 400, "GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["an encoded path above the root"] = { 400, "GET /%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["an encoded NUL in the path"] = { 400, "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["overlong UTF-8 in the path"] = { 400, "GET /%c0%af HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["half an escape in the path"] = { 400, "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["a fragment"] = { 400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["a byte beyond ASCII in the target"] = { 400, "GET /\195\164 HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["an unknown form of target"] = { 400, "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["a method that nobody knows"] = { 501, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n" },
  ["HTTP/2.0 in text"] = { 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n" },
  ["another protocol"] = { 400, "GET / RTSP/1.0\r\nHost: a\r\n\r\n" },
  ["rubbish"] = { 400, "\22\3\1\2\0\1\0\1\252\3\3" },
}

-- Broken bodies behind a good head: the origin has seen the head, and must not take the rest for whole.
local BROKEN_CHUNKS = {
  ["a size that is no number"] = "zz\r\nabc\r\n0\r\n\r\n",
  ["a size with a sign"] = "+3\r\nabc\r\n0\r\n\r\n",
  ["a size with 0x"] = "0x3\r\nabc\r\n0\r\n\r\n",
  ["a size with a space"] = "3 \r\nabc\r\n0\r\n\r\n",
  ["a size that overflows"] = "10000000000000003\r\nabc\r\n0\r\n\r\n",
  ["a size ended by LF"] = "3\nabc\r\n0\r\n\r\n",
  ["a chunk longer than its size"] = "2\r\nabc\r\n0\r\n\r\n",
  ["a chunk ended by LF"] = "3\r\nabc\n0\r\n\r\n",
  ["a control character in an extension"] = "3;a=\1\r\nabc\r\n0\r\n\r\n",
  ["a bare LF in an extension"] = "3;a\nabc\r\n0\r\n\r\n",
  ["a folded trailer"] = "3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n",
  ["a space before the colon of a trailer"] = "3\r\nabc\r\n0\r\nX : a\r\n\r\n",
}

local SECOND = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

describe("the gateway refuses", function()
  local p

  setup(function()
    p = proxy.start({
      limits = [[request = { headers = "1KiB", header_count = 10, target = "200B", body = "1000B" },
        upstream = { keepalive = 0 }]],
    })
  end)

  teardown(function()
    p:stop()
  end)

  local function refused(status, raw)
    local c = p:connect()
    c:send(raw)
    local response = c:response()
    assert.status(status, response)
    assert.equal("close", response.headers.connection)
    c:wait_end()
    assert.is_true(p.origin:idle(0.01))
    c:close()
  end

  for what, case in pairs(REFUSED) do
    it(what, function()
      refused(case[1], case[2] .. SECOND)
    end)
  end

  for what, body in pairs(BROKEN_CHUNKS) do
    it("a chunked body with " .. what, function()
      local c = p:connect()
      c:send(GOOD:format("Transfer-Encoding: chunked\r\n") .. body .. SECOND)
      local conn = p.origin:accept()
      assert.is_nil((conn:receive_rest()):find("\r\n0\r\n", 1, true))
      assert.status(400, c:response())
      c:wait_end()
    end)
  end

  it("a body that is declared too large", function()
    refused(413, GOOD:format("Content-Length: 1001\r\n"))
  end)

  it("a chunked body that grows too large", function()
    local c = p:connect()
    c:send(GOOD:format("Transfer-Encoding: chunked\r\n") .. http.chunk(("a"):rep(600)))
    local conn = p.origin:accept()
    conn:receive_until("aaa")
    c:send(http.chunk(("a"):rep(600)))
    assert.status(413, c:response())
    c:wait_end()
    conn:receive_rest()
  end)

  it("a target that is too long", function()
    refused(414, "GET /" .. ("a"):rep(200) .. " HTTP/1.1\r\nHost: a\r\n\r\n")
    refused(414, "GET /" .. ("a"):rep(600))
  end)

  it("a head that is too large", function()
    refused(431, GOOD:format("X: " .. ("a"):rep(1000) .. "\r\n"))
    refused(431, "GET / HTTP/1.1\r\n" .. ("X: a\r\n"):rep(200))
  end)

  it("too many fields", function()
    assert.equal("/", p:forwarded("GET / HTTP/1.1\r\nHost: a\r\n" .. ("X: a\r\n"):rep(9) .. "\r\n").target)
    refused(431, "GET / HTTP/1.1\r\nHost: a\r\n" .. ("X: a\r\n"):rep(10) .. "\r\n")
  end)

  it("and serves on", function()
    assert.is_true(p:serves())
  end)
end)
