-- What routes do with traffic (lua/tidegate/traffic.lua): the tree that comes of it, a case for each mistake.

local host = require "support.config_host"

local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n' ..
             'tg.service "a" { builtin = "echo" }\ntg.service "b" { builtin = "echo", path = "/" }\n'

local function load(text)
  local tree, reports = host.load(HEAD .. text)
  assert(tree, reports:render())
  return tree, reports
end

describe("traffic in the tree", function()
  it("is not there for routes without", function()
    local tree = load 'tg.route "x" { service = "a", strip_prefix = "/" }'
    for _, field in ipairs { "rewrite", "redirect", "split", "canary", "mirror", "responses" } do
      assert.is_nil(tree.routes[1][field])
    end
    assert.is_nil(tree.services[2].path)
    assert.is_nil(tree.settings.responses)
  end)

  it("refers to services by index, with the chains of each", function()
    local route = load([[
      tg.route "x" { split = { { "b", weight = 9 }, { "a" }, key = "cookie:sid" },
        canary = { service = "a", percent = 2.5, key = "header:X-User" }, mirror = { service = "b" } }
    ]]).routes[1]
    assert.same({
      choices = { { service = 2, weight = 9, chains = { 2 } }, { service = 1, weight = 1, chains = { 2 } } },
      key = { by = "cookie", name = "sid" },
    }, route.split)
    assert.same({ service = 1, percent = 2.5, chains = { 2 }, key = { by = "header", name = "x-user" } },
                route.canary)
    assert.same({ service = 2, percent = 100, max_body = 65536 }, route.mirror)
    assert.equal(0, route.service)
  end)

  it("has rewriting as it is written", function()
    local tree = load([[
      tg.route "x" { paths = { "/u/{id}" }, service = "a",
        rewrite = { path = "/v/{id}", host = "{id}.test", query = "" } }
      tg.route "y" { paths = { "/y/*" }, service = "a", strip_prefix = true }
      tg.route "z" { paths = { "/z" }, redirect = { host = "A.test", path = "/b", status = 308 } }
    ]])
    assert.same({ path = "/v/{id}", host = "{id}.test", query = "" }, tree.routes[1].rewrite)
    assert.same({ strip = true }, tree.routes[2].rewrite)
    assert.is_nil(tree.routes[2].strip_prefix)
    assert.same({ host = "a.test", path = "/b", status = 308 }, tree.routes[3].redirect)
  end)

  it("lists answers by status, classes first", function()
    local tree = load([[
      tg.settings { responses = { [502] = { body = "{status}" },
                                  ["5xx"] = { headers = { ["X-B"] = "2", ["x-a"] = "1" } } } }
      tg.route "x" { service = "a", responses = { [404] = { type = "text/html" } } }
    ]])
    local plain = "text/plain; charset=utf-8"
    assert.same({
      { status = 5, body = "", type = plain,
        fields = { { name = "x-a", value = "1" }, { name = "x-b", value = "2" } } },
      { status = 502, body = "{status}", type = plain, fields = {} },
    }, tree.settings.responses)
    assert.same({ { status = 404, body = "", type = "text/html", fields = {} } }, tree.routes[1].responses)
  end)

  it("warns of a redirect to itself", function()
    local _, reports = load 'tg.route "x" { redirect = { status = 303 } }'
    assert.equal(1, reports.warnings)
    assert.matches("routes.x.redirect: it leads to where the request came from", reports:render(), 1, true)
  end)
end)

