--- What the specs of reloads share: a gateway with an admin listener, a plugin that counts, and orders to it.

local admin = require("admin.helper")
local assert = require("luassert")
local client = require("support.client")
local gateway = require("support.gateway")

local helper = { run = admin.run, get = admin.get, socket = admin.socket }

--- The configuration; `rest` comes at its end.
function helper.config(rest)
  return [[
local tg = require "tidegate"
tg.settings { workers = 1, log = { level = "debug" }, admin = { listen = "unix:admin.sock" } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
local echo = tg.service "echo" { builtin = "echo" }
]] .. (rest or 'tg.route "all" { paths = { "/*" }, service = echo }\n')
end

--- A plugin called counter that tells in `x-count` how often its VM was asked, and in `x-secret` the secret
-- of its configuration; `more` is code before its end.
function helper.counter(more)
  return [[
local S = require "tidegate.schema"
local P = { name = "counter", version = "1.0.0", api = 1, stage = "guard",
            schema = S.record { step = S.int():default(1), secret = S.secret():optional() } }
local count = 0
function P.access(conf, ctx)
  count = count + conf.step
  ctx.resp:set_header("x-count", tostring(count))
  if conf.secret then ctx.resp:set_header("x-secret", conf.secret) end
end
]] .. (more or "") .. "\nreturn P\n"
end

--- Starts it; options as gateway.start takes them.
function helper.start(options)
  local g = gateway.start(options)
  g:wait_for_log(" serves after ")
  return g
end

--- The count that the plugin tells; nil when it does not run.
function helper.count(g, path)
  local response = client.get(g.port, path or "/")
  assert.status(200, response)
  return tonumber(response.headers["x-count"])
end

--- Writes the configuration, has the gateway reload it, and expects success; what it printed.
function helper.reload(g, config)
  if config then g:write("gateway.lua", config) end
  local code, out, err = helper.run(g, "reload")
  assert.same({ 0, "" }, { code, err })
  return out
end

--- /status as a table.
function helper.status(g)
  return admin.get(admin.socket(g), "/status").json
end

return helper
