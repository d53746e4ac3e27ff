-- One gateway and what is around it: clients, origins, time.
--
-- Purpose    Moves bytes between the spec's ends and the core until nothing moves any more, and turns the
--            clock when something waits for it. plugin.lua and gateway.lua are its two faces.
-- Invariants Everything that happens at one instant of the gateway's clock happens before the clock moves on.
-- Ownership  A world owns its harness and all connections; close() ends them and tells what was left open.
-- Cost       A new world is some 100 µs and the VMs of its plugins.

local clock = require "tidegate.test.clock"
local coverage = require "tidegate.test.coverage"
local harness = require "tidegate.harness"
local http = require "tidegate.test.http"
local metrics = require "tidegate.test.metrics"
local names = require "tidegate.test.names"
local origins = require "tidegate.test.origin"
local result = require "tidegate.test.result"

local world = {}
world.__index = world

-- A request that is not over after so much of the gateway's time never will be.
local PATIENCE = 24 * 3600

world.seed = 1

--- A world with a configuration in force.
-- @tparam userdata snapshot
-- @treturn table|nil
-- @treturn string|nil why a plugin does not start
function world.new(snapshot)
  local self = setmetatable({ core = harness.new(clock:now(), world.seed), clients = {}, records = {},
                              wakeups = {}, latest_calls = {}, next_port = 40000, lines = {}, turned = 0,
                              counted_before = metrics.now() }, world)
  self.origins, self.names = origins.new(self), names.new(self)
  local ok, why = self:adopt(snapshot)
  if not ok then
    self.core:close()
    return nil, why
  end
  clock:join(self)
  return self
end

--- Puts another configuration in force.
function world:adopt(snapshot, anew)
  local ok, why = self.core:adopt(snapshot, anew)
  if not ok then return nil, why end
  self.snapshot = snapshot
  coverage.know(snapshot)
  self.builtin = {}
  for _, service in ipairs(snapshot:services()) do
    self.builtin[service.name] = #service.targets == 0
    for _, address in ipairs(service.targets) do
      self.origins:name(address, service.name)
      self.names:declare(address, service.name)
    end
  end
  return true
end

-- ---- Time -----------------------------------------------------------------------------------------------

--- Seconds of the monotonic clock.
function world:time()
  local _, mono = self.core:now()
  return mono
end