local mistakes = {
  { "a service's path", 'tg.service "x" { builtin = "echo", path = "x" }',
    '5:36: services.x.path: "x" does not begin with a slash', 'write "/a"' },
  { "a service's path with parts", 'tg.service "x" { builtin = "echo", path = "/{a}" }',
    '5:36: services.x.path: "/{a}" has parts to fill in', 'a plain path: "/base"' },
  { "a capture that is not there",
    'tg.route "x" { paths = { "/u/{user}" }, service = "a", rewrite = { path = "/v/{usr}" } }',
    '5:68: routes.x.rewrite.path: paths[1] "/u/{user}" captures no {usr}', "did you mean {user}?" },
  { "a capture of some paths only",
    'tg.route "x" { paths = { "/u/{id}", "/w" }, service = "a", rewrite = { host = "{id}.test" } }',
    '5:72: routes.x.rewrite.host: paths[2] "/w" captures no {id}', "it captures nothing" },
  { "a capture beyond the last", 'tg.route "x" { paths = { "/u/{id}" }, redirect = { path = "/{1}/{2}" } }',
    '5:52: routes.x.redirect.path: paths[1] "/u/{id}" captures no {2}', "it captures {id}" },
  { "a path that is none", 'tg.route "x" { service = "a", rewrite = { path = "v" } }',
    '5:43: routes.x.rewrite.path: "v" does not begin with a slash' },
  { "two ways to rewrite", 'tg.route "x" { service = "a", rewrite = { path = "/v", prefix = "/w" } }',
    "5:56: routes.x.rewrite.prefix: only one of rewrite.path and rewrite.prefix may be set" },
  { "a prefix that is neither", 'tg.route "x" { service = "a", strip_prefix = 7 }',
    "5:31: routes.x.strip_prefix: expected a path, or true for what the path's pattern matches",
    'strip_prefix = "/v1" or strip_prefix = true' },
  { "stripping what is replaced",
    'tg.route "x" { service = "a", strip_prefix = true, rewrite = { prefix = "/w" } }',
    "5:64: routes.x.rewrite.prefix: only one of strip_prefix and rewrite.prefix may be set" },
  { "two hosts", 'tg.route "x" { service = "a", preserve_host = true, rewrite = { host = "w" } }',
    "5:65: routes.x.rewrite.host: only one of preserve_host and rewrite.host may be set" },
  { "a redirect and a service", 'tg.route "x" { service = "a", redirect = { scheme = "https" } }',
    "5:31: routes.x.redirect: only one of service and redirect may be set" },
  { "a redirect's status", 'tg.route "x" { redirect = { host = "b", status = 300 } }',
    "5:41: routes.x.redirect.status: expected 301, 302, 303, 307 or 308" },
  { "a redirect's host with a port", 'tg.route "x" { redirect = { host = "b.test:80" } }',
    "5:29: routes.x.redirect.host" },
  { "a redirect's host from the client",
    'tg.route "x" { paths = { "/{h}" }, redirect = { host = "*.test" } }',
    '5:49: routes.x.redirect.host: "*.test" is not one host', "port = 8443 says the port" },
  { "a split and a service", 'tg.route "x" { service = "a", split = { { "a" } } }',
    "5:31: routes.x.split: only one of service and split may be set" },
  { "an empty split", 'tg.route "x" { split = {} }', "routes.x.split[1]: missing" },
  { "a share twice", 'tg.route "x" { split = { { "a" }, { "b" }, { "a" } } }',
    '5:44: routes.x.split[3]: service "a" has a share already' },
  { "shares without weight", 'tg.route "x" { split = { { "a", weight = 0 } } }',
    "5:16: routes.x.split: no share has a weight", "one weight at least is above 0" },
  { "a hole in a split", 'tg.route "x" { split = { { "a" }, nil, { "b" } } }',
    "5:16: routes.x.split: item 2 of the list is nil" },
  { "a weight",
    'tg.route "x" { split = { { "a", weight = -1 } } }',
    "routes.x.split[1].weight: -1 is below the minimum 0" },
  { "a key", 'tg.route "x" { split = { { "a" }, { "b" }, key = "sid" } }',
    '5:44: routes.x.split.key: "sid" is not a key', '"cookie:NAME", "header:NAME", "ip" or "consumer"' },
  { "a consumer's choice of a service with plugins",
    'tg.service "c" { builtin = "echo", plugins = { tg.use "p" {} } }\n' ..
    'tg.route "x" { split = { { "a" }, { "c" }, key = "consumer" } }',
    '6:44: routes.x.split.key: service "c" has plugins of its own', "attach them to the route" },
  { "an unknown service in a split", 'tg.route "x" { split = { { "a" }, { "c" } } }',
    '5:37: routes.x.split[2][1]: no service is called "c"' },
  { "a canary for nothing",
    'tg.route "x" { redirect = { host = "b" }, canary = { service = "a", percent = 1 } }',
    "5:43: routes.x.canary: there is nothing that the canary takes its share of",
    "give the route a service or a split" },
  { "a canary that no request is for", 'tg.route "x" { service = "b", canary = { service = "a" } }',
    "5:31: routes.x.canary: no request would be the canary's", 'header = "x-canary" or percent = 5' },
  { "a canary's value without a header",
    'tg.route "x" { service = "b", canary = { service = "a", percent = 1, value = "y" } }',
    'routes.x.canary.value: needs the field "header" too' },
  { "a canary's key without a percentage",
    'tg.route "x" { service = "b", canary = { service = "a", header = "h", key = "ip" } }',
    "5:71: routes.x.canary.key: a key decides about a percentage, which is not set" },
  { "a mirror's percentage", 'tg.route "x" { service = "b", mirror = { service = "a", percent = 101 } }',
    "5:57: routes.x.mirror.percent: 101 is above the maximum 100" },
  { "a mirror's bound", 'tg.route "x" { service = "b", mirror = { service = "a", max_body = 1000 } }',
    "5:57: routes.x.mirror.max_body: expected a size, got number 1000" },
  { "a status that is no failure", 'tg.settings { responses = { [200] = {} } }',
    "5:29: settings.responses[200]: 200 is not a status of a failure", '[404], ["4xx"] or ["5xx"]' },
  { "a fact that is not there", 'tg.settings { responses = { [404] = { body = "{stats}" } } }',
    "5:39: settings.responses[404].body: there is no {stats} to fill in", "did you mean {status}?" },
  { "a header that is the gateway's",
    'tg.settings { responses = { [404] = { headers = { ["content-length"] = "1" } } } }',
    'belongs to the gateway' },
}

describe("a mistake in traffic", function()
  for _, case in ipairs(mistakes) do
    it(case[1], function()
      local text = host.errors(HEAD .. case[2], { bundled = { p = host.plugin("p", "edge", { "access" }) } })
      assert.is_truthy(text:find(case[3], 1, true), text)
      if case[4] then assert.is_truthy(text:find(case[4], 1, true), text) end
      assert.is_truthy(text:find("1 error in 1 file", 1, true) or case[1]:find "^a canary for" or
                       case[1]:find "redirect's host with", text)
    end)
  end
end)
