--- Programs of others' making that specs talk to: the scripts of spec/peers, under node.
--
--   local origin = peer.start("http2_origin.js", "streams=10")      -- origin.port
--   local r = peer.run("grpc_client.js", port, "unary")             -- r.code, r.out, r.err
--
-- A server's first line of output is "port N"; it is killed at the end of the spec or file. Packages
-- that they need come from Debian (node-ws) or are put into build/peers by the Makefile.

local clock = require("support.clock")
local owned = require("support.owned")
local process = require("support.process")
local unistd = require("posix.unistd")

local peer = {}

local Peer = {}
Peer.__index = Peer

local ROOT = unistd.getcwd()

local function slurp(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

local function spawn(script, arguments, options)
  local p = setmetatable({ path = os.tmpname() }, Peer)
  local argv = { "node", ROOT .. "/spec/peers/" .. script }
  for _, argument in ipairs(arguments) do
    argv[#argv + 1] = tostring(argument)
  end
  local out, err = process.output(p.path), process.output(p.path .. ".err")
  p.process = process.spawn({ argv = argv, stdout = out, stderr = err, cwd = options and options.cwd,
                              env = { NODE_PATH = ROOT .. "/build/peers/node_modules:/usr/share/nodejs" } })
  unistd.close(out)
  unistd.close(err)
  return p
end

function Peer:remove_files()
  os.remove(self.path)
  os.remove(self.path .. ".err")
end

--- Ends it. Twice is fine.
function Peer:stop()
  if self.path then
    self.process:kill()
    self:remove_files()
    self.path = nil
    owned.remove(self)
  end
end

function Peer:output()
  return slurp(self.path)
end

--- Starts a server. @return a peer with `port`
function peer.start(script, ...)
  local p = owned.add(spawn(script, { ... }), Peer.stop)
  clock.wait_until(function()
    p.port = tonumber(slurp(p.path):match("port (%d+)\n"))
    if not p.port and p.process:poll() then
      error(("%s: %s\n%s"):format(script, process.describe(p.process.status), slurp(p.path .. ".err")))
    end
    return p.port
  end, 20)
  return p
end

--- Runs a client to its end. @return { code, out, err }
function peer.run(script, ...)
  local p = spawn(script, { ... })
  local status = p.process:wait(30) or p.process:kill()
  local result = { code = status.code, out = slurp(p.path), err = slurp(p.path .. ".err") }
  p:remove_files()
  return result
end

return peer
