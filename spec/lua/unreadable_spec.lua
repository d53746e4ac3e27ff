-- Files that are there and cannot be read: told by name and reason, and nothing else stands in for them.

local host = require "support.config_host"

local CHANGED = "it changed while it was read"
local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n' ..
             'tg.service "echo" { builtin = "echo" }\ntg.route "all" { service = "echo" }\n'
local PLUGIN = 'local util = require "util"\n' .. host.plugin("p", "guard", { "access" })

local CASES = {
  ["the configuration"] = { "", "gateway.lua", "cannot read gateway.lua: " .. CHANGED },
  ["a module"] = { 'require "part"', "part.lua",
    'gateway.lua:5: no module "part": neither part.lua nor part/init.lua can be read; part.lua: ' ..
    CHANGED },
  ["a plugin"] = { 'tg.global { tg.use "./p" {} }', "p.lua",
    'global[1] (./p): cannot read the plugin "./p"; p.lua: ' .. CHANGED },
  ["a module of a plugin"] = { 'tg.global { tg.use "./p" {} }', "util.lua",
    'p.lua:1: cannot require "util": its file cannot be read; util.lua: ' .. CHANGED },
  ["a file that a pattern names"] = { 'tg.include "conf.d/*.lua"', "conf.d/a.lua",
    "gateway.lua:5:1: cannot read conf.d/a.lua: " .. CHANGED },
  ["a file for tg.file"] = { 'local t = tg.file "text"', "text",
    "gateway.lua:5:11: cannot read text: " .. CHANGED },
  ["a file for tg.secret"] = { 'local t = tg.secret "file:text"', "text",
    "gateway.lua:5:11: cannot read text: " .. CHANGED },
}

describe("a file that is there and cannot be read", function()
  for what, case in pairs(CASES) do
    it("is told: " .. what, function()
      local files = { ["part.lua"] = "", ["part/init.lua"] = "", ["p.lua"] = PLUGIN, ["p/init.lua"] = PLUGIN,
                      ["util.lua"] = "return {}", ["util/init.lua"] = "return {}", ["conf.d/a.lua"] = "",
                      text = "text" }
      assert.is_table((host.load(HEAD .. case[1], { files = files })))
      local unreadable = { [case[2]] = CHANGED }
      assert.contains(case[3], host.errors(HEAD .. case[1], { files = files, unreadable = unreadable }))
    end)
  end
end)
