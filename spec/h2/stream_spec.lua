-- Streams of HTTP/2 between a client that speaks frame by frame and an origin of HTTP/1.1.

local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true, allow_connect = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "echo" { paths = { "/echo" }, service = "echo" }
  tg.route "answer" { paths = { "/answer" }, plugins = { tg.use "./answer.lua" {} } }
  tg.route "all" { service = "back", preserve_host = true }
]]

local ANSWER = [[
  local S = require "tidegate.schema"
  local P = { name = "answer", version = "1.0.0", api = 1, stage = "edge", schema = S.record {} }
  function P.access(_, ctx)
    ctx:exit(200, ("%s %s %s %s"):format(ctx.req.version, ctx.req:header("host"), ctx.req:header("cookie"),
      ctx.req:body()))
  end
  return P
]]

local g, o

before_each(function()
  o = origin.listen()
  g = gateway.start({ config = CONFIG, vars = { ORIGIN = o.port }, files = { ["answer.lua"] = ANSWER } })
end)

after_each(function()
  g:stop()
end)

describe("a stream", function()
  it("becomes a request of HTTP/1.1 for the origin", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/x?y", { { "accept", "*/*" }, { "x-own", "1" } }), { end_stream = true })
    local request, conn = o:serve({ body = "hello", headers = { ["X-Back"] = "2", Connection = "x-gone",
                                                                ["X-Gone"] = "3" } })
    assert.equal("GET", request.method)
    assert.equal("/x?y", request.target)
    assert.equal("a.test", request.headers.host)
    assert.equal("1", request.headers["x-own"])
    assert.equal("2.0 tidegate", request.headers.via)
    local r = c:response(1)
    assert.equal("200", r.status)
    assert.equal("hello", r.body)
    assert.equal("2", r.headers["x-back"])
    assert.equal("5", r.headers["content-length"])
    assert.is_nil(r.headers["x-gone"])
    assert.is_nil(r.headers.connection)
    conn:close()
  end)

  it("is seen by plugins as a request like others", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/answer", { { "cookie", "a=1" }, { "cookie", "b=2" } }))
    c:data(1, "some ")
    c:data(1, "body", true)
    assert.equal("2 a.test a=1; b=2 some body", c:response(1).body)
  end)

  it("is answered while others wait", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/slow"), { end_stream = true })
    local slow = o:accept()
    assert.equal("/slow", slow:request().target)
    for stream = 3, 21, 2 do
      assert.equal("200", c:get(stream, "/echo").status)
    end
    slow:reply({ body = "late" })
    assert.equal("late", c:response(1).body)
  end)

  it("may be one of a hundred and more", function()
    local c = h2.connect(g.port)
    for stream = 1, 255, 2 do
      c:headers(stream, h2.get("/" .. stream), { end_stream = true })
    end
    c:headers(257, h2.get("/257"), { end_stream = true })
    assert.equal("REFUSED_STREAM", c:response(257).reset)
    for _ = 1, 128 do
      local conn = o:accept()
      conn:reply({ body = conn:request().target })
    end
    for stream = 1, 255, 2 do
      assert.equal("/" .. stream, c:response(stream).body)
    end
    assert.equal("200", c:get(259, "/echo").status)
  end)
end)

describe("a body of a request", function()
  it("streams to the origin, with trailers", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/up", { { "te", "trailers" } }))
    c:data(1, "one")
    local conn = o:accept()
    assert.equal("chunked", conn:request_head().headers["transfer-encoding"])
    assert.equal("3\r\none\r\n", conn:receive(8))
    c:data(1, "two")
    assert.equal("3\r\ntwo\r\n", conn:receive(8))
    c:headers(1, { { "x-sum", "6" }, { "authorization", "x" } }, { end_stream = true })
    assert.equal("0\r\nx-sum: 6\r\n\r\n", conn:receive_until("\r\n\r\n"))
    conn:reply({ status = 201 })
    assert.equal("201", c:response(1).status)
  end)

  it("gives its window back as the origin takes it, no sooner", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/up"))
    local conn = o:accept()
    conn:request_head()
    -- The origin reads nothing: socket buffers fill, then the window is used up.
    local sent, window, all = 0, 65535, 131072
    while window >= 16384 and all >= 16384 and sent < 64 * 1048576 do
      c:data(1, ("x"):rep(16384))
      sent, window, all = sent + 16384, window - 16384, all - 16384
      while window < 16384 do
        local ok, frame = pcall(c.next, c, function(f)
          return f.kind == "WINDOW_UPDATE"
        end, 0.5)
        if not ok then break end
        local grown = h2.number_at(frame.payload, 1, 4)
        if frame.stream == 1 then window = window + grown else all = all + grown end
      end
    end
    assert.is_true(sent < 64 * 1048576)
    -- Others are served meanwhile.
    assert.equal("200", c:get(3, "/echo").status)
    assert.is_truthy(conn:receive(sent))
    assert.equal(1, c:expect("WINDOW_UPDATE", 1).stream)
  end)

  it("that is too large is answered with 413, and the rest not wanted", function()
    g:reload((CONFIG:gsub("workers = 1", "workers = 1, limits = { request = { body = '100B' } }")))
    g:wait_for_log("(revision 2)")
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo", { { "content-length", "101" } }))
    assert.equal("413", c:response(1).status)
    assert.equal("NO_ERROR", c:expect("RST_STREAM", 1).code)
    c:headers(3, h2.post("/echo"))
    c:data(3, ("x"):rep(101))
    assert.equal("413", c:response(3).status)
    c:headers(5, h2.post("/echo"))
    c:data(5, ("x"):rep(100), true)
    assert.equal("200", c:response(5).status)
  end)

  it("goes on after 100 (Continue) where the client waits for it", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/up", { { "expect", "100-continue" }, { "content-length", "4" } }))
    local conn = o:accept()
    conn:request_head()
    conn:send("HTTP/1.1 100 Continue\r\n\r\n")
    local info = c:expect("HEADERS", 1)
    assert.equal("100", info.fields[1][2])
    c:data(1, "body", true)
    assert.equal("body", conn:receive(4))
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response(1).body)
  end)

  it("has no reader any more when the answer came first", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/up"))
    c:data(1, "some")
    local conn = o:accept()
    conn:request_head()
    conn:reply({ status = 403, body = "no" })
    local r = c:response(1)
    assert.equal("403", r.status)
    assert.equal("NO_ERROR", c:expect("RST_STREAM", 1).code)
    c:data(1, "more")
    assert.equal("200", c:get(3, "/echo").status)
  end)
end)

describe("an answer", function()
  it("carries early hints, then its head, body and trailers", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/x"), { end_stream = true })
    local conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
    local info = c:expect("HEADERS", 1)
    assert.same({ ":status", "103" }, info.fields[1])
    assert.same({ "link", "</a.css>; rel=preload" }, info.fields[2])
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\none\r\n")
    assert.equal("one", c:response_until(1, "one"))
    conn:send("3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n")
    local r = c:response(1)
    assert.equal("two", r.body)
    assert.equal("6", r.trailers["x-sum"])
  end)

  it("to HEAD has the length and no body", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.fields("HEAD", "/x"), { end_stream = true })
    local conn = o:accept()
    assert.equal("HEAD", conn:request().method)
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    local r = c:response(1)
    assert.equal("1234", r.headers["content-length"])
    assert.equal("", r.body)
  end)

  it("waits for the window of a slow client, and its origin with it", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/big"), { end_stream = true })
    local conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
    assert.is_true(conn:offer(("x"):rep(65536), 67108864) < 67108864)
    c:window(0, 1048576)
    assert.equal("200", c:get(3, "/echo").status)
    c:reset(1)
    conn:wait_end()
  end)

  it("that breaks off is a reset, not an end", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/x"), { end_stream = true })
    local conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    c:expect("DATA", 1)
    conn:close()
    assert.equal("INTERNAL_ERROR", c:response(1).reset)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("stops at its origin when the client resets the stream", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/x"), { end_stream = true })
    local conn = o:accept()
    conn:request()
    c:reset(1)
    conn:wait_end()
    assert.equal("200", c:get(3, "/echo").status)
  end)
end)

describe("CONNECT", function()
  it("opens a tunnel where the listener allows it", function()
    local c = h2.connect(g.port)
    c:headers(1, { { ":method", "CONNECT" }, { ":authority", "a.test:443" } })
    local conn = o:accept()
    assert.equal("200", c:expect("HEADERS", 1).fields[1][2])
    c:data(1, "ping")
    assert.equal("ping", conn:receive(4))
    conn:send("pong")
    assert.equal("pong", c:expect("DATA", 1).payload)
    conn:close()
    c:data(1, "", true)
    c:response(1)
  end)

  it("is answered 405 where it does not", function()
    g:reload((CONFIG:gsub(", allow_connect = true", "")))
    g:wait_for_log("(revision 2)")
    local c = h2.connect(g.port)
    c:headers(1, { { ":method", "CONNECT" }, { ":authority", "a.test:443" } })
    assert.equal("405", c:response(1).status)
  end)
end)
