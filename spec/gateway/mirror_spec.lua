-- Mirrors: copies of requests that another service gets, and that the original never notices.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local http = require("support.http")
local origin = require("support.origin")

describe("a mirror", function()
  local g, main, shadow, admin

  local function start(fields, more, timeout)
    main, shadow = origin.listen(), origin.listen()
    g = gateway.start({
      vars = { MAIN = main.port, SHADOW = shadow.port, FIELDS = fields or "", MORE = more or "",
               TIMEOUT = timeout or "1m" },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, admin = { listen = "unix:admin.sock" }, @MORE@ }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "main" { targets = { { "127.0.0.1:@MAIN@" } }, path = "/main", pool = { max_idle = 0 } }
        tg.service "shadow" { targets = { { "127.0.0.1:@SHADOW@" } }, path = "/shadow",
                              timeout = { response = "@TIMEOUT@" } }
        tg.route "all" { service = "main", mirror = { service = "shadow" @FIELDS@ } }
      ]],
    })
    admin = { unix = g.dir .. "/admin.sock" }
    local started = g
    finally(function() started:stop() end)
  end

  -- What the metrics count of copies with this result.
  local function copies(result)
    local text = client.get(admin, "/metrics", { Host = "a" }).body
    return tonumber(text:match('tidegate_mirror_copies_total{result="' .. result .. '"} (%d+)'))
  end

  local function wait_for_copies(result, n)
    clock.wait_until(function() return copies(result) == n end, 5, ("%d copies %s"):format(n, result))
  end

  -- Asks, and answers as the service; the copy is left to the spec.
  local function exchange(message)
    message.headers = message.headers or {}
    message.headers.Host = "shop.test"
    local c = client.connect(g.port)
    c:send(http.request(message))
    local request = main:serve({ body = "original" })
    local response = c:response({ method = message.method })
    assert.status(200, response)
    assert.equal("original", response.body)
    return request
  end

  it("gets what the service gets, and its answer is thrown away", function()
    start()
    local original = exchange({ method = "POST", target = "/a/b?c=d", body = "hello",
                                headers = { ["X-A"] = "1" } })
    local copy, conn = shadow:serve({ status = 500, body = "shadow" })
    assert.equal("/main/a/b?c=d", original.target)
    assert.equal("/shadow/a/b?c=d", copy.target)
    assert.equal("POST", copy.method)
    assert.equal("hello", copy.body)
    assert.header("x-a", "1", copy)
    assert.header("x-forwarded-host", "shop.test", copy)
    assert.equal("127.0.0.1:" .. shadow.port, copy.headers.host)
    wait_for_copies("answered", 1)
    exchange({ target = "/again" })
    assert.equal("/shadow/again", conn:request().target) -- its connection was kept
    conn:reply({})
    wait_for_copies("answered", 2)
  end)

  it("has the body whole, however it came", function()
    start()
    exchange({ method = "PUT", target = "/", body = { "one", "two", "three" } })
    local copy = shadow:serve({})
    assert.equal("onetwothree", copy.body)
    assert.header("content-length", "11", copy)
    assert.no_header("transfer-encoding", copy)
    wait_for_copies("answered", 1)
  end)

  it("is not made for bodies above its bound", function()
    start(', max_body = "1KiB"')
    exchange({ method = "POST", target = "/", body = ("x"):rep(1025) })
    exchange({ method = "POST", target = "/", body = { ("x"):rep(1000), ("y"):rep(1000) } })
    wait_for_copies("too_large", 2)
    assert.is_true(shadow:idle())
    exchange({ method = "POST", target = "/", body = ("x"):rep(1024) })
    assert.equal(1024, #shadow:serve({}).body)
  end)

  it("neither delays nor fails the original when nobody is there", function()
    start()
    shadow:close()
    for _ = 1, 3 do exchange({ target = "/x" }) end
    wait_for_copies("failed", 3)
  end)

  it("neither delays nor fails the original when nobody answers", function()
    start("", "", "200ms")
    exchange({ target = "/x" })
    local conn = shadow:accept()
    assert.equal("/shadow/x", conn:request().target)
    exchange({ target = "/y" })
    assert.equal("/shadow/y", shadow:accept():request().target)
    wait_for_copies("failed", 2) -- the service's own timeout
  end)

  it("is bounded in number", function()
    start("", "limits = { mirror = { copies = 2 } }")
    local held = {}
    for i = 1, 2 do
      exchange({ target = "/" .. i })
      held[i] = shadow:accept()
      held[i]:request()
    end
    exchange({ target = "/3" })
    wait_for_copies("too_many", 1)
    held[1]:reply({})
    wait_for_copies("answered", 1)
    exchange({ target = "/4" })
    assert.equal("/shadow/4", held[1]:request().target)
  end)

  it("is made for the share of requests that it says", function()
    start(", percent = 0")
    exchange({ target = "/x" })
    assert.is_true(shadow:idle())
    assert.equal(0, copies("answered") + copies("failed") + copies("too_many"))
  end)

  it("ends when the client leaves before its body is whole", function()
    start()
    local c = client.connect(g.port)
    c:send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    local conn = main:accept()
    conn:request_head()
    c:reset()
    wait_for_copies("incomplete", 1)
    assert.is_true(shadow:idle())
  end)

  it("is read no further than it is worth", function()
    start()
    exchange({ target = "/x" })
    local conn = shadow:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" .. ("x"):rep(70000))
    wait_for_copies("answered", 1)
    conn:wait_end()
  end)

  it("does not follow an upgrade, and waits for no 100", function()
    start()
    local c = client.connect(g.port)
    c:send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    local conn = main:accept()
    conn:request_head()
    conn:send("HTTP/1.1 100 Continue\r\n\r\n")
    c:send("abc")
    assert.equal("abc", conn:receive(3))
    conn:reply({})
    local copy = shadow:serve({})
    assert.equal("abc", copy.body)
    assert.no_header("expect", copy)
    c = client.connect(g.port)
    c:send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    main:accept():request_head()
    assert.is_true(shadow:idle())
    c:close()
  end)

  it("under way does not hold up the gateway's end", function()
    start()
    exchange({ target = "/x" })
    shadow:accept():request()
  end)
end)
