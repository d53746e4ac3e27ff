-- Redirects of routes, without a plugin: where they lead, and what is kept of the request.

local client = require("support.client")
local gateway = require("support.gateway")

describe("a route's redirect", function()
  local g

  setup(function()
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@", trusted = { "127.0.0.0/8" } }
        tg.global { tg.use "headers" { response = { set = { ["x-seen"] = "1" } } } }
        local function route(path, redirect)
          tg.route(path:match "%w+") { paths = { path }, redirect = redirect }
        end
        route("/host/*", { host = "Example.org" })
        route("/port/*", { port = 8083 })
        route("/https/*", { scheme = "https" })
        route("/http443/*", { scheme = "http", port = 443 })
        route("/own/*", { scheme = "https", port = 443, host = "a.test" })
        route("/path/{id}/*", { path = "/p/{id}" })
        route("/prefix/*", { prefix = "/n" })
        route("/query/{id}", { query = "id={id}" })
        route("/none/*", { query = "", path = "/" })
        for _, status in ipairs { 301, 302, 303, 307, 308 } do
          route("/s" .. status, { path = "/x", status = status })
        end
        tg.route "dots" { paths = { "~^/dots/(.)-(.)$" }, redirect = { path = "/in/{1}{2}/x" } }
        tg.route "all" { paths = { "/*" }, redirect = { scheme = "https" } }
      ]],
    })
  end)

  teardown(function() g:stop() end)

  local function location(target, headers, status)
    local response = client.get(g.port, target, headers or { Host = "shop.test:81" })
    assert.status(status or 302, response)
    assert.equal("", response.body)
    assert.header("x-seen", "1", response)
    return response.headers.location
  end

  it("keeps what it does not say", function()
    assert.equal("http://example.org:81/host/a?b=c", location "/host/a?b=c")
    assert.equal("http://shop.test:8083/port", location "/port")
    assert.equal("http://example.org/host/a", location("/host/a", { Host = "shop.test" }))
    assert.equal("http://shop.test:8083/port", location("/port", { Host = "shop.test" }))
  end)

  it("leaves out the port that belongs to the scheme", function()
    assert.equal("https://shop.test/https/x", location "/https/x")
    assert.equal("http://shop.test:443/http443/x", location "/http443/x")
    assert.equal("https://a.test/own", location "/own")
    assert.equal("http://shop.test/x", location("/s301", { Host = "shop.test:80" }, 301))
  end)

  it("goes by what trusted proxies say of the request", function()
    local headers = { Host = "inner", ["X-Forwarded-Proto"] = "https",
                      ["X-Forwarded-Host"] = "shop.test:443" }
    assert.equal("https://example.org/host/a", location("/host/a", headers))
    assert.equal("https://shop.test/n/a", location("/prefix/a", headers))
  end)

  it("replaces the path, its prefix or its query", function()
    assert.equal("http://shop.test:81/p/a%2Fb?q", location "/path/a%2fb/c?q")
    assert.equal("http://shop.test:81/n/a/b?c", location "/prefix/a/b?c")
    assert.equal("http://shop.test:81/n", location "/prefix")
    assert.equal("http://shop.test:81/query/x?id=x", location "/query/x?a")
    assert.equal("http://shop.test:81/", location "/none/x?a")
  end)

  for _, status in ipairs({ 301, 302, 303, 307, 308 }) do
    it("answers " .. status .. ", whatever the method", function()
      local response = client.request(g.port, { method = "POST", target = "/s" .. status, body = "abc",
                                                headers = { Host = "shop.test" } })
      assert.status(status, response)
      assert.header("location", "http://shop.test/x", response)
      assert.status(status, client.request(g.port, { method = "HEAD", target = "/s" .. status }))
    end)
  end

  it("leads nowhere else without a host, however the path is spelt", function()
    local c = client.connect(g.port)
    c:send("GET /host/x HTTP/1.0\r\n\r\n")
    assert.header("location", "http://example.org/host/x", c:response())
    c = client.connect(g.port)
    c:send("GET //evil.test/x HTTP/1.0\r\n\r\n")
    assert.header("location", "/evil.test/x", c:response())
  end)

  it("is refused where captures would make dot segments", function()
    assert.equal("http://shop.test:81/in/.a/x", location "/dots/.-a")
    assert.status(400, client.get(g.port, "/dots/.-.", { Host = "shop.test" }))
  end)
end)
