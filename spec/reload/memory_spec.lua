--- What reloads take of settings.memory: the share of configurations, of which old ones are no part, and
-- none of what plugins have.

local gateway = require("support.gateway")
local helper = require("reload.helper")

-- One hundredth of the whole is 10.7 MB; the whole is more than a sanitizer makes of this process.
local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1, admin = { listen = "unix:admin.sock" },
              memory = { total = "1GiB", shares = { @SHARES@ } } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.route "all" { service = tg.service "echo" { builtin = "echo" } }
]]

describe("settings.memory", function()
  local function start(shares)
    local g = gateway.start({ config = CONFIG, vars = { SHARES = shares } })
    g:wait_for_log(" serves after ")
    return g
  end

  it("holds no configurations that were in force", function()
    local g = start("config = 1")
    for i = 1, 10 do
      local comment = ("-- %d %s\n"):format(i, ("x"):rep(1250000))
      assert.contains(("revision %d is in force"):format(i + 1), helper.reload(g, CONFIG .. comment))
    end
    g:stop()
  end)

  it("gives evaluations nothing that belongs to plugins", function()
    local g = start("plugins = 1")
    local large = 'local large = ("x"):rep(2 ^ 24)\n'
    assert.contains("revision 2 is in force", helper.reload(g, CONFIG .. large))
    g:stop()
  end)

  it("refuses what is too large for the share of configurations, and says how to enlarge it", function()
    local g = start("config = 1")
    local large = 'local large = ("x"):rep(2 ^ 24)\n'
    g:write("gateway.lua", CONFIG .. large)
    local code, _, err = helper.run(g, "reload")
    assert.equal(1, code)
    assert.contains("what settings.memory leaves for configurations", err)
    assert.contains("shares.config", err)
    assert.contains("revision 1 stays in force", err)
    g:stop()
  end)
end)
