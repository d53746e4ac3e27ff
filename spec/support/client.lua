--- A client for specs: a stream (support.socket) that also speaks HTTP/1.1.
--
--   local c = client.connect(g.port)
--   c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")            -- raw bytes, as broken as you like
--   local response = c:response()                          -- exactly one, with its 1xx
--   response = c:get("/path", { Accept = "text/plain" })   -- request and response in one
--
-- A connection stays open until the spec closes it or ends. `client.get(port, ...)` and
-- `client.request(port, ...)` use a connection for one exchange.

local http = require("support.http")
local socket = require("support.socket")

local client = {}

local Client = setmetatable({}, { __index = socket.Stream })
Client.__index = Client

--- Connects to a port on 127.0.0.1, or as the options of socket.connect say.
function client.connect(where)
  local options = type(where) == "table" and where or { port = where }
  return setmetatable(socket.connect(options), Client)
end

--- As `connect`, but returns nil and the reason when the connection is refused.
function client.try_connect(where)
  local options = type(where) == "table" and where or { port = where }
  local stream, problem = socket.try_connect(options)
  return stream and setmetatable(stream, Client), problem
end

--- Reads exactly one response. @param options as in http.read_response
function Client:response(options)
  return http.read_response(self, options)
end

--- Reads the head of one response and leaves its body unread.
function Client:response_head(seconds)
  return http.read_response_head(self, seconds)
end

--- Sends a request (fields as in http.request) and reads its response.
function Client:request(message)
  self:send(http.request(message))
  return self:response({ method = message.method, seconds = message.seconds })
end

--- GET on this connection.
function Client:get(target, headers)
  return self:request({ target = target, headers = headers })
end

--- POST on this connection; a list as body is sent chunked.
function Client:post(target, body, headers)
  return self:request({ method = "POST", target = target, headers = headers, body = body })
end

--- One request on a connection of its own.
function client.request(where, message)
  local c = client.connect(where)
  local response = c:request(message)
  c:close()
  return response
end

--- One GET on a connection of its own.
function client.get(where, target, headers)
  return client.request(where, { target = target, headers = headers })
end

return client
