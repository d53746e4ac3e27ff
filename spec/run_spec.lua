--- The runner itself: what it counts as passed and failed, and that nothing gets lost.

local clock = require("support.clock")
local process = require("support.process")
local signal = require("posix.signal")
local unistd = require("posix.unistd")

local folder

local function write(name, text)
  local file = assert(io.open(folder .. "/" .. name, "w"))
  file:write(text)
  file:close()
  os.execute(("chmod +x '%s/%s'"):format(folder, name))
end

-- Runs the runner on one file with this text and returns its output, last line and exit status.
local function run(name, text, options)
  write(name, text)
  local command = "AGAIN= luajit spec/run.lua %s '%s/%s' 2>&1; echo $?"
  local pipe = io.popen(command:format(options or "", folder, name))
  local output = pipe:read("*a")
  pipe:close()
  local last, status = output:match("([^\n]*)\n(%d+)\n$")
  return output, last, tonumber(status)
end

describe("the runner", function()
  setup(function()
    os.execute("mkdir -p build/run_spec")
    folder = "build/run_spec"
  end)

  it("counts specs that pass, fail and are skipped", function()
    local output, last, status = run("mixed_spec.lua", [[
      it("good", function() end)
      it("bad", function() assert.equal(1, 2) end)
      it("ugly", function() error("ugly things") end)
      pending("later")
    ]])
    assert.equal("1 passed, 2 failed", last)
    assert.equal(1, status)
    assert.contains("Expected objects to be equal", output)
    assert.contains("ugly things", output)
  end)

  it("exits 0 when all passed", function()
    local _, last, status = run("good_spec.lua", 'it("good", function() end)')
    assert.equal("1 passed, 0 failed", last)
    assert.equal(0, status)
  end)

  it("runs once more what failed by chance, where it is asked to, and names it", function()
    local unsteady = [[
      local before = "build/run_spec/before"
      it("is steady", function() end)
      it("is chance", function()
        if not os.remove(before) then
          io.open(before, "w"):close()
          error("chance")
        end
      end)
    ]]
    os.remove(folder .. "/before")
    local output, last, status = run("chance_spec.lua", unsteady, "--again")
    assert.equal("2 passed, 0 failed", last)
    assert.equal(0, status)
    assert.contains("unsteady, failed the first time: build/run_spec/chance_spec.lua", output)
    assert.contains("not ok 2 - is chance", output)
    local _, last_once = run("chance_spec.lua", unsteady)
    assert.equal("1 passed, 1 failed", last_once)
  end)

  it("gives no second chance to what fails twice, crashes, or a sanitizer speaks of", function()
    local _, last = run("twice_spec.lua", 'it("bad", function() error("bad") end)', "--again")
    assert.equal("0 passed, 1 failed", last)
    local output
    local dies = 'it("dies", function() os.execute("kill -9 $PPID") end)'
    output, last = run("crash_spec.lua", dies, "--again")
    assert.equal("0 passed, 1 failed", last)
    assert.is_nil(output:find("unsteady", 1, true))
    local report = 'it("bad", function() error("ThreadSanitizer: race") end)'
    output, last = run("report_spec.lua", report, "--again")
    assert.equal("0 passed, 1 failed", last)
    assert.is_nil(output:find("unsteady", 1, true))
  end)

  it("counts a file that does not parse, and shows the parser's message", function()
    local output, last = run("broken_spec.lua", "it(")
    assert.equal("0 passed, 1 failed", last)
    assert.contains("unexpected symbol near '<eof>'", output)
  end)

  it("counts a failing setup", function()
    local _, last = run("setup_spec.lua", [[
      describe("x", function()
        setup(function() error("no") end)
        it("never", function() end)
      end)
    ]])
    assert.matches("^0 passed, [1-9]", last)
  end)

  it("counts a spec that ends its process", function()
    local output, last = run("exit_spec.lua", 'it("a", function() end) it("b", function() os.exit(0) end)')
    assert.equal("1 passed, 1 failed", last)
    assert.contains("results missing", output)
  end)

  it("ends and counts a spec that loops for ever", function()
    local output, last = run("loop_spec.lua", 'it("loops", function() while true do end end)',
      "--timeout=" .. 0.3 / clock.patience)
    assert.equal("0 passed, 1 failed", last)
    assert.contains("stopped at its time limit", output)
  end)

  it("counts and ends what a spec leaves running", function()
    local output, last = run("left_spec.lua", [[
      it("leaves", function() os.execute("tail -f /dev/null >/dev/null 2>&1 &") end)
    ]])
    assert.equal("1 passed, 1 failed", last)
    assert.contains("left processes behind", output)
  end)

  it("counts unit tests that pass, fail, are skipped and crash", function()
    local output, last = run("unit_test", "#!/bin/sh\n" .. [[
      echo 1..5; echo ok 1 - a; echo not ok 2 - b; echo '# "x" != "y"'; echo 'not ok 3 # SKIP c'
      exit 1
    ]])
    assert.equal("1 passed, 1 failed", last)
    assert.contains('"x" != "y"', output)
    output, last = run("crash_test", "#!/bin/sh\necho 1..2; echo ok 1 - a; kill -SEGV $$")
    assert.equal("1 passed, 1 failed", last)
    assert.contains("ended (signal 11) with 1 results missing", output)
  end)

  it("counts a bad exit status after good results", function()
    local output, last = run("leak_test", "#!/bin/sh\necho 1..1; echo ok 1 - a; echo leaked; exit 23")
    assert.equal("1 passed, 1 failed", last)
    assert.contains("leaked", output)
    assert.contains("ended with exit status 23", output)
  end)

  it("counts a program that says nothing, or does not exist", function()
    local _, last = run("silent_test", "#!/bin/sh\n")
    assert.equal("0 passed, 1 failed", last)
    local pipe = io.popen("luajit spec/run.lua build/run_spec/nowhere_test")
    assert.matches("\n0 passed, 1 failed\n$", pipe:read("*a"))
    pipe:close()
  end)

  it("fails when there is nothing to run", function()
    local pipe = io.popen("luajit spec/run.lua; echo $?")
    assert.matches("0 passed, 1 failed\n1\n$", pipe:read("*a"))
    pipe:close()
  end)

  it("ends what it started when it is interrupted", function()
    write("endless_spec.lua", [[
      local unistd = require("posix.unistd")
      local file = io.open("build/run_spec/pid", "w")
      file:write(unistd.getpid(), "\n")
      file:close()
      it("loops", function() while true do end end)
    ]])
    os.remove(folder .. "/pid")
    local output = process.output(folder .. "/interrupted")
    local runner = process.spawn({
      argv = { "luajit", "spec/run.lua", folder .. "/endless_spec.lua" },
      stdout = output,
    })
    unistd.close(output)
    local pid = clock.wait_until(function()
      local file = io.open(folder .. "/pid")
      return file and file:read("*n")
    end)
    runner:signal("TERM")
    assert.same({ code = 130 }, runner:wait(20))
    assert.is_not.equal(0, signal.kill(pid, 0))
  end)

  it("leaves slow specs and gateways out of the quick half", function()
    local _, last = run("quick_spec.lua", 'it("a", function() end) it("b #slow", function() end)', "--quick")
    assert.equal("1 passed, 0 failed", last)
    _, last = run("gw_spec.lua", 'require("support.gateway") it("a", function() end)', "--quick")
    assert.equal("0 passed, 1 failed", last)
  end)
end)
