--- Frames of HTTP/2 for scripted origins that break its rules.
--
--   local f = frames.accept(o)                    -- takes a connection and its preface, sends SETTINGS
--   local id = f:request()                        -- waits for HEADERS; the number of the stream
--   f:headers(id, { { ":status", "200" } })       -- or f:answer(id, 200, "body")
--   f:send(frames.GOAWAY, 0, 0, frames.goaway(id, 0))
--
-- Header blocks are written without compression; those that come are not decoded: what the gateway
-- sends is checked with real peers (spec/upstream/http2_spec.lua).

local frames = {
  DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
  WINDOW_UPDATE = 8, CONTINUATION = 9,
}

local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local END_STREAM, END_HEADERS, ACK = 1, 4, 1

local char = string.char

local function number(value, bytes)
  local out = {}
  for i = bytes, 1, -1 do
    out[i] = char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(out)
end

local function value_of(text)
  local value = 0
  for i = 1, #text do
    value = value * 256 + text:byte(i)
  end
  return value
end

frames.number, frames.value_of = number, value_of

--- The bytes of a frame.
function frames.frame(kind, flags, stream, payload)
  return number(#payload, 3) .. char(kind, flags) .. number(stream, 4) .. payload
end

-- A string of HPACK, as it is.
local function hpack_string(text)
  if #text < 127 then
    return char(#text) .. text
  end
  local rest, out = #text - 127, char(127)
  while rest >= 128 do
    out = out .. char(rest % 128 + 128)
    rest = math.floor(rest / 128)
  end
  return out .. char(rest) .. text
end

--- A header block: a list of { name, value }.
function frames.block(fields)
  local out = {}
  for i, field in ipairs(fields) do
    out[i] = char(0) .. hpack_string(field[1]) .. hpack_string(field[2])
  end
  return table.concat(out)
end

function frames.settings(list)
  local out = {}
  for i, setting in ipairs(list) do
    out[i] = number(setting[1], 2) .. number(setting[2], 4)
  end
  return table.concat(out)
end

function frames.goaway(last, code)
  return number(last, 4) .. number(code, 4)
end

local Frames = {}
Frames.__index = Frames

--- A frame of the gateway's: kind, flags, stream, payload; nil and how it ended, at the end.
function Frames:next(seconds)
  local ok, head = pcall(self.conn.receive, self.conn, 9, seconds)
  if not ok then
    return nil, head
  end
  local payload = self.conn:receive(value_of(head:sub(1, 3)))
  return { kind = head:byte(4), flags = head:byte(5), stream = value_of(head:sub(6, 9)), payload = payload }
end

--- The next frame of that kind; what comes before is passed over.
function Frames:expect(kind, seconds)
  while true do
    local frame, problem = self:next(seconds)
    if not frame then
      error("frames: " .. tostring(problem), 2)
    end
    if frame.kind == kind then
      return frame
    end
  end
end

--- Waits for a request's HEADERS; the number of its stream.
function Frames:request(seconds)
  return self:expect(frames.HEADERS, seconds).stream
end

function Frames:send(kind, flags, stream, payload)
  self.conn:send(frames.frame(kind, flags, stream, payload or ""))
end

function Frames:headers(stream, fields, ended)
  self:send(frames.HEADERS, END_HEADERS + (ended and END_STREAM or 0), stream, frames.block(fields))
end

function Frames:data(stream, bytes, ended)
  self:send(frames.DATA, ended and END_STREAM or 0, stream, bytes)
end

--- A whole answer.
function Frames:answer(stream, status, body)
  self:headers(stream, { { ":status", tostring(status) } })
  self:data(stream, body, true)
end

function Frames:reset(stream, code)
  self:send(frames.RST_STREAM, 0, stream, number(code, 4))
end

function Frames:acknowledge(frame)
  self:send(frame.kind, ACK, 0, frame.kind == frames.PING and frame.payload or "")
end

function Frames:close()
  self.conn:close()
end

--- Takes a connection of the origin's listener with its preface, and sends our settings.
function frames.accept(origin, settings, seconds)
  local f = setmetatable({ conn = origin:accept(seconds) }, Frames)
  assert(f.conn:receive(#PREFACE) == PREFACE, "no preface of HTTP/2")
  f:send(frames.SETTINGS, 0, 0, frames.settings(settings or {}))
  return f
end

return frames
