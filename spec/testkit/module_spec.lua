--- tidegate.test under somebody's own busted: build/tidegate.so, and the interpreters that it refuses.

local command = require("support.command")
local unistd = require("posix.unistd")

local MODULE = "build/tidegate.so"

local function has(program)
  return os.execute(("command -v %s >/dev/null"):format(program)) == 0
end

local function exists(path)
  return unistd.access(path, "r") == 0
end

-- The module belongs to the release: an interpreter without a sanitizer cannot load one that has it.
local optional = exists(MODULE) and os.getenv("TIDEGATE_BUILD") == "release" and it or pending

describe("the module", function()
  local folder

  before_each(function()
    folder = command.folder()
    folder:write("own_spec.lua", [[
      local t = require("tidegate.test")
      describe("a plugin", function()
        it("runs", function()
          t.reset()
          local p = t.plugin(t.source('return { name = "own", version = "1", api = 1, stage = "guard", ' ..
            'access = function(_, ctx) ctx:exit(204) end }'))
          assert.response(p:run()).has.status(204)
        end)
        it("leaves a request", function()
          local p = t.plugin(t.source('return { name = "naps", version = "1", api = 1, stage = "guard", ' ..
            'access = function(_, ctx) ctx:sleep(1) end }'))
          t.clock:freeze()
          p:run()
        end)
      end)]])
  end)

  after_each(function()
    folder:close()
  end)

  local function busted(lua)
    return folder:run_words({
      "busted", "--lua=" .. lua, "--cpath=" .. unistd.getcwd() .. "/build/?.so", "own_spec.lua",
    })
  end

  optional("works in stock busted under LuaJIT, leak checks included", function()
    local code, out = busted("luajit")
    assert.matches("2 successes / 0 failures / 1 error", out)
    assert.matches("plugin naps waits in access", out)
    assert.not_equal(0, code)
  end)

  for _, lua in ipairs({ "lua5.1", "lua5.2", "lua5.3", "lua5.4" }) do
    local test = has(lua) and optional or pending
    test("refuses " .. lua .. ", and says what to do", function()
      local code, out = busted(lua)
      assert.matches("tidegate.test needs LuaJIT, as plugins do: run busted %-%-lua=luajit", out)
      assert.not_equal(0, code)
    end)
  end
end)
