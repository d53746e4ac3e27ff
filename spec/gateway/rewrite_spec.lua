-- Rewriting by route: what is taken off a path, put in front of it or in its place, and what Host says. The
-- built-in origin tells what reached it.

local cjson = require("cjson")
local client = require("support.client")
local gateway = require("support.gateway")

describe("rewriting", function()
  local g

  setup(function()
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "root" { builtin = "echo" }
        tg.service "base" { builtin = "echo", path = "/base" }
        tg.service "slash" { builtin = "echo", path = "/base/" }
        local function route(name, fields)
          fields.service = fields.service or "root"
          tg.route(name)(fields)
        end
        route("strip", { paths = { "/strip/*", "/v/{version}/strip/*" }, strip_prefix = true })
        route("strip-rest", { paths = { "/files/{path...}" }, strip_prefix = true })
        route("strip-regex", { paths = { "~^/r\\d*" }, strip_prefix = true })
        route("strip-base", { paths = { "/sb/*" }, strip_prefix = true, service = "base" })
        route("strip-slash", { paths = { "/ss/*" }, strip_prefix = "/ss", service = "slash" })
        route("base", { paths = { "/b/*", "/" }, service = "base" })
        route("path", { paths = { "/users/{id}/orders/{order}" }, rewrite = { path = "/o/{order}/of/{id}" } })
        route("number", { paths = { "~^/n/(\\w+)-(?<last>.+)$" }, rewrite = { path = "/{last}/{1}" } })
        route("dots", { paths = { "~^/d/(.)-(.)$" }, rewrite = { path = "/in/{1}{2}/x" } })
        route("prefix", { paths = { "/old/*" }, rewrite = { prefix = "/new" } })
        route("prefix-slash", { paths = { "/olds/*" }, rewrite = { prefix = "/new/" } })
        route("prefix-root", { paths = { "/oldr/*" }, rewrite = { prefix = "/" } })
        route("query", { paths = { "/q/{term}" }, rewrite = { path = "/find", query = "term={term}&n=1" } })
        route("no-query", { paths = { "/nq" }, rewrite = { query = "" } })
        route("host", { paths = { "/h/*" }, rewrite = { host = "api.internal:81" }, strip_prefix = "/h" })
        route("tenant", { paths = { "/t/{tenant}/*" }, rewrite = { host = "{tenant}.internal" } })
        route("keep", { paths = { "/k/*" }, preserve_host = true })
        route("chosen", { paths = { "/c/*" }, rewrite = { path = "/never" },
          plugins = { tg.use "./chooser.lua" {} } })
      ]],
      files = {
        ["chooser.lua"] = [[
          local S = require "tidegate.schema"
          return { name = "chooser", version = "1.0.0", api = 1, stage = "transform", schema = S.record {},
            access = function(_, ctx)
              ctx.upstream:set_path "/plugin"
              ctx:set_service "base"
            end }
        ]],
      },
    })
  end)

  teardown(function() g:stop() end)

  local function seen(target, headers)
    local response = client.get(g.port, target, headers or { Host = "shop.test" })
    assert.status(200, response)
    local request = cjson.decode(response.body)
    request.host = request.headers[1][2]
    return request
  end

  local function target(asked) return seen(asked).target end

  it("strips what the pattern matched", function()
    assert.equal("/a/b?c=d", target "/strip/a/b?c=d")
    assert.equal("/", target "/strip")
    assert.equal("/", target "/strip/")
    assert.equal("/a", target "/v/7/strip/a")
    assert.equal("/a/b", target "/files/a/b")
    assert.equal("/x", target "/r12/x")
    assert.equal("/abc", target "/r7abc")
    assert.equal("/", target "/r")
  end)

  it("joins a service's path with exactly one slash", function()
    assert.equal("/base/b/x", target "/b/x")
    assert.equal("/base", target "/")
    assert.equal("/base?q", target "/?q")
    assert.equal("/base/x", target "/sb/x")
    assert.equal("/base", target "/sb")
    assert.equal("/base/", target "/sb/")
    assert.equal("/base/x", target "/ss/x")
    assert.equal("/base", target "/ss")
    assert.equal("/base/", target "/ss/")
  end)

  it("fills captures into a path", function()
    assert.equal("/o/9/of/7?q=1", target "/users/7/orders/9?q=1")
    assert.equal("/c/ab", target "/n/ab-c")
  end)

  it("lets no capture bring what it could not have captured", function()
    assert.equal("/o/a%2Fb%3Fc%23d/of/%0D%0A", target "/users/%0d%0a/orders/a%2fb%3Fc%23d")
    assert.equal("/o/;x=y&z/of/7", target "/users/7/orders/;x=y&z")
    assert.equal("/find?term=a%26b%3Dc%2F%23&n=1", target "/q/a&b=c%2F%23?lost")
    assert.equal("/in/.a/x", target "/d/.-a")
    local response = client.get(g.port, "/d/.-%2E", { Host = "shop.test" })
    assert.status(400, response)
    assert.contains("bad_rewrite", response.body)
  end)

  it("replaces what the pattern matched", function()
    assert.equal("/new/a?b", target "/old/a?b")
    assert.equal("/new", target "/old")
    assert.equal("/new/", target "/old/")
    assert.equal("/new/a", target "/olds/a")
    assert.equal("/new/", target "/olds")
    assert.equal("/a", target "/oldr/a")
    assert.equal("/", target "/oldr")
  end)

  it("keeps the query unless it is rewritten", function()
    assert.equal("/find?term=x&n=1", target "/q/x?a=b")
    assert.equal("/nq", target "/nq?a=b")
  end)

  it("says what Host is", function()
    assert.equal("api.internal:81", seen("/h/x").host)
    assert.equal("/x", seen("/h/x").target)
    assert.equal("acme.internal", seen("/t/acme/x").host)
    assert.equal("shop.test:8", seen("/k/x", { Host = "shop.test:8" }).host)
    assert.status(400, client.get(g.port, "/t/a%2Fb/x", { Host = "shop.test" }))
    assert.status(400, client.get(g.port, "/t/a@b/x", { Host = "shop.test" }))
  end)

  it("leaves the last word to plugins, and a service's path to the service", function()
    assert.equal("/base/plugin", target "/c/x")
  end)
end)
