-- Where a gateway listens: IPv6, unix sockets; and listeners that only redirect.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")
local socket = require("support.socket")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 2 }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.listener "extra" { address = "%s", %s }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

-- As gateway.start, which waits for the first listener alone.
local function start(config)
  local g = gateway.start({ config = config })
  g:wait_for_log("serves after")
  return g
end

describe("a listener", function()
  it("may have an IPv6 address", function()
    local port = socket.refusing_port() -- nobody's, of either family, but ours
    local g = start(CONFIG:format("[::1]:" .. port, ""))
    local response = client.get({ host = "::1", port = port }, "/")
    assert.status(200, response)
    assert.contains('["X-Forwarded-For","::1"]', response.body)
    assert.contains('for=\\"[::1]\\"', response.body)
    g:stop()
  end)

  it("may be a unix socket, served by all workers, below the configuration's folder", function()
    local g = start(CONFIG:format("unix:gw.sock", ""))
    local path = g.dir .. "/gw.sock"
    for _ = 1, 8 do
      local response = client.get({ unix = path }, "/")
      assert.status(200, response)
      assert.contains('["X-Forwarded-For","127.0.0.1"]', response.body)
    end
    g:reload(CONFIG:format("unix:gw.sock", "") .. "-- changed\n")
    g:wait_for_log("is in force (revision 2)")
    assert.status(200, client.get({ unix = path }, "/"))
    g:stop()
  end)

  it("takes its connections along when a reload takes it away", function()
    local guarded = CONFIG:format("unix:gw.sock", 'plugins = { tg.use "respond" { status = 403 } }')
    local g = start(guarded)
    local c = client.connect({ unix = g.dir .. "/gw.sock" })
    assert.status(403, c:get("/"))
    g:reload((guarded:gsub('tg.listener "extra"[^\n]*\n', "")))
    g:wait_for_log("is in force (revision 2)")
    -- By another listener, whose plugins are others, it would be 200.
    assert.equal("", c:receive_rest())
    g:stop()
  end)

  it("ends with what was asked of it, where a reload takes it away", function()
    local o = origin.listen()
    local config = CONFIG:format("unix:gw.sock", 'plugins = { tg.use "respond" { status = 403 } }')
      :gsub('tg.service "echo" { builtin = "echo" }',
        ('tg.listener "more" { address = "unix:more.sock" }\n'
          .. 'tg.service "echo" { targets = { { "127.0.0.1:%d" } } }'):format(o.port))
    local g = start(config)
    local begun = client.connect({ unix = g.dir .. "/gw.sock" })
    begun:send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n")
    assert.status(403, begun:response())
    local under_way = client.connect({ unix = g.dir .. "/more.sock" })
    under_way:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
    assert.equal(200, under_way:response_head().status)
    g:reload((config:gsub('tg.listener "extra"[^\n]*\n', ""):gsub('tg.listener "more"[^\n]*\n', "")))
    g:wait_for_log("is in force (revision 2)")
    begun:send("Host: a\r\n\r\n") -- not by another listener, whose plugins are others
    assert.status(503, begun:response())
    assert.equal("", begun:receive_rest())
    conn:send("b")
    assert.equal("ab", under_way:receive_rest())
    conn:close()
    o:close()
    g:stop()
  end)

  it("takes a unix socket's file over that nobody serves, and no other file", function()
    local dead = require("posix.stdlib").mkdtemp("/tmp/tidegate-spec-XXXXXX")
    local fd = socket.listen({ unix = dead .. "/s" })
    require("posix.unistd").close(fd)
    local g = start(CONFIG:format("unix:" .. dead .. "/s", ""))
    assert.status(200, client.get({ unix = dead .. "/s" }, "/"))
    g:stop()
    assert.is_nil(io.open(dead .. "/s"))
    local file = assert(io.open(dead .. "/s", "w"))
    file:close()
    g = gateway.start({ config = CONFIG:format("unix:" .. dead .. "/s", ""), wait = false })
    g:wait_for_log("there is a file of that name which is not a socket")
    g:wait()
    assert.is_truthy(io.open(dead .. "/s"))
    os.execute("rm -rf " .. dead)
  end)
end)

describe("a listener that redirects", function()
  local g, path

  setup(function()
    g = start(CONFIG:format("unix:r.sock", 'redirect = "https", redirect_port = 8443'))
    path = g.dir .. "/r.sock"
  end)

  teardown(function()
    g:stop()
  end)

  local function ask(head)
    local c = client.connect({ unix = path })
    c:send(head)
    return c:response()
  end

  it("sends every request to the same place at https", function()
    local response = ask("GET /a%20b/../c?d=e HTTP/1.1\r\nHost: API.test:80\r\n\r\n")
    assert.status(308, response)
    assert.header("location", "https://API.test:8443/a%20b/../c?d=e", response)
    response = ask("POST http://api.test HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert.header("location", "https://api.test:8443/", response)
  end)

  it("keeps the brackets of an IPv6 host", function()
    assert.header("location", "https://[::1]:8443/", ask("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"))
  end)

  it("needs a host for that", function()
    assert.status(400, ask("GET / HTTP/1.0\r\n\r\n"))
  end)
end)
