-- request-size-limit: bodies that are known to be too large, and those that turn out to be.

local cjson = require("cjson")
local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")
local h2 = require("support.h2")
local origin = require("support.origin")

local MAX = 1000

describe("request-size-limit", function()
  local g, o

  before_each(function()
    o = origin.listen()
    g = gateway.start({
      vars = { ORIGIN = o.port },
      config = [[
        local tg = require "tidegate"
        tg.settings { limits = { request = { body = "4KiB" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
        tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.service "echo" { builtin = "echo" }
        tg.route "back" { paths = { "/back" }, service = "back",
                          plugins = { tg.use "request-size-limit" { body = "1000B" } } }
        tg.route "echo" { paths = { "/echo" }, service = "echo",
                          plugins = { tg.use "request-size-limit" { body = "1000B" } } }
        tg.route "length" { paths = { "/length" }, service = "echo",
                            plugins = {
                              tg.use "request-size-limit" { body = "1000B", require_length = true } } }
        tg.route "none" { paths = { "/none" }, service = "echo",
                          plugins = { tg.use "request-size-limit" { body = "0B" } } }
        tg.route "wide" { paths = { "/wide" }, service = "echo",
                          plugins = { tg.use "request-size-limit" { body = "1MiB" } } }
      ]],
    })
  end)

  after_each(function() g:stop() end)

  local function post(path, body)
    return client.request(g.port, { method = "POST", target = path, body = body })
  end

  local function is_refused(r)
    assert.status(413, r)
    assert.header("Content-Type", "application/problem+json", r)
    assert.equal("request_too_large", cjson.decode(r.body).code)
  end

  it("lets bodies up to the bound pass, of known length or not", function()
    assert.status(200, post("/echo", ("x"):rep(MAX)))
    assert.status(200, post("/echo", { ("x"):rep(MAX - 1), "y" }))
    assert.status(200, client.get(g.port, "/none"))
  end)

  it("refuses a larger Content-Length before a byte of the body", function()
    local c = client.connect(g.port)
    c:send("POST /back HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    local r = c:response()
    is_refused(r)
    assert.equal(MAX, cjson.decode(r.body).limit)
    assert.equal(0, #(r.interim or {}))
    is_refused(post("/none", "x"))
  end)

  it("counts a chunked body as it comes, and breaks the origin's request off", function()
    local c = client.connect(g.port)
    c:send("POST /back HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" .. ("x"):rep(MAX) ..
           "\r\n")
    local conn = o:accept()
    conn:request_head()
    c:send("1\r\ny\r\n")
    is_refused(c:response())
    assert.equal("3e8\r\n" .. ("x"):rep(MAX) .. "\r\n", conn:receive_rest())
  end)

  it("refuses a body without length where it is told to", function()
    local r = post("/length", { "x" })
    assert.status(411, r)
    assert.equal("length_required", cjson.decode(r.body).code)
    assert.status(200, post("/length", "x"))
    assert.status(200, client.get(g.port, "/length"))
  end)

  it("refuses a body without length over HTTP/2 too, and no request without a body", function()
    local c = h2.connect(g.port)
    c:headers(1, h2.post("/length"))
    assert.equal("411", c:response(1).status)
    c:headers(3, h2.post("/length", { { "content-length", "1" } }))
    c:data(3, "x", true)
    assert.equal("200", c:response(3).status)
    c:headers(5, h2.get("/length"), { end_stream = true })
    assert.equal("200", c:response(5).status)
    c:close()
  end)

  it("never allows more than the gateway does", function()
    is_refused(post("/wide", ("x"):rep(4097)))
    is_refused(post("/wide", { ("x"):rep(4097) }))
    assert.status(200, post("/wide", ("x"):rep(4096)))
  end)

  for what, case in pairs({
    ["no bound"] = { "{}", "body: missing" },
    ["a number"] = { "{ body = 1000 }", "body: expected a size" },
    ["a size that is none"] = { '{ body = "1 MB" }', "body" },
  }) do
    it("does not load with " .. what, function()
      assert.contains(case[2], bundled.check("request-size-limit", case[1]))
    end)
  end
end)
