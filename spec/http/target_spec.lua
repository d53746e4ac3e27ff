-- Request targets of all forms, and the methods that need leave: TRACE and CONNECT.

local origin = require("support.origin")
local proxy = require("support.proxy")

describe("a request target", function()
  local p

  setup(function()
    p = proxy.start({ limits = "upstream = { keepalive = 0 }", route = 'preserve_host = true' })
  end)

  teardown(function()
    p:stop()
  end)

  it("may be a path", function()
    assert.equal("/a?b=c", p:forwarded("GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n").target)
  end)

  it("may be absolute: its authority counts, not Host", function()
    local request = p:forwarded("GET http://Target.test:8/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
    assert.equal("/x?y", request.target)
    assert.equal("Target.test:8", request.headers.host)
    request = p:forwarded("GET http://target.test HTTP/1.1\r\nHost: other\r\n\r\n")
    assert.equal("/", request.target)
    assert.equal("/?q", p:forwarded("GET http://target.test?q HTTP/1.1\r\nHost: other\r\n\r\n").target)
  end)

  it("may be absolute without Host in HTTP/1.0", function()
    local request = p:forwarded("GET http://target.test/x HTTP/1.0\r\n\r\n")
    assert.equal("target.test", request.headers.host)
  end)

  it("may be an asterisk, which the gateway answers itself", function()
    local c = p:connect()
    c:send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    local response = c:response()
    assert.status(204, response)
    assert.contains("OPTIONS", response.headers.allow)
    assert.is_true(p.origin:idle(0.01))
  end)

  it("may be a path of OPTIONS, whose hops are counted", function()
    local request = p:forwarded("OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 2\r\n\r\n")
    assert.header("max-forwards", "1", request)
    local c = p:connect()
    c:send("OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n")
    assert.status(204, c:response())
    assert.is_true(p.origin:idle(0.01))
  end)

  for _, raw in ipairs({
    "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http:/h HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://h/ HTTP/1.1\r\n\r\n",
    "CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n",
  }) do
    it("is refused: " .. raw:match("^[^\r]+"), function()
      local c = p:connect()
      c:send(raw)
      assert.status(400, c:response())
      c:wait_end()
    end)
  end
end)

describe("TRACE and CONNECT", function()
  local p

  local function start(options)
    p = proxy.start(options)
    local started = p
    finally(function() started:stop() end)
  end

  it("are refused unless allowed", function()
    start()
    for _, line in ipairs({ "TRACE /a", "CONNECT h:443" }) do
      local c = p:connect()
      c:send(line .. " HTTP/1.1\r\nHost: h\r\n\r\n")
      local response = c:response()
      assert.status(405, response)
      assert.contains("GET", response.headers.allow)
      assert.is_nil(response.headers.allow:find("TRACE", 1, true))
      c:close()
    end
    assert.is_true(p.origin:idle(0.01))
  end)

  it("TRACE is passed on where it is allowed, and answered at its last hop", function()
    start({ listener = "allow_trace = true" })
    local request = p:forwarded("TRACE /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\n\r\n")
    assert.equal("TRACE", request.method)
    assert.header("max-forwards", "4", request)
    local c = p:connect()
    c:send("TRACE /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX: y\r\nCookie: secret\r\n\r\n")
    local response = c:response()
    assert.status(200, response)
    assert.header("content-type", "message/http", response)
    assert.contains("TRACE /a HTTP/1.1\r\nHost: h\r\n", response.body)
    assert.contains("X: y\r\n", response.body)
    assert.is_nil(response.body:find("secret", 1, true))
  end)

  it("CONNECT is a tunnel to the service where it is allowed", function()
    start({ listener = "allow_connect = true" })
    local c = p:connect()
    c:send("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\nearly")
    local conn = p.origin:accept()
    local response = c:response({ method = "CONNECT" })
    assert.status(200, response)
    assert.no_header("content-length", response)
    assert.no_header("transfer-encoding", response)
    assert.equal("early", conn:receive(5)) -- raw bytes only: the origin sees no CONNECT
    conn:send("down")
    assert.equal("down", c:receive(4))
    c:send("up")
    assert.equal("up", conn:receive(2))
    conn:close()
    c:wait_end()
  end)

  it("CONNECT is 502 when nobody listens", function()
    local dead = origin.listen()
    start({ listener = "allow_connect = true" })
    p.origin:close()
    dead:close()
    local c = p:connect()
    c:send("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
    assert.status(502, c:response())
  end)
end)
