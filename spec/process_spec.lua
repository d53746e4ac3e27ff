--- The process model: supervisor and gateway process, their deaths, signals and reloads.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")
local process = require("support.process")
local signal = require("posix.signal")
local socket = require("support.socket")
local unistd = require("posix.unistd")

local LISTENER = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:@PORT@" }\n'
local ECHO = 'tg.service "echo" { builtin = "echo" }\ntg.route "all" { paths = { "/*" }, service = "echo" }\n'
local PROXY = 'tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }\n' ..
              'tg.route "all" { paths = { "/*" }, service = "back" }\n'
local MISTAKE = 'tg.listner "more" { address = "127.0.0.1:1" }\n'

local function start(options)
  options = options or {}
  options.config = options.config or (LISTENER .. ECHO)
  return gateway.start(options)
end

-- The pid of the gateway process, once there is one other than `before`.
local function child(g, before)
  return clock.wait_until(function()
    local pid = g:pids()[2]
    return pid ~= before and pid
  end, 5, "a gateway process")
end

local function serves(port)
  return client.get(port, "/").status == 200
end

local function is_gone(pid)
  return signal.kill(pid, 0) ~= 0
end

local function kill_child(g)
  local pid = child(g)
  g:signal("KILL", pid)
  return pid
end

-- How often a plain text stands in the log.
local function count(g, text)
  local n, at = 0, 1
  while true do
    local _, last = g:stderr():find(text, at, true)
    if not last then
      return n
    end
    n, at = n + 1, last + 1
  end
end

local function wait_for_count(g, n, text)
  clock.wait_until(function()
    return count(g, text) >= n
  end, 5, ("%q to stand in the log %d times"):format(text, n))
end

-- How many descriptors a process has open, by what they are ("socket", "pipe", a path, ...).
local function descriptors(pid)
  local pipe = io.popen(("ls -l /proc/%d/fd"):format(pid))
  local n = select(2, pipe:read("*a"):gsub(" %-> ", ""))
  pipe:close()
  return n
end

-- Runs the program in the folder of `g`: its status, what it wrote to stdout and to stderr.
local function run(g, ...)
  local out, err = process.output(g.dir .. "/out"), process.output(g.dir .. "/err")
  local argv = { os.getenv("TIDEGATE_BIN"), ... }
  local p = process.spawn({ argv = argv, cwd = g.dir, stdout = out, stderr = err })
  unistd.close(out)
  unistd.close(err)
  return p:wait(30) or p:kill(), g:read("out"), g:read("err")
end

-- Opens connections and sends requests on them until one is answered by a process that lives; a
-- connection that the dying process had taken may be reset, but none may be refused.
local function wait_until_served(port)
  clock.wait_until(function()
    local c, problem = client.try_connect(port)
    assert(c, tostring(problem))
    local answered, response = pcall(c.get, c, "/")
    c:close()
    if answered then assert.status(200, response) end
    return answered
  end, 20, "an answer")
end

describe("a gateway process that dies", function()
  local g

  before_each(function()
    g = start()
  end)

  after_each(function()
    g:stop()
  end)

  it("is back at once, and no connection is refused meanwhile", function()
    for _ = 1, 3 do
      local before = kill_child(g)
      wait_until_served(g.port)
      assert.not_equal(before, child(g, before))
    end
    assert.is_nil(g:stderr():find("next start in", 1, true)) -- no pause was made
  end)

  it("leaves its connections in the queue to the next one", function()
    local stopped = child(g)
    g:signal("STOP", stopped)
    clock.wait_until(function()
      return process.is_stopped(stopped)
    end, 5, "all threads to stop")
    local clients = {}
    for i = 1, 20 do
      clients[i] = client.connect(g.port)
      clients[i]:send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    end
    kill_child(g)
    for _, c in ipairs(clients) do
      assert.status(200, c:response())
    end
  end)

  it("is reported with the signal that ended it", function()
    local pid = child(g)
    g:signal("ABRT", pid)
    g:wait_for_log(("gateway process %d was killed by signal 6 (SIGABRT)"):format(pid))
  end)

  it("is replaced when it was told to end behind the supervisor's back", function()
    local pid = child(g)
    g:signal("TERM", pid)
    g:wait_for_log(("gateway process %d ended unasked with exit status 0"):format(pid))
    assert.is_true(serves(g.port))
  end)

  it("is replaced more slowly when it dies over and over", function()
    local before
    for i = 1, 6 do
      before = child(g, before)
      wait_for_count(g, i, "serves after")
      g:signal("KILL", before)
    end
    g:wait_for_log("6 gateway processes died in a row, next start in 250 ms")
    assert.is_true(serves(g.port))
  end)

  it("leaks no descriptor", function()
    wait_for_count(g, 1, "serves after")
    assert.is_true(serves(g.port))
    local supervisor = descriptors(g:pid())
    for i = 1, 3 do
      local before = kill_child(g)
      child(g, before)
      wait_for_count(g, i + 1, "serves after")
    end
    assert.equal(supervisor, descriptors(g:pid()))
  end)
end)

