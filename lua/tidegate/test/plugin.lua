-- One plugin under test: t.plugin.
--
-- Purpose    Puts a plugin into a small gateway of its own: one listener, one route, one origin called
--            "upstream", and the services that t.mock_service made. It runs in its production VM, with its
--            allocator, its watchdog and its phase masks.
-- Invariants The instance is global, so that all phases run. p:run sends one request on a fresh connection
--            and turns the clock as far as the answer needs.
-- Ownership  A plugin object owns its world; the guard closes it when the test ends.
-- Cost       Under a millisecond to make, once the configuration is known; some 200 µs a request.

local behaviour = require "tidegate.test.behaviour"
local consumers = require "tidegate.test.consumers"
local guard = require "tidegate.test.guard"
local http = require "tidegate.test.http"
local interleave = require "tidegate.test.interleave"
local literal = require "tidegate.test.literal"
local load = require "tidegate.test.load"
local sorted = require "tidegate.sorted"
local websocket = require "tidegate.test.websocket"
local world = require "tidegate.test.world"

local plugin = {}
plugin.__index = plugin

local CONFIG = "t.plugin"
local FIRST_MOCK = 10 -- last byte of the address of the first mock service

local source = {}
source.__index = source

--- A plugin given as text; messages name the place of the call.
function plugin.source(text)
  local at = debug.getinfo(2, "Sl")
  local file = ("%s/source-%d.lua"):format(at.short_src, at.currentline)
  return setmetatable({ file = file, text = text }, source)
end

function plugin.is_source(value) return getmetatable(value) == source end

-- The file that tg.use names, and the files that stand before the disk's.
local function file_of(given, level)
  if plugin.is_source(given) then return given.file, { [given.file] = given.text } end
  if type(given) ~= "string" then error("a plugin is a path, or t.source [[…]]", level + 1) end
  return given, {}
end

local OPTIONS = { limits = true, route = true, id = true, when = true, on_error = true, settings = true,
                  consumer = true, consumers = true, zones = true }

local function check_options(options, level)
  for name in pairs(options) do
    if not OPTIONS[name] then
      error(("t.plugin has no option %q; there are limits, route, consumer, consumers, zones, " ..
             "when, on_error, id, settings"):format(name), level + 1)
    end
  end
end

local function use_of(file, conf, options, files)
  local instance = {}
  for _, name in ipairs { "limits", "id", "when", "on_error" } do instance[name] = options[name] end
  return ("tg.use(%q, %s) %s"):format(file, literal.write(instance, files), literal.write(conf or {}, files))
end

