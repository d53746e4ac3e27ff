--- What the specs of the admin listener share: a gateway that has one, and asking it.

local cjson = require("cjson")
local client = require("support.client")
local gateway = require("support.gateway")
local process = require("support.process")
local unistd = require("posix.unistd")

local helper = {}

helper.CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 2, @ADMIN@ limits = { plugin = { cpu = "1s", wall = "200ms" } } }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo", plugins = { tg.use("./probe.lua", { when = "true" }) {} } }
]]

helper.PROBE = [[
local P = { name = "probe", version = "1.2.3", api = 1, stage = "guard" }
function P.access(_, ctx)
  if ctx.req.path == "/raise" then error "oops" end
  if ctx.req.path == "/wait" then ctx:sleep "1m" end
end
return P
]]

--- Starts a gateway whose settings hold `admin` (Lua text; default: a unix socket admin.sock).
function helper.start(options)
  options = options or {}
  local g = gateway.start({
    config = options.config or helper.CONFIG,
    files = options.files or { ["probe.lua"] = helper.PROBE },
    vars = { ADMIN = options.admin or 'admin = { listen = "unix:admin.sock" },' },
    wait = options.wait,
  })
  -- The supervisor listens for clients before the gateway process has opened its admin listener.
  if options.wait ~= false then
    g:wait_for_log(" serves after ")
  end
  return g
end

--- Where the unix socket `name` of a gateway is, for support.client.
function helper.socket(g, name)
  return { unix = g.dir .. "/" .. (name or "admin.sock") }
end

--- A GET at `where`; the response, with `json` where the body is.
function helper.get(where, path)
  local response = client.request(where, { target = path, host = "localhost" })
  if response.headers["content-type"]:find("json", 1, true) then
    response.json = cjson.decode(response.body)
  end
  return response
end

-- Seconds that a command may take: what it asks for may cost a second of CPU time on a busy machine.
local PATIENCE = 60

--- Runs the program with arguments in the gateway's folder: its exit status, stdout, stderr.
function helper.run(g, ...)
  local out, err = process.output(g.dir .. "/command.out"), process.output(g.dir .. "/command.err")
  local argv = { os.getenv("TIDEGATE_BIN"), ... }
  local p = process.spawn({ argv = argv, cwd = g.dir, stdout = out, stderr = err })
  unistd.close(out)
  unistd.close(err)
  local status = p:wait(PATIENCE) or p:kill()
  return status.code, g:read("command.out"), g:read("command.err")
end

return helper
