--- A gateway of two workers with one plugin whose functions a spec calls by path, for the specs of zones.
--
--   local z = helper.start(needs, [[ function ops.incr(ctx) return tg.dict("shared"):incr("n", 1) end ]])
--   z:call("incr")            -- what it returned, as text; a table as JSON
--   z:workers("incr")         -- calls it on connection after connection until both workers have answered
--
-- In an operation: `vm` is unique to the VM; wait_for(ctx, key) waits until a spec has done
-- z:call("open", key); note(key) counts in the dict "shared"; ctx.req:query("x") are its arguments.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")

local helper = {}

local Zones = {}
Zones.__index = Zones

local PLUGIN = [[
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "traffic", needs = %s }
local ops, vm, vm_why = {}, nil, nil
local function wait_for(ctx, key)
  while not tg.dict("gates"):get(key) do ctx:sleep("20ms") end
end
local function grow() -- until it is killed
  local t = {}
  while true do t[#t + 1] = { {} } end
end
local function note(key, n) return tg.dict("shared"):incr(key, n or 1, { init = 0 }) end
function ops.open(ctx) return tg.dict("gates"):set(ctx.req:query("key"), true) end
function ops.noted(ctx) return tg.dict("shared"):get(ctx.req:query("key")) or 0 end
function P.init() vm = tg.uuid.v4() %s end
%s
function P.access(_, ctx)
  local op = ops[ctx.req.path:sub(2)]
  local result, err = op(ctx)
  if type(result) == "table" then ctx:exit(200, result, { ["x-vm"] = vm }) end
  if err then ctx:exit(200, "error " .. err.code, { ["x-vm"] = vm }) end
  ctx:exit(200, tostring(result), { ["x-vm"] = vm })
end
return P
]]

helper.CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 2, limits = { plugin = { cpu = "500ms", wall = "1m" } } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.zone.dict "gates" { size = "64KiB" }
tg.zone.dict "shared" { size = "1MiB" }
tg.zone.cache "pages" { size = "1MiB" }
tg.zone.limit "quota" { size = "1MiB" }
tg.route "all" { paths = { "/*" }, plugins = { tg.use "./probe.lua" {} } }
]]

--- The same with other limits of plugins, so that a reload makes every VM anew.
function helper.changed(n)
  return (helper.CONFIG:gsub('cpu = "500ms"', ('cpu = "%dms"'):format(500 + n)))
end

--- Text of the plugin: `init` is the body of its init, `body` its operations.
function helper.plugin(needs, body, init)
  return PLUGIN:format(needs, init or "", body)
end

--- Starts the gateway; z.g is what gateway.start returned, to be stopped by the spec.
function helper.start(needs, body, init)
  local files = { ["probe.lua"] = helper.plugin(needs, body, init) }
  local g = gateway.start({ config = helper.CONFIG, files = files })
  return setmetatable({ g = g }, Zones)
end

--- Opens a connection and sends the call; `finish` of what it returns gives the response.
function Zones:begin(path)
  local c = client.connect(self.g.port)
  c:send(("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path))
  return {
    finish = function()
      local response = c:response()
      c:close()
      return response
    end,
    abort = function() c:close() end,
  }
end

--- Calls an operation and returns the text of its answer.
function Zones:call(path)
  local response = self:begin(path).finish()
  return response.status == 200 and response.body or "status " .. response.status
end

--- Starts `n` calls before it reads the answers: their texts.
function Zones:together(n, path)
  local calls, texts = {}, {}
  for i = 1, n do calls[i] = self:begin(path) end
  for i = 1, n do texts[i] = calls[i].finish().body end
  return texts
end

--- Calls an operation on new connections until both workers have answered; how many calls that took.
function Zones:workers(path)
  local seen, count, calls = {}, 0, 0
  clock.wait_until(function()
    local vm = self:begin(path).finish().headers["x-vm"]
    calls = calls + 1
    if vm and not seen[vm] then seen[vm], count = true, count + 1 end
    return count == 2
  end, 5, "both workers to answer")
  return calls
end

--- Waits until the operation answers `text`; what it answered last and the gateway's log say why not.
function Zones:await(path, text)
  local last
  local function answered()
    last = self:call(path)
    return last == text
  end
  local ok, why = pcall(clock.wait_until, answered, 5, ("%s to answer %q"):format(path, text))
  if ok then return end
  error(("%s; the last answer was %q; the gateway's log:\n%s"):format(why, last, self.g:stderr()), 2)
end

return helper
