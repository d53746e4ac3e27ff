-- Unix sockets as targets: connections that are kept, PROXY headers.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" { targets = { { "unix:@PATH@" } }, @MORE@ }
  tg.route "all" { service = "back" }
]]

describe("a target that is a unix socket", function()
  local function start(path, more)
    return gateway.start({ config = CONFIG, vars = { PATH = path, MORE = more or "" } })
  end

  it("is below the folder of the configuration, and its connections are kept", function()
    local g = start("app.sock")
    local o = origin.listen({ unix = g.dir .. "/app.sock" })
    local c = client.connect(g.port)
    c:send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    local request, conn = o:serve({ body = "one" })
    assert.equal("localhost", request.headers.host)
    assert.equal("one", c:response().body)
    c:send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("/b", conn:request().target)
    conn:reply({ body = "two" })
    assert.equal("two", c:response().body)
    g:stop()
  end)

  it("that is not there is a connection refused: 502, and the log names it", function()
    local g = start("/nowhere/app.sock")
    assert.status(502, client.get(g.port, "/"))
    g:wait_for_log("unix:/nowhere/app.sock")
    assert.contains("connection refused", g:stderr())
    g:stop()
  end)

  it("gets the client's address in a PROXY header", function()
    local g = start("app.sock", 'proxy_protocol = "v1"')
    local o = origin.listen({ unix = g.dir .. "/app.sock" })
    local c = client.connect(g.port)
    c:send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    local conn = o:accept()
    assert.matches("^PROXY TCP4 127%.0%.0%.1 127%.0%.0%.1 %d+ %d+\r\n", conn:receive_until("\r\n"))
    conn:request()
    conn:reply({ body = "x" })
    assert.status(200, c:response())
    g:stop()
  end)
end)
