-- PROXY headers: taken from trusted networks, and given to origins.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")
local tls = require("support.tls")

local REQUEST = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
local V2 = "\r\n\r\n\0\r\nQUIT\n"
local FILES = tls.files({ api = { names = { "api.test" } } })

local function config(listener, service)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 1, limits = { connection = { handshake_timeout = "300ms" } } }
    tg.listener "edge" { address = "127.0.0.1:@PORT@", %s }
    tg.service "back" { %s }
    tg.route "all" { service = "back" }
  ]]):format(listener, service or 'builtin = "echo"')
end

describe("a PROXY header", function()
  local g

  setup(function()
    g = gateway.start({ config = config('proxy_protocol = true, trusted = { "127.0.0.0/8" }') })
  end)

  teardown(function()
    g:stop()
  end)

  local function told(header)
    local c = client.connect(g.port)
    c:send(header .. REQUEST)
    local response = c:response()
    c:close()
    return response.body:match('"X%-Forwarded%-For","([^"]*)"')
  end

  it("tells who the client is, in version 1", function()
    assert.equal("192.0.2.7", told("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n"))
    assert.equal("2001:db8::1", told("PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n"))
  end)

  it("tells it in version 2, extensions aside", function()
    local v4 = "\192\0\2\9\10\0\0\1\0\80\1\187"
    assert.equal("192.0.2.9", told(V2 .. "\33\17\0\12" .. v4))
    assert.equal("192.0.2.9", told(V2 .. "\33\17\0\17" .. v4 .. "\4\0\2zz"))
    local v6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\5" .. ("\0"):rep(16) .. "\0\1\0\2"
    assert.equal("2001:db8::5", told(V2 .. "\33\33\0\36" .. v6))
  end)

  it("may speak of nobody", function()
    assert.equal("127.0.0.1", told("PROXY UNKNOWN\r\n"))
    assert.equal("127.0.0.1", told(V2 .. "\32\0\0\0"))
  end)

  it("may come in pieces, and takes no byte of what follows", function()
    local c = client.connect(g.port)
    c:send_slowly("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n" .. REQUEST, 7, 0.001)
    assert.contains("192.0.2.7", c:response().body)
  end)

  for what, header in pairs({
    ["is missing"] = REQUEST,
    ["is malformed"] = "PROXY TCP4 192.0.2.7 10.0.0.1 56324 99999\r\n",
    ["has a family and another's address"] = "PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n",
    ["is too long"] = V2 .. "\33\17\255\255",
    ["is of another version"] = V2 .. "\49\17\0\12",
  }) do
    it("is refused when it " .. what, function()
      local c = client.connect(g.port)
      c:send(header)
      c:wait_end()
      g:wait_for_log("no PROXY header that is believed on listener edge from 127.0.0.1:")
    end)
  end

  it("must come in time", function()
    local c = client.connect(g.port)
    c:send("PROXY TCP4 192.0.2.7")
    c:wait_end()
  end)
end)

describe("a PROXY header from elsewhere", function()
  it("is not believed", function()
    local g = gateway.start({ config = config('proxy_protocol = true, trusted = { "192.0.2.0/24" }') })
    local c = client.connect(g.port)
    c:wait_end()
    g:wait_for_log("the connection comes from no trusted network")
    g:stop()
  end)
end)

describe("a PROXY header before TLS", function()
  it("tells who the client is", function()
    local text = config([[proxy_protocol = true, trusted = { "127.0.0.0/8" },
      tls = { certificates = { { cert = tg.file "api.pem", key = tg.file "api.key" } } }]])
    local g = gateway.start({ config = text, files = FILES })
    local r = tls.curl(g, "-k", "--haproxy-protocol", "https://api.test:@PORT@/")
    assert.equal(0, r.code, r.err)
    assert.contains('["X-Forwarded-For","127.0.0.1"]', r.out)
    g:stop()
  end)
end)

describe("a service with proxy_protocol", function()
  local function with(version, body)
    local o = origin.listen()
    local g = gateway.start({ vars = { ORIGIN = o.port }, config = config("", ([[
      targets = { { "127.0.0.1:@ORIGIN@" } }, proxy_protocol = "%s" ]]):format(version)) })
    body(g, o)
    g:stop()
  end

  it("tells the origin of the client in version 1, on a connection for each request", function()
    with("v1", function(g, o)
      local c = client.connect(g.port)
      for _ = 1, 2 do
        c:send(REQUEST)
        local conn = o:accept()
        local line = conn:receive_until("\r\n")
        assert.matches("^PROXY TCP4 127%.0%.0%.1 127%.0%.0%.1 %d+ " .. g.port .. "\r\n$", line)
        conn:request()
        conn:reply({ body = "ok" })
        assert.equal("ok", c:response().body)
      end
    end)
  end)

  it("tells it in version 2", function()
    with("v2", function(g, o)
      local c = client.connect(g.port)
      c:send(REQUEST)
      local conn = o:accept()
      local head = conn:receive(28)
      assert.equal(V2 .. "\33\17\0\12\127\0\0\1\127\0\0\1", head:sub(1, 24))
      conn:request()
      conn:reply({ body = "ok" })
      assert.equal("ok", c:response().body)
    end)
  end)
end)
