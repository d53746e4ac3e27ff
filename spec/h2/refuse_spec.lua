-- What is malformed in HTTP/2 resets its stream; what HTTP/1.1 refuses too is refused as there. Nothing of
-- either reaches the origin.

local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, limits = { request = { headers = "2KiB", header_count = 20, target = "200B" } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "echo" { paths = { "/echo" }, service = "echo" }
  tg.route "all" { service = "back" }
]]

local g, o

setup(function()
  o = origin.listen()
  g = gateway.start({ config = CONFIG, vars = { ORIGIN = o.port } })
end)

teardown(function()
  g:stop()
end)

local function without(name, more)
  local list = {}
  for _, field in ipairs(h2.get("/x", more)) do
    if field[1] ~= name then
      list[#list + 1] = field
    end
  end
  return list
end

local function replaced(name, value)
  local list = h2.get("/x")
  for _, field in ipairs(list) do
    if field[1] == name then
      field[2] = value
    end
  end
  return list
end

local function many(n)
  local list = {}
  for i = 1, n do
    list[i] = { "x-" .. i, "1" }
  end
  return list
end

-- The connection lives on: the next stream is served.
local function assert_answer(fields, expected, options)
  local c = h2.connect(g.port)
  c:headers(1, fields, options or { end_stream = true })
  local r = c:response(1)
  assert.equal(expected, r.status or r.reset)
  assert.equal("200", c:get(3, "/echo").status)
  assert.is_true(o:idle(0))
  c:close()
end

describe("a malformed request", function()
  for what, fields in pairs({
    ["an upper-case name"] = h2.get("/x", { { "X-Upper", "1" } }),
    ["a name with a colon"] = h2.get("/x", { { "x:", "1" } }),
    ["a name with a line break"] = h2.get("/x", { { "x\r\nhost", "1" } }),
    ["a name with a space"] = h2.get("/x", { { "x y", "1" } }),
    ["an empty name"] = h2.get("/x", { { "", "1" } }),
    ["a value with a line break"] = h2.get("/x", { { "x", "1\r\nTransfer-Encoding: chunked" } }),
    ["a value with LF"] = h2.get("/x", { { "x", "1\ny: 2" } }),
    ["a value with NUL"] = h2.get("/x", { { "x", "1\0" } }),
    ["a value with a control"] = h2.get("/x", { { "x", "1\1" } }),
    ["a value with a space in front"] = h2.get("/x", { { "x", " 1" } }),
    ["a value with a tab behind"] = h2.get("/x", { { "x", "1\t" } }),
    ["connection"] = h2.get("/x", { { "connection", "close" } }),
    ["keep-alive"] = h2.get("/x", { { "keep-alive", "timeout=1" } }),
    ["proxy-connection"] = h2.get("/x", { { "proxy-connection", "close" } }),
    ["transfer-encoding"] = h2.get("/x", { { "transfer-encoding", "chunked" } }),
    ["upgrade"] = h2.get("/x", { { "upgrade", "websocket" } }),
    ["te other than trailers"] = h2.get("/x", { { "te", "gzip" } }),
    ["no method"] = without(":method"),
    ["no scheme"] = without(":scheme"),
    ["no path"] = without(":path"),
    ["an empty path"] = replaced(":path", ""),
    ["a path without a slash"] = replaced(":path", "x"),
    ["a whole URL as path"] = replaced(":path", "http://b/x"),
    ["a path with a space"] = replaced(":path", "/x y"),
    ["a method with a space"] = replaced(":method", "GET /y HTTP/1.1"),
    ["a pseudo field twice"] = h2.get("/x", { { ":path", "/y" } }),
    ["a pseudo field of answers"] = h2.get("/x", { { ":status", "200" } }),
    ["an unknown pseudo field"] = h2.get("/x", { { ":x", "1" } }),
    ["a pseudo field behind others"] = h2.get("/x", { { "x", "1" }, { ":path", "/y" } }),
    ["Host that differs"] = h2.get("/x", { { "host", "b.test" } }),
    ["Host twice"] = h2.get("/x", { { "host", "a.test" }, { "host", "b.test" } }),
    ["a length without a body"] = h2.get("/x", { { "content-length", "1" } }),
    ["two lengths"] = h2.get("/x", { { "content-length", "0" }, { "content-length", "0" } }),
    ["a length that is none"] = h2.get("/x", { { "content-length", "1x" } }),
    ["a protocol without CONNECT"] = h2.get("/x", { { ":protocol", "websocket" } }),
  }) do
    it("with " .. what .. " is reset", function()
      assert_answer(fields, "PROTOCOL_ERROR")
    end)
  end

  it("whose body is longer than its length is reset", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo", { { "content-length", "3" } }))
    c:data(1, "1234", true)
    assert.equal("PROTOCOL_ERROR", c:response(1).reset)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("whose body is shorter than its length is reset", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo", { { "content-length", "3" } }))
    c:data(1, "12", true)
    assert.equal("PROTOCOL_ERROR", c:response(1).reset)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("with pseudo fields in its trailers is reset", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo"))
    c:headers(1, { { ":path", "/y" } }, { end_stream = true })
    assert.equal("PROTOCOL_ERROR", c:response(1).reset)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("with trailers that do not end it is reset", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo"))
    c:headers(1, { { "x", "1" } })
    assert.equal("PROTOCOL_ERROR", c:response(1).reset)
    assert.equal("200", c:get(3, "/echo").status)
  end)
end)

describe("a request that HTTP/1.1 refuses too", function()
  for what, case in pairs({
    ["a host that is none"] = { replaced(":authority", "a b"), "PROTOCOL_ERROR" },
    ["a user in the authority"] = { replaced(":authority", "u@a"), "400" },
    ["no host at all"] = { without(":authority"), "PROTOCOL_ERROR" },
    ["a path above the root"] = { replaced(":path", "/../x"), "400" },
    ["a path with an encoded NUL"] = { replaced(":path", "/%00"), "400" },
    ["a scheme that is neither http nor https"] = { replaced(":scheme", "ftp"), "400" },
    ["a long path"] = { replaced(":path", "/" .. ("a"):rep(200)), "414" },
    ["many fields"] = { h2.get("/x", many(20)), "431" },
    ["a large field"] = { h2.get("/x", { { "x", ("a"):rep(2000) } }), "431" },
    ["TRACE"] = { h2.fields("TRACE", "/x"), "405" },
    ["CONNECT"] = { { { ":method", "CONNECT" }, { ":authority", "a:1" } }, "405" },
  }) do
    it("for " .. what .. " gets the same answer", function()
      assert_answer(case[1], case[2])
    end)
  end
end)

describe("a connection", function()
  local function assert_goes(code, act)
    local c = h2.connect(g.port)
    act(c)
    assert.equal(code, (c:goaway()))
    c.stream:receive_rest()
    c:close()
  end

  it("ends when a frame is broken", function()
    assert_goes("PROTOCOL_ERROR", function(c) c:data(1, "x") end)
    assert_goes("PROTOCOL_ERROR", function(c) c:headers(2, h2.get("/x")) end)
    assert_goes("PROTOCOL_ERROR", function(c) c:headers(0, h2.get("/x")) end)
    assert_goes("FRAME_SIZE_ERROR", function(c) c:frame("PING", 0, 0, "short") end)
    assert_goes("FRAME_SIZE_ERROR", function(c) c:frame("SETTINGS", 0, 0, "short") end)
    assert_goes("PROTOCOL_ERROR", function(c) c:window(0, 0) end)
    assert_goes("FRAME_SIZE_ERROR", function(c) c:frame("DATA", 0, 1, ("x"):rep(16385)) end)
    assert_goes("COMPRESSION_ERROR", function(c) c:frame("HEADERS", 5, 1, "\255\255\255\255\255\255") end)
    assert_goes("PROTOCOL_ERROR", function(c) c:frame("PUSH_PROMISE", 4, 1, "\0\0\0\2") end)
    assert_goes("PROTOCOL_ERROR", function(c) c:frame("CONTINUATION", 4, 1, "") end)
  end)

  it("ends when another frame comes inside a header block", function()
    assert_goes("PROTOCOL_ERROR", function(c)
      c:headers(1, h2.get("/x"), { open = true, end_stream = true })
      c:frame("PING", 0, 0, "12345678")
    end)
  end)

  it("that does not go on as it began is closed", function()
    local c = h2.connect(g.port, { bare = true })
    c.stream:send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" .. ("x"):rep(100))
    c.stream:receive_rest()
  end)

  it("takes a header block in pieces, and frames it does not know", function()
    local c = h2.connect(g.port)
    local block = h2.block(h2.get("/echo", { { "x", "1" } }))
    c:frame(99, 7, 0, "what is that")
    c:frame("HEADERS", 1, 1, block:sub(1, 5))
    c:frame("CONTINUATION", 0, 1, block:sub(6, 9))
    c:frame("CONTINUATION", 4, 1, block:sub(10))
    assert.equal("200", c:response(1).status)
    assert.equal(128, c.settings[3])
    assert.equal(2048, c.settings[6])
    assert.equal(1, c.settings[9])
  end)
end)