-- The zones that the configuration declares for all plugins: kind, then name, to the fields of tg.zone.
local function write_zones(zones, lines, files)
  for _, kind in ipairs(sorted(zones)) do
    for _, name in ipairs(sorted(zones[kind])) do
      lines[#lines + 1] = ("tg.zone.%s %q %s"):format(kind, name, literal.write(zones[kind][name], files))
    end
  end
end

-- The config script of a plugin under test.
local function script_of(file, conf, options, mocks, files)
  local lines = {
    'local tg = require "tidegate"',
    'tg.listener "test" { address = "127.0.0.1:80" }',
    'tg.service "upstream" { targets = { { "192.0.2.1:80" } } }',
  }
  for i, name in ipairs(mocks) do
    lines[#lines + 1] = ('tg.service %q { targets = { { "192.0.2.%d:80" } } }'):format(name, FIRST_MOCK + i)
  end
  write_zones(options.zones or {}, lines, files)
  consumers.write(options, lines, files)
  if options.settings then lines[#lines + 1] = "tg.settings " .. literal.write(options.settings, files) end
  local route = {}
  for name, value in pairs(options.route or {}) do route[name] = value end
  local name = route.name or "test"
  route.name, route.service = nil, "upstream"
  lines[#lines + 1] = ("tg.route %q %s"):format(name, literal.write(route, files))
  lines[#lines + 1] = "tg.global { " .. use_of(file, conf, options, files) .. " }"
  return table.concat(lines, "\n") .. "\n"
end

-- Messages about the instance: paths begin at the plugin's own configuration.
local function localise(messages)
  for _, message in ipairs(messages) do
    local path = message.path and message.path:match "^global%[%d+%] %(.*%)%.(.*)$"
    message.path = path or message.path
  end
  return messages
end

local function read(given, conf, options, mocks, level)
  local file, files = file_of(given, level + 1)
  check_options(options, level + 1)
  files[CONFIG] = script_of(file, conf, options, mocks, files)
  local snapshot, messages, text = load.config(CONFIG, files)
  return snapshot, localise(messages), text
end

--- Validates a plugin's configuration, and the plugin with it.
-- @treturn boolean|nil
-- @treturn table|nil list of messages
function plugin.check_conf(given, conf, options, mocks)
  local snapshot, messages = read(given, conf, options or {}, mocks, 2)
  if snapshot then return true end
  return nil, messages
end

local function load_world(self, level)
  local snapshot, _, text = read(self.given, self.conf, self.options, self.mocks, level + 1)
  if not snapshot then error(text, level + 1) end
  return snapshot
end

-- A fresh world in place of the old one, if there is one.
local function start(self, level)
  local snapshot = load_world(self, level + 1)
  local new, why = world.new(snapshot)
  if not new then error(why, level + 1) end
  self.world = new
  self.name = snapshot:plugins()[1].name
  new.core:consumer(self.consumer)
  for name, value in pairs(self.mock_values) do new.origins:set(name, value) end
end

--- Loads one instance of a plugin.
-- @tparam string|source given
-- @tparam[opt] table conf
-- @tparam[opt] table options limits, route (fields of the route), consumer, consumers, zones (kind to name to
-- fields), when, on_error, id, settings
-- @tparam table mocks names of the mock services, and their behaviours by name
function plugin.new(given, conf, options, mocks)
  local self = setmetatable({ given = given, conf = conf, options = options or {}, mocks = mocks.names,
                              mock_values = mocks.values, consumer = consumers.name(options or {}) }, plugin)
  start(self, 2)
  mocks.attach(self.world)
  guard.own(self)
  return self
end

local ERRORS = { refused = behaviour.refuse, hang = behaviour.hang, reset = behaviour.reset_conn,
                 timeout = behaviour.hang }

-- What the origin does, as `upstream` of a request says it.
local function upstream_of(given, level)
  if type(given) == "table" and given.error and not behaviour.kind(given) then
    local make = ERRORS[given.error]
    if not make then error('upstream.error is "refused", "reset", "hang" or "timeout"', level + 1) end
    return make()
  end
  if type(given) == "table" and not behaviour.kind(given) and not behaviour.is_map(given) and
     not (given[1] or given.status) then
    local response = { 200 }
    for name, value in pairs(given) do response[name] = value end
    given = response
  end
  return behaviour.check(given, level + 1)
end

-- The figures that matter are those of the plugin under test; there are none before the request is over.
local function narrow(self, result)
  result.usage = result.usages and (result.usages[self.name] or
                 { alloc_peak = 0, alloc_total = 0, cpu = 0, suspended = 0 })
  return result
end

local function send(self, request, level)
  http.check_request(request, "upstream", level + 1)
  local w = self.world
  if request.upstream ~= nil then
    w.origins:set("upstream", upstream_of(request.upstream, level + 1))
  else
    w.origins:set("upstream", { 200, body = "" })
  end
  local client, why = w:connect(request.client)
  if not client then error("the gateway took no connection: " .. why, level + 1) end
  if guard.options.interleave then interleave.prepare(self) end
  local result = w:finish(w:send(client, request))
  w:conclude(client, result)
  guard.saw(self, request, result)
  if guard.options.interleave then interleave.run(self, request) end
  return narrow(self, result)
end

--- Sends a request through all phases.
-- @tparam[opt] table request method, path, headers, body or chunks, host, client = { ip, port }, upstream
-- @treturn table see result.lua
function plugin:run(request)
  return send(self, request or {}, 2)
end

--- Opens a WebSocket, whose messages pass the plugin's message phase.
-- @tparam[opt] table request path, headers, host, client, upstream (t.websocket{} unless said)
-- @treturn table see websocket.lua; finish() gives the result, with `killed`, `logs` and `usage`
function plugin:websocket(request)
  request = request or {}
  http.check_request(request, "upstream", 2)
  local w = self.world
  w.origins:set("upstream", behaviour.check(request.upstream or behaviour.websocket(), 2))
  local client, why = w:connect(request.client)
  if not client then error("the gateway took no connection: " .. why, 2) end
  local opened = websocket.open(w, client, request)
  opened.narrow = function(result) return narrow(self, result) end
  return opened
end

--- The same with one phase of the plugin only.
function plugin:phase(name, request)
  if name == "certificate" then
    error("certificate runs in TLS handshakes, which p:phase has none of: try it with `tidegate run`", 2)
  end
  local ok, why = pcall(self.world.core.only, self.world.core, name)
  if not ok then error(why, 2) end
  self.only = name
  local ran, result = pcall(send, self, request or {}, 2)
  self.only = nil
  self.world.core:only(nil)
  if not ran then error(result, 0) end
  return result
end

--- Whether the plugin's VM works.
function plugin:alive()
  return self.world.core:vm(self.name).alive
end

--- Reads the plugin from its file again and puts it in force, as a reload does that finds it changed: in a
-- new VM, which gets what save() returned, while requests under way end in the old one. Raises when it does
-- not load; the old one then stays.
function plugin:reload()
  local ok, why = self.world:adopt(load_world(self, 2), true)
  if not ok then error(why, 2) end
  return self
end

--- The VM's state: used, own and held bytes, alive, kills by reason.
function plugin:usage()
  return self.world.core:vm(self.name)
end

--- Collects garbage in the plugin's VM.
function plugin:collect()
  self.world.core:collect(self.name)
end

--- All log lines so far, those of no request included.
function plugin:logs()
  return self.world.lines
end

--- Ends everything; what was left open, for the guard.
function plugin:leave()
  interleave.leave(self)
  return self.world:close()
end

return plugin
