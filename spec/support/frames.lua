--- Frames of HTTP/2 for scripted origins that break its rules.
--
--   local f = frames.accept(o)                    -- takes a connection and its preface, sends SETTINGS
--   local id = f:request()                        -- waits for HEADERS; the number of the stream
--   f:headers(id, { { ":status", "200" } })       -- or f:answer(id, 200, "body")
--   f:send(frames.GOAWAY, 0, 0, frames.goaway(id, 0))
--
-- The other side is support.h2, whose encoding this uses. Header blocks that come are not decoded: what
-- the gateway sends is checked with real peers (spec/upstream/http2_spec.lua).

local h2 = require("support.h2")

local frames = {
  DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
  WINDOW_UPDATE = 8, CONTINUATION = 9,
  frame = h2.frame, block = h2.block, settings = h2.settings, number = h2.number,
}

local END_STREAM, END_HEADERS, ACK = 1, 4, 1

--- The number that all of `text` is.
function frames.value_of(text)
  return h2.number_at(text, 1, #text)
end

function frames.goaway(last, code)
  return h2.number(last, 4) .. h2.number(code, 4)
end

local Frames = {}
Frames.__index = Frames

--- A frame of the gateway's: kind, flags, stream, payload; nil and how it ended, at the end.
function Frames:next(seconds)
  local ok, head = pcall(self.conn.receive, self.conn, 9, seconds)
  if not ok then
    return nil, head
  end
  local payload = self.conn:receive(h2.number_at(head, 1, 3))
  return { kind = head:byte(4), flags = head:byte(5), stream = h2.number_at(head, 6, 4), payload = payload }
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
  self:send(frames.RST_STREAM, 0, stream, h2.number(code, 4))
end

function Frames:acknowledge(frame)
  self:send(frame.kind, ACK, 0, frame.kind == frames.PING and frame.payload or "")
end

function Frames:close()
  self.conn:close()
end

--- Takes a connection of the origin's listener with its preface, and sends our settings (number = value).
function frames.accept(origin, settings, seconds)
  local f = setmetatable({ conn = origin:accept(seconds) }, Frames)
  assert(f.conn:receive(#h2.PREFACE) == h2.PREFACE, "no preface of HTTP/2")
  f:send(frames.SETTINGS, 0, 0, frames.settings(settings))
  return f
end

return frames
