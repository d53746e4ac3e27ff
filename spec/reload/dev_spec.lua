--- `tidegate run --dev`: a reload when a file changes that the configuration read, and answers that tell what
-- failed.

local client = require("support.client")
local gateway = require("support.gateway")
local helper = require("reload.helper")

local CONFIG = helper.config([[
require "part"
tg.include "conf.d/*.lua"
tg.route "all" { paths = { "/*" }, service = echo, tags = { tg.file "tag" },
                 plugins = { tg.use "./counter.lua" { secret = tg.secret "file:secret" } } }
]])

local FAILING = 'function P.log() end\nlocal access = P.access\nfunction P.access(conf, ctx)\n' ..
  '  if ctx.req.path == "/boom" then error "by design" end\n  return access(conf, ctx)\nend'

describe("run --dev", function()
  local g

  local function start(args)
    g = helper.start({
      config = CONFIG, args = args or { "--dev" },
      files = { ["part.lua"] = "return 1", ["tag"] = "a", ["secret"] = "s", ["conf.d/a.lua"] = "",
                ["counter.lua"] = helper.counter(FAILING), ["other.txt"] = "x" },
    })
    local started = g
    finally(function() started:stop() end)
  end

  local changes = {
    { "the configuration", "gateway.lua", CONFIG .. "-- more" },
    { "a module that it requires", "part.lua", "return 2" },
    { "a file that it includes", "conf.d/a.lua", "-- more" },
    { "a file that a pattern now finds", "conf.d/b.lua", "-- new" },
    { "a plugin's file", "counter.lua", helper.counter(FAILING .. "-- more") },
    { "a file that tg.file reads", "tag", "b" },
    { "the file of a secret", "secret", "t" },
  }
  it("reloads when a file of the configuration changes, whichever it is", function()
    start()
    for i, change in ipairs(changes) do
      g:write(change[2], change[3])
      g:wait_for_log(("(revision %d)"):format(i + 1), 10)
    end
    os.remove(g.dir .. "/conf.d/b.lua")
    g:wait_for_log(("(revision %d)"):format(#changes + 2), 10)
  end)

  it("goes on when a change is bad, and when it is mended", function()
    start()
    g:write("part.lua", "this is no Lua")
    g:wait_for_log("revision 1 stays", 10)
    assert.status(200, client.get(g.port, "/"))
    g:write("part.lua", "return 3")
    g:wait_for_log("(revision 2)", 10)
    os.rename(g.dir .. "/part.lua", g.dir .. "/away.lua")
    g:wait_for_log("revision 2 stays", 10)
    os.rename(g.dir .. "/away.lua", g.dir .. "/part.lua")
    g:wait_for_log("nothing has changed, revision 2 stays in force", 10)
  end)

  it("does not care for other files, nor for a file that is as it was", function()
    start()
    g:write("other.txt", "y")
    g:write("new.txt", "y")
    g:write("tag", "a")
    g:write("tag", "b") -- this one counts
    g:wait_for_log("(revision 2)", 10)
    local _, loads = g:stderr():gsub("info reload: ", "")
    assert.equal(1, loads)
  end)

  it("tells in the answer what failed", function()
    start()
    local response = client.get(g.port, "/boom")
    assert.status(500, response)
    assert.contains('"code":"plugin_error"', response.body)
    assert.contains('"plugin":"counter"', response.body)
    assert.matches('"detail":"counter.lua:%d+: by design', response.body)
  end)

  it("is what it takes for that", function()
    start({})
    local response = client.get(g.port, "/boom")
    assert.status(500, response)
    assert.is_nil(response.body:find("by design", 1, true))
    g:wait_for_log("by design")
  end)

  it("needs the supervisor", function()
    local alone = gateway.start({ config = helper.config(), args = { "--dev", "--single" }, wait = false })
    assert.same({ code = 2 }, alone:wait(10))
    assert.contains("--dev needs the supervisor, which --single leaves out", alone:stderr())
  end)
end)
