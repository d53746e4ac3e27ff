-- WebSockets over HTTP/2 (RFC 8441): an extended CONNECT becomes an upgrade of HTTP/1.1 for the origin.

local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
  tg.route "inspected" { paths = { "/inspected" }, service = "back", websocket = {} }
  tg.route "all" { service = "back" }
]]

local SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" ..
  "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n"

local g, o

before_each(function()
  o = origin.listen()
  g = gateway.start({ config = CONFIG, vars = { ORIGIN = o.port } })
end)

after_each(function()
  g:stop()
end)

local function connect(c, stream, path, protocol)
  c:headers(stream, {
    { ":method", "CONNECT" }, { ":protocol", protocol or "websocket" }, { ":scheme", "http" },
    { ":authority", "a.test" }, { ":path", path }, { "sec-websocket-version", "13" },
    { "sec-websocket-protocol", "chat" }, { "origin", "http://a.test" },
  })
end

-- The value that a key is to be answered with, by the command line, as another implementation.
local function accept_of(key)
  local pipe = io.popen(("printf %%s '%s%s' | openssl sha1 -binary | base64"):format(key,
    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
  local text = pipe:read("*l")
  pipe:close()
  return text
end

-- A text frame: masked with zeroes from the client, as it is from the origin.
local function text(payload, masked)
  return "\129" .. string.char(#payload + (masked and 128 or 0)) .. (masked and "\0\0\0\0" or "") .. payload
end

for _, path in ipairs({ "/tunnelled", "/inspected" }) do
  describe("a WebSocket over HTTP/2, " .. path:sub(2), function()
    it("carries messages both ways and closes", function()
      local c = h2.connect(g.port)
      connect(c, 1, path)
      local conn = o:accept()
      local request = conn:request()
      assert.equal("GET", request.method)
      assert.equal(path, request.target)
      assert.equal("websocket", request.headers.upgrade)
      assert.equal("upgrade", request.headers.connection)
      assert.equal("13", request.headers["sec-websocket-version"])
      conn:send(SWITCH:format(accept_of(request.headers["sec-websocket-key"])))
      local head = {}
      for _, field in ipairs(c:expect("HEADERS", 1).fields) do
        head[field[1]] = field[2]
      end
      assert.equal("200", head[":status"])
      assert.equal("chat", head["sec-websocket-protocol"])
      assert.is_nil(head["sec-websocket-accept"])
      assert.is_nil(head.upgrade)
      assert.is_nil(head.connection)
      c:data(1, text("hello", true))
      assert.contains("hello", conn:receive_until("hello"))
      conn:send(text("world"))
      assert.equal(text("world"), c:response_until(1, "world"))
      c:data(1, "\136\130\0\0\0\0\3\232") -- a close frame, 1000
      conn:receive_until("\136\130")
      conn:send("\136\2\3\232")
      conn:close()
      assert.equal("\136\2\3\232", c:response(1).body)
      c:data(1, "", true)
    end)
  end)
end

describe("an extended CONNECT", function()
  it("is offered", function()
    local c = h2.connect(g.port)
    c:expect("SETTINGS")
    assert.equal(1, c.settings[8])
  end)

  it("whose origin does not switch gets that answer", function()
    local c = h2.connect(g.port)
    connect(c, 1, "/no")
    local _, conn = o:serve({ status = 403, body = "no" })
    local r = c:response(1)
    assert.equal("403", r.status)
    assert.equal("no", r.body)
    conn:close()
  end)

  it("to another protocol is answered with 501", function()
    local c = h2.connect(g.port)
    connect(c, 1, "/x", "masque")
    assert.equal("501", c:response(1).status)
  end)
end)
