-- A limit on open files: told at the start, and in words when it is reached; what frees descriptors ends it,
-- and no origin is blamed for it.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local json = require("cjson")

local ORIGIN = [[
local tg = require "tidegate"
tg.settings { workers = 1 }
tg.listener "l" { address = "127.0.0.1:@PORT@" }
tg.route "all" { service = tg.service "app" { builtin = "echo" } }
]]

local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1 }
tg.listener "l" { address = "127.0.0.1:@PORT@" }
tg.service "app" { builtin = "echo" }
tg.service "far" {
  targets = { { "127.0.0.1:@ORIGIN@" } },
  health = { active = { path = "/", every = "1s", fall = 1 }, passive = { failures = 1 } },
  breaker = { volume = 1 },
  pool = { max_idle = 0 },
}
tg.route "all" { service = "app" }
tg.route "far" { paths = { "/far" }, service = "far" }
]]

-- Fewer than the clients below, enough for what the process opens for itself.
local FILES = 100

describe("a gateway that may open few files", function()
  local g, o, script

  setup(function()
    script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(("#!/bin/sh\nulimit -n %d\nexec \"$TIDEGATE_BIN\" \"$@\"\n"):format(FILES))
    file:close()
    assert(os.execute("chmod 700 " .. script))
    o = gateway.start { config = ORIGIN }
    g = gateway.start { config = CONFIG, vars = { ORIGIN = o.port }, program = script }
  end)

  teardown(function()
    g:stop()
    o:stop()
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

  it("holds no origin for down because it lacks descriptors itself", function()
    local kept, open = client.connect(g.port), {}
    assert.equal(200, kept:get("/far").status)
    for i = 1, FILES do open[i] = client.connect(g.port) end
    clock.wait_until(function()
      return g:stderr():find("a check could not be made: out of file descriptors", 1, true)
    end, 20, "a check without a descriptor")
    for _ = 1, 5 do
      local answer = kept:get("/far")
      assert.equal(503, answer.status)
      assert.equal("no_resources", json.decode(answer.body).code)
    end
    for _, connection in ipairs(open) do connection:close() end
    clock.wait_until(function()
      local answer = kept:get("/far")
      return answer.status == 200 or assert.equal("no_resources", json.decode(answer.body).code) and false
    end, 20, "an answer of the origin")
    assert.is_nil(g:stderr():find('a target is down[^\n]*reason="out of file descriptors'))
    assert.is_nil(g:stderr():find("left out", 1, true))
    assert.is_nil(g:stderr():find("breaker", 1, true))
  end)
end)
