-- A limit on open files: told at the start, and in words when it is reached; what frees descriptors ends it.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")

local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1 }
tg.listener "l" { address = "127.0.0.1:@PORT@" }
tg.service "app" { builtin = "echo" }
tg.route "all" { service = "app" }
]]

-- Fewer than the clients below, enough for what the process opens for itself.
local FILES = 100

describe("a gateway that may open few files", function()
  local g, script

  setup(function()
    script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(("#!/bin/sh\nulimit -n %d\nexec \"$TIDEGATE_BIN\" \"$@\"\n"):format(FILES))
    file:close()
    assert(os.execute("chmod 700 " .. script))
    g = gateway.start { config = CONFIG, program = script }
  end)

  teardown(function()
    g:stop()
    os.remove(script)
  end)

  it("warns of it at the start", function()
    local told = "at most %d files may be open, fewer than the 16384 of limits.connection.total"
    assert.contains(told:format(FILES), g:stderr())
  end)

  it("says what is lacking when they are used up, and goes on when some are free", function()
    local open = {}
    for i = 1, FILES do open[i] = client.connect(g.port) end
    clock.wait_until(function()
      return g:stderr():find("cannot accept: out of file descriptors (LimitNOFILE=, ulimit -n)", 1, true)
    end, 20, "the line in the log")
    for _, connection in ipairs(open) do connection:close() end
    clock.wait_until(function() return client.get(g.port, "/").status == 200 end, 20, "an answer")
  end)
end)
