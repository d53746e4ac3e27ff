-- HTTP/2 to origins: what a request and an answer become on the way. The origin is node's http2.

local cjson = require("cjson")
local client = require("support.client")
local gateway = require("support.gateway")
local peer = require("support.peer")
local tls = require("support.tls")

local FILES = tls.files({
  ca = { cn = "authority" },
  back = { names = { "back.test", "127.0.0.1" }, signer = "ca" },
})

local function config(service, extra)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 1, %s }
    tg.listener "http" { address = "127.0.0.1:@PORT@" }
    tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, %s }
    tg.route "all" { service = "back" }
  ]]):format(extra or "", service)
end

local function start(origin, service, extra)
  return gateway.start({ config = config(service or 'http = "2"', extra), files = FILES,
                         vars = { ORIGIN = origin.port } })
end

local function sessions(g)
  return cjson.decode(client.get(g.port, "/sessions").body)
end

-- The fields of an echo with that name, as they came.
local function values(echo, name)
  local list = {}
  for _, field in ipairs(echo.headers) do
    if field[1] == name then
      list[#list + 1] = field[2]
    end
  end
  return list
end

describe("HTTP/2 to an origin in clear text", function()
  local origin, g

  setup(function()
    origin = peer.start("http2_origin.js")
    g = start(origin)
  end)

  teardown(function()
    g:stop()
    origin:stop()
  end)

  local function echo(message)
    message.target = message.target or "/echo"
    local response = client.request(g.port, message)
    assert.status(200, response)
    return cjson.decode(response.body)
  end

  it("takes a GET, and gives its answer back", function()
    local e = echo({ target = "/echo?a=1&b=%20" })
    assert.equal("GET", e.method)
    assert.equal("/echo?a=1&b=%20", e.path)
    assert.equal("http", e.scheme)
    assert.equal("127.0.0.1:" .. origin.port, e.authority)
    assert.equal("", e.body)
    assert.same({ "127.0.0.1" }, values(e, "x-forwarded-for"))
  end)

  it("takes bodies with a length and chunked ones", function()
    local e = echo({ method = "POST", body = "hello" })
    assert.equal("hello", e.body)
    assert.same({ "5" }, values(e, "content-length"))
    e = echo({ method = "POST", body = { "hel", "lo ", "you" } })
    assert.equal("hello you", e.body)
    assert.same({}, values(e, "content-length"))
    assert.same({}, values(e, "transfer-encoding"))
  end)

  it("takes trailers of a chunked body", function()
    local c = client.connect(g.port)
    c:send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" ..
           "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    local e = cjson.decode(c:response().body)
    assert.equal("abc", e.body)
    assert.equal("1", e.trailers["x-sum"])
  end)

  it("gets no field of the client's connection", function()
    local c = client.connect(g.port)
    c:send("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-own\r\nX-Own: 1\r\n" ..
           "Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers, gzip\r\n\r\n")
    local e = cjson.decode(c:response().body)
    for _, name in ipairs({ "connection", "x-own", "keep-alive", "proxy-connection", "host", "upgrade" }) do
      assert.same({}, values(e, name), name)
    end
    assert.same({ "trailers" }, values(e, "te"))
  end)

  it("gets a cookie in crumbs, which compress better", function()
    assert.same({ "a=1", "b=2", "c=3" }, values(echo({ headers = { Cookie = "a=1; b=2; c=3" } }), "cookie"))
  end)

  it("answers HEAD, 204 and 304 without a body", function()
    local c = client.connect(g.port)
    local response = c:request({ method = "HEAD", target = "/bytes/10" })
    assert.status(200, response)
    assert.equal("10", response.headers["content-length"])
    for _, status in ipairs({ 204, 304, 200 }) do
      response = c:get("/status/" .. status)
      assert.status(status, response)
      assert.equal("", response.body)
    end
    assert.equal("0", response.headers["content-length"])
  end)

  it("answers with trailers and with informational heads", function()
    local response = client.get(g.port, "/trailers")
    assert.equal("body", response.body)
    assert.equal("abc", response.trailers["x-sum"])
    response = client.get(g.port, "/hints")
    assert.equal(103, response.informational[1].status)
    assert.equal("hinted", response.body)
  end)

  it("streams large bodies both ways", function()
    local response = client.get(g.port, "/bytes/20000000")
    assert.equal(20000000, #response.body)
    local e = echo({ method = "POST", body = ("0123456789abcdef"):rep(65536) })
    assert.equal(1048576, #e.body)
  end)

  it("answers before the request is whole", function()
    local c = client.connect(g.port)
    c:send("POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert.status(200, c:response_head())
    c:send("4\r\nping\r\n")
    assert.equal("4\r\nping\r\n", c:receive(9))
    c:send("4\r\npong\r\n0\r\n\r\n")
    assert.equal("4\r\npong\r\n0\r\n\r\n", c:receive(14))
  end)

  it("waits for the client that says Expect", function()
    local c = client.connect(g.port)
    c:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert.status(100, c:response_head())
    c:send("abc")
    assert.equal("abc", cjson.decode(c:response().body).body)
  end)

  it("is one connection for all of that", function()
    assert.equal(1, sessions(g).opened)
  end)
end)

describe("HTTP/2 to an origin over TLS", function()
  local paths = tls.on_disk(FILES, { "back.pem", "back.key" })

  local function with(mode, service, body)
    local origin = peer.start("http2_origin.js", mode, unpack(paths))
    local g = start(origin, service .. ', tls = { ca = tg.file "ca.pem" }')
    body(g, origin)
    g:stop()
    origin:stop()
  end

  it("is agreed on by ALPN", function()
    with("tls", 'http = "2"', function(g)
      local e = cjson.decode(client.get(g.port, "/echo").body)
      assert.equal("https", e.scheme)
      assert.equal(1, sessions(g).opened)
    end)
  end)

  it("is what auto comes to where the origin has both", function()
    with("alpn", 'http = "auto"', function(g)
      assert.equal("GET", cjson.decode(client.get(g.port, "/echo").body).method)
    end)
  end)

  it("is not spoken where the service says 1.1", function()
    with("alpn", 'http = "1.1"', function(g)
      assert.equal("HTTP/1.1 GET /echo", client.get(g.port, "/echo").body)
    end)
  end)

  it("gives way where the origin wants HTTP/1.1 for a request", function()
    with("alpn", 'http = "auto"', function(g)
      local response = client.request(g.port, { method = "POST", target = "/http1", body = "once" })
      assert.equal("HTTP/1.1 POST /http1", response.body)
      assert.equal("GET", cjson.decode(client.get(g.port, "/echo").body).method)
    end)
  end)

  it("is a 502 with the reason where the origin does not agree", function()
    local back = gateway.start({ files = FILES, config = [[
      local tg = require "tidegate"
      tg.listener "https" { address = "127.0.0.1:@PORT@", http2 = false, tls = {
        certificates = { { cert = tg.file "back.pem", key = tg.file "back.key" } } } }
      tg.service "echo" { builtin = "echo" }
      tg.route "all" { service = "echo" }
    ]] })
    local g = start(back, 'http = "2", tls = { ca = tg.file "ca.pem" }')
    assert.status(502, client.get(g.port, "/"))
    g:stop()
    back:stop()
  end)
end)
