-- Large bodies over TLS, in both directions and on both sides: whole, and with back-pressure.
-- TIDEGATE_BODY_MIB sets the size (48; TIDEGATE_BODY_MIB=1024 for 1 GiB).

local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")
local process = require("support.process")
local tls = require("support.tls")
local unistd = require("posix.unistd")

local MIB = 1024 * 1024
local TOTAL = (tonumber(os.getenv("TIDEGATE_BODY_MIB")) or 48) * MIB
local BOUND = 2 * MIB
local PIECE = ("0123456789abcdef"):rep(4096)
local MEASURED = (os.getenv("TIDEGATE_BUILD") or "release") == "release"

local FILES = tls.files({ api = { names = { "api.test", "127.0.0.1" } } })

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, limits = { request = { body = "4GiB" } } }
  tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { certificates = {
    { cert = tg.file "api.pem", key = tg.file "api.key" } } } }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, %s }
  tg.route "all" { service = "back" }
]]

-- Peak of the resident memory of all processes of a gateway.
local function peak(g)
  local total = 0
  for _, pid in ipairs(g:pids()) do
    local file = io.open(("/proc/%d/status"):format(pid))
    total = total + 1024 * tonumber(file:read("*a"):match("VmHWM:%s*(%d+)"))
    file:close()
  end
  return total
end

local function check_memory(g, before)
  if MEASURED then
    local added = peak(g) - before
    assert.is_true(added < BOUND, ("%d KiB were added"):format(added / 1024))
  end
end

-- curl beside the spec. @return process
local function begin(g, ...)
  local out = process.output(g.dir .. "/curl.out")
  local argv = { "curl", "-sSk", "--connect-to", "::127.0.0.1:", ... }
  for i, argument in ipairs(argv) do
    argv[i] = argument:gsub("@PORT@", g.port)
  end
  local p = process.spawn({ argv = argv, cwd = g.dir, stdout = out, stderr = out })
  unistd.close(out)
  return p
end

describe("#slow a large body over TLS", function()
  local o, g

  setup(function()
    o = origin.listen()
    g = gateway.start({ config = CONFIG:format(""), files = FILES, vars = { ORIGIN = o.port } })
    local p = begin(g, "https://api.test:@PORT@/") -- what the first request costs
    o:accept():close()
    p:wait(20)
  end)

  teardown(function()
    g:stop()
  end)

  it("is downloaded whole, and adds little memory", function()
    local before = peak(g)
    local p = begin(g, "https://api.test:@PORT@/down", "-o", "/dev/null", "-w", "%{size_download}")
    local conn = o:accept()
    conn:request_head()
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    for _ = 1, TOTAL / #PIECE do
      conn:send(PIECE)
    end
    assert.same({ code = 0 }, p:wait(20))
    assert.equal(("%d"):format(TOTAL), g:read("curl.out"))
    check_memory(g, before)
    conn:close()
  end)

  it("is uploaded whole, and adds little memory", function()
    local file = assert(io.open(g.dir .. "/body", "wb"))
    for _ = 1, TOTAL / #PIECE do
      file:write(PIECE)
    end
    file:close()
    local before = peak(g)
    local p = begin(g, "https://api.test:@PORT@/up", "-T", "body", "-H", "Expect:")
    local conn = o:accept()
    conn:request_head()
    for _ = 1, TOTAL / #PIECE do
      assert(conn:receive(#PIECE) == PIECE)
    end
    conn:reply({ body = "ok" })
    assert.same({ code = 0 }, p:wait(20))
    check_memory(g, before)
    conn:close()
  end)

  it("waits for a client that does not read", function()
    local before = peak(g)
    local p = begin(g, "https://api.test:@PORT@/slow", "-o", "/dev/null")
    local conn = o:accept()
    conn:request_head()
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    p:signal("STOP")
    clock.wait_until(function()
      return process.is_stopped(p.pid)
    end, 5, "curl to stand still")
    local taken = conn:offer(PIECE, TOTAL, 0.3)
    assert.is_true(taken < TOTAL, "the origin is not held back")
    check_memory(g, before)
    p:kill()
    conn:close()
  end)
end)

describe("#slow a large body over TLS on both sides", function()
  it("comes through as it was", function()
    local back = gateway.start({ files = FILES, config = [[
      local tg = require "tidegate"
      tg.settings { workers = 1 }
      tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { certificates = {
        { cert = tg.file "api.pem", key = tg.file "api.key" } } } }
      tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
      tg.route "all" { service = "origin" }
    ]], vars = { ORIGIN = 1 } })
    local o = origin.listen()
    back:reload((back:read("gateway.lua"):gsub("127.0.0.1:1\"", "127.0.0.1:" .. o.port .. "\"")))
    back:wait_for_log("is in force (revision 2)")
    local g = gateway.start({ files = FILES, vars = { ORIGIN = back.port },
                              config = CONFIG:format('tls = { ca = tg.file "api.pem" }') })
    local p = begin(g, "https://api.test:@PORT@/both", "-o", "got", "-w", "%{size_download}")
    local conn = o:accept()
    conn:request_head()
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ = 1, 8 * MIB / #PIECE do
      conn:send(("%x\r\n%s\r\n"):format(#PIECE, PIECE))
    end
    conn:send("0\r\n\r\n")
    assert.same({ code = 0 }, p:wait(20))
    assert.equal(("%d"):format(8 * MIB), g:read("curl.out"))
    assert.is_true(g:read("got") == PIECE:rep(8 * MIB / #PIECE))
    g:stop()
    back:stop()
  end)

  it("is not taken for whole when the origin breaks off", function()
    local o = origin.listen()
    local g = gateway.start({ config = CONFIG:format(""), files = FILES, vars = { ORIGIN = o.port } })
    local p = begin(g, "https://api.test:@PORT@/cut", "-o", "/dev/null")
    local conn = o:accept()
    conn:request_head()
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    conn:reset()
    assert.is_true(p:wait(10).code ~= 0)
    g:stop()
  end)
end)
