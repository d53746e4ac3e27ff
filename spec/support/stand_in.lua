--- A program that stands in for the gateway in the specs of support.gateway itself.
--
-- Started as `stand_in.lua run FILE`, it reads the file as Lua and does what its fields say: port
-- (listen there), say (text for stderr), die (end at once with this status), status (end with this
-- one after SIGTERM), stubborn (ignore SIGTERM). SIGHUP makes it read the file again.

local poll = require("posix.poll").poll
local signal = require("posix.signal")
local sys = require("posix.sys.socket")

local path = arg[2]
local reload, stop = true, false

signal.signal(signal.SIGHUP, function()
  reload = true
end)
signal.signal(signal.SIGTERM, function()
  stop = true
end)

local script, listener
while not (stop and not script.stubborn) do
  if reload then
    reload = false
    script = dofile(path)
    io.stderr:write(script.say or "", "\n")
    io.stdout:write("arguments: ", table.concat(arg, " ", 3), "\n")
    io.stdout:flush()
    if script.die then
      os.exit(script.die)
    end
  end
  if script.port and not listener then
    listener = sys.socket(sys.AF_INET, sys.SOCK_STREAM, 0)
    sys.setsockopt(listener, sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
    assert(sys.bind(listener, { family = sys.AF_INET, addr = "127.0.0.1", port = script.port }))
    sys.listen(listener, 10)
  end
  poll({}, 5)
end
os.exit(script.status or 0)
