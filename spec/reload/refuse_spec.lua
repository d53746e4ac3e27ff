--- Configurations that are bad in ways of their own: each is refused by a reload, with a message that says
-- what, where and what to do; what ran goes on.

local client = require("support.client")
local gateway = require("support.gateway")
local helper = require("reload.helper")

local GOOD = helper.config()

local BAD = {
  ["loops"] = { 'local ok = pcall(function() while true do end end)', "gateway.lua:5",
                "the configuration takes longer than 1 s to evaluate" },
  ["allocates without end"] = { "local t = {} for i = 1, 1e9 do t[i] = { i } end", "gateway.lua:5",
                                "needs more than 32 MiB to evaluate" },
  ["makes a string without end"] = { "local s = 'x' while true do s = s .. s end", "gateway.lua:5",
                                     "needs more than 32 MiB to evaluate" },
  ["requires a module from outside its folder"] = { 'require "../outside"', "gateway.lua:5",
    'cannot require "../outside": a module is a file below the config\'s folder' },
  ["requires a module that is not there"] = { 'require "absent"', "gateway.lua:5",
                                              'no module "absent": neither absent.lua nor absent/init.lua' },
  ["requires a module that cannot be read"] = { 'require "folder"', "gateway.lua:5",
    'no module "folder": neither folder.lua nor folder/init.lua can be read; ' ..
    'folder.lua: not a regular file' },
  ["uses a plugin that cannot be read"] = { 'tg.global { tg.use "./folder" {} }', "gateway.lua:5",
    'cannot read the plugin "./folder"; folder.lua: not a regular file' },
  ["includes from outside its folder"] = { 'tg.include "../*.lua"', "gateway.lua:5",
                                           "tg.include takes a path below the config's folder" },
  ["names a file that cannot be read"] = {
    'tg.route "x" { paths = { tg.file "absent.txt" }, service = echo }', "gateway.lua:5",
    "cannot read absent.txt: No such file or directory" },
  ["names a folder as a file"] = { 'tg.route "x" { paths = { tg.file "." }, service = echo }',
                                   "gateway.lua:5", "cannot read .: not a regular file" },
  ["has a secret that cannot be read"] = { 'tg.secret "file:absent"', "gateway.lua:5", "cannot read absent" },
  ["differs between two evaluations"] = {
    'tg.route "x" { paths = { "/" .. tostring({}):match "0x%x+" }, service = echo }', "gateway.lua:5",
    "evaluating the file twice gave two results" },
  ["declares in an order of chance"] = {
    'for f in pairs { [function() end] = 1, [function() end] = 2 } do ' ..
    'tg.route("x" .. tostring(f):sub(-8)) { paths = { "/" .. tostring(f):sub(-8) }, service = echo } end',
    "gateway.lua:5", "evaluating the file twice gave two results" },
}

describe("a configuration that", function()
  local g

  setup(function()
    g = gateway.start({
      config = GOOD,
      env = { TIDEGATE_CONFIG_SECONDS = "1", TIDEGATE_CONFIG_MIB = "32" },
      files = { ["inner/none.txt"] = "", ["folder.lua/none.txt"] = "" },
    })
    g:wait_for_log(" serves after ")
  end)

  teardown(function()
    g:stop()
  end)

  local revision = 1
  for what, bad in pairs(BAD) do
    it(what .. " is refused, and the old one stays", function()
      g:write("gateway.lua", GOOD .. bad[1] .. "\n")
      local code, out, err = helper.run(g, "reload", "--admin", "unix:admin.sock")
      assert.same({ 1, "" }, { code, out })
      for i = 2, #bad do assert.contains((bad[i]:gsub("lua:5", "lua:6")), err) end
      assert.contains(("revision %d stays in force"):format(revision), err)
      assert.status(200, client.get(g.port, "/"))
      assert.equal("refused", helper.status(g).last_reload.result)
      g:write("gateway.lua", GOOD)
      assert.contains("nothing has changed", helper.reload(g))
    end)
  end

  it("changes a table after it declared it is as good as another", function()
    g:write("gateway.lua", GOOD .. 'local t = { paths = { "/late" } } tg.route "late" (t) t.service = echo\n')
    assert.contains("revision 2 is in force", helper.reload(g))
    revision = 2
    g:write("gateway.lua", GOOD)
    assert.contains("revision 3 is in force", helper.reload(g))
    revision = 3
  end)
end)

describe("the bounds of an evaluation", function()
  it("are a number in the environment, or nothing is evaluated", function()
    local g = gateway.start({ config = GOOD, env = { TIDEGATE_CONFIG_MIB = "much" }, wait = false })
    assert.same({ code = 1 }, g:wait(10))
    assert.contains("tidegate: the environment's TIDEGATE_CONFIG_MIB is \"much\"; write a number from 1 to",
      g:stderr())
  end)
end)
