-- Connections that stay: keep-alive and pipelining from clients, keep-alive to origins, HTTP/1.0.

local clock = require("support.clock")
local proxy = require("support.proxy")

local GET = "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"

describe("connections", function()
  local p

  local function start(options)
    p = proxy.start(options)
    local started = p
    finally(function() started:stop() end)
  end

  -- Connections that ended are counted until the gateway has seen their end, so a bound may still
  -- refuse what comes right behind: tries until a request is served. Returns client and origin's side.
  local function served(options)
    return unpack(clock.wait_until(function()
      local c = p:connect(options)
      c:send(GET:format("/", ""))
      repeat -- one of both happens
        local ok, conn = pcall(p.origin.accept, p.origin, 0.01)
        if ok then
          conn:request()
          return { c, conn }
        end
      until not c:silent(0)
      c:close()
    end, 5, "a request that is served"))
  end

  it("of a client carry request after request", function()
    start()
    local c = p:connect()
    for i = 1, 5 do
      c:send(GET:format("/" .. i, ""))
      local conn = i == 1 and p.origin:accept() or p.conn
      p.conn = conn
      assert.equal("/" .. i, conn:request().target)
      conn:reply({ body = "answer " .. i })
      local response = c:response()
      assert.equal("answer " .. i, response.body)
      assert.is_nil(response.headers.connection)
    end
    assert.equal(1, p.origin.accepted)
  end)

  it("of a client answer pipelined requests in their order", function()
    start()
    local c = p:connect()
    c:send(GET:format("/1", "") .. "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" ..
      "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n" ..
      "\r\n" .. GET:format("/4", ""))
    local conn = p.origin:accept()
    for i, body in ipairs({ "", "abc", "de", "" }) do
      local request = conn:request()
      assert.equal("/" .. i, request.target)
      assert.equal(body, request.body)
      assert.is_true(conn:silent(0.01)) -- the next waits until this one is answered
      conn:reply({ body = tostring(i) })
    end
    for i = 1, 4 do
      assert.equal(tostring(i), c:response().body)
    end
  end)

  it("end when the client says so", function()
    start()
    local c, conn = p:exchange(GET:format("/", "Connection: close\r\n") .. GET:format("/more", ""))
    conn:reply({ body = "x" })
    local response = c:response()
    assert.equal("close", response.headers.connection)
    c:wait_end()
    assert.is_true(conn:silent(0.01))
  end)

  it("of HTTP/1.0 end unless asked to stay", function()
    start()
    local c, conn = p:exchange("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    conn:reply({ body = "one" })
    local response = c:response()
    assert.equal("keep-alive", response.headers.connection)
    assert.equal("one", response.body)
    c:send("GET /2 HTTP/1.0\r\n\r\n")
    conn:request()
    conn:reply({ body = { "tw", "o" } }) -- chunked: HTTP/1.0 gets it to the end of the connection
    response = c:response()
    assert.equal("two", response.body)
    assert.equal("close", response.framing)
    assert.is_nil(response.headers["transfer-encoding"])
    assert.equal("closed", response.ended)
  end)

  it("have a bound of requests", function()
    start({ limits = "connection = { requests = 2 }" })
    local c, conn = p:exchange(GET:format("/1", ""))
    conn:reply({})
    assert.is_nil(c:response().headers.connection)
    c:send(GET:format("/2", ""))
    conn:request()
    conn:reply({})
    assert.equal("close", c:response().headers.connection)
    c:wait_end()
  end)

  it("have a bound in all, which frees itself", function()
    start({ limits = "connection = { total = 2 }" })
    local one, two = served(), served()
    p:connect():wait_end()
    one:close()
    local three, conn = served()
    conn:reply({})
    assert.status(200, three:response())
    two:close()
  end)

  it("have a bound per address", function()
    start({ limits = "connection = { per_address = 1 }" })
    local one, conn = served()
    p:connect():wait_end()
    served({ from = "127.0.0.2" })
    conn:reply({})
    assert.status(200, one:response())
  end)

  it("to the origin are used by any client", function()
    start()
    local c, conn = p:exchange(GET:format("/1", ""))
    conn:reply({ body = "x" })
    c:response()
    c:close()
    local d = p:connect()
    d:send(GET:format("/2", ""))
    assert.equal("/2", conn:request().target)
    conn:reply({ body = "y" })
    assert.equal("y", d:response().body)
    assert.equal(1, p.origin.accepted)
  end)

  for what, answer in pairs({
    ["that closes"] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
    ["of HTTP/1.0"] = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ["that says more than its length"] =
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n",
    ["with bytes behind a 204"] = "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  }) do
    it("to an origin " .. what .. " are not used again", function()
      start()
      local c, conn = p:exchange(GET:format("/1", ""))
      conn:send(answer)
      assert.is_true(c:response().status < 300)
      c:send(GET:format("/2", ""))
      local fresh = p.origin:accept()
      assert.equal("/2", fresh:request().target)
      fresh:reply({ body = "fresh" })
      assert.equal("fresh", c:response().body)
      assert.is_true(conn.fd == nil or conn:wait_end() ~= nil)
    end)
  end

  it("to the origin that died at rest cost no request", function()
    start()
    local c, conn = p:exchange(GET:format("/1", ""))
    conn:reply({})
    c:response()
    conn:close()
    c:send(GET:format("/2", ""))
    local fresh = p.origin:accept()
    assert.equal("/2", fresh:request().target)
    fresh:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("to the origin that die under a GET are tried once more", function()
    start()
    local c, conn = p:exchange(GET:format("/1", ""))
    conn:reply({})
    c:response()
    c:send(GET:format("/2", ""))
    conn:request()
    conn:close()
    local fresh = p.origin:accept()
    assert.equal("/2", fresh:request().target)
    fresh:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("to the origin that die under a POST are not", function()
    start()
    local c, conn = p:exchange(GET:format("/1", ""))
    conn:reply({})
    c:response()
    c:send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    conn:request()
    conn:close()
    assert.status(502, c:response())
    assert.is_true(p.origin:idle())
  end)
end)
