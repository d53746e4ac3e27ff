-- Handshakes: resumption across workers and reloads, what is refused, what is no TLS at all.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local origin = require("support.origin")
local process = require("support.process")
local socket = require("support.socket")
local stat = require("posix.sys.stat")
local tls = require("support.tls")

local FILES = tls.files({ api = { names = { "api.test" } } })

FILES["facts.lua"] = [[
  local S = require "tidegate.schema"
  local P = { name = "facts", version = "1.0.0", api = 1, stage = "edge", schema = S.record {} }
  function P.access(_, ctx)
    ctx:exit(200, ("%s %s %s %s %s;"):format(ctx.tls.version, ctx.tls.resumed, ctx.tls.alpn, ctx.tls.sni,
      ctx.listener.tls))
  end
  return P
]]

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 4, limits = { connection = { @LIMITS@ } } }
  tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { %s certificates = {
    { cert = tg.file "api.pem", key = tg.file "api.key" } } } }
  tg.route "all" { plugins = { tg.use "./facts.lua" {} } }
]]

local URL = "https://api.test:@PORT@/"

-- With these fields of the listener's tls, and these of settings.limits.connection.
local function start(fields, limits)
  return gateway.start({ config = CONFIG:format(fields), files = FILES, vars = { LIMITS = limits or "" } })
end

describe("a TLS session", function()
  local g

  setup(function()
    g = start("")
  end)

  teardown(function()
    g:stop()
  end)

  -- What `count` connections of one client say, one after the other.
  local function visits(count, ...)
    local argv = { "-k", "--http1.1", "-H", "Connection: close", ... }
    for _ = 1, count do
      table.insert(argv, URL)
    end
    local r = tls.curl(g, unpack(argv))
    assert.equal(0, r.code, r.err)
    return r.out
  end

  for _, version in ipairs({ "1.2", "1.3" }) do
    it("is resumed by whichever worker comes next, in TLS " .. version, function()
      local first = version .. " false http/1.1 api.test true;"
      local again = version .. " true http/1.1 api.test true;"
      assert.equal(first .. again:rep(19), visits(20, "--tlsv" .. version, "--tls-max", version))
    end)
  end

  it("outlives a reload", function()
    assert.equal(0, tls.s_client(g, "-tls1_2", "-sess_out", "session").code)
    g:reload(CONFIG:format("") .. "-- changed\n")
    g:wait_for_log("is in force (revision 2)")
    assert.contains("Reused, TLSv1.2", tls.s_client(g, "-tls1_2", "-sess_in", "session").out)
  end)

  it("is not renegotiated", function()
    local sh = ("mkfifo in; openssl s_client -connect 127.0.0.1:%d -tls1_2 <in 2>&1 & exec 3>in; " ..
                "echo R >&3; wait"):format(g.port)
    local r = tls.run(g.dir, { "sh", "-c", sh })
    assert.contains("RENEGOTIATING", r.out)
    assert.contains("no renegotiation", r.out)
  end)
end)

describe("without tickets, a session", function()
  it("is resumed by its number, among all workers", function()
    local g = start("tickets = false,")
    local r = tls.curl(g, "-k", "--http1.1", "-H", "Connection: close", "--tls-max", "1.2", URL, URL, URL,
      URL)
    assert.equal("1.2 false http/1.1 api.test true;" .. ("1.2 true http/1.1 api.test true;"):rep(3), r.out)
    g:stop()
  end)
end)

describe("a TLS port", function()
  local g

  setup(function()
    g = start("")
  end)

  teardown(function()
    g:stop()
  end)

  it("answers HTTP in clear with a 400 that says so", function()
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local response = c:response()
    assert.status(400, response)
    assert.equal("This port speaks HTTPS; the request came in clear.\n", response.body)
    c:wait_end()
  end)

  it("answers a hello that is none with an alert", function()
    local c = socket.connect({ port = g.port })
    c:send("\22\3\1\0\8\1\0\0\4garb")
    assert.equal("\21\3", c:receive_rest():sub(1, 2))
    g:wait_for_log("TLS handshake failed on listener https from 127.0.0.1:")
  end)

  it("closes what is no TLS, and says so in the log", function()
    local c = socket.connect({ port = g.port })
    c:send(("\0garbage"):rep(40))
    assert.equal("", (c:receive_rest()))
    g:wait_for_log("wrong version number")
  end)

  it("closes a handshake that is not finished in time", function()
    local hasty = start("", 'handshake_timeout = "300ms"')
    local c = socket.connect({ port = hasty.port })
    c:send("\22\3\1\2\0\1\0\1\252\3\3")
    c:wait_end()
    local silent = socket.connect({ port = hasty.port })
    silent:wait_end()
    hasty:stop()
  end)
end)

describe("a client over TLS that says goodbye", function()
  it("before its answer is there has left: nobody works for it any more", function()
    local o = origin.listen()
    local g = gateway.start({ files = FILES, vars = { ORIGIN = o.port }, config = [[
      local tg = require "tidegate"
      tg.settings { workers = 1 }
      tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { certificates = {
        { cert = tg.file "api.pem", key = tg.file "api.key" } } } }
      tg.route "all" { service = tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } } }
    ]] })
    finally(function() g:stop() end)
    local sh = "mkfifo in && exec openssl s_client -connect 127.0.0.1:%d <in >/dev/null 2>&1"
    local p = process.spawn({ argv = { "sh", "-c", sh:format(g.port) }, cwd = g.dir })
    clock.wait_until(function() return stat.stat(g.dir .. "/in") end, 5, "the pipe to s_client")
    local pipe = assert(io.open(g.dir .. "/in", "w")) -- opens when s_client has it open too
    pipe:write("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
    pipe:flush()
    local conn = o:accept()
    conn:request_head()
    pipe:close() -- s_client ends TLS as it should be ended
    assert.is_truthy(p:wait(10))
    conn:wait_end()
  end)
end)

describe("handshakes", function()
  it("are bounded in number", function()
    -- One worker, so that connections are accepted in their order.
    local config = CONFIG:format(""):gsub("= 4,", '= 1, admin = { listen = "unix:admin.sock" },')
    local g = gateway.start({ config = config, files = FILES, vars = { LIMITS = "handshakes = 2" } })
    local function wait_for_use(n)
      local use = ('tidegate_limit_use{limit="connection.handshakes"} %d\n'):format(n)
      clock.wait_until(function()
        local ok, response = pcall(client.get, { unix = g.dir .. "/admin.sock" }, "/metrics")
        return ok and response.body:find(use, 1, true)
      end, 5, n .. " handshakes under way")
    end
    -- A connection whose handshake is under way.
    local function begin()
      local c = socket.connect({ port = g.port })
      c:send("\22\3\1")
      return c
    end
    -- What looked whether the port is open came before the first that is served, and goes.
    local function serves() return tls.curl(g, "-k", URL).code == 0 end
    clock.wait_until(serves, 5, "a handshake")
    wait_for_use(0)
    local one, two = begin(), begin()
    wait_for_use(2)
    local third = socket.connect({ port = g.port })
    third:wait_end()
    one:close()
    two:close()
    clock.wait_until(serves, 5, "room for a handshake")
    g:stop()
  end)
end)
