-- HTTP/2 from clients that people use: curl over TLS and in clear, nghttp and h2load.

local client = require("support.client")
local gateway = require("support.gateway")
local h2 = require("support.h2")
local tls = require("support.tls")

local FILES = tls.files({ main = { names = { "a.test" } } })

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "https" { address = "127.0.0.1:@PORT@", %s
    tls = { certificates = { { cert = tg.file "main.pem", key = tg.secret "file:main.key" } } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

local CLEAR = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "http" { address = "127.0.0.1:@PORT@", %s }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

local function start(config, extra)
  return gateway.start({ config = config:format(extra or ""), files = FILES })
end

local function curl(g, ...)
  return tls.curl(g, "-i", "--cacert", "main.pem", ...)
end

local function load(g, scheme)
  return tls.run(g.dir, { "h2load", "-n", "2000", "-c", "2", "-m", "100",
                          ("%s://127.0.0.1:%d"):format(scheme, g.port) }, 60)
end

describe("HTTP/2 over TLS", function()
  local g

  setup(function()
    g = start(CONFIG)
  end)

  teardown(function()
    g:stop()
  end)

  it("is what curl gets", function()
    local r = curl(g, "https://a.test:@PORT@/x?y=1")
    assert.contains("HTTP/2 200", r.out)
    assert.contains('"target":"/x?y=1"', r.out)
    assert.contains('["Host","a.test:' .. g.port .. '"]', r.out)
    assert.contains('["Via","2.0 tidegate"]', r.out)
  end)

  it("is not what a client gets that speaks HTTP/1.1 alone", function()
    assert.contains("HTTP/1.1 200", curl(g, "--http1.1", "https://a.test:@PORT@/").out)
  end)

  it("is agreed on by ALPN", function()
    assert.equal("h2", tls.s_client(g, "-alpn", "http/1.1,h2").alpn)
    assert.equal("http/1.1", tls.s_client(g, "-alpn", "http/1.1").alpn)
  end)

  it("carries bodies to the origin", function()
    local r = curl(g, "https://a.test:@PORT@/", "-d", ("0123456789"):rep(5000))
    assert.contains('"body_bytes":50000', r.out)
    assert.contains('["Content-Length","50000"]', r.out)
  end)

  it("carries bodies whose length is not known", function()
    local r = curl(g, "https://a.test:@PORT@/", "-H", "content-length:", "-T", "main.pem")
    assert.contains("HTTP/2 200", r.out)
    assert.contains('"Transfer-Encoding","chunked"', r.out)
  end)

  it("answers HEAD with a length and without a body", function()
    local r = curl(g, "-I", "https://a.test:@PORT@/")
    assert.contains("HTTP/2 200", r.out)
    assert.is_truthy(r.out:find("content%-length: %d+"))
  end)

  it("answers 431 and 414 as HTTP/1.1 does", function()
    assert.contains("HTTP/2 431", curl(g, "https://a.test:@PORT@/", "-H", "x: " .. ("a"):rep(40000)).out)
    assert.contains("HTTP/2 414", curl(g, "https://a.test:@PORT@/" .. ("a"):rep(9000)).out)
  end)

  it("serves many streams at once", function()
    local r = load(g, "https")
    assert.contains("2000 succeeded, 0 failed, 0 errored", r.out)
    assert.equal("h2", r.out:match("Application protocol: (%S+)"))
  end)
end)

describe("a TLS listener with http2 = false", function()
  it("speaks HTTP/1.1", function()
    local g = start(CONFIG, "http2 = false,")
    assert.contains("HTTP/1.1 200", curl(g, "https://a.test:@PORT@/").out)
    assert.equal("http/1.1", tls.s_client(g, "-alpn", "h2,http/1.1").alpn)
    g:stop()
  end)
end)

describe("HTTP/2 in clear", function()
  it("is spoken where the listener says so", function()
    local g = start(CLEAR, "http2 = true")
    local r = curl(g, "--http2-prior-knowledge", "http://a.test:@PORT@/x", "-d", "a body")
    assert.contains("HTTP/2 200", r.out)
    assert.contains('"body":"a body"', r.out)
    assert.contains("HTTP/1.1 200", curl(g, "--http1.1", "http://a.test:@PORT@/").out)
    local n = tls.run(g.dir, { "nghttp", "-v", "http://127.0.0.1:" .. g.port .. "/" })
    assert.contains("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):128", n.out)
    assert.contains("SETTINGS_NO_RFC7540_PRIORITIES(0x09):1", n.out)
    assert.contains(":status: 200", n.out)
    assert.contains("2000 succeeded, 0 failed, 0 errored", load(g, "http").out)
    g:stop()
  end)

  it("is refused where it does not", function()
    local g = start(CLEAR)
    local r = curl(g, "--http2-prior-knowledge", "http://a.test:@PORT@/x")
    assert.not_equal(0, r.code)
    local c = client.connect(g.port)
    c:send(h2.PREFACE)
    local response = c:response()
    assert.status(505, response)
    assert.contains("does not speak HTTP/2 in clear", response.body)
    g:stop()
  end)
end)
