-- request-id: who chooses the id, and who gets to see it.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")

describe("request-id", function()
  local g, o

  -- A gateway whose route /a goes to the scripted origin; the plugin is global or on that route.
  local function start(conf, scope)
    local use = 'tg.use "request-id" ' .. (conf or "{}")
    o = origin.listen()
    g = gateway.start({
      vars = {
        ORIGIN = o.port, GLOBAL = scope == "global" and use or "", ROUTE = scope ~= "global" and use or "",
      },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.global { @GLOBAL@ }
        tg.route "all" { paths = { "/a" }, service = "back", plugins = { @ROUTE@ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  -- One exchange through the gateway: what the origin got and what the client got.
  local function exchange(headers, response)
    response = response or { headers = {} }
    table.insert(response.headers, { "Connection", "close" })
    local c = client.connect(g.port)
    c:send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" .. (headers or "") .. "\r\n")
    local request = o:serve(response)
    return request, c:response()
  end

  it("makes an id for origin and client", function()
    start()
    local request, response = exchange()
    assert.matches("^%x+$", response.headers["x-request-id"])
    assert.equal(32, #response.headers["x-request-id"])
    assert.header("x-request-id", response.headers["x-request-id"], request)
    local _, other = exchange()
    assert.not_equal(response.headers["x-request-id"], other.headers["x-request-id"])
  end)

  it("keeps a sound id of the client", function()
    start()
    for _, id in ipairs({ "0123-abc.DEF", "a", "A_~+/=z", ("x"):rep(128) }) do
      local request, response = exchange("X-Request-ID: " .. id .. "\r\n")
      assert.header("x-request-id", id, request)
      assert.header("x-request-id", id, response)
    end
  end)

  it("replaces an id that is not sound", function()
    start()
    for _, id in ipairs({ "", "a b", "<x>", "a;b", "a\"b", "\195\164", ("x"):rep(129) }) do
      local request, response = exchange("X-Request-ID: " .. id .. "\r\n")
      assert.matches("^%x+$", response.headers["x-request-id"])
      assert.header("x-request-id", response.headers["x-request-id"], request)
    end
  end)

  it("sends one id where the client sent two", function()
    start()
    local request, response = exchange("X-Request-ID: one\r\nX-Request-ID: two\r\n")
    assert.header("x-request-id", "one", request)
    assert.header("x-request-id", "one", response)
  end)

  it("takes the place of what the origin answers under that name", function()
    start()
    local _, response = exchange("X-Request-ID: one\r\n", { headers = { { "X-Request-Id", "theirs" } } })
    assert.header("x-request-id", "one", response)
  end)

  it("trusts nobody when told so, and takes another name", function()
    start('{ header = "X-Trace", trust = false }')
    local request, response = exchange("X-Trace: mine\r\nX-Request-Id: other\r\n")
    assert.matches("^%x+$", response.headers["x-trace"])
    assert.header("x-trace", response.headers["x-trace"], request)
    assert.header("x-request-id", "other", request)
    assert.no_header("x-request-id", response)
  end)

  it("is on the gateway's own answers", function()
    start("{}", "global")
    local response = client.get(g.port, "/nowhere", { ["X-Request-Id"] = "one" })
    assert.status(404, response)
    assert.header("x-request-id", "one", response)
    o:close()
    response = client.get(g.port, "/a")
    assert.status(502, response)
    assert.contains(response.headers["x-request-id"], response.body)
  end)
end)
