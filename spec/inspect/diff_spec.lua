--- `tidegate check --diff OLD`: what would change, object by object and field by field.

local command = require("support.command")
local json = require("cjson")

local HEAD = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "echo" { builtin = "echo" }
]]

describe("check --diff", function()
  local c

  before_each(function() c = command.folder() end)
  after_each(function() c:close() end)

  local function diff(old, new, ...)
    c:write("old.lua", HEAD .. old)
    c:write("gateway.lua", HEAD .. new)
    return c:run("check", "--diff", "old.lua", ...)
  end

  -- The text alone; both files must be sound.
  local function told(old, new)
    local code, out = diff(old, new)
    assert.equal(0, code)
    return out
  end

  it("tells when nothing changes, whatever the spelling", function()
    assert.equal("nothing changes from old.lua\n",
                 told('tg.settings { limits = { request = { body = "1024KiB" } } }\n' ..
                      'tg.route "r" { service = "echo" }',
                      'tg.route "r" { service = "echo", paths = { "/*" }, tags = {} }\n' ..
                      'tg.settings { limits = { request = { body = "1MiB" } } }'))
  end)

  it("tells of settings and limits by their path", function()
    assert.equal([[
~ settings.limits.request.body: "10MiB" -> "2MiB"
~ settings.log.level: "info" -> "warn"

0 added, 0 removed, 0 changed from old.lua
]], told('tg.route "r" { service = "echo" }', 'tg.route "r" { service = "echo" }\n' ..
         'tg.settings { log = { level = "warn" }, limits = { request = { body = "2MiB" } } }'))
  end)

  it("tells of routes, services and listeners", function()
    assert.equal([[
- listener old (old.lua:4)
+ listener new (gateway.lua:4)
    address = "127.0.0.1:2"
~ service back (gateway.lua:5)
    targets: { { "10.0.0.1:80" } } -> { { "10.0.0.1:80", weight = 2 } }
    timeout.connect: "1s" -> "500ms"
- route gone (old.lua:6)
~ route kept (gateway.lua:6)
    headers: (not set) -> { ["x-a"] = "1" }
    methods: { "GET" } -> (not set)
+ route come (gateway.lua:7)
    paths = { "/b" }
    service = "echo"

2 added, 2 removed, 2 changed from old.lua
]], told([[
tg.listener "old" { address = "127.0.0.1:1" }
tg.service "back" { targets = { { "10.0.0.1:80" } }, timeout = { connect = "1s" } }
tg.route "gone" { service = "echo" }
tg.route "kept" { paths = { "/k" }, methods = { "GET" }, service = "back" }
]], [[
tg.listener "new" { address = "127.0.0.1:2" }
tg.service "back" { targets = { { "10.0.0.1:80", weight = 2 } }, timeout = { connect = "500ms" } }
tg.route "kept" { paths = { "/k" }, headers = { ["X-A"] = "1" }, service = "back" }
tg.route "come" { paths = { "/b" }, service = "echo" }
]]))
  end)

  it("tells of plugins and of the chains that they make", function()
    local routes = 'tg.route "a" { paths = { "/a" }, service = "echo" }\n' ..
                   'tg.route "b" { paths = { "/b" }, service = "echo", plugins = { %s } }\n'
    assert.equal([[
~ plugins of every request
    + plugin request-id {} (gateway.lua:6)
~ route b (gateway.lua:5)
    ~ plugin headers (gateway.lua:5)
        request.set.x-a: "1" -> "2"
        on_error: "fail" -> "skip"
~ header_filter on listener http: (nobody) -> request-id
~ access on route a: (nobody) -> request-id
~ header_filter on route a: (nobody) -> request-id
~ access on route b: headers -> request-id, headers
~ header_filter on route b: headers -> headers, request-id

0 added, 0 removed, 1 changed from old.lua
]], told(routes:format 'tg.use "headers" { request = { set = { ["x-a"] = "1" } } }',
         routes:format 'tg.use("headers", { on_error = "skip" }) { request = { set = { ["x-a"] = "2" } } }' ..
         'tg.global { tg.use "request-id" {} }'))
  end)

  it("tells of the chains of each listener", function()
    local text = 'tg.listener "two" { address = "127.0.0.1:1", plugins = { %s } }\n' ..
                 'tg.route "r" { service = "echo" }'
    local out = told(text:format "", text:format 'tg.use "respond" { status = 204 }')
    assert.contains("~ access on route r, by listener two: (nobody) -> respond\n", out)
    assert.not_matches("by listener http", out)
  end)

  it("tells once of a chain that many routes share", function()
    local loop = 'for i = 1, 9 do tg.route("r" .. i) { paths = { "/" .. i }, service = "echo" } end\n'
    assert.contains("~ access on routes r1, r2, r3, r4, r5 and 4 more: (nobody) -> respond",
                    told(loop, loop .. 'tg.global { tg.use "respond" { status = 204 } }'))
  end)

  it("tells that a secret changed, and not to what", function()
    c:write("p.lua", 'local S = require "tidegate.schema"\nreturn { name = "p", version = "1", api = 1, ' ..
      'stage = "auth", schema = S.record { token = S.secret() }, access = function() end }')
    c:write("one", "hunter1")
    c:write("two", "hunter2")
    local text = 'tg.route "r" { service = "echo", plugins = { ' ..
      'tg.use "./p.lua" { token = tg.secret "file:%s" } } }'
    local out = told(text:format "one", text:format "two")
    assert.contains('        token: "***" -> "***"', out)
    assert.not_matches("hunter", out)
  end)

  it("tells of what is retried, and of what is false by default", function()
    local text = 'tg.service "back" { targets = { { "10.0.0.1:80" } }, ' ..
                 'retry = { on = { "connect", %s } } }\n' ..
                 'tg.route "r" { service = "back"%s }'
    assert.contains([[
~ service back (gateway.lua:4)
    retry.on: { "connect", 502 } -> { "connect", 503 }
~ route r (gateway.lua:5)
    preserve_host: false -> true

0 added, 0 removed, 2 changed from old.lua
]], told(text:format("502", ""), text:format("503", ", preserve_host = true")))
  end)

  it("writes values as a configuration does", function()
    local text = 'tg.service "back" { targets = { { "10.0.0.1:80" } }, balance = { "hash", by = "%s" }, ' ..
      'hedge = { after = "%s" } }\n' ..
      'tg.route "r" { service = "back", responses = { ["5xx"] = { body = "%s" } }, ' ..
      'plugins = { tg.use("respond", { limits = { memory = "%s", cpu = "%s" } }) { status = 204 } } }'
    assert.contains([[
~ service back (gateway.lua:4)
    balance.by: "header:x-a" -> "ip"
    hedge.after: "p99.5" -> "50ms"
~ route r (gateway.lua:5)
    responses.5xx.body: "a" -> "b"
    ~ plugin respond (gateway.lua:5)
        limits.cpu: "5ms" -> "10ms"
        limits.memory: "64KiB" -> "1MiB"

0 added, 0 removed, 2 changed from old.lua
]], told(text:format("header:x-a", "p99.5", "a", "64KiB", "5ms"),
         text:format("ip", "50ms", "b", "1MiB", "10ms")))
  end)

  it("tells of a consumer's plugins on a route, without a secret of theirs", function()
    c:write("p.lua", 'local S = require "tidegate.schema"\nreturn { name = "p", version = "1", api = 1, ' ..
      'stage = "guard", schema = S.record { token = S.secret(), n = S.int() }, access = function() end }')
    c:write("token", "hunter1")
    local text = 'tg.route "r" { service = "echo" }\n' ..
      'tg.consumer "acme" { metadata = { a = { text = "t", n = %d } }, ' ..
      'routes = { r = { tg.use "./p.lua" { token = tg.secret "file:token", n = %d } } } }'
    assert.equal("nothing changes from old.lua\n", told(text:format(1, 1), "\n\n" .. text:format(1, 1)))
    local out = told(text:format(1, 1), text:format(2, 3))
    assert.contains('~ consumer acme (gateway.lua:5)\n' ..
      '    metadata.a: { n = 1, text = "t" } -> { n = 2, text = "t" }\n' ..
      '    ~ plugin p on route r (gateway.lua:5)\n        n: 1 -> 3\n', out)
    out = told('tg.route "r" { service = "echo" }', text:format(1, 1))
    assert.contains('    + plugin p on route r { n = 1, token = "***" } (gateway.lua:5)\n', out)
    assert.not_matches("hunter", out)
  end)

  it("prints JSON", function()
    local code, out = diff('tg.route "r" { service = "echo" }',
                           'tg.route "r" { service = "echo", priority = 3 }\ntg.settings { workers = 2 }',
                             "--json")
    assert.equal(0, code)
    local changes = json.decode(out).changes
    assert.same({ { field = "settings.workers", old = "auto", new = 2 } }, changes.settings)
    assert.same({ { change = "changed", kind = "route", name = "r", where = "gateway.lua:4", plugins = {},
                    fields = { { field = "priority", old = 0, new = 3 } } } }, changes.objects)
    assert.same({ {}, {}, {} }, { changes.global, changes.chains, changes.files })
  end)

  it("needs both to be sound", function()
    local code, out = diff('tg.route "r" { service = "nobody" }', 'tg.route "r" { service = "echo" }')
    assert.equal(1, code)
    assert.contains("nothing to compare with: old.lua does not load", out)
    assert.contains("old.lua:4:16: routes.r.service", out)
    assert.equal(1, (diff('tg.route "r" { service = "echo" }', 'tg.route "r" { service = "nobody" }')))
    assert.equal(2, (c:run("check", "--diff")))
  end)

  it("takes both files as operands' order reads", function()
    c:write("old.lua", HEAD .. 'tg.route "r" { service = "echo" }')
    c:write("new.lua", HEAD .. 'tg.route "s" { service = "echo" }')
    local code, out = c:run("check", "--diff", "old.lua", "new.lua")
    assert.equal(0, code)
    assert.contains("- route r (old.lua:4)\n+ route s (new.lua:4)\n", out)
  end)
end)
