-- Scripted origins: what they do wrong before the head costs an attempt, after it the answer.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, limits = { upstream = { headers = "1KiB" } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" {
    targets = { { "127.0.0.1:@ORIGIN@" } },
    retry = { attempts = 1, on = { "connect", "reset", "timeout", 503 }, per_try = "30s",
              backoff = { base = "1ms", max = "1ms" }, buffer = "1KiB" },
  }
  tg.service "hasty" {
    targets = { { "127.0.0.1:@ORIGIN@" } }, retry = { attempts = 1, on = { "timeout" }, per_try = "1s" },
  }
  tg.service "plain" { targets = { { "127.0.0.1:@ORIGIN@" } } }
  tg.route "hasty" { paths = { "/hasty" }, service = "hasty" }
  tg.route "plain" { paths = { "/plain" }, service = "plain" }
  tg.route "all" { service = "back",
    plugins = { tg.use "access-log" { fields = { "path", "status", "attempts" } } } }
]]

local HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
local GET = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"

describe("an origin", function()
  local g, o

  setup(function()
    o = origin.listen()
    g = gateway.start({ config = CONFIG, vars = { ORIGIN = o.port } })
  end)

  teardown(function()
    g:stop()
    o:close()
  end)

  -- The first attempt gets `bytes` and an end; the second one is answered.
  local function second_attempt(bytes, how, request)
    local c = client.connect(g.port)
    c:send(request or GET)
    local first = o:accept()
    first:request()
    if #bytes > 0 then first:send(bytes) end
    first[how](first)
    local second = o:accept()
    local again = second:request()
    second:reply({ status = 200, body = "fine", headers = { Connection = "close" } })
    local response = c:response()
    c:close()
    second:close()
    return response, again
  end

  for _, how in ipairs({ "close", "reset" }) do
    it("that " .. how .. "s at any byte of the head is asked once more", function()
      for at = 0, #HEAD - 1 do
        assert.status(200, (second_attempt(HEAD:sub(1, at), how)))
      end
    end)
  end

  it("that breaks the rules of HTTP in the head is asked once more", function()
    for _, bytes in ipairs({ "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n", "HTTP/9.9 200\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nX: " .. ("y"):rep(2000) .. "\r\n\r\n" }) do
      assert.status(200, (second_attempt(bytes, "close")))
    end
  end)

  it("gets the body again", function()
    local body = ("b"):rep(1000)
    local response, again = second_attempt("", "reset",
      "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" .. body)
    assert.status(200, response)
    assert.equal(body, again.body)
  end)

  it("is not asked twice by a method that may not be repeated", function()
    local c = client.connect(g.port)
    c:send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb")
    local conn = o:accept()
    conn:request()
    conn:reset()
    assert.status(502, c:response())
    assert.is_true(o:idle(0.02))
  end)

  it("that stalls before the head is given up after per_try", function()
    local c = client.connect(g.port)
    c:send("GET /hasty HTTP/1.1\r\nHost: a\r\n\r\n")
    local first = o:accept()
    first:request()
    first:send("HTTP/1.1 200 OK\r\n")
    local second = o:accept()
    second:request()
    second:reply({ status = 200, body = "fine", headers = { Connection = "close" } })
    assert.status(200, c:response())
    first:wait_end()
  end)

  it("that lies about the length breaks the answer off, and is not asked again", function()
    for at = #HEAD, #HEAD + 4 do
      local c = client.connect(g.port)
      c:send(GET)
      local conn = o:accept()
      conn:request()
      conn:send((HEAD .. "hello"):sub(1, at))
      conn:close()
      local rest = c:receive_rest()
      assert.is_true(#rest < #HEAD + 200 and not rest:find("hello", 1, true))
      assert.is_true(o:idle(0.01))
    end
  end)

  it("that sends more than it announced gives its answer, and its connection carries no other", function()
    for _, answer in ipairs({ HEAD .. "hello and more", "HTTP/1.1 204 No Content\r\n\r\nhello",
                              HEAD .. "hello" .. HEAD .. "other" }) do
      local c = client.connect(g.port)
      c:send(GET)
      local conn = o:accept()
      conn:request()
      conn:send(answer)
      assert.is_true(c:response().status < 300)
      c:send(GET)
      local second = o:accept()
      second:request()
      second:reply({ status = 201, headers = { Connection = "close" } })
      assert.status(201, c:response())
      c:close()
      conn:wait_end()
    end
  end)

  it("that ends its chunks at any byte too early breaks the answer off", function()
    local head, chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"
    for at = 0, #chunks - 1 do
      local c = client.connect(g.port)
      c:send(GET)
      local conn = o:accept()
      conn:request()
      conn:send(head .. chunks:sub(1, at))
      conn:close()
      assert.is_nil(c:receive_rest():find("\r\n0\r\n\r\n$"))
      assert.is_true(o:idle(0.01))
    end
  end)

  -- What no attempt more makes good: the answer, and why, in the log.
  for what, case in pairs({
    ["whose head is over the limit"] = { "HTTP/1.1 200 OK\r\nX: " .. ("y"):rep(2000) .. "\r\n\r\n",
                                         "origin: response head too large" },
    ["that switches protocols unasked"] = { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n" ..
                                            "Connection: upgrade\r\n\r\n", "101 that nobody asked for" },
    ["whose framing is not known"] = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                                       'origin: Transfer-Encoding is not a single' },
    ["whose length is ambiguous"] = { "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                                      "origin: Content-Length is repeated" },
    ["that speaks no HTTP"] = { "SSH-2.0-OpenSSH\r\n\r\n", "origin: malformed head" },
  }) do
    it(what .. " is answered with 502, loses its connection, and the log says why", function()
      local c = client.connect(g.port)
      c:send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb")
      local conn = o:accept()
      conn:request()
      local before = #g:stderr()
      conn:send(case[1])
      local response = c:response()
      assert.status(502, response)
      assert.contains("upstream_protocol_error", response.body)
      conn:wait_end()
      g:wait_for_log(case[2], 30, before)
      local line = g:stderr():sub(before + 1):match("[^\n]*" .. case[2]:gsub("%p", "%%%0") .. "[^\n]*\n")
      assert.contains(("target=127.0.0.1:%d "):format(o.port), line)
    end)
  end

  it("that answers before the body has come is heard", function()
    local c = client.connect(g.port)
    c:send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nstart")
    local conn = o:accept()
    conn:request_head()
    conn:reply({ status = 413, body = "too much", headers = { Connection = "close" } })
    assert.status(413, c:response())
    conn:close()
  end)

  it("of which a kept connection is dead is asked on a fresh one, without any retry configured", function()
    for _ = 1, 5 do
      local c = client.connect(g.port)
      c:send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
      local first = o:accept()
      first:request()
      first:reply({ status = 200, body = "one" })
      assert.status(200, c:response())
      c:send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
      first:request()
      first:reset()
      local second = o:accept()
      second:request()
      second:reply({ status = 200, body = "two", headers = { Connection = "close" } })
      assert.equal("two", c:response().body)
    end
  end)

  it("has each attempt in the access log, with its time and what was wrong", function()
    second_attempt("", "reset")
    local line
    clock.wait_until(function()
      line = g:stdout():match('([^\n]*"error":"reset"[^\n]*)\n')
      return line
    end, 5, "the line")
    assert.contains('"error":"reset"', line)
    assert.contains(('"target":"127.0.0.1:%d"'):format(o.port), line)
    assert.contains('"status":200', line)
    assert.contains('"time":', line)
  end)
end)