--- Calls `fn` after `seconds` of the gateway's time; 0: at this instant, after what goes on now.
function world:after(seconds, fn)
  table.insert(self.wakeups, { at = self:time() + seconds, fn = fn, order = #self.wakeups })
end

-- The clock counts microseconds: what is less than half of one away is now.
local function run_due(self)
  local now, due = self:time() + 5e-7, {}
  for i = #self.wakeups, 1, -1 do
    if self.wakeups[i].at <= now then table.insert(due, 1, table.remove(self.wakeups, i)) end
  end
  table.sort(due, function(a, b) return a.at < b.at or (a.at == b.at and a.order < b.order) end)
  for _, wakeup in ipairs(due) do wakeup.fn() end
  return #due > 0
end

local function next_time(self)
  local first = self.core:next()
  for _, wakeup in ipairs(self.wakeups) do
    if not first or wakeup.at < first then first = wakeup.at end
  end
  return first
end

--- Turns this world's clock by `seconds`. What happens meanwhile may turn it as well: by so much more.
function world:advance(seconds)
  self:pump()
  local start, turned = self:time(), self.turned
  local function target() return start + seconds + self.turned - turned end
  while true do
    local at = next_time(self)
    if not at or at > target() then break end
    self.core:move(math.max(at - self:time(), 0))
    self:pump()
  end
  self.core:move(math.max(target() - self:time(), 0))
  self.turned = self.turned + seconds
  self:pump()
end

--- Lets things happen until `done()`, turning the clock where that is needed.
-- @treturn boolean whether it came to that
function world:wait(done)
  local start = self:time()
  self:pump()
  while not done() do
    local at = not clock.frozen and next_time(self)
    if not at or at - start > PATIENCE then return false end
    local step = math.max(at - self:time(), 0)
    self.core:move(step)
    self.turned = self.turned + step
    self:pump()
    if not self.is_apart then clock:follow(self, step) end
  end
  return true
end

-- ---- Events ---------------------------------------------------------------------------------------------

local function record_of(self, id)
  local record = self.records[id]
  if not record then
    record = result.record()
    self.records[id] = record
  end
  return record
end

local handlers = {
  enter = function(self, event) result.on_enter(record_of(self, event.request), event) end,
  leave = function(self, event) result.on_leave(record_of(self, event.request), event) end,
  failed = function(self, event) result.on_failed(record_of(self, event.request), event) end,
}

function handlers.wrote(self, event)
  if self.on_wrote then self.on_wrote(event) end
end

function handlers.query(self, event) return self.names:query(event) end

function handlers.dial(self, event) return self.origins:dial(event) end

function handlers.line(self, event)
  local id = event.fields.request
  self.lines[#self.lines + 1] = event
  if id then table.insert(record_of(self, id).lines, event) end
end

-- Whether the path that an origin saw can be that of the client: a prefix may have been taken off or put on.
local function is_alike(seen, sent)
  return seen == sent or seen:sub(-#sent) == sent or sent:sub(-#seen) == seen
end

-- Takes what an origin saw of a request that is over out of the latest calls: the last one that looks like
-- it, since plugins ask services too, and others may be under way.
local function take_call(self, event)
  local calls, best, likeness = self.latest_calls, nil, 0
  if not event.upstream.called then return nil end
  for i, call in ipairs(calls) do
    local at_target = call.address == event.upstream.address
    local alike = at_target and is_alike(call.path, event.path) and 3 or at_target and 2 or
                  call.service == event.service and 1 or 0
    if alike > 0 and alike >= likeness then best, likeness = i, alike end
  end
  return best and table.remove(calls, best)
end

handlers["end"] = function(self, event)
  local record = record_of(self, event.request)
  self.records[event.request] = nil
  local client = self.clients[event.peer]
  local waiting = client and table.remove(client.unended, 1)
  if waiting then waiting:take_end(event, record, take_call(self, event)) end
end

local function handle_events(self)
  local moved = false
  for _, event in ipairs(self.core:events()) do
    local handler = handlers[event.type]
    moved = handler(self, event) or moved
  end
  return moved
end

-- ---- Clients --------------------------------------------------------------------------------------------

local function flush_client(client)
  if client.out == "" or client.gone then return false end
  local sent, why = client.pipe:send(client.out)
  if not sent then
    client.gone = why
    return true
  end
  client.out = client.out:sub(sent + 1)
  return sent > 0
end

local function receive_client(client)
  local moved = false
  while not client.gone and not client.paused do
    local bytes, why = client.pipe:receive()
    if bytes and client.websocket then
      client.websocket:feed(bytes)
    elseif bytes then
      client.reader:feed(bytes)
      client.bytes = client.bytes .. bytes
    elseif why ~= "again" then
      client.gone = why
    else
      break
    end
    moved = true
  end
  return moved
end

local function hand_out(self, client)
  while client.pending[1] do
    local message = client.reader:next(client.gone ~= nil)
    if not message then break end
    if message.status < 200 and message.status ~= 101 then
      table.insert(client.pending[1].interim, message)
    else
      table.remove(client.pending, 1):take_response(message, client.gone, self:time())
    end
  end
  while client.gone and client.pending[1] do
    table.remove(client.pending, 1):take_response(client.reader:partial(), client.gone, self:time())
  end
end

local function serve_clients(self)
  local moved = false
  for _, client in pairs(self.clients) do
    moved = flush_client(client) or moved
    if receive_client(client) then
      moved = true
      hand_out(self, client)
    end
  end
  return moved
end

--- Moves everything that can move at this instant.
function world:pump()
  local moved
  repeat
    self.core:run()
    moved = handle_events(self)
    moved = self.origins:serve() or moved
    moved = serve_clients(self) or moved
    moved = run_due(self) or moved
  until not moved
end

--- A client connection.
-- @tparam[opt] table options listener (index, 1), ip, port
function world:connect(options)
  options = options or {}
  local ip, port = options.ip or "192.0.2.10", options.port
  if not port then
    self.next_port = self.next_port % 60000 + 1
    port = self.next_port
  end
  local pipe, why = self.core:connect(options.listener or 1, ip, port)
  if not pipe then return nil, why end
  local peer = (ip:find ":" and "[%s]:%d" or "%s:%d"):format(ip, port)
  local client = { pipe = pipe, peer = peer, reader = http.reader "response", out = "", bytes = "",
                   pending = {}, unended = {} }
  self.clients[client.peer] = client
  return client
end

--- Sends a request on a connection; the result fills itself while the world moves.
-- @tparam table client
-- @tparam table request see http.request
function world:send(client, request)
  if #self.core:open() == 0 then self.latest_calls = {} end
  local waiting = result.new(request, self:time(), metrics.now(), self.snapshot)
  client.reader:expect(request.method or "GET")
  client.pending[#client.pending + 1] = waiting
  client.unended[#client.unended + 1] = waiting
  for _, piece in ipairs(http.request(request)) do
    client.out = client.out .. piece
    if request.chunks then self:pump() end
  end
  return waiting
end

--- Ends a client's connection: "close" or "reset".
function world:hang_up(client, how)
  if how == "reset" then client.pipe:reset() else client.pipe:close() end
  client.gone = client.gone or "closed"
  self:pump()
  self.clients[client.peer] = nil
end

--- Ends the connection of one request, when that is done. What came behind its answer is a mistake of the
-- gateway's.
function world:conclude(client, waiting)
  if not waiting.done then return end
  local rest = client.reader:surplus()
  self:hang_up(client)
  if rest then
    error(("the gateway sent %d bytes behind its answer: %q"):format(#rest, rest:sub(1, 64)), 0)
  end
end

--- Waits for a result; sets its `done`.
function world:finish(waiting)
  waiting.done = self:wait(function()
    return waiting.received and (waiting.ended or #self.core:open() == 0)
  end)
  return waiting
end

-- ---- The end --------------------------------------------------------------------------------------------

--- Ends everything; safe to call twice.
-- @treturn table list of texts: what was left open
function world:close()
  if self.closed then return {} end
  self.closed = true
  local left = {}
  for _, request in ipairs(self.core:open()) do
    local where = request.plugin and ("plugin %s waits in %s (%s)"):format(request.plugin, request.phase,
                                                                         request.file) or
                  ("in state " .. request.state)
    left[#left + 1] = ("a request that is not over: %s %s, %s"):format(request.method, request.path, where)
  end
  for _, work in ipairs(self.core:background()) do
    left[#left + 1] = ("work that is not over: plugin %s waits in %s (%s)"):format(work.plugin, work.phase,
                                                                                 work.file)
  end
  for _, client in pairs(self.clients) do
    if client.opened_at then
      left[#left + 1] = ("a connection that was not closed, opened at %s"):format(client.opened_at)
    end
    client.pipe:close()
  end
  self.origins:close()
  self.core:close()
  clock:part(self)
  return left
end

return world
