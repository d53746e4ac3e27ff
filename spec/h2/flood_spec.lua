-- Who floods a connection with what carries nothing is told to calm down, counted and named in the log; who
-- does the same within bounds is served.

local client = require("support.client")
local gateway = require("support.gateway")
local h2 = require("support.h2")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, admin = { listen = "unix:admin.sock" }, limits = {
    h2 = { resets = 20, control = 50 }, @LIMITS@ request = { headers = "2KiB" } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "echo" { builtin = "echo" }
  tg.route "echo" { paths = { "/echo" }, service = "echo" }
]]

local g

local function start(limits)
  g = gateway.start({ config = CONFIG, vars = { LIMITS = limits or "" } })
end

before_each(function()
  start()
end)

after_each(function()
  g:stop()
end)

local function count(kind)
  local text = client.get({ unix = g.dir .. "/admin.sock" }, "/metrics").body
  return tonumber(text:match('tidegate_h2_floods_total{kind="' .. kind .. '"} (%d+)'))
end

local function assert_calmed(kind, text, act)
  local c = h2.connect(g.port)
  local ok = pcall(act, c) -- the gateway may have closed before the last of it
  assert.equal("ENHANCE_YOUR_CALM", (c:goaway()), ok)
  c.stream:receive_rest()
  assert.equal(1, count(kind))
  g:wait_for_log(text)
  assert.equal("200", h2.connect(g.port):get(1, "/echo").status)
end

local function frames(n, ...)
  return h2.frame(...):rep(n)
end

describe("a flood", function()
  it("of resets ends the connection", function()
    assert_calmed("resets", "too many streams were reset", function(c)
      for stream = 1, 61, 2 do
        c.stream:send(h2.frame("HEADERS", 5, stream, h2.block(h2.get("/echo"))) ..
          h2.frame("RST_STREAM", 0, stream, h2.number(8, 4)))
      end
    end)
  end)

  it("of requests that are to be reset ends the connection", function()
    assert_calmed("resets", "too many streams were reset", function(c)
      for stream = 1, 61, 2 do
        c:headers(stream, h2.get("/echo", { { "connection", "close" } }), { end_stream = true })
      end
    end)
  end)

  it("of bodies that break their length ends the connection", function()
    assert_calmed("resets", "too many streams were reset", function(c)
      for stream = 1, 61, 2 do
        c:headers(stream, h2.post("/echo", { { "content-length", "1" } }))
        c:data(stream, "22", true)
      end
    end)
  end)

  it("of empty frames ends the connection", function()
    assert_calmed("frames", "too many frames that carry nothing", function(c)
      c:headers(1, h2.post("/echo"))
      c.stream:send(frames(100, "DATA", 0, 1, ""))
    end)
  end)

  for what, flood in pairs({
    pings = frames(100, "PING", 0, 0, "12345678"),
    settings = frames(100, "SETTINGS", 0, 0, ""),
    priorities = frames(100, "PRIORITY", 0, 1, "\0\0\0\0\0"),
    ["updates of priorities"] = frames(100, "PRIORITY_UPDATE", 0, 0, "\0\0\0\1u=1"),
    ["window updates"] = frames(100, "WINDOW_UPDATE", 0, 0, "\0\0\0\1"),
    ["unknown frames"] = frames(100, 99, 0, 0, "x") .. frames(100, 10, 0, 0, ""),
  }) do
    it("of " .. what .. " ends the connection", function()
      assert_calmed("frames", "too many frames that carry nothing", function(c)
        c.stream:send(flood)
      end)
    end)
  end

  it("of header blocks without end ends the connection", function()
    assert_calmed("continuations", "a header block without end", function(c)
      c.stream:send(h2.frame("HEADERS", 1, 1, h2.block(h2.get("/echo"))) ..
        frames(100, "CONTINUATION", 0, 1, ""))
    end)
  end)

  it("of bytes that stand for large fields ends the connection", function()
    -- A field of 3,000 bytes that is kept in the table, and then named by one byte a thousand times.
    local long = "\64\1x" .. "\127\185\22" .. ("a"):rep(3000)
    assert_calmed("fields", "a header block that unfolds without end", function(c)
      c:frame("HEADERS", 5, 1, h2.block(h2.get("/echo")) .. long .. ("\190"):rep(1000))
    end)
  end)
end)

describe("within bounds", function()
  it("a head that is too large is answered with 431", function()
    local c = h2.connect(g.port)
    local long = "\64\1x" .. "\127\185\22" .. ("a"):rep(3000)
    c:frame("HEADERS", 5, 1, h2.block(h2.get("/echo")) .. long .. "\190")
    assert.equal("431", c:response(1).status)
    assert.equal("200", c:get(3, "/echo").status)
  end)

  it("pings are answered", function()
    local c = h2.connect(g.port)
    for i = 1, 40 do
      c:frame("PING", 0, 0, ("%08d"):format(i))
      assert.equal(("%08d"):format(i), c:expect("PING").payload)
    end
  end)

  it("requests earn what stands beside them", function()
    local c = h2.connect(g.port)
    for i = 0, 39 do
      c.stream:send(frames(5, "WINDOW_UPDATE", 0, 0, "\0\0\0\1"))
      assert.equal("200", c:get(2 * i + 1, "/echo").status)
    end
  end)

  it("streams may be reset", function()
    local c = h2.connect(g.port)
    for stream = 1, 39, 2 do
      c:headers(stream, h2.post("/echo"))
      c:reset(stream)
    end
    assert.equal("200", c:get(41, "/echo").status)
  end)
end)

describe("a header block that does not come to its end", function()
  before_each(function()
    g:stop()
    start('connection = { head_timeout = "500ms" },')
  end)

  it("ends the connection in time", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.get("/echo"), { open = true, end_stream = true })
    assert.equal("PROTOCOL_ERROR", (c:goaway()))
    c.stream:receive_rest()
  end)

  it("so does a connection that says nothing", function()
    local c = h2.connect(g.port, { bare = true })
    c.stream:send(h2.PREFACE:sub(1, 20))
    assert.equal("PROTOCOL_ERROR", (c:goaway()))
    c.stream:receive_rest()
  end)
end)
