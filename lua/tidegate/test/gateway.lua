-- A whole gateway under test: t.gateway.
--
-- Purpose    Loads a configuration file as `run` would and serves it in the process: real parser, router,
--            chains and pool, with the spec as client and as every origin.
-- Invariants Nothing reaches a network: all targets answer from the spec, and an address that no service of
--            the configuration has refuses connections. get, post and request turn the clock as far as the
--            answer needs; connections of open() never do.
-- Ownership  Closed by gw:close() or by the guard when the test ends; what was left open then fails the test.
-- Cost       A load of the configuration, the first time, and the VMs of its plugins.

local behaviour = require "tidegate.test.behaviour"
local clock = require "tidegate.test.clock"
local guard = require "tidegate.test.guard"
local http = require "tidegate.test.http"
local literal = require "tidegate.test.literal"
local load = require "tidegate.test.load"
local plugin = require "tidegate.test.plugin"
local websocket = require "tidegate.test.websocket"
local world = require "tidegate.test.world"

local gateway = {}
gateway.__index = gateway

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

-- ---- Configuration --------------------------------------------------------------------------------------

-- How a file of the spec's folder is named from the folder of the configuration.
local function seen_from(config, path)
  local dir = config:match "^(.*/)" or ""
  if dir == "" or path:sub(1, 1) == "/" or not path:find "%.lua$" then return path, path end
  if path:sub(1, #dir) == dir then return "./" .. path:sub(#dir + 1), path end
  local up = dir:gsub("[^/]+/", "../")
  return up .. path, dir .. up .. path
end

-- The text of the configuration with what gw:attach added, and the files that stand before the disk's.
local function with_attached(self)
  local files = {}
  for path, text in pairs(self.files) do files[path] = text end
  if #self.attached == 0 then return files end
  local lines = { files[self.file] or read_file(self.file) or "", "do local tg = require \"tidegate\"" }
  for _, one in ipairs(self.attached) do
    local name, located = seen_from(self.file, one.file)
    if one.text then files[located] = one.text end
    local conf = literal.write(one.conf, files, self.file:match "^(.*/)")
    lines[#lines + 1] = ("tg.global { tg.use(%q, { id = %q }) %s }"):format(name, one.id, conf)
  end
  lines[#lines + 1] = "end"
  files[self.file] = table.concat(lines, "\n") .. "\n"
  return files
end

-- Loads the configuration; nil, messages and their text when it has mistakes.
local function read(self)
  return load.config(self.file, with_attached(self), self.env)
end

-- Puts what read() gives in force; nil and messages when that is not possible.
local function adopt(self)
  local snapshot, messages, text = read(self)
  if not snapshot then return nil, messages, text end
  local ok, why = self.world:adopt(snapshot)
  if not ok then return nil, { { text = why, message = why, severity = "error" } }, why end
  return true, messages
end

local OPTIONS = { env = true, files = true, clock = true }

--- Serves a configuration.
-- @tparam string file
-- @tparam[opt] table options env: names to values; files: paths to texts, before those of the disk; clock:
-- where the clock begins, in seconds since 1970
function gateway.new(file, options)
  options = options or {}
  for name in pairs(options) do
    if not OPTIONS[name] then
      error(("t.gateway has no option %q; there are env, files, clock"):format(name), 0)
    end
  end
  local self = setmetatable({ file = file, files = options.files or {}, env = options.env or {},
                              attached = {}, attachments = 0, clock = clock }, gateway)
  if options.clock then clock:set(options.clock) end
  local snapshot, _, text = read(self)
  if not snapshot then error(text, 0) end
  local why
  self.world, why = world.new(snapshot)
  if not self.world then error(why, 0) end
  return guard.own(self)
end

--- Loads the configuration again, or another file, and puts it in force. Requests under way end on the old
-- one.
-- @treturn boolean|nil nil when it has mistakes: the old one stays in force
-- @treturn table messages
function gateway:reload(file)
  local before = self.file
  self.file = file or before
  local ok, messages, text = adopt(self)
  if not ok then self.file = before end
  return ok, messages, text
end

local SCOPES = { route = "routes", service = "services", listener = "listeners" }

-- Whether the configuration in force declares this.
local function is_declared(self, kind, name)
  local snapshot = self.world.snapshot
  for _, object in ipairs(snapshot[SCOPES[kind]](snapshot)) do
    if object.name == name then return true end
  end
  return false
end

--- Attaches a plugin to what runs, by a reload.
-- @tparam string scope "global", "route:NAME", "service:NAME" or "listener:NAME"
-- @tparam string|source given a path, or t.source
-- @tparam[opt] table conf
-- @treturn function takes it off again
function gateway:attach(scope, given, conf)
  local kind, name = scope:match "^(%l+):(.+)$"
  if scope ~= "global" and not SCOPES[kind] then
    error('a scope is "global", "route:NAME", "service:NAME" or "listener:NAME"', 2)
  end
  if kind and not is_declared(self, kind, name) then
    error(("the configuration has no %s %q"):format(kind, name), 2)
  end
  self.attachments = self.attachments + 1
  local one = { id = "attached-" .. self.attachments, conf = conf or {} }
  if plugin.is_source(given) then one.file, one.text = given.file, given.text else one.file = given end
  table.insert(self.attached, one)
  if kind then self.world.core:confine(one.id, kind, name) end
  local function off()
    for i, other in ipairs(self.attached) do
      if other == one then table.remove(self.attached, i) end
    end
    local ok, _, text = adopt(self)
    if not ok then error(text, 2) end
  end
  local ok, _, text = adopt(self)
  if not ok then
    table.remove(self.attached)
    error(text, 2)
  end
  return off
end

-- ---- Origins --------------------------------------------------------------------------------------------

local function check_service(self, name, level)
  local builtin = self.world.builtin[name]
  if builtin == nil then error(("the configuration has no service %q"):format(name), level + 1) end
  if builtin then error(("the service %q is answered by the gateway itself"):format(name), level + 1) end
end

--- What the targets of a service do: a response, a function(req), a behaviour, or a map from addresses to
-- these.
function gateway:upstream(name, value)
  check_service(self, name, 2)
  self.world.origins:set(name, behaviour.check(value, 2))
  return self
end

--- What a name stands for, from the next time that the gateway asks: when the TTL of the last answer is over.
-- A name that nothing is said of has an address of its own.
-- @tparam string name "catalog.internal", or "_http._tcp.catalog.internal"
-- @tparam table|string|nil answer addresses, { "10.0.0.1", "fd00::1", ttl = seconds (60) }; or
-- { srv = { { "host", port = 80, priority = 0, weight = 0 }… }, ttl }; "none": it has none; "fail": no server
-- answers; "hang": not even that is known; nil: as if nothing had been said
function gateway:dns(name, answer)
  self.world.names:set(name, answer, 2)
  return self
end

--- The requests that a service has seen.
function gateway:calls(name)
  check_service(self, name, 2)
  return self.world.origins.calls[name]
end

--- The breaker of a service: { state = "closed", "open" or "half-open", opened = how often }; nil where the
-- configuration declares none.
function gateway:breaker(name)
  check_service(self, name, 2)
  return self.world.core:breaker(name)
end

--- What the gateway knows of a service's targets: a list of
-- { target, state, in_flight, requests, failures, latency }.
function gateway:targets(name)
  check_service(self, name, 2)
  return self.world.core:targets(name)
end

-- ---- Clients --------------------------------------------------------------------------------------------

local function listener_index(self, name, level)
  if name == nil then return 1 end
  for i, listener in ipairs(self.world.snapshot:listeners()) do
    if listener.name == name then return i end
  end
  error(("the configuration has no listener %q"):format(name), level + 1)
end

local function connect(self, options, level)
  local client, why = self.world:connect {
    listener = listener_index(self, options.listener, level + 1),
    ip = options.client and options.client.ip, port = options.client and options.client.port,
  }
  return client or error("the gateway took no connection: " .. why, level + 1)
end

--- Sends one request on a connection of its own.
-- @tparam table request method, path, host, headers, body or chunks, client = { ip, port }, listener, version
-- @treturn table see result.lua
function gateway:request(request)
  http.check_request(request, "listener", 2)
  local client = connect(self, request, 2)
  local result = self.world:finish(self.world:send(client, request))
  self.world:conclude(client, result)
  guard.saw(self, request, result)
  return result
end

local function with(path, options, method)
  local request = { method = method, path = path }
  for name, value in pairs(options or {}) do request[name] = value end
  return request
end

--- GET, and POST, with the further fields of request().
function gateway:get(path, options) return self:request(with(path, options, "GET")) end

function gateway:post(path, options) return self:request(with(path, options, "POST")) end

--- Opens a WebSocket; what the origin does says gw:upstream(service, t.websocket{…}).
-- @tparam string|table request a path, or path, host, headers, client, listener
-- @treturn table see websocket.lua
function gateway:websocket(request)
  if type(request) == "string" then request = { path = request } end
  http.check_request(request, "listener", 2)
  return websocket.open(self.world, connect(self, request, 2), request)
end

local connection = {}
connection.__index = connection

--- A connection that the spec drives itself: keep-alive, pipelining, raw bytes. The clock stands still
-- meanwhile.
-- @tparam[opt] table options listener, client
function gateway:open(options)
  for name in pairs(options or {}) do
    if name ~= "listener" and name ~= "client" then
      error(("gw:open has no option %q; there are listener and client"):format(tostring(name)), 2)
    end
  end
  local at = debug.getinfo(2, "Sl")
  local client = connect(self, options or {}, 2)
  client.opened_at = ("%s:%d"):format(at.short_src, at.currentline)
  return setmetatable({ world = self.world, client = client, gateway = self }, connection)
end

--- Sends bytes as they are.
function connection:send(bytes)
  self.client.out = self.client.out .. bytes
  self.world:pump()
  return self
end

--- Sends a request without waiting; the result has `received` and `done` set when its answer is there.
function connection:request(request)
  http.check_request(request, nil, 2)
  local waiting = self.world:send(self.client, request)
  self.world:pump()
  waiting.done = waiting.received and waiting.ended
  return waiting
end

--- Waits for the answer of a request sent before, turning the clock where needed.
function connection:finish(waiting)
  self.world:finish(waiting)
  guard.saw(self.gateway, waiting.request, waiting)
  return waiting
end

--- Bytes that came and were not taken by this function yet.
function connection:receive()
  self.world:pump()
  local bytes = self.client.bytes
  self.client.bytes = ""
  return bytes
end

--- nil while the connection is open; "closed" or "reset" when the gateway has ended it.
function connection:ended()
  self.world:pump()
  return self.client.gone
end

--- Stops reading, so that the gateway cannot get rid of its bytes; go_on() reads again.
function connection:pause()
  self.client.paused = true
  return self
end

function connection:go_on()
  self.client.paused = nil
  self.world:pump()
  return self
end

--- Ends our direction; answers can still come.
function connection:half_close()
  self.client.pipe:finish()
  self.world:pump()
end

function connection:close() self.world:hang_up(self.client, "close") end

function connection:reset() self.world:hang_up(self.client, "reset") end

-- ---- Plugins, and the end -------------------------------------------------------------------------------

--- State of a plugin's VM, see plugin.lua.
function gateway:usage(name) return self.world.core:vm(name) end

--- Whether a plugin's VM works.
function gateway:alive(name) return self.world.core:vm(name).alive end

--- All log lines so far, those of no request included.
function gateway:logs()
  return self.world.lines
end

--- Closes the gateway. What was left open comes as an error.
function gateway:close()
  local left = self:leave()
  if #left > 0 then error("left open when the gateway was closed:\n  " .. table.concat(left, "\n  "), 2) end
end

--- The same for the guard: a list of what was left open.
function gateway:leave()
  return self.world:close()
end

return gateway
