--- t.gateway: a whole configuration in the process.

local t = require "tidegate.test"

local CONFIG = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.listener "inside" { address = "127.0.0.1:8081" }
tg.service "back" { targets = { { "10.0.0.1:80" } }, timeout = { response = "4s" } }
tg.global { tg.use "request-id" {} }
tg.route "v1" { paths = { "/v1/*" }, strip_prefix = "/v1", service = "back",
  plugins = { tg.use "headers" { request = { set = { ["x-key"] = tg.env "KEY" } } } } }
tg.route "text" { paths = { "/text" }, plugins = { tg.use "respond" { body = "text" } } }
]]

describe("a gateway under test", function()
  local gw

  before_each(function()
    t.reset()
    gw = t.gateway("conf/gw.lua", { env = { KEY = "k1" }, files = { ["conf/gw.lua"] = CONFIG } })
    gw:upstream("back", function(req) return { 200, body = req.path } end)
  end)

  after_each(function() gw:close() end)

  it("routes, strips prefixes, reads the environment and runs chains", function()
    local r = gw:get("/v1/orders/7", { host = "api.example.test" })
    assert.response(r).has.status(200)
    assert.equal("/orders/7", r.body)
    assert.request(r.upstream).has.header("x-key", "k1")
    assert.same({ "request-id", "headers" }, r.trace:plugins())
    assert.equal("v1", r.route)
    assert.equal("back", r.service)
    assert.is_nil(os.getenv "KEY")
  end)

  it("serves all its listeners", function()
    assert.equal("text", gw:get("/text", { listener = "inside" }).body)
    assert.has_error(function() gw:get("/text", { listener = "outside" }) end)
  end)

  it("takes raw bytes, pipelined, on a connection that stays", function()
    local c = gw:open()
    c:send "GET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/b HTTP/1.1\r\nHost: a\r\n\r\n"
    local bytes = c:receive()
    assert.matches("text.*HTTP/1.1 200 OK.*/b$", bytes)
    assert.is_nil(c:ended())
    local r = c:request { path = "/text" }
    assert.is_true(r.done)
    assert.equal("text", r.body)
    c:receive()
    c:send "GET / HTTP/1.1\r\nno header\r\n\r\n"
    assert.matches("HTTP/1.1 400 Bad Request", c:receive())
    c:close()
  end)

  it("leaves the clock alone while the spec holds a connection", function()
    gw:upstream("back", t.slow("3s", { 200, body = "late" }))
    local c = gw:open()
    local r = c:request { path = "/v1/slow" }
    assert.is_false(r.received)
    gw.clock:advance "2s"
    assert.is_false(r.received)
    gw.clock:advance "1s"
    assert.equal("late", r.body)
    c:close()
  end)

  it("puts a new configuration in force, and keeps the old one when it is bad", function()
    local text = CONFIG:gsub('"text"', '"other"', 2)
    gw.files["conf/new.lua"] = text
    assert.is_true(gw:reload "conf/new.lua")
    assert.response(gw:get "/text").has.body "other"

    gw.files["conf/bad.lua"] = CONFIG:gsub("strip_prefix", "strip_prefx")
    local ok, messages = gw:reload "conf/bad.lua"
    assert.is_nil(ok)
    assert.matches("^conf/bad.lua:6:38: routes.v1.strip_prefx: unknown field", messages[1].text)
    assert.equal("strip_prefix", messages[1].suggestion)
    assert.response(gw:get "/text").has.body "other"
  end)

  it("ends requests under way on the configuration that they began with", function()
    gw:upstream("back", t.slow("2s", { 200, body = "old" }))
    local c = gw:open()
    local r = c:request { path = "/v1/x" }
    gw.files["conf/moved.lua"] = CONFIG:gsub("/v1", "/v2")
    assert.is_true(gw:reload "conf/moved.lua")
    gw.clock:advance "2s"
    assert.equal("old", r.body)
    assert.response(c:request { path = "/v1/x" }).has.status(404)
    assert.response(c:request { path = "/text" }).has.status(200)
    c:close()
  end)

  it("survives a plugin that never stops, attached for a while to one route", function()
    local off = gw:attach("route:text", t.source [[
      return { name = "spin", version = "0.1", api = 1, stage = "guard",
               access = function() while true do pcall(function() while true do end end) end end }]])
    local r = gw:get "/text"
    assert.killed(r, "cpu")
    assert.response(r).has.status(503)
    assert.is_true(gw:alive "spin")
    assert.response(gw:get "/v1/x").has.status(200)
    off()
    assert.response(gw:get "/text").has.status(200)
  end)

  it("takes no field, scope or response that there is not", function()
    assert.error_matches(function() gw:get("/text", { header = { a = "b" } }) end, 'no field "header"')
    assert.error_matches(function() gw:attach("route:tetx", "plugins/none.lua") end,
                         'the configuration has no route "tetx"')
    assert.error_matches(function() gw:attach("listener:none", "plugins/none.lua") end, 'no listener "none"')
    assert.error_matches(function() gw:upstream("back", { 200, boddy = "x" }) end, 'no field "boddy"')
    assert.error_matches(function() gw:open { ip = "10.0.0.1" } end, 'no option "ip"')
    assert.error_matches(function() t.chunks { "a", dealy = "1s" } end, 'no field "dealy"')
    local response = require("tidegate.test.behaviour").response -- what functions return
    assert.error_matches(function() response { 200, header = {} } end, 'no field "header"')
  end)

  it("tells of each request what its own origin saw", function()
    local one, two = gw:open(), gw:open()
    gw:upstream("back", t.slow("1s", { 200, body = "late" }))
    local first, second = one:request { path = "/v1/first" }, two:request { path = "/v1/second" }
    gw.clock:advance "1s"
    assert.same({ "/first", "/second" }, { first.upstream.path, second.upstream.path })
    local third = one:request { path = "/v1/third" }
    two:receive()
    two:send "GET / HTTP/1.1\r\nno header\r\n\r\n"
    assert.matches("HTTP/1.1 400 Bad Request", two:receive())
    gw.clock:advance "1s"
    assert.equal("/third", third.upstream.path)
    one:close()
    two:close()
  end)

  it("is left by clients in the middle of things", function()
    gw:upstream("back", t.hang())
    local c = gw:open()
    local r = c:request { path = "/v1/x" }
    c:reset()
    assert.is_true(r.ended)
    assert.is_true(r.aborted)
    assert.error_code(r, "client_closed")
  end)

  it("names what is left open", function()
    local other = t.gateway("conf/gw.lua", { env = { KEY = "" }, files = { ["conf/gw.lua"] = CONFIG } })
    other:upstream("back", t.hang())
    other:open():request { path = "/v1/x" }
    local ok, why = pcall(other.close, other)
    assert.is_false(ok)
    assert.matches("a request that is not over: GET /v1/x, in state sending", why)
    assert.matches("a connection that was not closed, opened at .*gateway_spec.lua:%d+", why)
  end)
end)

