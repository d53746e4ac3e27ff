-- Fake origins: the spec's ends of the connections that a gateway makes.
--
-- Purpose    Answers dials and requests as the behaviours say (behaviour.lua), and keeps what was asked.
-- Invariants Handlers run between two rounds of the loop, never inside of one, so they may do anything,
--            turning the clock included.
-- Ownership  Belongs to a world. Connections are closed with it.
-- Cost       One read for each open connection and round.

local behaviour = require "tidegate.test.behaviour"
local http = require "tidegate.test.http"
local websocket = require "tidegate.test.websocket"

local origins = {}
origins.__index = origins

--- The origins of a world.
-- @tparam table world see world.lua
function origins.new(world)
  return setmetatable({ world = world, connections = {}, services = {}, calls = {}, names = {},
                        attempts = {} }, origins)
end

--- Says which service a target belongs to.
function origins:name(address, service)
  self.names[address] = self.names[address] or service
  self.calls[service] = self.calls[service] or {}
end

local function drop(connection)
  connection.pipe:reset()
  connection.gone = true
end

--- What a service does from now on. Connections that are kept from before are ended where nobody listens any
-- more.
function origins:set(service, value)
  self.services[service] = value
  self.calls[service] = self.calls[service] or {}
  for _, connection in ipairs(self.connections) do
    local next_one = connection.service == service and behaviour.resolve(value, connection.address, true)
    if next_one and behaviour.kind(next_one) == "refuse" then drop(connection) end
  end
end

local function value_of(self, service)
  local value = self.services[service]
  return value == nil and { 200, body = "" } or value
end

--- The gateway dials; true when that was answered.
function origins:dial(event)
  local service = self.names[event.address]
  local value = service and behaviour.resolve(value_of(self, service), event.address, true)
                or behaviour.refuse()
  local kind = behaviour.kind(value)
  if kind == "hang_connect" then
    behaviour.resolve(value_of(self, service), event.address)
    return false
  end
  if kind == "refuse" then
    if service then behaviour.resolve(value_of(self, service), event.address) end
    self.world.core:settle(event.id, "refused")
    return true
  end
  local pipe = self.world.core:settle(event.id, "ok")
  if pipe then
    self.connections[#self.connections + 1] = {
      pipe = pipe, reader = http.reader "request", service = service, address = event.address, out = {},
    }
  end
  return true
end

-- ---- Answering ------------------------------------------------------------------------------------------

local function flush(connection)
  local moved = false
  while connection.out[1] and not connection.gone do
    local sent = connection.pipe:send(connection.out[1])
    if not sent then
      connection.gone = true
      return true
    end
    if sent == 0 and #connection.out[1] > 0 then return moved end
    moved = true
    if sent < #connection.out[1] then
      connection.out[1] = connection.out[1]:sub(sent + 1)
      return moved
    end
    table.remove(connection.out, 1)
  end
  if connection.close_after and not connection.out[1] and not connection.gone then
    connection.gone = true
    if connection.close_after == "reset" then connection.pipe:reset() else connection.pipe:close() end
    moved = true
  end
  return moved
end

local function send(connection, pieces)
  for _, piece in ipairs(pieces) do connection.out[#connection.out + 1] = piece end
  flush(connection)
end

local function closes(response)
  for _, field in ipairs(http.field_list(response.headers)) do
    if field[1]:lower() == "connection" and tostring(field[2]):lower() == "close" then return "close" end
  end
end

local answer

-- One piece at a time, so that the gateway sees each by itself.
local function send_pieces(self, connection, pieces, delay, at)
  if connection.gone then return end
  if not pieces[at] then
    connection.busy = false
    return
  end
  send(connection, { pieces[at] })
  self.world:after(delay or 0, function() send_pieces(self, connection, pieces, delay, at + 1) end)
end

local ACTIONS = {
  hang = function() end,
  hang_connect = function() end,
  refuse = function(_, connection) drop(connection) end,
  reset = function(_, connection, value, request)
    local pieces = http.response(behaviour.response(value.response), request.method == "HEAD")
    connection.close_after = "reset"
    send(connection, { table.concat(pieces):sub(1, value.after) })
  end,
  slow = function(self, connection, value, request)
    self.world:after(value.delay, function()
      if not connection.gone then answer(self, connection, value.response, request) end
    end)
  end,
  chunks = function(self, connection, value, request)
    local response = { status = value.status, headers = value.headers, chunks = value.list }
    request.response = response
    send_pieces(self, connection, http.response(response, request.method == "HEAD"), value.delay, 1)
  end,
  websocket = function(self, connection, value, request)
    local peer = websocket.peer(false, function(bytes)
      if not connection.gone then connection.out[#connection.out + 1] = bytes end
    end, function() self.world:pump() end)
    peer.on, peer.connection = value.on, connection
    peer.settle = function() websocket.settle(self.world) end
    connection.websocket, self.websocket = peer, peer
    send(connection, { websocket.answer(request, value) })
  end,
  raw = function(_, connection, value)
    connection.close_after = value.close and "close"
    connection.busy = false
    send(connection, { value.bytes })
  end,
}

function answer(self, connection, value, request)
  value = behaviour.resolve(value, connection.address)
  if type(value) == "function" then return answer(self, connection, value(request), request) end
  local action = ACTIONS[behaviour.kind(value)]
  if action then return action(self, connection, value, request) end
  local response = behaviour.response(value)
  request.response = response
  connection.close_after = closes(response)
  connection.busy = false
  send(connection, http.response(response, request.method == "HEAD"))
end

local function take(self, connection, request)
  request.service, request.address = connection.service, connection.address
  request.at = self.world:time()
  request.path, request.query = request.target:match "^([^?]*)%??(.*)$"
  local calls = self.calls[connection.service]
  calls[#calls + 1] = request
  self.world.latest_calls[#self.world.latest_calls + 1] = request
  connection.busy = true
  answer(self, connection, value_of(self, connection.service), request)
end

local function receive(connection)
  local moved = false
  while not connection.gone do
    local bytes, why = connection.pipe:receive()
    if bytes and connection.websocket then
      connection.websocket:feed(bytes)
    elseif bytes then
      connection.reader:feed(bytes)
    elseif why ~= "again" then
      connection.pipe:close()
      connection.gone = true
    else
      break
    end
    moved = true
  end
  return moved
end

-- A client that waits for leave to send its body gets it.
local function encourage(connection)
  local partial = connection.reader:partial()
  if partial and not partial.encouraged and (partial.headers.expect or ""):lower() == "100-continue" then
    partial.encouraged = true
    send(connection, { "HTTP/1.1 100 Continue\r\n\r\n" })
  end
end

--- Reads and writes on all connections; true when anything moved.
function origins:serve()
  local moved = false
  for i = #self.connections, 1, -1 do
    local connection = self.connections[i]
    moved = flush(connection) or moved
    moved = receive(connection) or moved
    while not connection.busy and not connection.gone do
      local request = connection.reader:next()
      if not request then
        encourage(connection)
        break
      end
      take(self, connection, request)
      moved = true
    end
    if connection.gone then table.remove(self.connections, i) end
  end
  return moved
end

function origins:close()
  for _, connection in ipairs(self.connections) do connection.pipe:close() end
  self.connections = {}
end

return origins
