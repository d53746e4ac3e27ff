--- `tidegate routes` and `--explain`: the table, and what becomes of one request.

local command = require("support.command")
local json = require("cjson")

local CONFIG = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
local back = tg.service "back" { targets = { { "10.0.0.1:9000" } } }
tg.global { tg.use "request-id" {} }
tg.route "orders" {
  hosts = { "api.test", "*.api.test" }, paths = { "/v1/orders/{id}" }, methods = { "GET", "POST" },
  service = back, strip_prefix = "/v1",
  plugins = {
    tg.use("headers", { id = "mine", when = [=[method == "POST"]=] }) { request = { set = { a = "1" } } },
  },
}
tg.route "first" { paths = { "/x" }, priority = 5, headers = { ["x-version"] = "2" }, service = back }
tg.route "second" { paths = { "/x" }, query = { q = "~^a", p = true }, cookies = { c = { "1", "2" } },
  service = back }
tg.route "third" { paths = { "/x", "/*" }, networks = { "10.0.0.0/8" }, service = back }
tg.route "answer" { paths = { "/204" }, methods = { "GET" }, plugins = { tg.use "respond" { status = 204 } } }
]]

describe("tidegate routes", function()
  local c

  before_each(function()
    c = command.folder()
    c:write("gateway.lua", CONFIG)
  end)

  after_each(function() c:close() end)

  it("lists the routes as they are tried", function()
    local code, out, err = c:run("routes")
    assert.same({ 0, "" }, { code, err })
    local lines = {}
    for line in out:gmatch("[^\n]+") do lines[#lines + 1] = line:gsub(" +", " "):gsub("^ ", "") end
    assert.same({
      "# ROUTE PRIORITY HOST PATH METHODS SERVICE PLUGINS DECLARED CONDITIONS",
      '1 first 5 * /x any back request-id gateway.lua:12 headers = { ["x-version"] = "2" }',
      "2 orders api.test /v1/orders/{id} GET,POST back request-id, headers#mine gateway.lua:5",
      "3 orders *.api.test /v1/orders/{id} GET,POST back request-id, headers#mine gateway.lua:5",
      "4 answer * /204 GET - request-id, respond gateway.lua:16",
      '5 second * /x any back request-id gateway.lua:13 cookies = { c = { "1", "2" } }, ' ..
        'query = { p = true, q = "~^a" }',
      '6 third * /x any back request-id gateway.lua:15 networks = { "10.0.0.0/8" }',
      '7 third * /* any back request-id gateway.lua:15 networks = { "10.0.0.0/8" }',
    }, lines)
  end)

  it("prints JSON", function()
    local code, out = c:run("routes", "--json")
    assert.equal(0, code)
    local list = json.decode(out).routes
    assert.same({ 7, "first", 5, "/x" }, { #list, list[1].route, list[1].priority, list[1].path })
    assert.same({ route = "orders", priority = 0, host = "api.test", path = "/v1/orders/{id}",
                  methods = { "GET", "POST" }, conditions = {}, service = "back",
                    actions = { strip_prefix = "/v1" },
                  plugins = { "request-id", "headers#mine" }, declared = "gateway.lua:5" }, list[2])
  end)

  it("lists each column only where something stands in it", function()
    c:write("small.lua", 'local tg = require "tidegate"\ntg.listener "l" { address = "127.0.0.1:0" }\n' ..
      'tg.service "e" { builtin = "echo" }\ntg.route "all" { service = "e" }')
    local _, out = c:run("routes", "small.lua")
    assert.equal("#  ROUTE  HOST  PATH  METHODS  SERVICE  DECLARED\n" ..
                 "1  all    *     /*    any      e        small.lua:4\n", out)
  end)

  it("shows the mistakes of a configuration that has some", function()
    c:write("bad.lua", "nonsense")
    local code, out, err = c:run("routes", "bad.lua")
    assert.same({ 1, "" }, { code, out })
    assert.contains("bad.lua:1", err)
    code, out, err = c:run("routes", "--explain", "GET", "/", "bad.lua")
    assert.same({ 1, "" }, { code, out })
    assert.contains("bad.lua:1", err)
  end)

  describe("--explain", function()
    local function explain(...)
      local code, out, err = c:run("routes", "--explain", ...)
      assert.same({ 0, "" }, { code, err })
      return out
    end

    local function answer(...)
      return json.decode((explain("--json", ...)))
    end

    it("takes the file before the request as well", function()
      local code, out = c:run("routes", "gateway.lua", "--explain", "GET", "http://api.test/v1/orders/7")
      assert.equal(0, code)
      assert.equal(explain("GET", "http://api.test/v1/orders/7", "gateway.lua"), out)
    end)

    it("tells the match, its captures, what goes to the origin and who runs", function()
      local out = explain("POST", "http://eu.api.test/v1/orders/%37?x=1")
      assert.contains([[
POST http://eu.api.test/v1/orders/7?x=1
  path       /v1/orders/7, as /v1/orders/%37 is normalised

route orders takes it (gateway.lua:5)
  matched    host *.api.test, path /v1/orders/{id}, methods GET, POST
  captures   id = "7"
]], out)
      assert.contains('  service    back (10.0.0.1:9000)\n  request    POST /orders/7?x=1\n', out)
      assert.contains([[
plugins that run
  PHASE          #  PLUGIN        STAGE      SCOPE         ATTACHED
  access         1  request-id    edge       global        gateway.lua:4
  access         2  headers#mine  transform  route orders  gateway.lua:9  when method == "POST"
  header_filter  1  headers#mine  transform  route orders  gateway.lua:9  when method == "POST"
  header_filter  2  request-id    edge       global        gateway.lua:4
]], out)
    end)

    -- Why each route but the winner does not take the request.
    local function reasons(found)
      local list = {}
      for _, candidate in ipairs(found.candidates) do
        list[candidate.route] = candidate.why or candidate.outcome
      end
      return list
    end

    it("tells by which condition the others fail, and by which criterion they lose", function()
      local found = answer("GET", "/x?q=abc&p=", "-H", "x-version: 2", "-H", "Cookie: a=b; c=2", "--client",
        "10.1.2.3")
      assert.same({
        first = "wins",
        second = "first comes first: higher priority",
        third = "first comes first: higher priority",
        orders = "host does not match: it asks for api.test",
        answer = "path does not match: it asks for /204",
      }, reasons(found))
      found = answer("GET", "/x?q=b", "-H", "X-Version: 3", "--client", "10.1.2.3")
      assert.same({
        first = 'header x-version does not match: it asks for "2"',
        second = 'query parameter p does not match: it asks for true',
        third = "wins",
        orders = "host does not match: it asks for api.test",
        answer = "path does not match: it asks for /204",
      }, reasons(found))
      assert.equal("second comes first: more query conditions",
                   reasons(answer("GET", "/x?q=a&p=1", "-H", "cookie: c=1", "--client", "10.0.0.1")).third)
      assert.equal('client network does not match: it asks for { "10.0.0.0/8" }',
        reasons(answer("GET", "/x", "--client", "192.0.2.1")).third)
      assert.equal('cookie c does not match: it asks for { "1", "2" }',
                   reasons(answer("GET", "/x?q=a&p=1", "-H", "cookie: c=3")).second)
    end)

    it("tells what a condition asks for, though another kind has one of the same name", function()
      c:write("same.lua", [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
local e = tg.service "e" { builtin = "echo" }
tg.route "a" { paths = { "/a" }, headers = { v = "h" }, query = { v = "q" }, cookies = { v = "c" },
  scheme = "https", service = e }
]])
      local function reason(...) return reasons(answer("GET", ...)).a end
      assert.equal('header v does not match: it asks for "h"', reason("http://a.test/a", "same.lua"))
      assert.equal('query parameter v does not match: it asks for "q"',
                   reason("http://a.test/a", "-H", "v: h", "same.lua"))
      assert.equal('cookie v does not match: it asks for "c"',
                   reason("http://a.test/a?v=q", "-H", "v: h", "same.lua"))
      assert.equal('scheme does not match: it asks for "https"',
                   reason("http://a.test/a?v=q", "-H", "v: h", "-H", "cookie: v=c", "same.lua"))
    end)

    it("tells of plugins that run in the handshake", function()
      c:write("early.lua", [[
return { name = "early", version = "1", api = 1, stage = "edge",
         certificate = function() end, rewrite = function() end, access = function() end }]])
      c:write("tls.lua", 'local tg = require "tidegate"\ntg.listener "l" { address = "127.0.0.1:0" }\n' ..
        'tg.global { tg.use "./early.lua" {} }\n' ..
        'tg.route "r" { service = tg.service "e" { builtin = "echo" } }')
      local phases = {}
      for i, plugin in ipairs(answer("GET", "/", "tls.lua").chains[1].plugins) do phases[i] = plugin.phase end
      assert.same({ "certificate", "rewrite", "access" }, phases)
    end)

    it("tells of a method that no route takes", function()
      local found = answer("PUT", "http://api.test/v1/orders/7")
      assert.same({ "wrong_method", "method does not match: it asks for GET, POST" },
                  { found.verdict, reasons(found).orders })
      assert.contains("no route takes this method: 405, Allow: GET, HEAD, POST\n",
                      explain("PUT", "http://api.test/v1/orders/7"))
    end)

    it("tells that no route takes it", function()
      local out = explain("GET", "/nowhere")
      assert.contains("no route takes it: 404\n", out)
      assert.contains("plugins that run\n", out)
    end)

    it("takes the host from a field, and the port along", function()
      local found = answer("GET", "/v1/orders/1", "-H", "Host: api.test:8443")
      assert.same({ "api.test", 8443, "orders" }, { found.request.host, found.request.port,
        found.route.name })
    end)

    it("tells of a route without a service", function()
      assert.contains("  service    none: a plugin answers\n", explain("GET", "/204"))
    end)

    describe("of a route that rewrites", function()
      before_each(function()
        c:write("shape.lua", [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
local one = tg.service "one" { builtin = "echo", path = "/base" }
local two = tg.service "two" { targets = { { "10.0.0.2:80" } } }
tg.route "users" { paths = { "/users/{id}" }, service = one, canary = { service = two, percent = 5 },
  mirror = { service = two }, rewrite = { path = "/u/{id}", query = "n={id}", host = "{id}.test" } }
tg.route "split" { paths = { "/s/*" }, strip_prefix = true, split = { { one, weight = 9 }, { two } },
  preserve_host = true }
tg.route "old" { paths = { "/old/*" }, redirect = { status = 301, prefix = "/new", host = "n.test" } }
tg.route "pair" { paths = { "~^/p/([.]+)-([.]+)$" }, service = one, rewrite = { path = "/{1}{2}/x" } }
]])
      end)

      it("tells all services that may get it, and what they get", function()
        local found = answer("GET", "http://a.test/users/7?x=1", "shape.lua")
        assert.same({
          { role = "service", service = "one", target = "/base/u/7?n=7", targets = { "builtin echo" } },
          { role = "canary", service = "two", target = "/u/7?n=7", targets = { "10.0.0.2:80" } },
          { role = "mirror", service = "two", target = "/u/7?n=7", targets = { "10.0.0.2:80" } },
        }, found.origins)
        assert.equal("7.test", found.host)
        found = answer("GET", "http://a.test/s/b?x=1", "shape.lua")
        assert.same({ "split", "/base/b?x=1", "split", "/b?x=1", "a.test" },
                    { found.origins[1].role, found.origins[1].target, found.origins[2].role,
                      found.origins[2].target, found.host })
        local split = { ["1"] = { ["1"] = "one", weight = 9 }, ["2"] = { ["1"] = "two" } }
        assert.same({ strip_prefix = true, preserve_host = true, split = split }, found.route.actions)
      end)

      it("tells which plugins run for which service", function()
        c:write("ways.lua", [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
local one = tg.service "one" { builtin = "echo", plugins = { tg.use "headers" {} } }
local two = tg.service "two" { builtin = "echo", plugins = { tg.use "respond" { status = 204 } } }
tg.route "split" { split = { { one }, { two } } }
]])
        local chains = answer("GET", "/", "ways.lua").chains
        assert.same({ { "one" }, "headers" }, { chains[1].services, chains[1].plugins[1].plugin })
        assert.same({ { "two" }, "respond" }, { chains[2].services, chains[2].plugins[1].plugin })
        assert.contains(" headers, respond ", select(2, c:run("routes", "ways.lua")))
        assert.contains("plugins that run on listener http, to two\n", explain("GET", "/", "ways.lua"))
        local code, out = c:run("check", "--strict", "ways.lua")
        assert.equal(0, code, out)
      end)

      it("lists all services that may get its requests", function()
        local _, out = c:run("routes", "shape.lua")
        assert.matches("\n *%d+ +users .- one,two +shape", out)
        assert.matches("\n *%d+ +split .- one,two +shape", out)
        assert.matches("\n *%d+ +old .- %- +shape", out)
      end)

      it("tells where a redirect leads", function()
        local out = explain("GET", "http://a.test/old/x?y", "shape.lua")
        assert.contains('  also       redirect = { host = "n.test", prefix = "/new", status = 301 }\n' ..
                        "  redirect   http://n.test/new/x?y\n", out)
      end)

      it("tells that what captures make is refused", function()
        assert.contains("  refused    its captures make no path or host: 400\n",
                        explain("GET", "/p/.-.", "shape.lua"))
      end)
    end)

    it("tells the chains of listeners apart where they differ", function()
      c:write("two.lua", CONFIG ..
        'tg.listener "b" { address = "127.0.0.1:1", plugins = { tg.use "access-log" {} } }')
      local out = explain("GET", "/204", "two.lua")
      assert.contains("plugins that run on listener http\n", out)
      assert.contains("plugins that run on listener b\n", out)
      assert.matches("log +1  access%-log +observe +listener b +two.lua:%d+", out)
    end)

    it("says what it cannot understand", function()
      local cases = {
        { { "GET" }, "--explain needs a request" },
        { { "G T", "/" }, "G T: not a method" },
        { { "GET", "ftp://a/" }, "ftp://a/: not a URL" },
        { { "GET", "nowhere" }, "nowhere: not a URL" },
        { { "GET", "http://a b/" }, "not a host" },
        { { "GET", "/", "-H", "nothing" }, "nothing: not a header field" },
        { { "GET", "/", "--client", "me" }, "me: not an address" },
        { { "GET", "/%zz" }, "the gateway answers 400 to this path" },
        { { "GET", "/a/../../b" }, "the gateway answers 400 to this path" },
        { { "GET", "/", "-H" }, "-H needs a value: -H \"NAME: VALUE\"" },
      }
      for _, case in ipairs(cases) do
        local code, out, err = c:run("routes", "--explain", unpack(case[1]))
        assert.same({ 2, "" }, { code, out })
        assert.contains(case[2], err)
      end
      local code, _, err = c:run("routes", "-H", "a: b")
      assert.equal(2, code)
      assert.contains("-H, --client and --sni go with --explain", err)
      code, _, err = c:run("routes", "a.lua", "b.lua")
      assert.equal(2, code)
      assert.contains("one word too many", err)
    end)
  end)
end)
