--- The supervisor in unlucky moments: a log that nobody reads, orders to a gateway process that is dying or
-- does not listen, files that both processes know of.

local client = require("support.client")
local clock = require("support.clock")
local fcntl = require("posix.fcntl")
local gateway = require("support.gateway")
local origin = require("support.origin")
local process = require("support.process")
local stat = require("posix.sys.stat")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local CONFIG = [[
local tg = require "tidegate"
tg.settings { workers = 1 }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "echo" { builtin = "echo" }
tg.route "all" { service = "echo" }
]]

-- The same, but that it answers 204.
local CHANGED = CONFIG:gsub('service = "echo" }\n$',
  'service = "echo", plugins = { tg.use "respond" { status = 204 } } }\n')

-- The pid of the gateway process, once there is one other than `before`.
local function child(g, before)
  return clock.wait_until(function()
    local pid = g:pids()[2]
    return pid ~= before and pid
  end, 10, "a gateway process")
end

local function wait_until_stopped(pid)
  clock.wait_until(function() return process.is_stopped(pid) end, 5, "all threads to stop")
end

local function wait_until_dead(pid)
  clock.wait_until(function()
    local file = io.open(("/proc/%d/stat"):format(pid))
    local text = file and file:read("*a") or ""
    if file then file:close() end
    return not file or text:find("%) Z ")
  end, 5, "the end of the gateway process")
end

describe("a gateway process that ends", function()
  -- Tells it to, and waits until nobody can connect: with a request under way, which it ends for.
  local function drain(workers)
    local o = origin.listen()
    local config = CONFIG:gsub('builtin = "echo"', 'targets = { { "127.0.0.1:@ORIGIN@" } }')
                         :gsub("workers = 1", "workers = " .. workers)
    local g = gateway.start({ config = config, vars = { ORIGIN = o.port }, args = { "--single" } })
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local upstream = o:accept()
    upstream:request()
    g:signal("TERM")
    clock.wait_until(function()
      local late = client.try_connect(g.port)
      return late == nil or late:close()
    end, 5, "connections to be refused")
    return g, function()
      upstream:reply({ body = "done" })
      assert.equal("done", c:response().body)
      assert.same({ code = 0 }, g:wait())
    end
  end

  it("takes up no reload, and listens no more", function()
    local g, finish = drain(1)
    finally(function() g:stop(20) end)
    g:reload(CHANGED)
    g:wait_for_log("the gateway process ends, and reads no configuration any more")
    assert.is_nil((client.try_connect(g.port)))
    finish()
  end)

  -- A sanitizer sees whether a worker still knows a socket that is closed.
  it("lets go of its sockets while clients connect", function()
    for _ = 1, 4 do
      local _, finish = drain(2)
      finish()
    end
  end)
end)

local function folder()
  return assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-streams-XXXXXX"))
end

local function remove(dir)
  os.execute(("rm -rf '%s'"):format(dir))
end

-- A program in `dir` that is the gateway with its streams redirected.
local function wrapper(dir, redirections)
  local path = dir .. "/run"
  local file = assert(io.open(path, "w"))
  file:write(('#!/bin/sh\nexec "$TIDEGATE_BIN" "$@" %s\n'):format(redirections))
  file:close()
  assert(stat.chmod(path, tonumber("700", 8)))
  return path
end

describe("a supervisor", function()
  -- Starts a gateway that is stopped when the spec is over.
  local function start(more)
    local g = gateway.start({ config = CONFIG .. (more or "") })
    finally(function() g:stop(20) end)
    g:wait_for_log(" serves after ")
    return g
  end

  it("leaves the file of a unix socket alone when its gateway process ends", function()
    local g = start('tg.listener "local" { address = "unix:gw.sock" }\n')
    local pid = child(g)
    g:signal("TERM", pid)
    child(g, pid)
    assert.status(200, client.get({ unix = g.dir .. "/gw.sock" }, "/"))
  end)

  it("has the next process begin with what the dying one did not hear of", function()
    local g = start()
    local pid = child(g)
    g:signal("STOP")
    wait_until_stopped(g:pid())
    g:signal("KILL", pid)
    wait_until_dead(pid)
    g:reload(CHANGED)
    g:signal("CONT")
    g:wait_for_log("is in force (revision 2)")
    assert.status(204, client.get(g.port, "/"))
  end)

  it("sends as many sockets as there are, however busy the gateway process is", function()
    local many = { CONFIG }
    for i = 1, 400 do
      many[i + 1] = ('tg.listener "more%d" { address = "unix:%d.sock" }\n'):format(i, i)
    end
    local g = start()
    local pid = child(g)
    g:signal("STOP", pid)
    wait_until_stopped(pid)
    g:reload(table.concat(many))
    -- The sockets are there before they are sent: the last one accepts when all are open.
    clock.wait_until(function()
      return unistd.access(g.dir .. "/400.sock")
    end, 20, "the last socket")
    g:signal("CONT", pid)
    g:wait_for_log("is in force (revision 2)", 20)
    assert.status(200, client.get({ unix = g.dir .. "/400.sock" }, "/"))
    assert.equal(pid, child(g))
  end)
end)

