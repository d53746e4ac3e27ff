-- Both ends of a WebSocket for specs: p:websocket and gw:websocket, t.websocket for origins.
--
-- Purpose    Frames out and in (RFC 6455), over the spec's ends of connections. It shares no code with the
--            gateway, so what that sends is judged by a second reading of the protocol.
-- Invariants A peer is strict: frames masked on the wrong side, fragments and reserved bits are errors of the
--            gateway's and said so. It answers pings and closes by itself, as browsers do.
-- Ownership  A peer belongs to its connection.
-- Cost       One pass over the bytes of each message; no aim at speed.

local bit = require "bit"
local harness = require "tidegate.harness"

local websocket = {}

local OPCODES = { text = 1, binary = 2, close = 8, ping = 9, pong = 10 }
local KINDS = {}
for kind, opcode in pairs(OPCODES) do KINDS[opcode] = kind end

local KEY = "dGhlIHNhbXBsZSBub25jZQ=="
local MASK = "\18\52\86\120"

-- ---- Frames ---------------------------------------------------------------------------------------------

local function mask(payload, key)
  local out = {}
  for from = 1, #payload, 4096 do
    local bytes = { payload:byte(from, from + 4095) }
    for i = 1, #bytes do bytes[i] = bit.bxor(bytes[i], key:byte((from + i - 2) % 4 + 1)) end
    out[#out + 1] = string.char(unpack(bytes))
  end
  return table.concat(out)
end

local function number_text(n, size)
  local bytes = {}
  for i = size, 1, -1 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end

local function text_number(text)
  local n = 0
  for i = 1, #text do n = n * 256 + text:byte(i) end
  return n
end

local function frame(kind, payload, masked)
  local n, bits = #payload, masked and 128 or 0
  local length = n < 126 and string.char(bits + n) or
                 n < 65536 and string.char(bits + 126) .. number_text(n, 2) or
                 string.char(bits + 127) .. number_text(n, 8)
  return string.char(128 + OPCODES[kind]) .. length .. (masked and MASK .. mask(payload, MASK) or payload)
end

-- The frame that `buffer` begins with and what is behind it; nil when it is not whole.
local function parse(buffer, masked)
  if #buffer < 2 then return nil end
  local first, second = buffer:byte(1, 2)
  local kind, n, at = KINDS[first - 128], second % 128, 3
  if not kind then error(("the gateway sent a frame that begins with %d"):format(first), 0) end
  if (second >= 128) ~= masked then error("the gateway masked what it must not, or the reverse", 0) end
  local more = n == 126 and 2 or n == 127 and 8 or 0
  if more > 0 then n, at = text_number(buffer:sub(3, 2 + more)), 3 + more end
  local key = masked and buffer:sub(at, at + 3)
  at = at + (masked and 4 or 0)
  if #buffer < at + n - 1 then return nil end
  local payload = buffer:sub(at, at + n - 1)
  return { kind = kind, data = key and mask(payload, key) or payload }, buffer:sub(at + n)
end

-- ---- Peers ----------------------------------------------------------------------------------------------

local peer = {}
peer.__index = peer

--- One end of a WebSocket.
-- @tparam boolean is_client
-- @tparam function write (bytes)
-- @tparam function pump moves the world
function websocket.peer(is_client, write, pump)
  return setmetatable({ is_client = is_client, write = write, pump = pump, buffer = "", queue = {} }, peer)
end

local function put(self, kind, payload)
  self.write(frame(kind, payload, self.is_client))
end

--- Sends a text message.
function peer:send(text)
  put(self, "text", text)
  self.pump()
  return self
end

--- Sends a binary message.
function peer:send_binary(bytes)
  put(self, "binary", bytes)
  self.pump()
  return self
end

--- Sends a ping; the pong comes by receive().
function peer:ping(data)
  put(self, "ping", data or "")
  self.pump()
  return self
end

--- Sends bytes as they are.
function peer:raw(bytes)
  self.write(bytes)
  self.pump()
  return self
end

--- Begins to close; the other end answers by itself.
function peer:close(code, reason)
  if not self.closing then
    self.closing = true
    put(self, "close", number_text(code or 1000, 2) .. (reason or ""))
    self.pump()
  end
  return self
end

local function take(self, message)
  if message.kind == "ping" then put(self, "pong", message.data) end
  if message.kind == "close" then
    message.code = #message.data >= 2 and text_number(message.data:sub(1, 2)) or nil
    message.reason = message.data:sub(3)
    if not self.closing then
      self.closing = true
      put(self, "close", message.data)
    end
  end
  self.queue[#self.queue + 1] = message
  if self.on then self.on(message, self) end
end

--- Bytes came.
function peer:feed(bytes)
  self.buffer = self.buffer .. bytes
  while true do
    local message, rest = parse(self.buffer, not self.is_client)
    if not message then return end
    self.buffer = rest
    take(self, message)
  end
end

--- The next message that came: { kind, data }, and code and reason of a close. nil when there is none and no
-- plugin waits with one.
function peer:receive()
  self.settle()
  return table.remove(self.queue, 1)
end

-- ---- Clients --------------------------------------------------------------------------------------------

local session = setmetatable({}, { __index = peer })

function session:__index(name)
  if name == "origin" then return self.world.origins.websocket end
  return session[name] or peer[name]
end

--- Lets plugins that wait get on, turning the clock for them alone.
function websocket.settle(world)
  world:wait(function()
    for _, request in ipairs(world.core:open()) do
      if request.plugin then return false end
    end
    return true
  end)
end

local function handshake(request)
  local headers = { Connection = "Upgrade", Upgrade = "websocket", ["Sec-WebSocket-Version"] = "13",
                    ["Sec-WebSocket-Key"] = KEY }
  for name, value in pairs(request.headers or {}) do headers[name] = value end
  return { method = "GET", path = request.path, host = request.host, headers = headers }
end

--- Opens one through a gateway.
-- @tparam table world
-- @tparam table client of world:connect()
-- @tparam table request path, host, headers
-- @treturn table a peer with `result` (see result.lua), `status`, `origin` (the other end) and finish()
function websocket.open(world, client, request)
  local self = websocket.peer(true, function(bytes) client.out = client.out .. bytes end,
                              function() world:pump() end)
  self.world, self.client, self.result = world, client, world:send(client, handshake(request))
  self.settle = function() websocket.settle(world) end
  setmetatable(self, session)
  world.origins.websocket = nil
  world:wait(function() return self.result.received end)
  self.status = self.result.status
  if self.status == 101 then
    if self.result.headers["sec-websocket-accept"] ~= harness.websocket_accept(KEY) then
      error("the gateway's Sec-WebSocket-Accept does not fit", 0)
    end
    client.websocket = self
    self:feed(client.reader:rest())
    world:pump()
  end
  return self
end

--- Closes it, where it is open, and waits until it is over.
-- @tparam[opt] number code 1000 unless said
-- @treturn table the result, with all that plugins did
function session:finish(code)
  if self.status == 101 and not self.client.gone then self:close(code) end
  self.result.done = self.world:wait(function() return self.result.ended end)
  self.world:hang_up(self.client)
  return self.narrow and self.narrow(self.result) or self.result
end

--- Breaks the client's connection off.
function session:reset() self.world:hang_up(self.client, "reset") end

-- ---- Origins --------------------------------------------------------------------------------------------

--- The answer to a handshake that came to an origin.
function websocket.answer(request, value)
  local accept = harness.websocket_accept(request.headers["sec-websocket-key"] or "")
  local lines = { "HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
                  "Sec-WebSocket-Accept: " .. accept }
  if value.protocol then lines[#lines + 1] = "Sec-WebSocket-Protocol: " .. value.protocol end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

return websocket
