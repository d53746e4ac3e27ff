-- A small HTTP/1.1 client for what wrk does not do: look at one answer closely, hold thousands of
-- connections open, send an exact number of requests.
--
-- It understands answers with a Content-Length, which is all that the origin sends and what a gateway
-- should make of it, and chunked ones, as what is compressed on the way must be; anything else raises.
-- Connections are plain descriptors, owned by the caller, who ends them with close(). Nothing here is
-- measured, so clarity goes before speed.

local poll = require "posix.poll"
local process = require "lib.process"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

local ANSWER_DEADLINE = 5000 -- milliseconds
local READ_SIZE = 16384
local ADDRESSES = 20

local client = {}

--- A connection to a port on loopback, from 127.0.0.1 or the address given: a descriptor, or nil and
-- the reason.
function client.open(port, from)
  local fd, why = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
  if not fd then
    return nil, why
  end
  local ok = true
  if from then
    ok, why = socket.bind(fd, { family = socket.AF_INET, addr = from, port = 0 })
  end
  if ok then
    ok, why = socket.connect(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = port })
  end
  if not ok then
    unistd.close(fd)
    return nil, why
  end
  return fd
end

--- Ends a list of connections.
function client.close(fds)
  for _, fd in ipairs(fds) do
    unistd.close(fd)
  end
end

--- A port that nobody listens on at this moment.
function client.free_port()
  local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
  assert(socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = 0 }))
  local port = socket.getsockname(fd).port
  unistd.close(fd)
  return port
end

--- The bytes of a GET request. headers: a list of "Name: value".
function client.request(port, path, headers)
  local lines = { ("GET %s HTTP/1.1"):format(path), ("Host: 127.0.0.1:%d"):format(port) }
  for _, header in ipairs(headers or {}) do
    lines[#lines + 1] = header
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- The whole length of the answer whose first bytes are in text, or nil while its head is incomplete.
local function answer_length(text)
  local _, head_end = text:find("\r\n\r\n", 1, true)
  if not head_end then
    return nil
  end
  local head = text:sub(1, head_end):lower()
  local body = head:match("\r\ncontent%-length:%s*(%d+)\r\n")
  if not body and head:find("\r\ntransfer-encoding: chunked\r\n", 1, true) then
    return text:sub(-7) == "\r\n0\r\n\r\n" and #text or nil, head_end
  end
  if not body then
    error("an answer without Content-Length:\n" .. text:sub(1, head_end), 0)
  end
  return head_end + tonumber(body), head_end
end

local function read_some(fd)
  local ready = poll.rpoll(fd, ANSWER_DEADLINE)
  local data = ready == 1 and socket.recv(fd, READ_SIZE)
  if not data or data == "" then
    error(ready == 1 and "the connection was closed before the answer ended"
      or "no answer within 5 s", 0)
  end
  return data
end

--- Sends a request on an open connection and reads the answer to its end. Returns it as
-- { status, headers (a list of { name in lower case, value }), body, size (head and body) }.
function client.exchange(fd, request)
  assert(socket.send(fd, request) == #request, "a request was not sent in one piece")
  local text = ""
  local size, head_end
  repeat
    text = text .. read_some(fd)
    size, head_end = answer_length(text)
  until size and #text >= size
  local headers = {}
  for name, value in text:sub(1, head_end):gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    headers[#headers + 1] = { name = name:lower(), value = value }
  end
  return {
    status = tonumber(text:match("^HTTP/1%.1 (%d%d%d)")),
    headers = headers,
    body = text:sub(head_end + 1),
    size = #text,
  }
end

--- One request on a connection of its own; the answer as from exchange(), or nil and the reason.
function client.fetch(port, path, headers)
  local fd, why = client.open(port)
  if not fd then
    return nil, why
  end
  local ok, answer = pcall(client.exchange, fd, client.request(port, path, headers))
  unistd.close(fd)
  if not ok then
    return nil, answer
  end
  return answer
end

-- Opens count connections one after the other and has each do `step`, which gives nil or what is wrong.
-- They come from ADDRESSES addresses in turn, since gateways limit the connections of one.
local function open_many(port, count, step)
  local fds = {}
  for i = 1, count do
    local fd, why = client.open(port, "127.0.0." .. 1 + i % ADDRESSES)
    fds[i] = fd
    why = fd and step(fd) or why
    if why then
      client.close(fds)
      error(("connection %d of %d: %s"):format(i, count, why), 0)
    end
    if i % 100 == 0 then
      process.pause(0) -- notice an interruption
    end
  end
  return fds
end

--- Opens count connections, each of which does one request and then stays.
function client.open_idle(port, count, headers)
  local request = client.request(port, "/", headers)
  return open_many(port, count, function(fd)
    local ok, answer = pcall(client.exchange, fd, request)
    return (not ok or answer.status ~= 200) and (ok and answer.status or answer) or nil
  end)
end

--- Opens count connections, each of which sends one request for "/never".
function client.open_waiting(port, count, headers)
  local request = client.request(port, "/never", headers)
  return open_many(port, count, function(fd)
    local sent, why = socket.send(fd, request)
    return sent ~= #request and (why or "not sent whole") or nil
  end)
end

--- How many of the connections have something to read, which on idle ones can only be an end.
function client.count_closed(fds)
  local set = {}
  for _, fd in ipairs(fds) do
    set[fd] = { events = { IN = true } }
  end
  return assert(poll.poll(set, 0))
end

-- Reads what has arrived on one connection of a closed loop. True when its answer is complete.
local function advance(loop, fd)
  local text = (loop.partial[fd] or "") .. read_some(fd)
  local size = answer_length(text)
  if not size or #text < size then
    loop.partial[fd] = text
    return false
  end
  if #text > size or not text:find("^HTTP/1%.1 200 ") then
    error("not the answer that was expected: " .. text:match("^[^\r]*"), 0)
  end
  loop.partial[fd] = nil
  return true
end

--- Sends exactly count requests over open connections, one in flight on each, and reads all answers.
function client.closed_loop(fds, request, count)
  local loop = { partial = {} }
  local set, sent, answered = {}, 0, 0
  local function send(fd)
    if sent < count then
      sent = sent + 1
      assert(socket.send(fd, request) == #request, "a request was not sent in one piece")
    end
  end
  for _, fd in ipairs(fds) do
    set[fd] = { events = { IN = true } }
    send(fd)
  end
  while answered < count do
    if assert(poll.poll(set, ANSWER_DEADLINE)) == 0 then
      error("no answer within 5 s", 0)
    end
    for fd, entry in pairs(set) do
      if entry.revents.IN and advance(loop, fd) then
        answered = answered + 1
        send(fd)
      end
    end
    process.pause(0) -- notice an interruption
  end
end

return client
