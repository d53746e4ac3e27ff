-- What reaches the origin and the client of each other's heads: fields of one connection stay behind,
-- Via, X-Forwarded-* and Forwarded are added, and believed only from listed networks.

local proxy = require("support.proxy")

local function get(lines)
  return "GET /a?b HTTP/1.1\r\nHost: Example.test:81\r\n" .. (lines or "") .. "\r\n"
end

-- Header lines of a message, names in lower case, in order, as one text.
local function names(message)
  local list = {}
  for _, pair in ipairs(message.header_list) do
    table.insert(list, pair[1]:lower())
  end
  return table.concat(list, " ")
end

describe("to the origin", function()
  local p

  setup(function()
    p = proxy.start({ limits = "upstream = { keepalive = 0 }" })
  end)

  teardown(function()
    p:stop()
  end)

  it("goes what the client sent, in order and as spelled", function()
    local request = p:forwarded(get("X-One: 1\r\naCCept: */*\r\nX-One:  2 \r\nX-Empty:\r\n"))
    assert.equal("/a?b", request.target)
    assert.equal("1.1", request.version)
    assert.contains("\r\nX-One: 1\r\naCCept: */*\r\nX-One: 2\r\nX-Empty: \r\n", request.raw)
  end)

  it("goes nothing that belongs to the client's connection", function()
    local request = p:forwarded(get("Connection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\n" ..
      "X-Mine: 1\r\nx-mine: 2\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nProxy-Authorization: x\r\n" ..
      "Upgrade: h2c\r\nTrailer: X\r\nX-Other: 1\r\n"))
    for _, name in ipairs({ "connection", "keep-alive", "x-mine", "proxy-connection", "te", "upgrade",
      "proxy-authorization", "transfer-encoding" }) do
      assert.no_header(name, request)
    end
    assert.header("x-other", "1", request)
  end)

  it("Host and Content-Length stay although Connection names them", function()
    local c, conn, request = p:exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" ..
      "Connection: host, content-length, X-Forwarded-For, Via\r\n\r\nab")
    assert.is_string(request.headers.host)
    assert.equal("ab", request.body)
    assert.header("x-forwarded-for", "127.0.0.1", request)
    assert.is_string(request.headers.via)
    conn:reply({})
    c:response()
  end)

  it("goes Via, with the version that the client spoke", function()
    assert.header("via", "1.1 tidegate", p:forwarded(get()))
    assert.contains("Via: 1.0 other\r\n", p:forwarded(get("Via: 1.0 other\r\n")).raw)
    assert.equal("1.0 other, 1.1 tidegate", p:forwarded(get("Via: 1.0 other\r\n")).headers.via)
    local request = p:forwarded("GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.header("via", "1.0 tidegate", request)
    assert.equal("1.1", request.version)
  end)

  it("goes who the client is, and nothing that it claims", function()
    local request = p:forwarded(get("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n" ..
      "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\n"))
    assert.header("x-forwarded-for", "127.0.0.1", request)
    assert.header("x-forwarded-proto", "http", request)
    assert.header("x-forwarded-host", "Example.test:81", request)
    assert.header("x-forwarded-port", tostring(p.port), request)
    assert.header("forwarded", 'for=127.0.0.1;host="Example.test:81";proto=http', request)
    assert.is_nil(request.raw:find("6.6.6.6", 1, true))
  end)

  it("goes the origin's own name as Host, once", function()
    local request = p:forwarded(get())
    assert.header("host", "127.0.0.1:" .. p.origin.port, request)
    assert.equal(1, select(2, names(request):gsub("%f[%w-]host%f[^%w-]", "")))
  end)

  it("goes a normalised path and the query as it is", function()
    local request = p:forwarded("GET /a/./b/../%63//d%2fe?x=%41/../ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("/a/c//d%2Fe?x=%41/../", request.target)
  end)

  it("goes a wish for trailers, and no other TE", function()
    local request = p:forwarded(get("TE: trailers, gzip\r\nConnection: TE\r\n"))
    assert.header("te", "trailers", request)
    assert.header("connection", "TE", request)
  end)
end)

describe("to the client", function()
  local p

  setup(function()
    p = proxy.start()
  end)

  teardown(function()
    p:stop()
  end)

  it("goes what the origin sent, without what belongs to its connection", function()
    local c, conn = p:exchange(get())
    conn:send("HTTP/1.1 203 Quite So\r\nSet-Cookie: a=1\r\nX-Mine: 1\r\nSet-Cookie: b=2\r\n" ..
      "Connection: close, X-Mine\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n" ..
      "Upgrade: h2c\r\nContent-Length: 2\r\nX-Other: 1\r\n\r\nok")
    local response = c:response()
    assert.equal("203 Quite So", response.status .. " " .. response.reason)
    assert.contains("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", response.raw)
    for _, name in ipairs({ "x-mine", "keep-alive", "proxy-authenticate", "upgrade", "connection" }) do
      assert.no_header(name, response)
    end
    assert.header("x-other", "1", response)
    assert.equal("ok", response.body)
  end)

  it("goes an answer although Connection names its length", function()
    local c, conn = p:exchange(get())
    conn:send("HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok")
    local response = c:response()
    assert.equal("length", response.framing)
    assert.equal("ok", response.body)
  end)
end)

describe("from a trusted network", function()
  local p

  setup(function()
    p = proxy.start({
      listener = 'trusted = { "127.0.0.0/8", "10.0.0.0/8" }',
      limits = "upstream = { keepalive = 0 }",
    })
  end)

  teardown(function()
    p:stop()
  end)

  it("what was forwarded is kept and added to", function()
    local request = p:forwarded(get("X-Forwarded-For: 6.6.6.6, 10.1.1.1\r\nX-Forwarded-Proto: https\r\n" ..
      "X-Forwarded-Host: front.test\r\nX-Forwarded-Port: 443\r\nForwarded: for=6.6.6.6;proto=https\r\n"))
    assert.header("x-forwarded-for", "6.6.6.6, 10.1.1.1, 127.0.0.1", request)
    assert.header("x-forwarded-proto", "https", request)
    assert.header("x-forwarded-host", "front.test", request)
    assert.header("x-forwarded-port", "443", request)
    assert.equal('for=6.6.6.6;proto=https, for=127.0.0.1;host="Example.test:81";proto=http',
      request.headers.forwarded)
  end)

  it("several lines become one list", function()
    local request = p:forwarded(get("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 10.1.1.1\r\n"))
    assert.header("x-forwarded-for", "6.6.6.6, 10.1.1.1, 127.0.0.1", request)
  end)
end)

describe("the client as plugins see it", function()
  local SEEN = {
    { "", "127.0.0.1" },
    { "X-Forwarded-For: 6.6.6.6\r\n", "6.6.6.6" },
    { "X-Forwarded-For: 7.7.7.7, 6.6.6.6\r\n", "6.6.6.6" },
    { "X-Forwarded-For: 7.7.7.7, 6.6.6.6, 10.2.2.2\r\n", "6.6.6.6" },
    { "X-Forwarded-For: 10.2.2.2\r\n", "10.2.2.2" },
    { "X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1" },
    { "X-Forwarded-For: unknown\r\n", "127.0.0.1" },
    { 'Forwarded: for="[2001:db8::2]:1";proto=https\r\n', "2001:db8::2" },
    { "Forwarded: proto=https;for=6.6.6.6, for=10.2.2.2\r\n", "6.6.6.6" },
  }
  local PLUGIN = [[
    local P = { name = "who", version = "1.0.0", api = 1, stage = "transform" }
    function P.access(_, ctx) ctx:exit(200, ctx.client.ip) end
    return P
  ]]

  local function answers(listener, rows)
    local p = proxy.start({
      listener = listener, route = 'plugins = { tg.use "./who.lua" {} }', files = { ["who.lua"] = PLUGIN },
    })
    finally(function() p:stop() end)
    local c = p:connect()
    for _, row in ipairs(rows) do
      c:send(get(row[1]))
      assert.equal(row[2], c:response().body, row[1])
    end
  end

  it("is the nearest that is not trusted", function()
    answers('trusted = { "127.0.0.0/8", "10.0.0.0/8" }', SEEN)
  end)

  it("is the peer when nobody is trusted", function()
    local rows = {}
    for _, row in ipairs(SEEN) do
      table.insert(rows, { row[1], "127.0.0.1" })
    end
    answers("", rows)
  end)
end)
