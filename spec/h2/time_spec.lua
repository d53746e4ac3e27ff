-- What streams and connections of HTTP/2 may take, and how they end.

local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, limits = { connection = { %s } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "echo" { paths = { "/echo" }, service = "echo" }
  tg.route "all" { service = "back" }
]]

local g, o

local function start(limits)
  o = origin.listen()
  g = gateway.start({ config = CONFIG:format(limits), vars = { ORIGIN = o.port } })
  local started = g
  finally(function() started:stop() end)
end

-- A request that its origin has, and that waits for the answer.
local function open_request(c, stream)
  c:headers(stream, h2.get("/x"), { end_stream = true })
  local conn = o:accept()
  conn:request()
  return conn
end

describe("a connection of HTTP/2", function()
  it("that is idle for long is told to go", function()
    start('idle_timeout = "1s"')
    local c = h2.connect(g.port)
    assert.equal("200", c:get(1, "/echo").status)
    local code, last = c:goaway()
    assert.equal("NO_ERROR", code)
    assert.equal(1, last)
    c.stream:wait_end()
  end)

  it("is not idle while a stream waits for its origin", function()
    start('idle_timeout = "1s"')
    local c = h2.connect(g.port)
    local conn = open_request(c, 1)
    assert.is_true(conn:silent(1.5))
    conn:reply({ body = "late" })
    assert.equal("late", c:response(1).body)
    assert.equal("NO_ERROR", (c:goaway()))
  end)

  it("goes after so many requests, and loses none", function()
    start("requests = 3")
    local c = h2.connect(g.port)
    local conns = { open_request(c, 1), open_request(c, 3), open_request(c, 5) }
    local code, last = c:goaway()
    assert.equal("NO_ERROR", code)
    assert.equal(2 ^ 31 - 1, last) -- a notice: what is on its way is still served
    conns[4] = open_request(c, 7)
    local ping = c:expect("PING")
    c:frame("PING", 1, 0, ping.payload)
    code, last = c:goaway()
    assert.equal("NO_ERROR", code)
    assert.equal(7, last)
    c:headers(9, h2.get("/echo"), { end_stream = true }) -- not served
    for i, conn in ipairs(conns) do
      conn:reply({ body = "answer" })
      assert.equal("answer", c:response(2 * i - 1).body)
    end
    c.stream:wait_end()
  end)

  it("drains when the gateway stops", function()
    start("")
    local c = h2.connect(g.port)
    local conn = open_request(c, 1)
    local idle = h2.connect(g.port)
    assert.equal("200", idle:get(1, "/echo").status)
    g:signal("TERM")
    local code, last = idle:goaway()
    assert.equal("NO_ERROR", code)
    assert.equal(2 ^ 31 - 1, last) -- a request may be on its way there too
    assert.equal("200", idle:get(3, "/echo").status)
    idle:frame("PING", 1, 0, idle:expect("PING").payload)
    assert.equal(3, (select(2, idle:goaway())))
    idle.stream:wait_end()
    code, last = c:goaway()
    assert.equal("NO_ERROR", code)
    assert.equal(2 ^ 31 - 1, last)
    c:frame("PING", 1, 0, c:expect("PING").payload)
    assert.equal(1, (select(2, c:goaway())))
    conn:reply({ body = "late" })
    assert.equal("late", c:response(1).body)
    c.stream:wait_end()
    assert.same({ code = 0 }, g:wait(5))
  end)

  it("drains though the client does not answer the ping", function()
    start("")
    local c = h2.connect(g.port)
    local conn = open_request(c, 1)
    g:signal("TERM")
    c:goaway()
    local _, last = c:goaway()
    assert.equal(1, last)
    conn:reply({ body = "late" })
    assert.equal("late", c:response(1).body)
    c.stream:wait_end()
  end)

  it("drains though an idle client does not answer the ping", function()
    start("")
    local c = h2.connect(g.port)
    assert.equal("200", c:get(1, "/echo").status)
    g:signal("TERM")
    c:goaway()
    assert.equal(1, (select(2, c:goaway())))
    c.stream:wait_end()
    assert.same({ code = 0 }, g:wait(5))
  end)

  it("outlives a reload", function()
    start("")
    local c = h2.connect(g.port)
    local conn = open_request(c, 1)
    g:reload((CONFIG:format("requests = 1000")))
    g:wait_for_log("(revision 2)")
    assert.equal("200", c:get(3, "/echo").status)
    conn:reply({ body = "late" })
    assert.equal("late", c:response(1).body)
  end)
end)

describe("a stream of HTTP/2", function()
  it("whose body does not come is answered with 408", function()
    start('read_timeout = "150ms"')
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo"))
    assert.equal("408", c:response(1).status)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("whose body comes too slowly is answered with 408", function()
    start('read_rate = "10KiB", rate_grace = "200ms"')
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/echo"))
    local answered
    for _ = 1, 200 do
      c:data(1, "x")
      if not c.stream:silent(0.02) then answered = c:response(1).status break end
    end
    assert.equal("408", answered)
  end)

  it("whose answer is not taken is reset, and its origin let go", function()
    start('write_timeout = "150ms"')
    local c = h2.connect(g.port)
    local conn = open_request(c, 1)
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(200000))
    assert.equal("CANCEL", c:response(1).reset)
    conn:wait_end()
    c:window(0, 1048576)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("whose answer is taken byte by byte is reset", function()
    start('write_rate = "10KiB", rate_grace = "200ms"')
    local c = h2.connect(g.port, { settings = { [4] = 1 } })
    local conn = open_request(c, 1)
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(100000))
    local reset
    for _ = 1, 200 do
      c:window(1, 1)
      local frame = c:next(function(f)
        return f.kind == "DATA" or f.kind == "RST_STREAM"
      end)
      reset = frame.code
      if reset or not c.stream:silent(0.01) and c:expect("RST_STREAM", 1) then break end
    end
    conn:wait_end()
  end)
end)
