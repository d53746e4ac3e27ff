--- The command line of the program: help, version, check, and words that it does not know.

local command = require("support.command")
local stat = require("posix.sys.stat")

local VALID = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "echo" { builtin = "echo" }
tg.route "all" { service = "echo" }
]]

describe("the program", function()
  local folder

  before_each(function()
    folder = command.folder()
  end)

  after_each(function()
    folder:close()
  end)

  local function run(...)
    return folder:run(...)
  end

  it("lists its commands, each with a text of its own", function()
    local code, out, err = run("help")
    assert.same({ 0, "" }, { code, err })
    local names = 0
    for name in out:gmatch("\n  (%l+) ") do
      local _, text = run("help", name)
      assert.contains("usage: tidegate " .. name, text)
      names = names + 1
    end
    assert.is_true(names >= 4)
  end)

  it("tells the versions of what it runs with", function()
    local code, out = run("--version")
    assert.equal(0, code)
    for _, name in ipairs({ "tidegate", "LuaJIT", "libev", "llhttp", "OpenSSL" }) do
      assert.matches(name .. " %d+%.%d+", out)
    end
  end)

  it("does not understand a word, says what may have been meant, and exits with 2", function()
    local code, out, err = run("chekc")
    assert.same({ 2, "" }, { code, out })
    assert.contains('did you mean "check"?', err)
    assert.equal(2, (run()))
    assert.equal(2, (run("help", "chekc")))
    assert.equal(2, (run("run", "--singel")))
  end)

  it("fails where its output is not taken, whatever the command", function()
    for _, command_line in ipairs({ "help", "version", "schema route", "explain", "doc" }) do
      local script = 'exec "$TIDEGATE_BIN" ' .. command_line .. " >/dev/full"
      local code, said = folder:run_words({ "sh", "-c", script })
      assert.equal(3, code, command_line)
      local name = command_line:match("%l+")
      assert.contains(("tidegate %s: cannot write all of the output: "):format(name), said)
    end
  end)

  it("checks gateway.lua where no file is named", function()
    assert.equal(1, (run("check")))
    folder:write("gateway.lua", VALID)
    assert.equal(0, (run("check")))
    folder:write("other.lua", "tg.route()")
    assert.equal(1, (run("check", "other.lua")))
  end)

  it("warns of an include whose folder is not there, and of none whose folder is empty", function()
    folder:write("gateway.lua", VALID .. 'tg.include "parts/*.lua"\n')
    local code, out = run("check")
    assert.equal(0, code)
    assert.contains("gateway.lua:5:1: warning: there is no folder parts, so nothing is included", out)
    assert.equal(1, (run("check", "--strict")))
    assert(stat.mkdir(folder.dir .. "/parts"))
    assert.equal(0, (run("check", "--strict")))
  end)

  it("checks where logs would go, and makes no file there, which whoever asks would own", function()
    local log = 'tg.global { tg.use "access-log" { path = %q } }\n'
    folder:write("gateway.lua", VALID .. log:format(folder.dir .. "/access.log"))
    assert.equal(0, (run("check")))
    assert.is_nil(io.open(folder.dir .. "/access.log"))
    folder:write("gateway.lua", VALID .. log:format(folder.dir .. "/none/access.log"))
    local code, out = run("check")
    assert.equal(1, code)
    assert.contains("none/access.log: No such file or directory", out)
  end)
end)
