-- HTTP/1.1 messages as specs send and see them: text out, text in, piece by piece.
--
-- Purpose    The spec's side of a connection, as client and as origin. It is no part of the gateway and
--            shares no code with it, so what the gateway sends is judged by a second reading of RFC 9112.
-- Invariants A reader takes bytes in any cut and keeps what does not belong to the message at hand. Reading
--            is strict: what it does not understand is an error of the gateway's and said so.
-- Ownership  Messages belong to whoever asked for them.
-- Cost       A handful of pattern matches for each message.

local http = {}

local REASONS = {
  [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content", [206] = "Partial Content",
  [301] = "Moved Permanently", [302] = "Found", [304] = "Not Modified", [400] = "Bad Request",
  [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [429] = "Too Many Requests",
  [500] = "Internal Server Error", [502] = "Bad Gateway", [503] = "Service Unavailable",
}

-- ---- Headers --------------------------------------------------------------------------------------------

local headers_meta = {
  __index = function(map, name) return type(name) == "string" and rawget(map, name:lower()) or nil end,
}

--- A map from names, in any case, to values; values of equal names are joined by ", ".
-- @tparam table list of { name, value }
function http.headers(list)
  local map = {}
  for _, field in ipairs(list) do
    local name = field[1]:lower()
    map[name] = map[name] and map[name] .. ", " .. field[2] or field[2]
  end
  return setmetatable(map, headers_meta)
end

local function by_name(a, b) return a[1] < b[1] end

--- The fields of a table { name = value or list, … } (sorted) or list { { name, value }… } (as it stands).
function http.field_list(given)
  local list = {}
  for name, value in pairs(given or {}) do
    if type(name) == "string" then
      for _, one in ipairs(type(value) == "table" and value or { value }) do
        list[#list + 1] = { name, tostring(one) }
      end
    end
  end
  table.sort(list, by_name)
  for _, field in ipairs(given or {}) do list[#list + 1] = { field[1], tostring(field[2]) } end
  return list
end

local function has(list, name)
  for _, field in ipairs(list) do
    if field[1]:lower() == name then return true end
  end
end

-- ---- Writing --------------------------------------------------------------------------------------------

local FIELDS = { method = true, path = true, host = true, headers = true, body = true, chunks = true,
                 version = true, client = true }

--- Refuses what is no request; `level` as for error().
-- @tparam table request
-- @tparam string more a further field that requests have here
function http.check_request(request, more, level)
  if type(request) ~= "table" then error("a request is a table: { method = …, path = … }", level + 1) end
  for name in pairs(request) do
    if not FIELDS[name] and name ~= more then
      error(("a request has no field %q"):format(tostring(name)), level + 1)
    end
  end
end

--- One chunk of a chunked body; the last one is http.chunk "".
function http.chunk(text)
  return ("%x\r\n%s\r\n"):format(#text, text)
end

local function write_head(first, list)
  local lines = { first }
  for _, field in ipairs(list) do lines[#lines + 1] = field[1] .. ": " .. field[2] end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Adds what frames the body, unless the spec has said so itself.
local function frame(list, body, chunks)
  if has(list, "content-length") or has(list, "transfer-encoding") then return end
  if chunks then
    list[#list + 1] = { "Transfer-Encoding", "chunked" }
  elseif body then
    list[#list + 1] = { "Content-Length", tostring(#body) }
  end
end

local function pieces_of(head, body, chunks)
  local pieces = { head }
  if not chunks then
    pieces[1] = head .. (body or "")
    return pieces
  end
  for _, chunk in ipairs(chunks) do
    if #chunk > 0 then pieces[#pieces + 1] = http.chunk(chunk) end
  end
  pieces[#pieces + 1] = http.chunk ""
  return pieces
end

--- A request as pieces to send one after the other.
-- @tparam table req method, path, host, headers, body or chunks, version
function http.request(req)
  local list = http.field_list(req.headers)
  if not has(list, "host") and req.host ~= false then
    table.insert(list, 1, { "Host", req.host or "gateway.test" })
  end
  frame(list, req.body, req.chunks)
  local first = ("%s %s HTTP/%s"):format(req.method or "GET", req.path or "/", req.version or "1.1")
  return pieces_of(write_head(first, list), req.body, req.chunks)
end

--- A response as pieces; `for_head` leaves the body out, as the answer to HEAD must.
-- @tparam table res status, headers, body or chunks
function http.response(res, for_head)
  local list = http.field_list(res.headers)
  local bodiless = for_head or res.status < 200 or res.status == 204 or res.status == 304
  if res.status >= 200 and res.status ~= 204 and (res.status ~= 304 or res.body) then
    frame(list, res.body or "", res.chunks)
  end
  local first = ("HTTP/1.1 %d %s"):format(res.status, res.reason or REASONS[res.status] or "Status")
  if bodiless then return { write_head(first, list) } end
  return pieces_of(write_head(first, list), res.body, res.chunks)
end

-- ---- Reading --------------------------------------------------------------------------------------------

local reader = {}
reader.__index = reader

--- A reader of one direction of a connection.
-- @tparam string kind "request" or "response"
function http.reader(kind)
  return setmetatable({ kind = kind, buffer = "", state = "head", methods = {} }, reader)
end

--- Takes bytes.
function reader:feed(bytes)
  self.buffer = self.buffer .. bytes
end

--- Tells which method the next response answers: HEAD has no body.
function reader:expect(method)
  self.methods[#self.methods + 1] = method
end

-- The fields of lines that end in CRLF; a CR or LF by itself ends none, and is no part of one.
local function read_fields(text)
  local list, at = {}, 1
  while at <= #text do
    local stop = text:find("\r\n", at, true)
    local line = text:sub(at, stop - 1)
    local name, value = line:match "^([^%s:]+):[ \t]*([^\r\n]-)[ \t]*$"
    if not name then error(("not a header line: %q"):format(line), 0) end
    list[#list + 1] = { name, value }
    at = stop + 2
  end
  return list
end

local function read_first_line(kind, line)
  if kind == "request" then
    local method, target, version = line:match "^(%S+) (%S+) HTTP/(%d%.%d)$"
    if not method then error("not a request line: " .. line, 0) end
    return { method = method, target = target, path = target, version = version }
  end
  local version, status, reason = line:match "^HTTP/(%d%.%d) (%d%d%d) ?(.*)$"
  if not version then error("not a status line: " .. line, 0) end
  return { status = tonumber(status), reason = reason, version = version }
end

-- How the body of `message` ends: "none", "chunked", "length" or "close" (RFC 9112, 6.3).
local function framing_of(self, message)
  if self.kind == "response" then
    local status, method = message.status, self.methods[1]
    if status < 200 then return status == 101 and "tunnel" or "info" end
    if method == "HEAD" or status == 204 or status == 304 then return "none" end
  end
  local coding, length = message.headers["transfer-encoding"], message.headers["content-length"]
  if coding and length then error("a message with Transfer-Encoding and Content-Length", 0) end
  if coding and coding:lower():find "chunked$" then return "chunked" end
  if length then
    if not length:find "^%d+$" then error(("not a Content-Length: %q"):format(length), 0) end
    self.left = tonumber(length)
    return self.left > 0 and "length" or "none"
  end
  return self.kind == "response" and "close" or "none"
end

local function read_head(self)
  local stop, from = self.buffer:find("\r\n\r\n", 1, true)
  if not stop then return false end
  local text = self.buffer:sub(1, stop + 1)
  self.buffer = self.buffer:sub(from + 1)
  local first, rest = text:match "^([^\r\n]*)\r\n(.*)$"
  if not first then error(("not a first line: %q"):format(text:sub(1, 64)), 0) end
  local message = read_first_line(self.kind, first)
  message.header_list = read_fields(rest)
  message.headers = http.headers(message.header_list)
  message.chunks, message.complete = {}, false
  self.message, self.state = message, framing_of(self, message)
  return true
end

local function add(self, text)
  if #text > 0 then self.message.chunks[#self.message.chunks + 1] = text end
end

local function read_chunk(self)
  local size, from = self.buffer:match "^(%x+)[^\r\n]*\r\n()"
  if not size then return false end
  size = tonumber(size, 16)
  if size == 0 then
    local trailers, stop = self.buffer:match("^(.-)\r\n()", from)
    if trailers ~= "" then trailers, stop = self.buffer:match("^(.-\r\n)\r\n()", from) end
    if not trailers then return false end
    self.message.trailers = http.headers(read_fields(trailers))
    self.buffer, self.state = self.buffer:sub(stop), "none"
    return true
  end
  if #self.buffer < from + size + 1 then return false end
  add(self, self.buffer:sub(from, from + size - 1))
  if self.buffer:sub(from + size, from + size + 1) ~= "\r\n" then
    error("a chunk does not end where it says", 0)
  end
  self.buffer = self.buffer:sub(from + size + 2)
  return true
end

local function read_length(self)
  if #self.buffer == 0 then return false end
  local text = self.buffer:sub(1, self.left)
  add(self, text)
  self.buffer, self.left = self.buffer:sub(#text + 1), self.left - #text
  if self.left == 0 then self.state = "none" end
  return true
end

local function read_until_close(self, ended)
  add(self, self.buffer)
  self.buffer = ""
  if not ended then return false end
  self.state = "none"
  return true
end

local STEPS = { head = read_head, chunked = read_chunk, length = read_length, close = read_until_close,
                tunnel = function() return false end }

local function finish(self)
  local message = self.message
  message.body, message.complete = table.concat(message.chunks), true
  self.message, self.state = nil, "head"
  if self.kind == "response" then table.remove(self.methods, 1) end
  return message
end

--- What came behind a 101, which is none of HTTP's.
function reader:rest()
  local bytes = self.buffer
  self.buffer = ""
  return bytes
end

--- The next whole message; nil when there is none yet. Interim responses come as messages of their own.
-- @tparam boolean ended no more bytes will come
function reader:next(ended)
  while true do
    if self.state == "none" then return finish(self) end
    if self.state == "info" or (self.state == "tunnel" and self.message) then
      local message = self.message
      message.body, message.complete, self.message = "", true, nil
      if self.state == "info" then self.state = "head" end
      return message
    end
    if not STEPS[self.state](self, ended) then return nil end
  end
end

--- What came behind the last message; nil when that was nothing.
function reader:surplus()
  return self.state == "head" and self.buffer ~= "" and self.buffer or nil
end

--- What there is of a message that is not whole; nil when nothing of one has come.
function reader:partial()
  local message = self.message
  if message then message.body = table.concat(message.chunks) end
  return message
end

return http