describe("a configuration that cannot be served", function()
  before_each(function() t.reset() end)

  it("says why, as check does", function()
    assert.error_matches(function() t.gateway "no/such.lua" end, "no/such.lua")
    local ok, messages = t.check("x.lua", { files = { ["x.lua"] = CONFIG:gsub("10.0.0.1:80", "10.0.0.1") } })
    assert.is_nil(ok)
    assert.equal("x.lua", messages[1].file)
    assert.equal(4, messages[1].line)
  end)

  it("is loaded again when a file that it read has changed", function()
    local path = os.tmpname()
    local function body(text)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
      local config = CONFIG:gsub('body = "text"', ("body = tg.file %q"):format(path))
      local gw = t.gateway("z.lua", { files = { ["z.lua"] = config }, env = { KEY = "" } })
      return gw:get("/text").body
    end
    local first, second = body "one", body "two"
    os.remove(path)
    assert.same({ "one", "two" }, { first, second })
  end)

  it("says which plugin fails in configure", function()
    local files = { ["y.lua"] = CONFIG .. 'tg.global { tg.use "./bad.lua" {} }', ["bad.lua"] = [[
      return { name = "bad", version = "1", api = 1, stage = "edge", log = function() end,
               configure = function() error "cannot" end }]] }
    assert.error_matches(function() t.gateway("y.lua", { files = files, env = { KEY = "" } }) end,
      "bad.lua:2: cannot")
  end)
end)

describe("the clock", function()
  before_each(function() t.reset() end)

  it("stands at a fixed instant, and moves all gateways together", function()
    assert.equal(1704067200, t.clock:now())
    local source = t.source [[
      local tg = require "tidegate"
      return { name = "now", version = "1", api = 1, stage = "guard",
        access = function(conf, ctx) ctx:exit(200, ("%.0f"):format(tg.time.now())) end }]]
    local one, two = t.plugin(source), t.plugin(source)
    t.clock:advance "61s"
    assert.equal("1704067261", one:run().body)
    assert.equal("1704067261", two:run().body)
    assert.response(two:run()).has.header("date", "Mon, 01 Jan 2024 00:01:01 GMT")
  end)

  it("is turned further by what happens while it is turned", function()
    local p = t.plugin(t.source [[
      local tg = require "tidegate"
      return { name = "late", version = "1", api = 1, stage = "guard",
        access = function(_, ctx) ctx:sleep "1s" end,
        header_filter = function(_, ctx) ctx.resp:set_header("x-now", ("%.0f"):format(tg.time.now())) end }]])
    t.clock:freeze()
    local r = p:run { upstream = function()
      t.clock:advance "5s"
      return { 200 }
    end }
    t.clock:advance "10s"
    assert.response(r).has.header("x-now", "1704067206")
    assert.equal(1704067215, t.clock:now())
    t.clock:freeze(false)
    assert.response(p:run()).has.header("x-now", "1704067216")
    assert.equal(1704067216, t.clock:now())
  end)

  it("begins where a gateway wants it", function()
    local files = { ["gw.lua"] = CONFIG }
    local gw = t.gateway("gw.lua", { files = files, env = { KEY = "" }, clock = 1800000000 })
    assert.equal(1800000000, gw.clock:now())
  end)

  it("can be frozen: requests that wait come back unfinished", function()
    local p = t.plugin(t.source [[
      return { name = "naps", version = "1", api = 1, stage = "guard",
        access = function(conf, ctx) ctx:sleep "2s" ctx:exit(200) end }]])
    t.clock:freeze()
    local r = p:run()
    assert.is_false(r.done)
    assert.is_nil(r.status)
    t.clock:advance "2s"
    assert.equal(200, r.status)
    t.clock:freeze(false)
    assert.equal(200, p:run().status)
  end)
end)
