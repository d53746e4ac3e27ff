--- WebSocket frames for specs, byte by byte (RFC 6455): a client that breaks any rule, and an origin that
-- knows its side of the handshake.
--
--   local p, descriptors = websocket.start(finally, 'ping = "1s"')   -- p: support.proxy
--   local c, conn, request = websocket.open(p)                -- both ends are open
--   c:send(websocket.frame { text = "hello", mask = true })
--   local f = websocket.read(conn)                            -- { opcode, payload, final, masked }
--   websocket.expect(conn, { text = "hello" })                -- the same, asserted
--   websocket.expect_close(c, 1002)
--
-- frame { text =, binary =, close = code, reason =, ping =, pong =, more =, opcode =, payload =, final =,
-- mask =, reserved = bits, length = "as told" }.

local assert = require("luassert")
local bit = require("bit")
local proxy = require("support.proxy")

local websocket = {}

local OPCODES = { more = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 }

-- ---- SHA-1 and base 64, for Sec-WebSocket-Accept --------------------------------------------------

local function word(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  return bit.bor(bit.lshift(a, 24), bit.lshift(b, 16), bit.lshift(c, 8), d)
end

local function be32(n)
  return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
    bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

-- What a round of SHA-1 mixes in, by its number.
local function mixed(i, b, c, d)
  if i < 20 then return bit.bor(bit.band(b, c), bit.band(bit.bnot(b), d)), 0x5A827999 end
  if i < 40 then return bit.bxor(b, c, d), 0x6ED9EBA1 end
  if i < 60 then return bit.bor(bit.band(b, c), bit.band(b, d), bit.band(c, d)), 0x8F1BBCDC end
  return bit.bxor(b, c, d), 0xCA62C1D6
end

local function sha1(text)
  local h = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 }
  local padded = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. be32(0) .. be32(#text * 8)
  for at = 1, #padded, 64 do
    local w = {}
    for i = 0, 15 do w[i] = word(padded, at + i * 4) end
    for i = 16, 79 do w[i] = bit.rol(bit.bxor(w[i - 3], w[i - 8], w[i - 14], w[i - 16]), 1) end
    local a, b, c, d, e = h[1], h[2], h[3], h[4], h[5]
    for i = 0, 79 do
      local f, k = mixed(i, b, c, d)
      a, b, c, d, e = bit.tobit(bit.rol(a, 5) + f + e + k + w[i]), a, bit.rol(b, 30), c, d
    end
    for i, value in ipairs({ a, b, c, d, e }) do h[i] = bit.tobit(h[i] + value) end
  end
  local out = {}
  for i = 1, 5 do out[i] = be32(h[i]) end
  return table.concat(out)
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local out = {}
  for at = 1, #bytes, 3 do
    local a, b, c = bytes:byte(at, at + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for i = 3, 0, -1 do
      local index = math.floor(n / 64 ^ i) % 64
      out[#out + 1] = (i == 1 and not b or i == 0 and not c) and "=" or ALPHABET:sub(index + 1, index + 1)
    end
  end
  return table.concat(out)
end

--- The Sec-WebSocket-Accept of a key.
function websocket.accept(key)
  return base64(sha1(key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
end

-- ---- Frames ---------------------------------------------------------------------------------------

local function masked(payload, key)
  local bytes = {}
  for i = 1, #payload do
    bytes[i] = string.char(bit.bxor(payload:byte(i), key:byte((i - 1) % 4 + 1)))
  end
  return table.concat(bytes)
end

local function length_of(n, mask)
  local bits = mask and 128 or 0
  if n < 126 then return string.char(bits + n) end
  if n < 65536 then return string.char(bits + 126, math.floor(n / 256), n % 256) end
  return string.char(bits + 127) .. be32(math.floor(n / 2 ^ 32)) .. be32(n % 2 ^ 32)
end

local function payload_of(f)
  if f.close then
    return f.close == true and "" or string.char(math.floor(f.close / 256), f.close % 256) .. (f.reason or "")
  end
  return f.text or f.binary or f.ping or f.pong or f.more or f.payload or ""
end

--- The bytes of a frame.
function websocket.frame(f)
  local opcode = f.opcode
  for kind, number in pairs(OPCODES) do
    if f[kind] then opcode = number end
  end
  local payload = payload_of(f)
  local first = (f.final == false and 0 or 128) + (f.reserved or 0) + opcode
  local key = f.mask and "\1\2\3\4" or ""
  return string.char(first) .. (f.length or length_of(#payload, f.mask)) .. key ..
    (f.mask and masked(payload, key) or payload)
end

local function number(bytes)
  local n = 0
  for i = 1, #bytes do n = n * 256 + bytes:byte(i) end
  return n
end

--- Reads one frame of a stream.
function websocket.read(stream)
  local a, b = stream:receive(2):byte(1, 2)
  local f = { final = a >= 128, opcode = a % 16, masked = b >= 128 }
  local n = b % 128
  if n == 126 then n = number(stream:receive(2)) elseif n == 127 then n = number(stream:receive(8)) end
  local key = f.masked and stream:receive(4)
  f.payload = n > 0 and stream:receive(n) or ""
  if key then f.payload = masked(f.payload, key) end
  if f.opcode == OPCODES.close and n >= 2 then
    f.close, f.reason = number(f.payload:sub(1, 2)), f.payload:sub(3)
  end
  return f
end

--- Reads a frame and asserts what it is: { text = "…" } or another kind, as for frame().
function websocket.expect(stream, want)
  local f = websocket.read(stream)
  for kind, opcode in pairs(OPCODES) do
    if want[kind] then
      assert.equal(opcode, f.opcode, "opcode of " .. kind .. ", got payload " .. f.payload:sub(1, 80))
    end
  end
  assert.equal(payload_of(want), f.payload)
  assert.is_true(f.final)
  return f
end

--- Reads a close frame with that code.
function websocket.expect_close(stream, code)
  local f = websocket.read(stream)
  assert.equal(OPCODES.close, f.opcode, "a close frame, got " .. f.payload:sub(1, 80))
  assert.equal(code, f.close)
  return f
end

-- ---- The handshake --------------------------------------------------------------------------------

--- A client's request; `fields`: more lines of the head.
function websocket.request(fields)
  return "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" ..
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" .. (fields or "") .. "\r\n"
end

--- The origin's answer to a request that it got; `fields`: more lines of the head.
function websocket.answer(request, fields)
  return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" ..
    "Sec-WebSocket-Accept: " .. websocket.accept(request.headers["sec-websocket-key"]) .. "\r\n" ..
    (fields or "") .. "\r\n"
end

--- Starts a gateway (support.proxy) whose route inspects; `fields`: what stands in `websocket`,
-- `finally`: busted's, which ends it with the test.
-- @return it, and how many descriptors it has open now that it serves
function websocket.start(finally, fields, options)
  options = options or {}
  options.route = ("websocket = { %s }"):format(fields or "")
  local p = proxy.start(options)
  finally(function() p:stop() end)
  assert.is_true(p:serves())
  return p, p:descriptors()
end

--- Opens one through a gateway (support.proxy).
-- @return the client, the origin's connection, the request that came there, the client's response
function websocket.open(p, asked, answered)
  local c, conn, request = p:exchange(websocket.request(asked))
  conn:send(websocket.answer(request, answered))
  local response = c:response()
  assert.status(101, response)
  return c, conn, request, response
end

--- Takes the next connection of the origin and answers its handshake.
function websocket.accept_again(p, answered)
  local conn = p.origin:accept()
  local request = conn:request()
  conn:send(websocket.answer(request, answered))
  return conn, request
end

return websocket
