--- HTTP/1.1 messages for specs: written as they are said, read leniently.
--
-- Reading checks framing only as far as it must to find the end of a message (RFC 9112 section 6);
-- it corrects nothing and refuses little, so a spec sees what was really sent: `raw` holds every byte
-- of the message, `header_list` the header lines in order and as written.
--
-- A message is a table: version, headers, header_list ({name, value} pairs), body, trailers, framing
-- ("none", "length", "chunked" or "close"), chunks (sizes, where chunked), raw; a response has
-- status and reason and `informational` (the 1xx responses before it), a request method and target.
-- `headers` takes any case and joins repeated lines with ", ": message.headers["content-type"].

local http = {}

local Headers = {
  __index = function(headers, name)
    return rawget(headers, tostring(name):lower())
  end,
}

local function add_header(message, name, value)
  table.insert(message.header_list, { name, value })
  local key = name:lower()
  local earlier = rawget(message.headers, key)
  rawset(message.headers, key, earlier and earlier .. ", " .. value or value)
end

local function parse_fields(lines, message)
  for line in lines:gmatch("([^\r\n]+)\r?\n") do
    local name, value = line:match("^([^:]*):[ \t]*(.-)[ \t]*$")
    add_header(message, name or line, value or "")
  end
end

local function read_head(stream, seconds, what)
  local head = stream:receive_until("\r\n\r\n", seconds, what)
  local first, lines = head:match("^([^\r\n]*)\r?\n(.*)$")
  local message = { headers = setmetatable({}, Headers), header_list = {}, raw = head, body = "" }
  parse_fields(lines, message)
  return message, first
end

local function read_chunked(stream, message, seconds)
  local body = {}
  message.framing, message.chunks = "chunked", {}
  local function receive(bytes)
    message.raw = message.raw .. bytes
    return bytes
  end
  while true do
    local line = receive(stream:receive_until("\r\n", seconds, "chunk size"))
    local size = tonumber(line:match("^%x+") or error("no chunk size in " .. ("%q"):format(line)), 16)
    if size == 0 then
      break
    end
    table.insert(message.chunks, size)
    table.insert(body, receive(stream:receive(size + 2, seconds)):sub(1, size))
  end
  local trailers = { headers = setmetatable({}, Headers), header_list = {} }
  repeat
    local line = receive(stream:receive_until("\r\n", seconds, "end of the trailers"))
    parse_fields(line, trailers)
  until line == "\r\n"
  message.trailers = trailers.headers
  message.body = table.concat(body)
end

local function read_body(stream, message, seconds, until_close)
  local coding = message.headers["transfer-encoding"]
  local length = tonumber(message.headers["content-length"])
  if coding and coding:lower():match("chunked%s*$") then
    return read_chunked(stream, message, seconds)
  elseif length then
    message.framing = "length"
    message.body = stream:receive(length, seconds)
  elseif until_close then
    message.framing = "close"
    message.body, message.ended = stream:receive_rest(seconds)
  else
    message.framing = "none"
  end
  message.raw = message.raw .. message.body
end

local function has_no_body(status, method)
  return method == "HEAD" or status < 200 or status == 204 or status == 304
    or (method == "CONNECT" and status < 300)
end

--- Reads the head of one response; the body stays unread (for bodies that a spec streams).
function http.read_response_head(stream, seconds)
  local message, line = read_head(stream, seconds, "response head")
  local version, status, reason = line:match("^HTTP/(%d%.%d) (%d%d%d) ?(.*)$")
  if not status then
    error(("not a status line: %q"):format(line), 2)
  end
  message.version, message.status, message.reason = version, tonumber(status), reason
  return message
end

--- Reads exactly one response; 1xx ones before it go to `informational` (101 is final).
-- @param options method of the request (HEAD and CONNECT have no body), seconds for each wait
function http.read_response(stream, options)
  options = options or {}
  local informational = {}
  local message = http.read_response_head(stream, options.seconds)
  while message.status < 200 and message.status ~= 101 do
    table.insert(informational, message)
    message = http.read_response_head(stream, options.seconds)
  end
  message.informational = informational
  if has_no_body(message.status, options.method) then
    message.framing = "none"
  else
    read_body(stream, message, options.seconds, true)
  end
  return message
end

--- Reads the head of one request; the body stays unread.
function http.read_request_head(stream, seconds)
  local message, line = read_head(stream, seconds, "request head")
  message.method, message.target, message.version = line:match("^(%S+) (%S+) HTTP/(%d%.%d)$")
  if not message.method then
    error(("not a request line: %q"):format(line), 2)
  end
  return message
end

--- Reads exactly one request.
function http.read_request(stream, seconds)
  local message = http.read_request_head(stream, seconds)
  read_body(stream, message, seconds, false)
  return message
end

--- One chunk of the chunked coding (RFC 9112 section 7.1); an empty one is the last.
function http.chunk(bytes)
  return ("%x\r\n%s\r\n"):format(#bytes, bytes)
end

--- The chunked coding of a list of pieces, closed, with trailers (list of {name, value}) where given.
function http.chunked(pieces, trailers)
  local out = {}
  for _, piece in ipairs(pieces) do
    table.insert(out, http.chunk(piece))
  end
  table.insert(out, "0\r\n" .. http.fields(trailers) .. "\r\n")
  return table.concat(out)
end

--- Header lines from a list of {name, value} pairs, or from a map (then in the order of names).
function http.fields(fields)
  local list = {}
  for name, value in pairs(fields or {}) do
    if type(name) == "string" then
      table.insert(list, name .. ": " .. tostring(value) .. "\r\n")
    end
  end
  table.sort(list)
  for _, pair in ipairs(fields or {}) do
    table.insert(list, pair[1] .. ": " .. tostring(pair[2]) .. "\r\n")
  end
  return table.concat(list)
end

local function has_field(fields, wanted)
  for name, value in pairs(fields or {}) do
    local found = type(value) == "table" and value[1] or name
    if type(found) == "string" and found:lower() == wanted then
      return true
    end
  end
  return false
end

-- Body and framing header of a message to write: a string gets a Content-Length, a list of strings
-- the chunked coding; nothing is added where the caller wrote a framing header.
local function payload(message, always)
  local body = message.body
  if type(body) == "table" then
    return http.chunked(body, message.trailers), "Transfer-Encoding: chunked\r\n"
  end
  local framed = has_field(message.headers, "content-length")
    or has_field(message.headers, "transfer-encoding")
  if framed or not (body or always) then
    return body or "", ""
  end
  return body or "", ("Content-Length: %d\r\n"):format(#(body or ""))
end

--- The bytes of a request: { method = "GET", target = "/", version = "1.1", headers, body, trailers }.
-- `Host: test` is added where no host is given; host = false leaves it out.
function http.request(message)
  local body, framing = payload(message, false)
  local host = ""
  if message.host ~= false and not has_field(message.headers, "host") then
    host = ("Host: %s\r\n"):format(message.host or "test")
  end
  return ("%s %s HTTP/%s\r\n%s%s%s\r\n%s"):format(message.method or "GET", message.target or "/",
    message.version or "1.1", host, http.fields(message.headers), framing, body)
end

--- The bytes of a response: { status = 200, reason, version = "1.1", headers, body, trailers }.
function http.response(message)
  local status = message.status or 200
  local body, framing = payload(message, not has_no_body(status))
  return ("HTTP/%s %d %s\r\n%s%s\r\n%s"):format(message.version or "1.1", status,
    message.reason or "Test", http.fields(message.headers), framing, body)
end

return http
