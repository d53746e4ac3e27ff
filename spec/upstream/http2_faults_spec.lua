-- HTTP/2 to origins that refuse, leave, break off or break the rules. The origin is scripted, frame
-- by frame.

local client = require("support.client")
local frames = require("support.frames")
local gateway = require("support.gateway")
local http = require("support.http")
local origin = require("support.origin")

local REFUSED_STREAM, CANCEL, HTTP_1_1_REQUIRED = 7, 8, 13

describe("an origin that speaks HTTP/2", function()
  local o, g

  local function start(limits, service)
    o = origin.listen()
    g = gateway.start({ vars = { ORIGIN = o.port }, config = ([[
      local tg = require "tidegate"
      tg.settings { workers = 1, limits = { %s } }
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, http = "2", %s }
      tg.route "all" { service = "back" }
    ]]):format(limits or "", service or "") })
    local started, listener = g, o
    finally(function()
      started:stop()
      listener:close()
    end)
  end

  local function ask(message)
    local c = client.connect(g.port)
    message = message or {}
    c:send(http.request({ method = message.method or "GET", target = "/", body = message.body,
                          headers = { Host = "a" } }))
    return c
  end

  -- A client's request and the connection that it came to.
  local function exchange(message)
    local c = ask(message)
    local f = frames.accept(o)
    return c, f, f:request()
  end

  local function assert_answered(c, body)
    local response = c:response()
    assert.status(200, response)
    assert.equal(body, response.body)
  end

  local function assert_refused(c, code, words)
    local response = c:response()
    assert.status(502, response)
    assert.contains(('"code":"%s"'):format(code), response.body)
    if words then
      g:wait_for_log(words)
    end
  end

  describe("and does nothing of a request", function()
    it("by REFUSED_STREAM gets it once more, whatever the method", function()
      start()
      local c, f, id = exchange({ method = "POST", body = "once" })
      f:reset(id, REFUSED_STREAM)
      local again = f:request()
      assert.is_true(again > id)
      assert.equal("once", f:expect(frames.DATA).payload)
      f:answer(again, 200, "done")
      assert_answered(c, "done")
    end)

    it("by GOAWAY gets it on another connection", function()
      start()
      local c, f, id = exchange({ method = "POST", body = "once" })
      f:send(frames.GOAWAY, 0, 0, frames.goaway(id - 1, 0))
      local second = frames.accept(o)
      second:answer(second:request(), 200, "there")
      assert_answered(c, "there")
    end)

    it("gets it a bounded number of times", function()
      start()
      local c, f, id = exchange()
      f:reset(id, REFUSED_STREAM)
      for _ = 1, 3 do
        f:reset(f:request(), REFUSED_STREAM)
      end
      assert_refused(c, "upstream_closed", "REFUSED_STREAM")
    end)

    it("but wants HTTP/1.1 gets that", function()
      start()
      local c, f, id = exchange()
      f:reset(id, HTTP_1_1_REQUIRED)
      local request = o:serve({ body = "one" })
      assert.equal("GET", request.method)
      assert_answered(c, "one")
    end)
  end)

  it("that leaves by GOAWAY still answers what it took", function()
    start()
    local c, f, id = exchange()
    f:send(frames.GOAWAY, 0, 0, frames.goaway(id, 0))
    f:answer(id, 200, "last")
    assert_answered(c, "last")
    local other = ask()
    local second = frames.accept(o)
    second:answer(second:request(), 200, "first")
    assert_answered(other, "first")
  end)

  it("that resets a stream ends that exchange alone", function()
    start()
    local c, f, id = exchange()
    local other = ask()
    local second = f:request()
    f:reset(id, CANCEL)
    assert_refused(c, "upstream_closed", "origin: it reset the stream: CANCEL")
    f:answer(second, 200, "well")
    assert_answered(other, "well")
  end)

  it("that resets in the middle of a body breaks the answer off", function()
    start()
    local c, f, id = exchange()
    f:headers(id, { { ":status", "200" } })
    f:data(id, "half")
    assert.status(200, c:response_head())
    f:reset(id, CANCEL)
    local rest, how = c:receive_rest()
    assert.is_nil(rest:find("0\r\n\r\n", 1, true))
    assert.is_truthy(how)
  end)

  it("that ends the connection fails what is open on it", function()
    start()
    local c, f = exchange({ method = "POST", body = "x" })
    local other = ask({ method = "POST", body = "x" })
    f:request()
    f:close()
    assert_refused(c, "upstream_closed")
    assert_refused(other, "upstream_closed")
  end)

  describe("with an answer that is none is a 502:", function()
    local answers = {
      { "a name in capitals", { { ":status", "200" }, { "X-Up", "1" } } },
      { "a line end in a value", { { ":status", "200" }, { "x", "a\r\nb: c" } } },
      { "a field of the connection", { { ":status", "200" }, { "connection", "x" } } },
      { "chunked", { { ":status", "200" }, { "transfer-encoding", "chunked" } } },
      { "no status", { { "x", "1" } } },
      { "two status fields", { { ":status", "200" }, { ":status", "204" } } },
      { "a status that is no number", { { ":status", "2x0" } } },
      { "a status of four digits", { { ":status", "2000" } } },
      { "101", { { ":status", "101" } } },
      { "a pseudo field behind others", { { "x", "1" }, { ":status", "200" } } },
      { "a pseudo field of requests", { { ":status", "200" }, { ":path", "/" } } },
      { "a Content-Length that is no number", { { ":status", "200" }, { "content-length", "1x" } } },
      { "two lengths", { { ":status", "200" }, { "content-length", "1" }, { "content-length", "2" } } },
    }
    for _, case in ipairs(answers) do
      it(case[1], function()
        start()
        local c, f, id = exchange()
        f:headers(id, case[2])
        assert_refused(c, "upstream_protocol_error", "origin: ")
        local again = ask()
        f:answer(f:request(), 200, "still there")
        assert_answered(again, "still there")
      end)
    end

    it("a length without a body", function()
      start()
      local c, f, id = exchange()
      f:headers(id, { { ":status", "200" }, { "content-length", "5" } }, true)
      assert_refused(c, "upstream_protocol_error", "origin: ")
    end)

    it("a head over the limit", function()
      start('upstream = { headers = "1KiB" }')
      local c, f, id = exchange()
      f:headers(id, { { ":status", "200" }, { "x", ("y"):rep(2000) } })
      assert_refused(c, "upstream_protocol_error", "origin: response head too large")
    end)
  end)

  it("whose body is not as long as it says breaks the answer off", function()
    for _, body in ipairs({ "four", "sixsix" }) do
      start()
      local c, f, id = exchange()
      f:headers(id, { { ":status", "200" }, { "content-length", "5" } })
      f:data(id, body, true)
      c:response_head()
      assert.is_true(#c:receive_rest() < 5)
    end
  end)

  describe("that breaks the connection's rules is a 502:", function()
    local function breaks(words, attack)
      start()
      local c, f, id = exchange()
      pcall(attack, f, id)
      assert_refused(c, "upstream_protocol_error", words)
      assert.status(200, (function()
        local again = ask()
        local second = frames.accept(o)
        second:answer(second:request(), 200, "")
        return again:response()
      end)())
    end

    it("text in place of frames", function()
      start()
      local c = ask()
      local conn = o:accept()
      conn:send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
      assert_refused(c, "upstream_protocol_error", "origin: ")
    end)

    it("a push", function()
      breaks("origin: ", function(f, id)
        f:acknowledge({ kind = frames.SETTINGS })
        f:send(frames.PUSH_PROMISE, 4, id, frames.number(2, 4) .. frames.block({ { ":method", "GET" } }))
      end)
    end)

    it("a frame that is too large", function()
      breaks("origin: ", function(f, id)
        f:send(frames.DATA, 0, id, ("x"):rep(20000))
      end)
    end)

    it("headers that cannot be decompressed", function()
      breaks("origin: ", function(f, id)
        f:send(frames.HEADERS, 4, id, "\255\255\255\255\255\255")
      end)
    end)

    it("more data than there was room for", function()
      breaks("origin: ", function(f, id)
        f:headers(id, { { ":status", "103" } })
        f:send(frames.WINDOW_UPDATE, 0, 0, frames.number(2147483647, 4))
        f:send(frames.WINDOW_UPDATE, 0, 0, frames.number(2147483647, 4))
      end)
    end)

    it("a flood of continuations", function()
      breaks("origin: ", function(f, id)
        f:send(frames.HEADERS, 0, id, frames.block({ { ":status", "200" } }))
        for _ = 1, 5000 do
          f:send(frames.CONTINUATION, 0, id, frames.block({ { "x", "y" } }))
        end
      end)
    end)

    for _, kind in ipairs({ "PING", "SETTINGS", "WINDOW_UPDATE" }) do
      it("a flood of " .. kind, function()
        breaks("origin: a flood of frames that bring nothing", function(f)
          local payloads = { PING = ("x"):rep(8), WINDOW_UPDATE = frames.number(1, 4), SETTINGS = "" }
          f.conn:send(frames.frame(frames[kind], 0, 0, payloads[kind]):rep(3000))
        end)
      end)
    end

    it("a flood of empty DATA", function()
      start()
      local c, f, id = exchange()
      f:headers(id, { { ":status", "200" } })
      c:response_head()
      pcall(f.conn.send, f.conn, frames.frame(frames.DATA, 0, id, ""):rep(3000))
      c:receive_rest()
      g:wait_for_log("origin: a flood of frames that bring nothing")
    end)
  end)

  it("that says no word is asked by PING, and then given up", function()
    start('upstream = { ping = "200ms" }')
    local c, f = exchange()
    assert.equal(8, #f:expect(frames.PING).payload)
    assert_refused(c, "upstream_closed", "no answer to PING")
  end)

  it("that answers PING is waited for", function()
    start('upstream = { ping = "1s" }')
    local c, f, id = exchange()
    f:acknowledge(f:expect(frames.PING))
    assert.is_true(c:silent(1.5))
    f:answer(id, 200, "late")
    assert_answered(c, "late")
  end)

  it("that does not answer in time is a 504, and its stream is reset", function()
    start('upstream = { response_timeout = "150ms" }')
    local c, f, id = exchange()
    assert.status(504, c:response())
    local reset = f:expect(frames.RST_STREAM)
    assert.equal(id, reset.stream)
  end)

  it("hears of a client that goes away", function()
    start()
    local c, f, id = exchange()
    c:close()
    assert.equal(id, f:expect(frames.RST_STREAM).stream)
  end)
end)
