-- Either side closes, resets or stalls at any byte: the outcome is the stated one, nothing leaks, and
-- the gateway serves on.

local proxy = require("support.proxy")

local POST = "POST /a HTTP/1.1\r\nHost: a\r\nX-Long: abcdefghijklmnop\r\nContent-Length: 8\r\n\r\n"
local CHUNKED = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

-- Positions at which to cut `text`: all of a short one, every few bytes of a longer one.
local function positions(text)
  local list = {}
  for at = 0, #text, #text > 60 and 3 or 1 do
    table.insert(list, at)
  end
  return list
end

describe("when a client", function()
  local p, descriptors

  setup(function()
    p = proxy.start({
      limits = [[
        upstream = { keepalive = 0 },
        connection = { head_timeout = "100ms", read_timeout = "100ms", idle_timeout = "10s" },
      ]],
    })
    assert.is_true(p:serves())
    descriptors = p:descriptors()
  end)

  teardown(function()
    p:stop()
  end)

  after_each(function()
    assert.is_true(p:serves())
    p:wait_for_descriptors(descriptors)
  end)

  for _, how in ipairs({ "close", "reset" }) do
    it(how .. "s anywhere in a head, no request is made of it", function()
      for _, at in ipairs(positions(POST:sub(1, -2))) do
        local c = p:connect()
        c:send(POST:sub(1, at))
        c[how](c)
      end
      assert.is_true(p.origin:idle(0.01))
    end)

    for what, raw in pairs({ ["a body by length"] = POST .. "hello", ["a chunked body"] = CHUNKED }) do
      it(how .. "s in " .. what .. ", the origin sees that it is broken", function()
        local c = p:connect()
        c:send(raw)
        local conn = p.origin:accept()
        conn:receive_until("hello")
        c[how](c)
        local rest = conn:receive_rest()
        assert.is_nil(rest:find("0\r\n\r\n", 1, true))
      end)
    end

    it(how .. "s while the answer is awaited, the origin is let go", function()
      local c, conn = p:exchange("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
      c[how](c)
      conn:wait_end()
    end)

    it(how .. "s while the answer streams, the origin is let go", function()
      local c, conn = p:exchange("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
      c:receive_until("hello")
      c[how](c)
      conn:receive_rest()
    end)
  end

  it("stalls in a head, it gets 408", function()
    for _, at in ipairs({ 1, 10, 20, 40, #POST - 1 }) do
      local c = p:connect()
      c:send(POST:sub(1, at))
      local response = c:response()
      assert.status(408, response)
      c:wait_end()
    end
  end)

  it("feeds a head a byte at a time, it gets 408 as well", function()
    local c = p:connect()
    c:send_slowly(("GET / HTTP/1.1\r\nHost: a\r\nX: "):rep(1) .. ("x"):rep(1000), 1, 0.005)
    assert.status(408, c:response())
    c:wait_end()
  end)

  it("stalls in a body, it gets 408, and the origin sees that it is broken", function()
    for _, raw in ipairs({ POST .. "hello", CHUNKED }) do
      local c = p:connect()
      c:send(raw)
      local conn = p.origin:accept()
      conn:receive_until("hello")
      assert.status(408, c:response())
      c:wait_end()
      assert.is_nil((conn:receive_rest()):find("0\r\n\r\n", 1, true))
    end
  end)
end)

local GET = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
local HEAD = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\n"

describe("when an origin", function()
  local p, descriptors

  setup(function()
    p = proxy.start({ limits = "upstream = { keepalive = 0 }" })
    assert.is_true(p:serves())
    descriptors = p:descriptors()
  end)

  teardown(function()
    p:stop()
  end)

  after_each(function()
    assert.is_true(p:serves())
    p:wait_for_descriptors(descriptors)
  end)

  for _, how in ipairs({ "close", "reset" }) do
    it(how .. "s anywhere in its head, the client gets 502 and keeps its connection", function()
      local c = p:connect()
      for _, at in ipairs(positions(HEAD:sub(1, -2))) do
        c:send(GET)
        local conn = p.origin:accept()
        conn:request()
        conn:send(HEAD:sub(1, at))
        conn[how](conn)
        local response = c:response()
        assert.status(502, response)
        assert.contains("upstream_closed", response.body)
      end
      c:close()
    end)

    -- What is sent before the end, and what a client must not take for a whole answer.
    for what, answer in pairs({
      ["a body by length"] = HEAD .. "hel",
      ["a body by length, before its first byte"] = HEAD,
      ["a chunk"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
      ["between chunks"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      ["the last chunk"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    }) do
      it(how .. "s in " .. what .. ", the client's answer breaks off", function()
        local c, conn = p:exchange(GET)
        conn:send(answer)
        if answer ~= HEAD then
          c:receive_until("hel")
        end
        conn[how](conn)
        local rest, ended = c:receive_rest()
        assert.is_nil(rest:find("0\r\n\r\n", 1, true))
        assert.is_string(ended)
        c:close()
      end)
    end
  end

  it("breaks off an answer to HTTP/1.0, the client sees a reset, not an end", function()
    local c, conn = p:exchange("GET /a HTTP/1.0\r\n\r\n")
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    c:receive_until("hello")
    conn:close()
    local _, ended = c:receive_rest()
    assert.equal("reset", ended)
    c:close()
  end)

  it("refuses connections, the client gets 502", function()
    local socket = require("support.socket")
    local q = proxy.start({ vars = { DEAD = socket.refusing_port() }, more = [[
      tg.service "dead" { targets = { { "127.0.0.1:@DEAD@" } } }
      tg.route "dead" { paths = { "/dead" }, service = "dead" }
      tg.service "half" { targets = { { "127.0.0.1:@DEAD@" }, { "127.0.0.1:@ORIGIN@" } } }
      tg.route "half" { paths = { "/half" }, service = "half" }
    ]] })
    finally(function() q:stop() end)
    local c = q:connect()
    c:send("GET /dead HTTP/1.1\r\nHost: a\r\n\r\n")
    local response = c:response()
    assert.status(502, response)
    assert.contains("upstream_unreachable", response.body)
    for _ = 1, 4 do -- another target is tried
      c:send("GET /half HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
      local conn = q.streams[#q.streams] ~= c and q.streams[#q.streams] or q.origin:accept()
      assert.equal("/half", conn:request().target)
      conn:reply({})
      assert.status(200, c:response())
    end
  end)

  -- Heads that break the protocol.
  for what, answer in pairs({
    ["both length and chunked"] =
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ["two lengths"] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ["a folded line"] = "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    ["a bare LF"] = "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    ["a control character"] = "HTTP/1.1 200 OK\r\nX: \1\r\n\r\n",
    ["a space before the colon"] = "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    ["gzip as its last coding"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ["another protocol"] = "SSH-2.0-OpenSSH_9\r\n\r\n",
    ["too large a head"] = "HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(70000) .. "\r\n\r\n",
    ["too many fields"] = "HTTP/1.1 200 OK\r\n" .. ("X: y\r\n"):rep(201) .. "\r\n",
  }) do
    it("answers with " .. what .. ", the client gets 502", function()
      local c, conn = p:exchange(GET)
      conn:send(answer)
      local response = c:response()
      assert.status(502, response)
      assert.contains("upstream_protocol_error", response.body)
      conn:receive_rest()
      c:close()
    end)
  end
end)

-- Times of an origin are short here: what has to come in time is in a gateway of its own.
describe("when an origin", function()
  local p, descriptors

  local function start(limits)
    p = proxy.start({ limits = ("upstream = { keepalive = 0, %s }"):format(limits) })
    local started = p
    finally(function() started:stop() end)
    assert.is_true(p:serves())
    descriptors = p:descriptors()
  end

  it("stalls anywhere in its head, the client gets 504", function()
    start('response_timeout = "500ms"')
    local c = p:connect()
    for _, at in ipairs({ 0, 1, 9, 20, #HEAD - 1 }) do
      c:send(GET)
      local conn = p.origin:accept()
      conn:request()
      conn:send(HEAD:sub(1, at))
      local response = c:response()
      assert.status(504, response)
      conn:wait_end()
    end
    c:close()
    p:wait_for_descriptors(descriptors)
  end)

  it("feeds its head a byte at a time, the client gets 504 as well", function()
    start('response_timeout = "500ms"')
    local c, conn = p:exchange(GET)
    conn:send_slowly("HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(1000), 1, 0.005)
    assert.status(504, c:response())
    c:close()
    conn:close()
    p:wait_for_descriptors(descriptors)
  end)

  it("stalls in its body, the client's answer breaks off", function()
    start('io_timeout = "500ms"')
    local c, conn = p:exchange(GET)
    conn:send(HEAD .. "hel")
    local rest = c:receive_rest()
    assert.equal("hel", rest:match("\r\n\r\n(.*)$"))
    conn:wait_end()
    c:close()
    p:wait_for_descriptors(descriptors)
  end)
end)
