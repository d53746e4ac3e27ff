--- support.gateway, tried on a program that stands in for the gateway and misbehaves on demand.

local clock = require("support.clock")
local gateway = require("support.gateway")
local signal = require("posix.signal")
local socket = require("support.socket")

local PROGRAM = [[
#!/bin/sh
exec luajit '@STAND_IN@' "$@"
]]

local here = io.popen("pwd"):read("*l")

-- Starts the stand-in with a table as its config.
local function start(config, options)
  options = options or {}
  options.config = "return { port = @PORT@, " .. config .. " }"
  options.program = here .. "/build/gen/stand_in"
  return gateway.start(options)
end

local function exists(path)
  return os.execute(("test -e '%s'"):format(path)) == 0
end

describe("gateway", function()
  setup(function()
    os.execute("mkdir -p build/gen")
    local file = assert(io.open("build/gen/stand_in", "w"))
    file:write((PROGRAM:gsub("@STAND_IN@", here .. "/spec/support/stand_in.lua")))
    file:close()
    os.execute("chmod +x build/gen/stand_in")
  end)

  it("starts on a free port and ends cleanly", function()
    local g = start("say = 'up'")
    assert.is_truthy(socket.try_connect({ port = g.port }))
    assert.contains("up", g:stderr())
    g:stop()
    assert.is_nil((socket.try_connect({ port = g.port })))
    assert.contains("up", g:stderr())
    assert.is_false(exists(g.dir))
    g:stop()
  end)

  it("passes arguments, environment, variables and files", function()
    local g = start("say = os.getenv('GREETING') .. dofile('sub/more.lua')", {
      args = { "--single", "@WHO@" },
      env = { GREETING = "hello " },
      vars = { WHO = "reader" },
      files = { ["sub/more.lua"] = "return '@WHO@'" },
    })
    assert.contains("hello reader", g:stderr())
    assert.contains("arguments: --single reader", g:stdout())
    g:stop()
  end)

  it("shows stderr when the program ends before it listens", function()
    assert.error_matches(function()
      start("say = 'no such service: x', die = 3")
    end, "does not accept on port %d+ %(exit status 3%).*no such service: x")
  end)

  it("shows stderr when the program never listens", function()
    assert.error_matches(function()
      gateway.start({
        config = "return { say = 'deaf' }",
        program = here .. "/build/gen/stand_in",
        seconds = 0.2,
      })
    end, "does not accept on port %d+ %(still running%).*deaf")
  end)

  it("fails the stop when the exit status is bad", function()
    local g = start("status = 1, say = 'leaving'")
    assert.error_matches(function()
      g:stop()
    end, "ended with exit status 1; its stderr:\n.*leaving")
  end)

  it("fails the stop when a signal ended the program", function()
    local g = start("")
    g:signal("SEGV")
    assert.same({ signal = signal.SIGSEGV }, g:wait())
    assert.error_matches(function()
      g:stop()
    end, "ended with signal 11")
  end)

  it("fails the stop when the program does not end, and ends it", function()
    local g = start("stubborn = true")
    local pid = g:pid()
    assert.error_matches(function()
      g:stop(0.1)
    end, "did not end")
    assert.is_not.equal(0, signal.kill(pid, 0))
  end)

  it("fails the stop when a sanitizer reported something", function()
    local g = start("say = 'x.c:1:2: runtime error: shift exponent 40 is too large'")
    assert.error_matches(function()
      g:stop()
    end, "reported runtime error:")
  end)

  it("reloads a new config", function()
    local g = start("say = 'one'")
    g:reload("return { port = @PORT@, say = 'two' }")
    g:wait_for_log("two")
    assert.error_matches(function()
      g:wait_for_log("three", 0.01)
    end, 'waited .* for "three" in the log; the log ends:\n.*two')
    assert.error_matches(function()
      g:wait_for_log("two", 0.01, #g:stderr())
    end, 'waited .* for "two"')
    g:stop()
  end)

  it("tells its pids and its memory", function()
    local g = start("")
    assert.equal(g:pid(), g:pids()[1])
    assert.is_true(g:rss() > 100 * 1024)
    g:signal("KILL", g:pid())
    clock.wait_until(function()
      return g:wait(0)
    end)
    assert.equal(0, g:rss())
  end)
end)
