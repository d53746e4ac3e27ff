-- Which route takes a request: headers, query, cookies, networks, schemes, expressions, priority and the
-- methods, over the wire. That many of them together keep the order of precedence is shown by the unit
-- tests of core/route and by the suites of conformance_spec.lua.

local client = require("support.client")
local gateway = require("support.gateway")

-- A gateway whose routes answer with their names; `routes` is a list of { name, text of the fields }.
local function start(routes, listener)
  local lines = { 'local tg = require "tidegate"',
                  'tg.settings { admin = { listen = "unix:admin.sock" } }',
                  ('tg.listener "http" { address = "127.0.0.1:@PORT@", %s }'):format(listener or "") }
  for _, route in ipairs(routes) do
    table.insert(lines, ([[tg.route %q { plugins = { tg.use "respond" { body = %q } }, %s }]]):format(
      route[1], route.body or "${route.name}", route[2]))
  end
  return gateway.start({ config = table.concat(lines, "\n") .. "\n" })
end

-- The body of the answer, or its status when it is none of 200.
local function ask(g, target, lines, method)
  local c = client.connect(g.port)
  c:send(("%s %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n%s\r\n"):format(method or "GET", target,
                                                                              lines or ""))
  local response = c:response({ method = method })
  c:close()
  return response.status == 200 and response.body or response.status, response
end

local function each(rows, g)
  for _, row in ipairs(rows) do
    local got = ask(g, row[1], row[2], row.method)
    assert.equal(row[3], got, ("%s %s"):format(row[1], row[2] or ""))
  end
end

describe("a route asks for", function()
  local g

  setup(function()
    g = start({
      { "any", 'paths = { "/*" }' },
      { "exact", 'paths = { "/h" }, headers = { ["X-Version"] = "2" }' },
      { "list", 'paths = { "/h" }, headers = { ["x-version"] = { "3", "4" } }' },
      { "regex", 'paths = { "/h" }, headers = { ["x-version"] = "~^v\\\\d+$" }' },
      { "present", 'paths = { "/h" }, headers = { ["x-version"] = true }' },
      { "two", 'paths = { "/h" }, headers = { ["x-version"] = true, accept = "text/a" }' },
      { "query", 'paths = { "/q" }, query = { page = "~^\\\\d+$", ["a b"] = "c d" }' },
      { "cookie", 'paths = { "/c" }, cookies = { beta = "1" }' },
      { "both", 'paths = { "/c" }, cookies = { beta = "1" }, query = { debug = true }' },
    })
  end)

  teardown(function()
    g:stop()
  end)

  it("headers, by value, list, expression or presence, the more exact one first", function()
    each({
      { "/h", nil, "any" },
      { "/h", "x-VERSION: 2\r\n", "exact" },
      { "/h", "X-Version: 4\r\n", "list" },
      { "/h", "X-Version: v12\r\n", "regex" },
      { "/h", "X-Version: V12\r\n", "present" },
      { "/h", "X-Version:\r\n", "present" },
      { "/h", "X-Version: 9\r\nX-Version: 2\r\n", "exact" },
      { "/h", "X-Version: 2, 3\r\n", "present" },
      { "/h", "X-Version: 2\r\nAccept: text/a\r\n", "two" },
      { "/h", "Accept: text/a\r\n", "any" },
    }, g)
  end)

  it("query parameters, decoded, the first of a name", function()
    each({
      { "/q?page=12&a+b=c%20d", nil, "query" },
      { "/q?a%20b=c+d&x&page=1&page=x", nil, "query" },
      { "/q?a%20b=c+d&page=x&page=1", nil, "any" },
      { "/q?page=1", nil, "any" },
      { "/q", nil, "any" },
      { "/q?page=1&a%20b=c+D", nil, "any" },
    }, g)
  end)

  it("cookies, the first of a name", function()
    each({
      { "/c", "Cookie: x=y; beta=1\r\n", "cookie" },
      { "/c", "Cookie: x=y\r\nCookie: beta=\"1\"\r\n", "cookie" },
      { "/c?debug", "Cookie: beta=1\r\n", "both" },
      { "/c", "Cookie: beta=2; beta=1\r\n", "any" },
      { "/c", "Cookie: Beta=1\r\n", "any" },
    }, g)
  end)
end)

describe("behind a trusted proxy", function()
  local g

  setup(function()
    g = start({
      { "any", 'paths = { "/*" }' },
      { "office", 'networks = { "192.0.2.0/24", "2001:db8::/32" }' },
      { "desk", 'networks = { "192.0.2.7/32" }' },
      { "tls", 'paths = { "/s" }, scheme = "https"' },
      { "named", 'paths = { "/s" }, sni = { "a.test" }, priority = 9' },
    }, 'trusted = { "127.0.0.0/8" }')
  end)

  teardown(function()
    g:stop()
  end)

  it("networks are those of the client, the narrower first", function()
    each({
      { "/", nil, "any" },
      { "/", "X-Forwarded-For: 192.0.2.1\r\n", "office" },
      { "/", "X-Forwarded-For: 192.0.2.7\r\n", "desk" },
      { "/", "X-Forwarded-For: 2001:db8::9\r\n", "office" },
      { "/", "X-Forwarded-For: 198.51.100.1\r\n", "any" },
    }, g)
  end)

  it("the scheme is the client's, and no name of TLS is known", function()
    each({
      { "/s", nil, "any" },
      { "/s", "X-Forwarded-Proto: https\r\n", "tls" },
    }, g)
  end)
end)

