-- headers: set, add, remove and rename, in both directions.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")

describe("headers", function()
  local o

  local function start(conf)
    o = origin.listen()
    local g = gateway.start({
      vars = { ORIGIN = o.port },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.route "all" { paths = { "/*" }, service = "back", plugins = { tg.use "headers" ]] .. conf .. [[ } }
      ]],
    })
    finally(function() g:stop() end)
    return client.connect(g.port)
  end

  it("edits what goes to the origin", function()
    local c = start([[{ request = {
      set = { ["X-Set"] = "new", ["x-from"] = "${client.ip} ${query.a}" }, add = { ["x-add"] = "2" },
      remove = { "X-Gone" }, rename = { ["x-old"] = "x-new" },
    } }]])
    c:send("GET /?a=b%20c HTTP/1.1\r\nHost: a\r\nX-Set: 1\r\nX-Set: 2\r\nX-Add: 1\r\nX-Gone: 1\r\n"
      .. "X-Old: 1\r\nX-Old: 2\r\nX-New: 0\r\n\r\n")
    local headers = o:serve({}).headers
    assert.equal("new", headers["x-set"])
    assert.equal("127.0.0.1 b c", headers["x-from"])
    assert.equal("1, 2", headers["x-add"])
    assert.is_nil(headers["x-gone"])
    assert.is_nil(headers["x-old"])
    assert.equal("1, 2", headers["x-new"])
    c:response()
  end)

  it("edits what goes to the client", function()
    local c = start([[{ response = {
      set = { ["x-set"] = "new" }, add = { ["x-add"] = "2" }, remove = { "x-gone" },
      rename = { ["x-old"] = "x-new" },
    } }]])
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    o:serve({ headers = { { "X-Set", "1" }, { "X-Add", "1" }, { "X-Gone", "1" }, { "X-Old", "1" } } })
    local headers = c:response().headers
    assert.equal("new", headers["x-set"])
    assert.equal("1, 2", headers["x-add"])
    assert.is_nil(headers["x-gone"])
    assert.is_nil(headers["x-old"])
    assert.equal("1", headers["x-new"])
  end)

  it("leaves alone what the configuration does not name", function()
    local c = start("{}")
    c:send("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n")
    assert.equal("1", o:serve({ headers = { { "X-B", "2" } } }).headers["x-a"])
    assert.equal("2", c:response().headers["x-b"])
  end)

  it("refuses headers that belong to the gateway", function()
    assert.error_matches(function() start('{ request = { set = { ["Content-Length"] = "1" } } }') end,
      "belongs to the gateway")
  end)
end)
