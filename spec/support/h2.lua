--- A client for specs that speaks HTTP/2 frame by frame, as broken as the spec wants it.
--
--   local c = h2.connect(g.port)                         -- preface and SETTINGS go, no more
--   c:headers(1, h2.get("/path"), { end_stream = true }) -- a frame; fields are { name, value } pairs
--   local r = c:response(1)                              -- until the stream's end, or its reset
--   assert.equal("200", r.status)                        -- r.headers, body, trailers, infos, reset
--   c:frame("PING", 0, 0, "12345678")                    -- any frame, with any payload
--   local code = c:goaway()                              -- waits for one; then c.stream:wait_end()
--
-- Field blocks go out as literals; what comes is decoded by nghttp2's own HPACK. SETTINGS are
-- acknowledged, windows grow only as the spec says (`c:window(stream, bytes)`), frames of other streams
-- wait until somebody asks for them.

local client = require("support.client")
local ffi = require("ffi")

ffi.cdef [[
  typedef struct nghttp2_hd_inflater nghttp2_hd_inflater;
  typedef struct {
    uint8_t *name; uint8_t *value; size_t namelen; size_t valuelen; uint8_t flags;
  } nghttp2_nv;
  int nghttp2_hd_inflate_new(nghttp2_hd_inflater **inflater);
  void nghttp2_hd_inflate_del(nghttp2_hd_inflater *inflater);
  ptrdiff_t nghttp2_hd_inflate_hd2(nghttp2_hd_inflater *inflater, nghttp2_nv *nv, int *flags,
                                   const uint8_t *in, size_t n, int final);
  int nghttp2_hd_inflate_end_headers(nghttp2_hd_inflater *inflater);
]]

local nghttp2 = ffi.load("libnghttp2.so.14")

local h2 = {}

local Connection = {}
Connection.__index = Connection

h2.PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

local TYPES = {
  [0] = "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
  "WINDOW_UPDATE", "CONTINUATION", [16] = "PRIORITY_UPDATE",
}
local NUMBERS = {}
for number, name in pairs(TYPES) do
  NUMBERS[name] = number
end