describe("a supervisor that dies", function()
  it("takes its gateway process with it, which says why", function()
    local g = start()
    wait_for_count(g, 1, "serves after")
    local pid = child(g)
    g:signal("KILL")
    assert.same({ signal = 9 }, g:wait())
    g:wait_for_log("the supervisor is gone: open requests have 30000 ms to end")
    clock.wait_until(function()
      return is_gone(pid)
    end, 5, "the end of the gateway process")
  end)
end)

describe("the end", function()
  local g, o

  before_each(function()
    o = origin.listen()
    g = start({ config = LISTENER .. PROXY, vars = { ORIGIN = o.port } })
  end)

  -- A request that waits for its origin.
  local function open_request()
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local upstream = o:accept()
    upstream:request()
    return c, upstream
  end

  it("comes with SIGTERM: exit status 0, nothing left behind", function()
    local pid = child(g)
    g:signal("TERM")
    assert.same({ code = 0 }, g:wait())
    assert.is_true(is_gone(pid))
    assert.is_nil((socket.try_connect({ port = g.port })))
  end)

  it("waits for open requests and refuses new connections", function()
    local c, upstream = open_request()
    g:signal("TERM")
    clock.wait_until(function()
      local late = socket.try_connect({ port = g.port })
      return late == nil or late:close()
    end, 5, "connections to be refused")
    assert.is_nil(g.process:poll())
    upstream:reply({ body = "done" })
    assert.equal("done", c:response().body)
    assert.same({ code = 0 }, g:wait())
  end)

  it("waits no longer than connection.drain_timeout", function()
    g:stop()
    local limits = 'tg.settings { limits = { connection = { drain_timeout = "100ms" } } }\n'
    g = start({ config = LISTENER .. limits .. PROXY, vars = { ORIGIN = o.port } })
    local c = open_request()
    g:signal("TERM")
    assert.same({ code = 0 }, g:wait(15)) -- half of what it is unless it is set
    c:wait_end()
  end)

  it("comes at once with a second SIGINT", function()
    open_request()
    g:signal("INT")
    g:wait_for_log("draining")
    assert.is_nil(g.process:poll())
    g:signal("INT")
    assert.same({ code = 0 }, g:wait(15))
  end)

  it("counts a SIGINT that a terminal sends to both processes once", function()
    local c, upstream = open_request()
    for _, pid in ipairs(g:pids()) do
      g:signal("INT", pid)
    end
    g:wait_for_log("draining")
    upstream:reply({ body = "done" })
    assert.equal("done", c:response().body)
    assert.same({ code = 0 }, g:wait())
  end)

  it("comes by force for a gateway process that does not answer", function()
    g:signal("STOP", child(g))
    g:signal("INT")
    g:wait_for_log("draining")
    g:signal("INT")
    assert.same({ code = 3 }, g:wait(20))
    assert.contains("does not end and is killed", g:stderr())
  end)
end)

