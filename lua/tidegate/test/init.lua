-- tidegate.test: plugins and whole gateways under test, on the real core, without a network.
--
-- Purpose    The module that specs require. See README.md beside this file for what there is, and
--            examples/plugin/ for a worked example.
-- Invariants LuaJIT only, as plugins are. One gateway's clock is everybody's clock.
-- Ownership  What is made here is closed when its test ends (guard.lua).
-- Cost       Loading it takes some milliseconds.

if not rawget(_G, "jit") then
  error('tidegate.test needs LuaJIT, as plugins do: run busted --lua=luajit, or write lua = "luajit" into ' ..
        ".busted", 0)
end

local behaviour = require "tidegate.test.behaviour"
local clock = require "tidegate.test.clock"
local gateway = require "tidegate.test.gateway"
local guard = require "tidegate.test.guard"
local har = require "tidegate.test.har"
local harness = require "tidegate.harness"
local literal = require "tidegate.test.literal"
local load = require "tidegate.test.load"
local plugin = require "tidegate.test.plugin"
local world = require "tidegate.test.world"

require "tidegate.test.assertions"

local t = { clock = clock }

for _, name in ipairs { "refuse", "reset_conn", "hang", "slow", "chunks", "sequence", "raw", "websocket" } do
  t[name] = behaviour[name]
end

-- ---- Mock services --------------------------------------------------------------------------------------

local mocks = { names = {}, values = {}, worlds = {}, objects = {} }

function mocks.attach(w)
  mocks.worlds[#mocks.worlds + 1] = w
  for _, mock in pairs(mocks.objects) do mock:join(w) end
end

local mock = {}
mock.__index = mock

--- Requests that came, over all plugins of this test.
function mock:join(w)
  w.origins.calls[self.name] = self.calls
  w.origins:set(self.name, mocks.values[self.name])
end

--- Changes what the service does.
function mock:handle(value)
  mocks.values[self.name] = behaviour.check(value, 2)
  for _, w in ipairs(mocks.worlds) do
    if not w.closed then w.origins:set(self.name, value) end
  end
  return self
end

--- A service that plugins reach by its name; declare it before t.plugin.
-- @tparam string name
-- @param value a response, a function(req), or a behaviour such as t.hang()
-- @treturn table with `calls`, and handle() to change what it does
function t.mock_service(name, value)
  if mocks.objects[name] then error(("the mock service %q exists already"):format(name), 2) end
  local self = setmetatable({ name = name, calls = {} }, mock)
  mocks.names[#mocks.names + 1] = name
  mocks.values[name] = behaviour.check(value == nil and 200 or value, 2)
  mocks.objects[name] = self
  return self
end

-- ---- What specs make ------------------------------------------------------------------------------------

--- Closes everything, forgets mock services, sets the clock to 2024-01-01T00:00:00Z and the seed of
-- randomness.
function t.reset(seed)
  guard.reset()
  world.seed = seed or 1
  mocks.names, mocks.values, mocks.worlds, mocks.objects = {}, {}, {}, {}
end

--- A plugin as text in place of a path.
t.source = plugin.source

--- Loads one instance of a plugin. See plugin.lua.
function t.plugin(given, conf, options)
  local ok, made = pcall(plugin.new, given, conf, options, mocks)
  if not ok then error(made, 2) end
  return made
end

--- A value where a plugin's schema wants a secret, as tg.secret gives one in a configuration.
t.secret = literal.secret

--- A whole gateway from its configuration file. See gateway.lua.
function t.gateway(file, options)
  local ok, made = pcall(gateway.new, file, options)
  if not ok then error(made, 2) end
  return made
end

--- Validates a plugin's configuration: true, or nil and a list of { path, message, suggestion, hint, … }.
function t.check_conf(given, conf, options)
  return plugin.check_conf(given, conf, options, mocks.names)
end

--- Validates a configuration file: true, or nil and a list of messages.
-- @tparam string file
-- @tparam[opt] table options env, files
function t.check(file, options)
  options = options or {}
  local snapshot, messages, text = load.config(file, options.files, options.env)
  if snapshot then return true, messages end
  return nil, messages, text
end

--- Sends the requests of an HTTP archive to a plugin or a gateway.
-- @tparam string path
-- @tparam table target what t.plugin or t.gateway made
-- @treturn table list of { request, expected = { status, headers, body }, result }
function t.replay(path, target)
  local ok, entries = pcall(har.read, path)
  if not ok then error(entries, 2) end
  for _, entry in ipairs(entries) do
    local origin = entry.origin
    if target.run then
      entry.request.upstream = origin and { origin.status, headers = origin.headers, body = origin.body }
      entry.result = target:run(entry.request)
    else
      if origin then
        target:upstream(origin.service, { origin.status, headers = origin.headers, body = origin.body })
      end
      entry.result = target:request(entry.request)
    end
  end
  return entries
end

-- ---- Helpers --------------------------------------------------------------------------------------------

--- HMAC of `text` under `key`, as bytes; `digest` is a name such as "sha256".
t.hmac = harness.hmac

--- Bytes as hexadecimal digits.
function t.hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- Stock busted is running already; `tidegate test` begins with this module (runner.lua).
local busted = package.loaded.busted
if busted and busted.subscribe then guard.install(busted) end

return t