describe("a path", function()
  local g

  setup(function()
    g = start({
      { "expression", [[paths = { "~^/v(\\d+)/(?<kind>[a-z]+)$" }]], body = "${capture.1} ${capture.kind}" },
      { "int", 'paths = { "/v1/{id:int}" }' },
      { "v1", 'paths = { "/v1/*" }' },
      { "encoded", 'paths = { "/caf\195\169/{name}" }', body = "${capture.name}" },
      { "admin", 'paths = { "/admin/*" }' },
      { "costly", [[paths = { "~^/slow/(.+)[^x]\\1$" }]] },
      { "all", 'paths = { "/slow/{rest...}" }' },
      { "urgent", 'paths = { "/v2/*" }, priority = 1' },
    })
  end)

  teardown(function()
    g:stop()
  end)

  it("may be an expression, filed behind its literal text", function()
    each({
      { "/v12/orders", nil, "12 orders" },
      { "/v1/orders", nil, "v1" }, -- its text goes on with the 1
      { "/v1/12", nil, "int" },
      { "/v2/orders", nil, "urgent" },
      { "/v12/orders/", nil, 404 },
    }, g)
  end)

  it("may be written with characters that arrive encoded", function()
    each({ { "/caf%c3%a9/cr%C3%A8me", nil, "cr\195\168me" } }, g)
  end)

  it("is the same however it is spelled", function()
    each({
      { "/admin/x", nil, "admin" },
      { "/%61dmin/x", nil, "admin" },
      { "/x/../admin", nil, "admin" },
      { "/x/%2e%2E/admin/", nil, "admin" },
      { "/./admin", nil, "admin" },
      { "/admin%2fx", nil, 404 },
      { "//admin", nil, 404 },
    }, g)
  end)

  it("is refused when it has no meaning", function()
    for _, target in ipairs({ "/%00", "/a%00b", "/%c0%ae", "/%e0%80%af", "/%ff", "/%c3", "/%ed%a0%80", "/..",
                              "/a/../..", "/%2e%2e/", "/%", "/%4", "/%gg" }) do
      assert.equal(400, (ask(g, target)), target)
    end
  end)

  it("that makes an expression too costly passes no route by it, and is counted", function()
    g:wait_for_log(" serves after ") -- the admin listener is open then
    local status, response = ask(g, "/slow/" .. ("a"):rep(8000) .. "b")
    assert.equal(400, status)
    assert.contains('"route_undecided"', response.body)
    assert.equal("all", (ask(g, "/slow/b")))
    local metrics = client.get({ unix = g.dir .. "/admin.sock" }, "/metrics").body
    assert.contains("tidegate_requests_undecided_total 1\n", metrics)
  end)
end)

describe("where doubled slashes are merged", function()
  local g

  setup(function()
    g = start({ { "admin", 'paths = { "/admin/*" }', body = "${req.path}" } }, "merge_slashes = true")
  end)

  teardown(function()
    g:stop()
  end)

  it("routes and plugins see one", function()
    each({
      { "//admin///x//", nil, "/admin/x/" },
      { "/a//../admin", nil, "/admin" }, -- merged first; else the empty segment goes and /a stays
      { "/a/..//admin", nil, "/admin" },
      { "/%2fadmin", nil, 404 },
    }, g)
  end)
end)

describe("the port of a host", function()
  it("is that of the scheme where the request names none", function()
    local g = start({
      { "any", 'hosts = { "a.test" }' },
      { "clear", 'hosts = { "a.test:80" }' },
      { "tls", 'hosts = { "a.test:443" }' },
    }, 'trusted = { "127.0.0.1" }')
    assert.equal("clear", (ask(g, "/")))
    assert.equal("tls", (ask(g, "/", "X-Forwarded-Proto: https\r\n")))
    g:stop()
  end)
end)

describe("methods", function()
  local ROUTES = {
    { "get", 'paths = { "/m" }, methods = { "GET" }' },
    { "put", 'paths = { "/m" }, methods = { "PUT" }, headers = { ["x-v"] = "1" }' },
    { "post", 'paths = { "/p" }, methods = { "POST" }' },
    { "options", 'paths = { "/o" }, methods = { "OPTIONS" }' },
  }

  it("that no route takes are answered with those that some do", function()
    local g = start(ROUTES)
    local status, response = ask(g, "/m", nil, "DELETE")
    assert.equal(405, status)
    assert.header("allow", "GET, HEAD", response)
    status, response = ask(g, "/m", "X-V: 1\r\n", "DELETE")
    assert.equal(405, status)
    assert.header("allow", "GET, HEAD, PUT", response)
    assert.equal(405, (ask(g, "/p", nil, "HEAD")))
    assert.equal(405, (ask(g, "/m", nil, "OPTIONS")))
    assert.equal(404, (ask(g, "/n", nil, "DELETE")))
    g:stop()
  end)

  it("HEAD goes where GET does", function()
    local g = start(ROUTES)
    local body, response = ask(g, "/m", nil, "HEAD")
    assert.equal("", body)
    assert.header("content-length", "3", response)
    g:stop()
  end)

  it("OPTIONS is answered where the listener says so, and goes to the route that names it", function()
    local g = start(ROUTES, "answer_options = true")
    local status, response = ask(g, "/m", "X-V: 1\r\n", "OPTIONS")
    assert.equal(204, status)
    assert.header("allow", "GET, HEAD, PUT, OPTIONS", response)
    assert.equal("options", (ask(g, "/o", nil, "OPTIONS")))
    assert.equal(404, (ask(g, "/n", nil, "OPTIONS")))
    assert.equal(405, (ask(g, "/m", nil, "DELETE")))
    g:stop()
  end)
end)