local CODES = {
  [0] = "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
  "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

local END_STREAM, ACK, END_HEADERS = 1, 1, 4

--- A big-endian number of `bytes` bytes.
function h2.number(value, bytes)
  local out = {}
  for i = bytes, 1, -1 do
    out[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(out)
end

--- The number that `bytes` bytes of `text` from `at` on are.
function h2.number_at(text, at, bytes)
  local value = 0
  for i = at, at + bytes - 1 do
    value = value * 256 + text:byte(i)
  end
  return value
end

-- An HPACK integer with a prefix of 7 bits, all of whose first byte is the prefix.
local function hpack_length(n)
  if n < 127 then
    return string.char(n)
  end
  local out = { string.char(127) }
  n = n - 127
  while n >= 128 do
    out[#out + 1] = string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  out[#out + 1] = string.char(n)
  return table.concat(out)
end

--- A field block of literals that are not indexed.
function h2.block(fields)
  local out = {}
  for _, field in ipairs(fields) do
    out[#out + 1] = "\0" .. hpack_length(#field[1]) .. field[1] .. hpack_length(#field[2]) .. field[2]
  end
  return table.concat(out)
end

--- The fields of a request; `more` is a list of further ones.
function h2.fields(method, path, more)
  local list = {
    { ":method", method }, { ":scheme", "http" }, { ":authority", "a.test" }, { ":path", path },
  }
  for _, field in ipairs(more or {}) do
    list[#list + 1] = field
  end
  return list
end

function h2.get(path, more)
  return h2.fields("GET", path, more)
end

function h2.post(path, more)
  return h2.fields("POST", path, more)
end

--- The bytes of one frame.
function h2.frame(kind, flags, stream, payload)
  local head = h2.number(#payload, 3) .. string.char(NUMBERS[kind] or kind, flags)
  return head .. h2.number(stream, 4) .. payload
end

--- Settings as a payload: { number = value, … }.
function h2.settings(values)
  local out = {}
  for number, value in pairs(values or {}) do
    out[#out + 1] = h2.number(number, 2) .. h2.number(value, 4)
  end
  return table.concat(out)
end

local function new_inflater()
  local room = ffi.new("nghttp2_hd_inflater *[1]")
  assert(nghttp2.nghttp2_hd_inflate_new(room) == 0)
  return ffi.gc(room[0], nghttp2.nghttp2_hd_inflate_del)
end

--- Connects; the preface and SETTINGS of `options.settings` are sent unless `options.bare`.
-- @param where as for client.connect
function h2.connect(where, options)
  options = options or {}
  local c = { stream = client.connect(where), waiting = {}, inflater = new_inflater() }
  setmetatable(c, Connection)
  if not options.bare then
    c.stream:send(h2.PREFACE .. h2.frame("SETTINGS", 0, 0, h2.settings(options.settings)))
  end
  return c
end

function Connection:frame(kind, flags, stream, payload)
  self.stream:send(h2.frame(kind, flags, stream, payload or ""))
end

function Connection:headers(stream, fields, options)
  local flags = (options and options.end_stream and END_STREAM or 0) +
                (options and options.open and 0 or END_HEADERS)
  self:frame("HEADERS", flags, stream, h2.block(fields))
end

function Connection:data(stream, bytes, ends)
  self:frame("DATA", ends and END_STREAM or 0, stream, bytes)
end

function Connection:window(stream, bytes)
  self:frame("WINDOW_UPDATE", 0, stream, h2.number(bytes, 4))
end

function Connection:reset(stream, code)
  self:frame("RST_STREAM", 0, stream, h2.number(code or 8, 4))
end

--- One request without a body, and its answer.
function Connection:get(stream, path, more)
  self:headers(stream, h2.get(path, more), { end_stream = true })
  return self:response(stream)
end

function Connection:close()
  self.stream:close()
end

-- ---- What comes -------------------------------------------------------------------------------------

local function decode(c, block)
  local fields, at = {}, 0
  local nv, flags = ffi.new("nghttp2_nv"), ffi.new("int[1]")
  local bytes = ffi.cast("const uint8_t *", block)
  repeat
    local n = nghttp2.nghttp2_hd_inflate_hd2(c.inflater, nv, flags, bytes + at, #block - at, 1)
    assert(n >= 0, "a field block that HPACK does not take")
    at = at + tonumber(n)
    if flags[0] % 4 >= 2 then
      fields[#fields + 1] = { ffi.string(nv.name, nv.namelen), ffi.string(nv.value, nv.valuelen) }
    end
  until flags[0] % 2 == 1
  nghttp2.nghttp2_hd_inflate_end_headers(c.inflater)
  return fields
end

local function has(frame, flag)
  return math.floor(frame.flags / flag) % 2 == 1
end

local function read_frame(c, seconds)
  local head = c.stream:receive(9, seconds)
  local frame = { flags = head:byte(5), stream = h2.number_at(head, 6, 4) }
  frame.kind = TYPES[head:byte(4)] or head:byte(4)
  frame.payload = c.stream:receive(h2.number_at(head, 1, 3), seconds)
  if frame.kind == "HEADERS" then
    while not has(frame, END_HEADERS) do
      local more = read_frame(c, seconds)
      assert(more.kind == "CONTINUATION")
      frame.payload = frame.payload .. more.payload
      frame.flags = frame.flags + (has(more, END_HEADERS) and END_HEADERS or 0)
    end
    frame.fields = decode(c, frame.payload)
  elseif frame.kind == "RST_STREAM" then
    frame.code = CODES[h2.number_at(frame.payload, 1, 4)]
  elseif frame.kind == "GOAWAY" then
    frame.last, frame.code = h2.number_at(frame.payload, 1, 4), CODES[h2.number_at(frame.payload, 5, 4)]
  elseif frame.kind == "SETTINGS" and not has(frame, ACK) then
    c.settings = {}
    for at = 1, #frame.payload, 6 do
      c.settings[h2.number_at(frame.payload, at, 2)] = h2.number_at(frame.payload, at + 2, 4)
    end
    if not c.silent then
      c:frame("SETTINGS", ACK, 0)
    end
  end
  return frame
end

--- The next frame for which `wanted` says so; the others wait.
function Connection:next(wanted, seconds)
  for i, frame in ipairs(self.waiting) do
    if wanted(frame) then
      return table.remove(self.waiting, i)
    end
  end
  while true do
    local frame = read_frame(self, seconds)
    if wanted(frame) then
      return frame
    end
    self.waiting[#self.waiting + 1] = frame
  end
end

--- The next frame of a kind, on `stream` if given.
function Connection:expect(kind, stream, seconds)
  return self:next(function(frame)
    return frame.kind == kind and (not stream or frame.stream == stream)
  end, seconds)
end

--- Waits for a GOAWAY. @return its code, the last stream
function Connection:goaway(seconds)
  local frame = self:expect("GOAWAY", 0, seconds)
  return frame.code, frame.last
end

local function take_fields(r, frame)
  local headers = {}
  for _, field in ipairs(frame.fields) do
    headers[field[1]] = field[2]
  end
  local status = headers[":status"]
  if not status then
    r.trailers = headers
  elseif status:sub(1, 1) == "1" then
    table.insert(r.infos, { status = status, headers = headers })
  else
    r.status, r.headers, r.fields = status, headers, frame.fields
  end
end

--- Reads a stream's answer to its end. @return { status, headers, fields, body, trailers, infos, reset }
function Connection:response(stream, seconds)
  local r = { body = "", infos = {} }
  while true do
    local frame = self:next(function(frame)
      return frame.stream == stream and frame.kind ~= "WINDOW_UPDATE"
    end, seconds)
    if frame.kind == "HEADERS" then
      take_fields(r, frame)
    elseif frame.kind == "DATA" then
      r.body = r.body .. frame.payload
    elseif frame.kind == "RST_STREAM" then
      r.reset = frame.code
      return r
    end
    if has(frame, END_STREAM) then
      return r
    end
  end
end

--- Reads DATA of a stream until `bytes` stand in it. @return what came
function Connection:response_until(stream, bytes, seconds)
  local body = ""
  repeat
    local frame = self:next(function(frame)
      return frame.stream == stream and (frame.kind == "DATA" or frame.kind == "HEADERS")
    end, seconds)
    body = body .. (frame.kind == "DATA" and frame.payload or "")
  until body:find(bytes, 1, true)
  return body
end

return h2