describe("standard streams that are closed", function()
  it("become /dev/null, so that no socket gets their numbers", function()
    local dir = folder()
    local g = gateway.start({ config = CONFIG, program = wrapper(dir, "<&- >&- 2>&-") })
    finally(function()
      g:stop()
      remove(dir)
    end)
    assert.status(200, client.get(g.port, "/"))
    for _, pid in ipairs({ g:pid(), child(g) }) do
      for fd = 0, 2 do
        local pipe = io.popen(("readlink /proc/%d/fd/%d"):format(pid, fd))
        assert.equal("/dev/null\n", pipe:read("*a"))
        pipe:close()
      end
    end
  end)
end)

describe("a gateway process that has no room for another file", function()
  local g, pid

  -- How many files it may open, by its soft limit.
  local function limit_files(n)
    assert.equal(0, os.execute(("prlimit --pid %d --nofile=%s:"):format(pid, n)))
  end

  it("says so when a reload comes, and takes the next one", function()
    g = gateway.start({ config = CONFIG })
    finally(function() g:stop() end)
    g:wait_for_log(" serves after ")
    pid = child(g)
    local pipe = io.popen(("prlimit --pid %d --nofile --output=HARD --noheadings"):format(pid))
    local most = pipe:read("*a"):match("%w+")
    pipe:close()
    limit_files(3)
    g:reload(CHANGED)
    g:wait_for_log("is not taken over: out of file descriptors")
    limit_files(most)
    g:signal("HUP")
    g:wait_for_log("is in force (revision 2)")
    assert.status(204, client.get(g.port, "/"))
  end)
end)

describe("a supervisor whose log nobody reads", function()
  local dir, log, g

  -- Its stderr is a FIFO that the spec holds open, and reads when it wants to.
  before_each(function()
    dir = folder()
    assert(stat.mkfifo(dir .. "/log", tonumber("600", 8)))
    log = assert(fcntl.open(dir .. "/log", fcntl.O_RDWR + fcntl.O_NONBLOCK + fcntl.O_CLOEXEC))
    g = gateway.start({ config = CONFIG, program = wrapper(dir, ("2>'%s/log'"):format(dir)) })
  end)

  after_each(function()
    g:stop(20)
    unistd.close(log)
    remove(dir)
  end)

  local function read_all(text)
    text = text or ""
    local piece = unistd.read(log, 65536)
    if not piece or piece == "" then return text end
    return read_all(text .. piece)
  end

  -- Waits until `text` is in the log, behind what was read before.
  local function wait_for(text, said)
    said = said or ""
    clock.wait_until(function()
      said = said .. read_all()
      return said:find(text, 1, true)
    end, 10, text)
  end

  it("replaces a process that dies, reloads, and tells later how much was not read", function()
    wait_for(" serves after ")
    local line = ("x"):rep(4095) .. "\n"
    repeat
      local written = unistd.write(log, line)
    until not written
    local pid = child(g)
    g:signal("KILL", pid)
    local second = child(g, pid)
    assert.status(200, client.get(g.port, "/"))
    g:reload(CHANGED)
    clock.wait_until(function() return client.get(g.port, "/").status == 204 end, 10, "the new configuration")
    assert.equal(second, child(g))
    local said = read_all() -- what is logged from here on passes
    g:signal("HUP")
    wait_for(" warn log: dropped ", said)
  end)
end)
