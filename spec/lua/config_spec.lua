-- Whole configurations through lua/tidegate/config.lua: the tree that comes out, the environment of the
-- script, and a case for every message with its place and hint.

local host = require "support.config_host"

local PLUGIN = "  schema = S.record { limit = S.int { min = 1 }, token = S.secret():optional(),\n" ..
               "                      peer = S.ref \"service\":optional():doc \"who is asked\" },\n"

local function world(more)
  local new = {
    bundled = {
      ["request-id"] = host.plugin("request-id", "edge", { "rewrite", "header_filter" }),
      ["rate-limit"] = host.plugin("rate-limit", "traffic", { "access" }, PLUGIN),
      ["access-log"] = host.plugin("access-log", "observe", { "log" }),
    },
    env = { TOKEN = "hunter2", PORT = "8080" },
  }
  for key, value in pairs(more or {}) do new[key] = value end
  return new
end

local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n' ..
             'tg.service "echo" { builtin = "echo" }\n'

local function load(text, more)
  local tree, reports = host.load(HEAD .. text, world(more))
  assert(tree, reports:render())
  return tree, reports
end

describe("a configuration", function()
  it("becomes plain data", function()
    local tree = load [==[
tg.settings { workers = 2, log = { level = "warn" }, limits = { request = { headers = "16KiB" } } }
tg.listener "lan" { address = "[::1]:80", trusted = { "10.1.2.3/8" }, allow_trace = true }
local orders = tg.service "orders" {
  targets = { { "10.0.0.1:9000", weight = 3 }, { "[::0001]:80" } },
  timeout = { connect = "1s" }, pool = { max_idle = 8 }, tags = { "x" },
}
tg.route "orders" {
  hosts = { "*.Example.test" }, paths = { "/v1/*", "/v1" }, methods = { "GET" }, service = orders,
  strip_prefix = "/v1/", preserve_host = true, tags = { "t" }, timeout = { response = "2s" },
}
tg.route "all" { service = "echo" }
]==]
    tree.settings.dns = nil
    assert.same({ workers = 2, server_name = "tidegate", log = { level = "warn" }, place = {}, limits = {
      ["request.headers"] = 16384, ["request.header_count"] = 100, ["request.deadline"] = 60,
      ["plugin.memory"] = 2 ^ 20, ["plugin.cpu"] = 0.02, ["plugin_vm.heap"] = 2 ^ 25 } }, tree.settings)
    assert.same({ name = "lan", address = { host = "::1", port = 80, text = "[::1]:80" },
      trusted = { "10.0.0.0/8" },
                  allow_trace = true, allow_connect = false, merge_slashes = false,
                  answer_options = false, http2 = false, chain = 1 }, tree.listeners[2])
    assert.same({ name = "orders", timeout = { connect = 1 }, tags = { "x" },
      pool = { max_idle = 8, min_idle = 0, queue = 1000, wait = 1 }, balance = { "round-robin" },
      http = "1.1", health = { panic = 0.3 }, targets = {
      { kind = "address", text = "10.0.0.1:9000", weight = 3 },
      { kind = "address", text = "[::1]:80", weight = 1 } } }, tree.services[2])
    assert.same({ name = "orders", service = 2, paths = { "/v1/*", "/v1" },
                  strip_prefix = "/v1", preserve_host = true, importance = "normal",
                  tags = { "t" }, timeout = { response = 2 },
                  chains = { 2, 2 } }, tree.routes[1])
    assert.same({ "/*" }, tree.routes[2].paths)
  end)

  it("attaches plugins and orders them", function()
    local tree = load [==[
tg.route "a" { service = "echo", plugins = { tg.use("rate-limit", { on_error = "close" }) { limit = 5 } } }
tg.global { tg.use "access-log" {}, tg.use "request-id" {} }
]==]
    local names = {}
    for i, instance in ipairs(tree.instances) do names[i] = tree.plugins[instance.plugin].name end
    assert.same({ "access-log", "request-id", "rate-limit" }, names)
    assert.same({ "skip", "fail", "close" },
                { tree.instances[1].on_error, tree.instances[2].on_error, tree.instances[3].on_error })
    assert.same({ scope = "routes.a", where = "gateway.lua:4", conf = { limit = 5 } },
                { scope = tree.instances[3].scope, where = tree.instances[3].where,
                  conf = tree.instances[3].conf })
    assert.same({ certificate = {}, rewrite = { 2 }, access = {}, header_filter = { 2 }, body_filter = {},
                  message = {}, log = { 1 } },
                tree.chains[tree.listeners[1].chain])
    assert.same({ certificate = {}, rewrite = {}, access = { 3 }, header_filter = { 2 }, body_filter = {},
                  message = {}, log = { 1 } },
                tree.chains[tree.routes[1].chains[1]])
  end)

  it("gives each listener's requests its own plugins", function()
    local tree = load [==[
tg.listener "b" { address = "127.0.0.1:81", plugins = { tg.use "rate-limit" { limit = 1 } } }
tg.route "a" { service = "echo" }
]==]
    assert.same({}, tree.chains[tree.routes[1].chains[1]].access)
    assert.same({ 1 }, tree.chains[tree.routes[1].chains[2]].access)
  end)

  it("shares one chain among equal routes", function()
    local tree = load 'for i = 1, 50 do tg.route("r" .. i) { paths = { "/" .. i }, service = "echo" } end'
    assert.equal(50, #tree.routes)
    assert.equal(2, #tree.chains)
  end)

  it("may come in any order and in several files", function()
    local tree = load([==[
tg.route "a" { service = "late", paths = { "/a" } }
tg.include "conf.d/*.lua"
local names = require "lib.names"
tg.service(names.late) { builtin = "echo" }
]==], { files = {
      ["conf.d/1.lua"] = 'local tg = require "tidegate"\ntg.route "b" { service = "echo", paths = { "/b" } }',
      ["conf.d/2.lua"] = 'local tg = require "tidegate"\ntg.route "c" { service = "echo", paths = { "/c" } }',
      ["lib/names.lua"] = 'return { late = "late" }' } })
    local names = {}
    for i, route in ipairs(tree.routes) do names[i] = route.name end
    assert.same({ "a", "b", "c" }, names)
  end)

  it("reads the environment and files", function()
    local tree = load([==[
tg.listener "env" { address = "127.0.0.1:" .. tg.env "PORT" }
tg.listener "default" { address = "127.0.0.1:" .. tg.env("NOPE", "81") }
tg.route "a" { service = "echo", tags = { tg.file "tag.txt" } }
]==], { files = { ["tag.txt"] = "blue" } })
    assert.equal("127.0.0.1:8080", tree.listeners[2].address.text)
    assert.equal("127.0.0.1:81", tree.listeners[3].address.text)
    assert.same({ "blue" }, tree.routes[1].tags)
  end)

  it("hands secrets to the plugin and shows them to nobody", function()
    local printed
    local tree = load([==[
local token, key = tg.secret "env:TOKEN", tg.secret "file:key"
print(token, tostring(key))
tg.route "a" { service = "echo", plugins = { tg.use "rate-limit" { limit = 1, token = token } } }
]==], { files = { key = "s3cret\n" }, print = function(text) printed = text end })
    assert.equal("***\t***", printed)
    assert.equal("hunter2", tree.instances[1].conf.token)
  end)

  it("keeps globals in their file", function()
    load([[count = 1
tg.include "a.lua"
assert(count == 1)]], { files = { ["a.lua"] = "count = 2" } })
  end)
end)

describe("the environment of a config", function()
  for _, name in ipairs { "os", "io", "debug", "ffi", "jit", "package", "load", "loadstring", "dofile",
                          "collectgarbage", "coroutine" } do
    it("has no " .. name, function()
      local text = host.errors("local x = " .. name)
      assert.matches("gateway.lua:1:11: " .. name .. " is not available in a config file", text, 1, true)
    end)
  end

  it("has no bytecode and no chance", function()
    assert.matches('string has no function "dump"', host.errors "string.dump(print)", 1, true)
    assert.matches('math has no function "random"', host.errors "math.random()", 1, true)
    assert.matches("compiled bytecode is not loaded", host.errors "\27LJ", 1, true)
  end)

  it("guards what the checker itself stands on", function()
    load [[assert(getmetatable("") == nil)
assert(getmetatable(tg) == false)
assert(not pcall(function() tg.route = nil end))
assert(not pcall(setmetatable, tg, {}))]]
  end)
end)

-- What must be said: the first line of each message, and hints where they matter. The text of a case begins
-- on line 4, after those of HEAD.
local CASES = {
  { "syntax", "tg.route 'x' {", { "gateway.lua:5: unexpected symbol near '<eof>'" } },
  { "a Lua error", "local x\nx.y = 1", { "gateway.lua:5: attempt to index local 'x' (a nil value)" } },
  { "an error object", "error {}", { "gateway.lua:4: error object: a table" } },
  { "an error object that looks like ours", "error { reported = true }",
    { "gateway.lua:4: error object: a table" } },
  { "an undeclared global", "strng.rep()", { 'gateway.lua:4:1: undeclared global "strng"' },
    'did you mean "string"?' },
  { "an unknown function", "tg.rout 'x' {}", { 'gateway.lua:4:1: tg has no function "rout"' },
    'did you mean "route"?' },
  { "a declaration without a table", 'tg.route "x"', { 'gateway.lua:4:1: tg.route "x" has no table' },
    'write tg.route "x" { … }' },
  { "a declaration with a string", 'tg.route "x" "y"',
    { 'gateway.lua:4:1: tg.route "x" takes a table, got a string' } },
  { "a bad name", 'tg.service "a b" { builtin = "echo" }',
    { 'gateway.lua:4:1: "a b" is not a name for a service' } },
  { "a name declared twice", 'tg.service "echo" { builtin = "echo" }',
    { 'gateway.lua:4:1: service "echo" is declared twice' }, "first declared at gateway.lua:3" },
  { "settings declared twice", "tg.settings {}\ntg.settings {}",
    { "gateway.lua:5:1: settings are declared twice" },
    "first declared at gateway.lua:4" },
  { "a missing variable", 'local x = tg.env "NOPE"',
    { "gateway.lua:4:11: the environment has no variable NOPE" },
    'set it, or give a default: tg.env("NOPE", "…")' },
  { "an unreadable file", 'local x = tg.file "no.pem"',
    { "gateway.lua:4:11: cannot read no.pem: no such file" } },
  { "an include that is not there", 'tg.include "no.lua"',
    { "gateway.lua:4:1: cannot read no.lua: no such file" } },
  { "an include outside of the folder", 'tg.include "../x.lua"',
    { "gateway.lua:4:1: tg.include takes a path below the config's folder" } },
  { "a module outside of the folder", 'require "..x"',
    { "gateway.lua:4: cannot require \"..x\": a module is a file below the config's folder" } },
  { "a module that is not there", 'require "a.b"',
    { 'gateway.lua:4: no module "a.b": neither a/b.lua nor a/b/init.lua can be read' } },
  { "chance", "tg.route(tostring({}):gsub('%W', '')) { service = 'echo' }",
    { "gateway.lua:4:1: evaluating the file twice gave two results" } },
  { "chance in a value", 'tg.route "x" { service = "echo", tags = { tostring({}) } }',
    { "gateway.lua:4:43: tags[1]: evaluating the file twice gave two results" } },
  { "an unknown setting", "tg.settings { worker = 1 }",
    { "gateway.lua:4:15: settings.worker: unknown field" },
    'did you mean "workers"? ("auto" or an integer, default "auto")' },
  { "an unknown limit", 'tg.settings { limits = { plugin = { cpuu = "1ms" } } }',
    { "gateway.lua:4:37: settings.limits.plugin.cpuu: unknown field" },
    'did you mean "cpu"? (duration 1ms–1s, default "20ms")' },
  { "a limit without unit", "tg.settings { limits = { plugin = { cpu = 20 } } }",
    { "gateway.lua:4:37: settings.limits.plugin.cpu: expected a duration, got number 20" },
      'write cpu = "20ms"' },
  { "a limit out of range", 'tg.settings { limits = { request = { headers = "1B" } } }',
    { "gateway.lua:4:38: settings.limits.request.headers: 1B is below the minimum 256B" },
      "allowed: 256B–1MiB" },
  { "a listener by name", 'tg.listener "x" { address = "localhost:80" }',
    { 'gateway.lua:4:19: listeners.x.address: "localhost" is a host name; a listener needs an address' } },
  { "TLS without a certificate", 'tg.listener "x" { address = "127.0.0.1:1", tls = {} }',
    { "gateway.lua:4:44: listeners.x.tls.certificates: missing" } },
  { "a target by name", 'tg.service "x" { targets = { { "a.test:80" } } }',
    { 'gateway.lua:4:32: services.x.targets[1][1]: "a.test" is a host name; a target needs an address' } },
  { "a unix socket without a path", 'tg.settings { admin = { listen = "unix:" } }',
    { "gateway.lua:4:25: settings.admin.listen: a unix socket needs a path" } },
  { "a unix socket with a long path", 'tg.settings { admin = { listen = "unix:/" .. ("a"):rep(107) } }',
    { "gateway.lua:4:25: settings.admin.listen: the path of a unix socket has at most 107 bytes" } },
  { "an admin listener on any port", 'tg.settings { admin = { listen = "127.0.0.1:0" } }',
    { "gateway.lua:4:25: settings.admin.listen: who asks has to know the port, so 0 is none" } },
  { "an admin listener nowhere", "tg.settings { admin = {} }",
    { "gateway.lua:4:15: settings.admin.listen: missing" } },
  { "a unix target without a path", 'tg.service "x" { targets = { { "unix:" } } }',
    { "gateway.lua:4:32: services.x.targets[1][1]: a unix socket needs a path" } },
  { "a target without port", 'tg.service "x" { targets = { { "10.0.0.1" } } }',
    { 'gateway.lua:4:32: services.x.targets[1][1]: "10.0.0.1" is not an address with a port' } },
  { "a service that is nothing", 'tg.service "x" {}',
    { "gateway.lua:4:1: services.x: one of these fields is needed: targets, builtin" } },
  { "a service that is both", 'tg.service "x" { targets = { { "10.0.0.1:1" } }, builtin = "echo" }',
    { "gateway.lua:4:50: services.x.builtin: only one of these fields may be set: targets, builtin" } },
  { "a bare timeout", 'tg.service "x" { builtin = "echo", timeout = { connect = 30 } }',
    { "gateway.lua:4:48: services.x.timeout.connect: expected a duration, got number 30" },
    'write connect = "30s" or "30ms"' },
  { "an unknown service", 'tg.route "x" { service = "ehco" }',
    { 'gateway.lua:4:16: routes.x.service: no service is called "ehco"' },
      'did you mean "echo"? (gateway.lua:3)' },
  { "a service that is a listener",
    'local l = tg.listener "l" { address = "0.0.0.0:1" }\ntg.route "x" { service = l }',
    { "gateway.lua:5:16: routes.x.service: expected the name of a service, got a listener" } },
  { "a route without answer", 'tg.route "x" { plugins = { tg.use "access-log" {} } }',
    { "gateway.lua:4:1: routes.x: nothing answers on this route" },
    "give it a service, a split, a redirect, or a plugin with an access phase" },
  { "a bad host", 'tg.route "x" { service = "echo", hosts = { "a.*" } }',
    { 'gateway.lua:4:44: routes.x.hosts[1]: "a.*" is not a host: it is malformed' },
    'write "*.example.test"' },
  { "a bad path", 'tg.route "x" { service = "echo", paths = { "/", "a" } }',
    { 'gateway.lua:4:49: routes.x.paths[2]: "a" is not a path: it does not begin with a slash' },
    'write "/a" or "/a/*"' },
  { "a bad condition", 'tg.route "x" { service = "echo", headers = { a = "~(" } }',
    { 'gateway.lua:4:46: routes.x.headers.a: "~(" is not a regular expression: ' ..
      "missing closing parenthesis (at byte 3)" }, "close it" },
  { "a bad method", 'tg.route "x" { service = "echo", methods = { "get" } }',
    { 'gateway.lua:4:46: routes.x.methods[1]: "get" is not a method' }, 'methods are in capitals: "GET"' },
  { "a prefix that is none", 'tg.route "x" { service = "echo", paths = { "/a/*" }, strip_prefix = "/b" }',
    { 'gateway.lua:4:54: routes.x.strip_prefix: "/a/*" does not begin with the prefix "/b"' } },
  { "routes that take the same requests", 'tg.route "x" { service = "echo", paths = { "/a" } }\n' ..
    'tg.route "y" { service = "echo", paths = { "/b", "/a" } }',
    { 'gateway.lua:5:1: routes.y: route "x" takes the same requests (* /a)' }, "declared at gateway.lua:4" },
  { "a plugin by name only", 'tg.global { "request-id" }',
    { "gateway.lua:4:13: global[1]: expected a plugin, got a string" }, 'write tg.use "name" { … }' },
  { "an unfinished plugin", 'tg.global { tg.use "request-id" }',
    { 'gateway.lua:4:13: tg.use "request-id" has no table' } },
  { "an unknown plugin", 'tg.global { tg.use "request_idd" {} }',
    { 'gateway.lua:4:13: global[1] (request_idd): no bundled plugin is called "request_idd"' },
    'did you mean "request-id"?' },
  { "a plugin file that is not there", 'tg.global { tg.use "./no.lua" {} }',
    { 'gateway.lua:4:13: global[1] (./no.lua): cannot read the plugin "./no.lua"' } },
  { "a plugin's field", 'tg.global { tg.use "rate-limit" { limit = 1, limmit = 2 } }',
    { "gateway.lua:4:46: global[1] (rate-limit).limmit: unknown field" } },
  { "a plugin's missing field", 'tg.route "x" { service = "echo",\n  plugins = { tg.use "rate-limit" {} } }',
    { "gateway.lua:5:15: routes.x.plugins[1] (rate-limit).limit: missing" },
    "required: an integer\n        (schema at plugins/rate-limit/init.lua:5)" },
  { "a plugin's reference", 'tg.global { tg.use "rate-limit" { limit = 1, peer = "x" } }',
    { 'gateway.lua:4:46: global[1] (rate-limit).peer: no service is called "x"' }, "declared: echo" },
  { "a plugin's option", 'tg.global { tg.use("rate-limit", { on_eror = "skip" }) { limit = 1 } }',
    { "gateway.lua:4:36: global[1] (rate-limit).on_eror: unknown field" },
    'did you mean "on_error"? (one of "fail", "skip", "close")' },
  { "a bad condition", 'tg.global { tg.use("rate-limit", { when = "method ==" }) { limit = 1 } }',
    { 'gateway.lua:4:36: global[1] (rate-limit).when: "method ==" is not an expression: a value is missing' },
    'write method == "GET"' },
  { "a plugin twice at one place", 'tg.global { tg.use "request-id" {}, tg.use "request-id" {} }',
    { 'gateway.lua:4:37: global[2] (request-id): "request-id" is attached twice here' } },
  { "an order that cannot be",
    'tg.global { tg.use("request-id", { after = "access-log" }) {}, tg.use "access-log" {} }',
    { "gateway.lua:4:36: global[1] (request-id).after: stage observe runs after stage edge" } },
  { "an order by an unknown name",
    'tg.global { tg.use("request-id", { after = "acess-log" }) {}, tg.use "access-log" {} }',
    { 'gateway.lua:4:36: global[1] (request-id).after: no plugin is called "acess-log"' },
      'did you mean "access-log"?' },
  { "a secret written out", 'tg.global { tg.use "rate-limit" { limit = 1, token = "hunter2" } }',
    { "gateway.lua:4:46: global[1] (rate-limit).token: expected a secret, got a string" } },
  { "a secret named by itself", 'local s = tg.secret "hunter2"',
    { "gateway.lua:4:11: a secret is named by where it is kept, never written out" } },
  { "a secret in a plain field", 'tg.route "x" { service = "echo", tags = { tg.secret "env:TOKEN" } }',
    { "gateway.lua:4:43: routes.x.tags[1]: expected a string, got a secret" } },
  { "a secret in a text", 'local s = "x" .. tg.secret "env:TOKEN"',
    { "gateway.lua:4: a secret cannot be joined to a string" } },
  { "a secret that is not there", 'local s = tg.secret "env:NO"',
    { "gateway.lua:4:11: the environment has no variable NO" } },
  { "a computed table", 'local t = { service = "echo", paths = { "x" } }\ntg.route "x" (t)',
    { 'gateway.lua:5:1: routes.x.paths[1]: "x" is not a path: it does not begin with a slash' } },
}

describe("a mistake", function()
  for _, case in ipairs(CASES) do
    local name, text, expected, hint = unpack(case)
    it(name, function()
      local tree, reports = host.load(HEAD .. text .. "\n", world())
      assert.is_nil(tree)
      local lines, all = {}, reports:render "configuration not loaded"
      for i, report in ipairs(reports:sorted()) do
        local line, code = reports:format(report):match "^([^\n]*) %[(TG%d+)%]"
        assert.equal(report.code, code)
        lines[i] = line
      end
      assert.same(expected, lines)
      if hint then assert.matches("      = " .. hint, all, 1, true) end
      assert.not_matches("hunter2", all, 1, true)
    end)
  end

  it("is not hidden by another", function()
    local text = host.errors(HEAD .. [[tg.settings { worker = 1 }
tg.route "x" { service = "nope", path = {} }]], world())
    assert.matches("3 errors in 1 file — configuration not loaded\n$", text)
  end)

  it("in an included file names that file", function()
    local text = host.errors(HEAD .. 'tg.include "a.lua"', world { files = {
      ["a.lua"] = '\n(require "tidegate").route "x" { service = "nope" }' } })
    assert.matches('^a.lua:2:34: routes.x.service: no service is called "nope" %[TG1301%]\n    2 | %(require',
                   text)
  end)

  it("is a missing file", function()
    local config = require "tidegate.config"
    local tree, reports = config.load { path = "no.lua", host = host.new {} }
    assert.is_nil(tree)
    assert.equal("cannot read no.lua: no such file [TG1101]\n\n" ..
                 "1 error in 1 file — configuration not loaded\n",
                 reports:render "configuration not loaded")
  end)

  it("is shown with its line, a caret and what to do", function()
    assert.equal([[
gateway.lua:4:37: settings.limits.plugin.cpu: expected a duration, got number 20 [TG1201]
    4 | tg.settings { limits = { plugin = { cpu = 20 } } }
      |                                     ^^^
      = write cpu = "20ms"

1 error in 1 file — configuration not loaded
]], host.errors(HEAD .. "tg.settings { limits = { plugin = { cpu = 20 } } }\n", world()))
  end)

  it("is no listener at all", function()
    assert.matches("no listener is declared", host.errors 'local tg = require "tidegate"')
  end)

  it("is a file that includes itself", function()
    local text = host.errors('local tg = require "tidegate"\ntg.include "a.lua"',
                             { files = { ["a.lua"] = '(require "tidegate").include "a.lua"' } })
    assert.matches("a.lua:1: a.lua is being loaded already", text, 1, true)
  end)
end)

describe("a warning", function()
  it("tells of phases that never run, and the configuration loads", function()
    local _, reports = load 'tg.route "x" { service = "echo", plugins = { tg.use "request-id" {} } }'
    assert.equal("gateway.lua:4:46: warning: routes.x.plugins[1] (request-id): " .. [[
its rewrite phase does not run on a route [TG1502]
    4 | tg.route "x" { service = "echo", plugins = { tg.use "request-id" {} } }
      |                                              ^^
      = rewrite runs before routing; attach the plugin globally or to a listener

1 warning in 1 file
]], reports:render())
  end)

  it("tells of plugins that are attached nowhere", function()
    local _, reports = load 'local unused = tg.use "no-such-plugin" {}'
    assert.matches('^gateway.lua:4:16: warning: plugin "no%-such%-plugin" is attached nowhere %[TG1504%]\n',
      reports:render())
  end)
end)
