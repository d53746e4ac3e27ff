--- `tidegate check`: what is warned of, what --strict and --json make of it, and what --diff tells.

local command = require("support.command")
local json = require("cjson")

local HEAD = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
local echo = tg.service "echo" { builtin = "echo" }
]]

describe("tidegate check", function()
  local c

  before_each(function() c = command.folder() end)
  after_each(function() c:close() end)

  -- Exit status and text for a configuration that begins with HEAD, whose own lines count from 4.
  local function check(text, ...)
    c:write("gateway.lua", HEAD .. text)
    return c:run("check", ...)
  end

  local function check_json(text, ...)
    local code, out = check(text, "--json", ...)
    return json.decode(out), code
  end

  describe("warns of", function()
    -- name, configuration, what the only warning says
    local cases = {
      { "a route below a broader one of higher priority",
        'tg.route "all" { paths = { "/a/*" }, priority = 1, service = echo }\n' ..
        'tg.route "one" { paths = { "/a/{id}/x" }, methods = { "GET" }, service = echo }',
        'gateway.lua:5:1: warning: routes.one: ' ..
        'no request reaches it: route "all" (/a/*) comes before it [TG1305]',
        "declared at gateway.lua:4; its priority 1 is above 0" },
      { "a route whose host is taken by a wildcard of higher priority",
        'tg.route "all" { hosts = { "*.test" }, priority = 1, service = echo }\n' ..
        'tg.route "one" { hosts = { "a.test" }, paths = { "/x" }, service = echo }',
        'gateway.lua:5:1: warning: routes.one: ' ..
        'no request reaches it: route "all" (/*) comes before it [TG1305]' },
      { "a route whose methods others share among them",
        'tg.route "a" { paths = { "/x" }, methods = { "GET" }, service = echo }\n' ..
        'tg.route "b" { paths = { "/x" }, methods = { "POST" }, service = echo }\n' ..
        'tg.route "z" { paths = { "/x" }, methods = { "GET", "POST" }, service = echo }',
        'gateway.lua:6:1: warning: routes.z: ' ..
        'no request reaches it: routes "a" (/x) and "b" (/x) come before it',
        "together they name all its methods" },
      { "HEAD alone below a route for GET of higher priority",
        'tg.route "a" { paths = { "/x" }, methods = { "GET" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { paths = { "/x" }, methods = { "HEAD" }, service = echo }',
        'gateway.lua:5:1: warning: routes.b: no request reaches it: route "a" (/x) comes before it' },
      { "one of a route's paths",
        'tg.route "all" { paths = { "/a/*" }, priority = 1, service = echo }\n' ..
        'tg.route "two" { paths = { "/b", "/a" }, service = echo }',
        'gateway.lua:5:34: warning: routes.two.paths[2]: ' ..
        'no request reaches "/a": route "all" (/a/*) comes before it' },
      { "a route that asks for more than one of higher priority",
        'tg.route "all" { headers = { a = "1" }, priority = 1, service = echo }\n' ..
        'tg.route "one" { headers = { a = "1", b = "2" }, service = echo }',
        'gateway.lua:5:1: warning: routes.one: ' ..
        'no request reaches it: route "all" (/*) comes before it' },
      { "a name of handshakes where there is no TLS",
        'tg.route "t" { sni = { "a.test" }, service = echo }',
        "gateway.lua:4:16: warning: routes.t.sni: no request reaches it: no listener speaks TLS [TG1305]" },
      { "a scheme that nobody comes by", 'tg.route "t" { scheme = "https", service = echo }',
        "gateway.lua:4:16: warning: routes.t.scheme: " ..
        "no request reaches it: none comes by this scheme [TG1305]" },
      { "a certificate that nobody is asked for", 'tg.route "t" { client_cert = "required", service = echo }',
        "gateway.lua:4:16: warning: routes.t.client_cert: every request gets a 403: " ..
        "no listener asks clients for certificates [TG1303]", "client_auth" },
      { "a method that no listener allows", 'tg.route "t" { methods = { "TRACE", "GET" }, service = echo }',
        "gateway.lua:4:28: warning: routes.t.methods[1]: no request with TRACE reaches a route",
        "set allow_trace = true on a listener" },
      { "a service that nothing uses",
        'tg.service "spare" { builtin = "echo" }\ntg.route "r" { service = echo }',
        'gateway.lua:4:1: warning: services.spare: the service "spare" is not used [TG1306]' },
      { "a zone that nothing uses", 'tg.zone.dict "quota" { size = "1MiB" }\ntg.route "r" { service = echo }',
        'gateway.lua:4:1: warning: zones.quota: the zone "quota" is not used [TG1306]' },
      { "a plugin that runs nowhere",
        'tg.global { tg.use "respond" { status = 204 } }\n' ..
        'tg.route "r" { service = echo, plugins = { tg.use "respond" { status = 404 } } }',
        'gateway.lua:4:13: warning: global[1] (respond): ' ..
        'no request meets this instance of "respond" [TG1506]' },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local text = case[2]
        if not text:find("service = echo", 1, true) then
          text = text .. '\ntg.route "r" { service = echo }'
        end
        local code, out = check(text)
        assert.equal(0, code)
        assert.contains(case[3], out)
        assert.contains("\n1 warning in 1 file\n", out)
        if case[4] then assert.contains(case[4], out) end
      end)
    end
  end)

  describe("does not warn of", function()
    local cases = {
      { "a narrower route, which comes first",
        'tg.route "all" { service = echo }\ntg.route "one" { paths = { "/a" }, service = echo }' },
      { "a route with a method more",
        'tg.route "a" { paths = { "/x" }, methods = { "GET" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { paths = { "/x" }, methods = { "GET", "PUT" }, service = echo }' },
      { "a prefix below another that begins alike",
        'tg.route "a" { paths = { "/a/*" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { paths = { "/ab/*", "/b/{x...}" }, service = echo }' },
      { "what a constrained parameter leaves",
        'tg.route "a" { paths = { "/a/{id:int}" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { paths = { "/a/{id}", "/a/b" }, service = echo }' },
      { "a route below one with conditions",
        'tg.route "a" { headers = { x = "1" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { headers = { x = "2" }, service = echo }\ntg.route "c" { service = echo }' },
      { "a host above a wildcard",
        'tg.route "a" { hosts = { "*.a.test" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { hosts = { "a.test", "*.test" }, service = echo }' },
      { "a regular expression, about which nothing is proven",
        'tg.route "a" { paths = { "/a/*" }, priority = 1, service = echo }\n' ..
        'tg.route "b" { paths = { "~^/a/(\\\\d+)$" }, service = echo }' },
      { "a service that a plugin names in its configuration",
        'tg.service "spare" { builtin = "echo" }\ntg.route "r" { service = echo,\n' ..
        '  plugins = { tg.use "headers" {\n' ..
        '  request = { set = { ["x-to"] = "spare" } } } } }' },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local code, out = check(case[2])
        assert.equal(0, code)
        assert.not_matches("warning", out)
      end)
    end
  end)

  it("with --strict fails for a warning", function()
    local text = 'tg.service "spare" { builtin = "echo" }\ntg.route "r" { service = echo }'
    assert.equal(0, (check(text)))
    local code, out = check(text, "--strict")
    assert.equal(1, code)
    assert.contains("1 warning in 1 file — configuration not loaded", out)
    assert.not_matches("is valid", out)
    assert.equal(0, (check('tg.route "r" { service = echo }', "--strict")))
  end)

  describe("with --json", function()
    it("prints what is sound", function()
      local answer, code = check_json('tg.route "r" { service = echo }')
      assert.equal(0, code)
      assert.same({ ok = true, file = "gateway.lua", errors = 0, warnings = 0, messages = {},
                    counts = { listeners = 1, services = 1, routes = 1, plugins = 0, consumers = 0 } },
                  answer)
    end)

    it("prints each message with its parts", function()
      local answer, code = check_json('tg.route "r" { service = "ecko" }\nprint("aside")')
      assert.equal(1, code)
      assert.same({ { severity = "error", code = "TG1301", file = "gateway.lua", line = 4, column = 16,
        width = 7,
                      path = "routes.r.service", message = 'no service is called "ecko"',
                      hint = 'did you mean "echo"? (gateway.lua:3)' } }, answer.messages)
      assert.same({ false, 1 }, { answer.ok, answer.errors })
    end)

    it("prints what only the core can tell", function()
      local answer, code = check_json('local t = {}\nwhile true do t[#t + 1] = ("x"):rep(100000) .. #t end')
      assert.equal(1, code)
      assert.same({ "TG1009", "gateway.lua", 5 },
                  { answer.messages[1].code, answer.messages[1].file, answer.messages[1].line })
      assert.matches("look for a table", answer.messages[1].hint)
    end)

    it("prints why a plugin cannot start", function()
      c:write("bad.lua", "return { name = 'bad', version = '1', api = 1, stage = 'guard',\n" ..
                         "  configure = function() error 'no' end, access = function() end }")
      local answer, code = check_json('tg.route "r" { service = echo, plugins = { tg.use "./bad.lua" {} } }')
      assert.equal(1, code)
      assert.same({ "TG1407", false, 1 }, { answer.messages[1].code, answer.ok, answer.errors })
      local _, out = check('tg.route "r" { service = echo, plugins = { tg.use "./bad.lua" {} } }')
      assert.contains("[TG1407]\n", out)
    end)

    it("prints that the file is not there", function()
      local code, out = c:run("check", "--json", "nowhere.lua")
      assert.equal(1, code)
      assert.equal("TG1101", json.decode(out).messages[1].code)
    end)
  end)

  it("knows its options", function()
    local code, _, err = c:run("check", "--strickt")
    assert.equal(2, code)
    assert.contains('did you mean "--strict"?', err)
  end)
end)