describe("a start", function()
  it("with a mistake prints what `check` prints", function()
    local g = start({ config = LISTENER .. MISTAKE, wait = false })
    assert.same({ code = 1 }, g:wait())
    local status, out = run(g, "check", "gateway.lua")
    assert.same({ code = 1 }, status)
    assert.contains("gateway.lua:3", out)
    assert.equal(out, g:stderr())
  end)

  it("on an address in use says so", function()
    local g = start()
    local status, _, err = run(g, "run", "gateway.lua")
    assert.same({ code = 3 }, status)
    assert.contains(("listener http: cannot listen on 127.0.0.1:%d: address in use"):format(g.port), err)
    g:stop()
  end)

  it("tells where it listens", function()
    local g = start()
    local line = ("listening on 127.0.0.1:%d (listener http)"):format(g.port)
    -- The kernel takes connections before the program has said so.
    clock.wait_until(function()
      return g:stderr():find(line, 1, true) ~= nil
    end, 5, line)
    g:stop()
  end)

  it("with --single makes one process", function()
    local g = start({ args = { "--single" } })
    assert.is_true(serves(g.port))
    assert.equal(1, #g:pids())
    g:stop()
  end)
end)

describe("a reload", function()
  local MORE = LISTENER .. 'tg.listener "more" { address = "127.0.0.2:@PORT@" }\n' .. ECHO
  local ELSEWHERE = (LISTENER .. ECHO):gsub("127%.0%.0%.1", "127.0.0.3")

  local function accepts(g, host)
    local stream = socket.try_connect({ host = host, port = g.port })
    if stream then
      stream:close()
    end
    return stream ~= nil
  end

  for name, args in pairs({ ["under a supervisor"] = {}, ["of a single process"] = { "--single" } }) do
    describe(name, function()
      local g

      before_each(function()
        g = start({ args = args })
      end)

      after_each(function()
        g:stop()
      end)

      it("opens and closes listeners", function()
        g:reload(MORE)
        clock.wait_until(function()
          return accepts(g, "127.0.0.2")
        end, 5, "the new listener")
        assert.is_true(serves({ host = "127.0.0.2", port = g.port }))
        assert.is_true(serves(g.port))
        g:reload(LISTENER .. ECHO)
        clock.wait_until(function()
          return not accepts(g, "127.0.0.2")
        end, 5, "the listener's end")
        assert.is_true(serves(g.port))
      end)

      it("with a mistake leaves everything as it was", function()
        g:reload(LISTENER .. MISTAKE)
        g:wait_for_log("revision 1 stays")
        assert.contains("gateway.lua:3", g:stderr())
        assert.is_true(serves(g.port))
      end)

      it("on an address in use leaves everything as it was", function()
        local fd = socket.listen({ host = "127.0.0.2", port = g.port })
        g:reload(MORE)
        g:wait_for_log("listener more: cannot listen on 127.0.0.2:" .. g.port .. ": address in use")
        g:wait_for_log("revision 1 stays")
        assert.is_true(serves(g.port))
        unistd.close(fd)
      end)
    end)
  end

  it("holds for the gateway processes to come", function()
    local g = start()
    g:reload(ELSEWHERE)
    g:wait_for_log("is in force")
    local before = kill_child(g)
    child(g, before)
    assert.is_true(serves({ host = "127.0.0.3", port = g.port }))
    assert.is_false(accepts(g, "127.0.0.1"))
    g:stop()
  end)

  it("leaks no descriptor", function()
    local g = start()
    wait_for_count(g, 1, "serves after")
    local before = descriptors(g:pid())
    local config = { MORE, LISTENER .. ECHO, LISTENER .. MISTAKE }
    for i = 1, 4 do
      g:reload(config[1])
      wait_for_count(g, 2 * i - 1, "is in force")
      g:reload(config[3])
      wait_for_count(g, i, "stays")
      g:reload(config[2])
      wait_for_count(g, 2 * i, "is in force")
    end
    assert.equal(before, descriptors(g:pid()))
    g:stop()
  end)

  it("is taken without a gateway process too", function()
    local g = start()
    local before
    for i = 1, 6 do
      before = child(g, before)
      wait_for_count(g, i, "serves after")
      g:signal("KILL", before)
    end
    g:wait_for_log("next start in 250 ms")
    g:reload(ELSEWHERE)
    g:wait_for_log("is in force")
    assert.is_true(serves({ host = "127.0.0.3", port = g.port }))
    g:stop()
  end)
end)
