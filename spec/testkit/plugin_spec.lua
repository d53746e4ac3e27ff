--- t.plugin: one plugin in its production VM, phase by phase.

local t = require "tidegate.test"

-- A plugin called "probe" whose functions are `text`; the config has an optional `word`.
local function probe(text)
  return t.source(([[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "guard",
  schema = S.record { word = S.string { max = 8 }:default "none" } }
%s
return P]]):format(text))
end

describe("a plugin under test", function()
  before_each(function() t.reset() end)

  it("sees the request and its configuration, and changes what goes to the origin", function()
    local p = t.plugin(probe [[
      function P.access(conf, ctx)
        ctx.upstream:set_header("x-word", conf.word):set_header("x-query", ctx.req:query "q")
        ctx.upstream:remove_header "cookie"
      end]], { word = "ahoy" })
    local r = p:run { path = "/a?q=1", headers = { cookie = "x=y" } }
    assert.response(r).has.status(200)
    assert.request(r.upstream).has.header("x-word", "ahoy")
    assert.request(r.upstream).has.header("x-query", "1")
    assert.request(r.upstream).has.no.header("cookie")
    assert.request(r.upstream).has.path("/a")
    assert.is_true(r.upstream.called)
    assert.equal("upstream", r.source)
  end)

  it("opens files only where its table said so when it was loaded", function()
    local ok, problem = pcall(t.plugin, probe [[
      function P.init() P.needs = { sink = true } tg.sink "stdout" end
      function P.access() end]])
    assert.is_false(ok)
    assert.matches("the plugin does not declare needs = { sink = true }", tostring(problem), 1, true)
  end)

  it("answers by itself, and no origin is asked", function()
    local p = t.plugin(probe [[function P.access(conf, ctx) ctx:exit(401, { error = "who?" }) end]])
    local r = p:run()
    assert.response(r).has.status(401)
    assert.response(r).has.json { error = "who?" }
    assert.equal("plugin", r.source)
    assert.is_false(r.upstream.called)
  end)

  it("runs its phases in order, and each is told", function()
    local p = t.plugin(probe [[
      function P.rewrite() end
      function P.access() end
      function P.header_filter() end
      function P.body_filter(conf, ctx, chunk) return chunk:upper() end
      function P.log() end]])
    local r = p:run { upstream = { 200, body = "abc" } }
    assert.equal("ABC", r.body)
    assert.same({ "rewrite probe", "access probe", "header_filter probe", "body_filter probe", "log probe" },
      r.trace:phases())
    assert.same({ "probe" }, r.trace:plugins())
  end)

  it("runs one phase alone", function()
    local p = t.plugin(probe [[
      function P.access(conf, ctx) ctx:exit(418) end
      function P.header_filter(conf, ctx) ctx.resp:set_header("x-seen", "yes") end]])
    local r = p:phase("header_filter", { upstream = { 202 } })
    assert.response(r).has.status(202)
    assert.response(r).has.header("x-seen", "yes")
    assert.response(p:run()).has.status(418)
    assert.has_error(function() p:phase "acces" end, 'there is no phase "acces"')
    assert.has_error(function() p:phase "certificate" end,
      "certificate runs in TLS handshakes, which p:phase has none of: try it with `tidegate run`")
  end)

  it("reads bodies, whole or in chunks", function()
    local p = t.plugin(probe [[function P.access(conf, ctx)
      ctx:exit(200, ctx.req:body { max = "1KiB" }) end]])
    assert.equal("one", p:run { method = "POST", body = "one" }.body)
    assert.equal("onetwo", p:run { method = "POST", chunks = { "one", "two" } }.body)
  end)

  it("fails with its place, and the answer says nothing of it", function()
    local p = t.plugin(probe [[function P.access() error "inside" end]])
    local r = p:run()
    assert.response(r).has.status(500)
    assert.error_code(r, "plugin_error")
    assert.matches("plugin_spec.lua/source%-%d+.lua:5: inside", r.error)
    assert.is_nil(r.body:find("inside", 1, true))
    assert.logged(r, "error", "a plugin failed")
  end)

  it("logs lines that belong to the request", function()
    local p = t.plugin(probe [[function P.access(conf, ctx)
      ctx.log:warn("odd path", { path = ctx.req.path }) end]])
    assert.logged(p:run { path = "/odd" }, "warn", "odd path path=/odd")
    assert.has_error(function() assert.logged(p:run(), "error", "odd") end)
  end)

  it("counts, and what it counted in this request is told", function()
    local p = t.plugin(t.source [[
      return { name = "counts-visits", version = "1", api = 1, stage = "guard",
        metrics = { rejected = { type = "counter", labels = { "reason" } }, depth = { type = "gauge" },
                    size = { type = "histogram", unit = "bytes" } },
        access = function(conf, ctx)
          ctx.metrics:inc("rejected", { reason = ctx.req:query "reason" })
          ctx.metrics:set("depth", {}, tonumber(ctx.req:query "depth"))
          ctx.metrics:observe("size", {}, 100)
        end }]])
    p:run { path = '/?reason=quota&depth=1' }
    local r = p:run { path = '/?reason=a%22b&depth=7' }
    assert.metric(r, "rejected", { reason = 'a"b' }).equals(1)
    assert.metric(r, "rejected", { reason = "quota" }).equals(0)
    assert.metric(r, "rejected").at_least(1)
    assert.metric(r, "depth").equals(7)
    assert.metric(r, "size").equals(1)
    assert.error_matches(function() assert.metric(r, "rejected").equals(5) end, "got 1")
  end)

  it("tells instruments apart whose names end alike, and knows what there is", function()
    local p = t.plugin(t.source [[
      return { name = "counts-hits", version = "1", api = 1, stage = "guard",
        metrics = { hits = { type = "counter" }, cache_hits = { type = "counter" },
                    sent_bytes = { type = "counter" } },
        access = function(conf, ctx)
          ctx.metrics:inc "cache_hits"
          ctx.metrics:inc("sent_bytes", {}, 7)
        end }]])
    local r = p:run()
    assert.metric(r, "cache_hits").equals(1)
    assert.metric(r, "hits").equals(0)
    assert.metric(r, "sent_bytes").equals(7)
    assert.error_matches(function() assert.metric(r, "htis").equals(0) end, "no plugin declares metrics.htis")
  end)

  it("asks its origin and others, and each request is the one that it is", function()
    local mock = t.mock_service("notes", 204)
    local p = t.plugin(t.source [[
      local tg = require "tidegate"
      return { name = "notes", version = "1", api = 1, stage = "observe", needs = { http = true },
        log = function() tg.http.get("notes", "/seen") end }]])
    local r = p:run { path = "/asked" }
    assert.equal("/asked", r.upstream.path)
    assert.equal("/seen", mock.calls[1].path)
  end)

  it("takes the client's address and fields of the route", function()
    local p = t.plugin(probe [[function P.access(conf, ctx)
      ctx:exit(200, ctx.client.ip .. " " .. ctx.route.name .. " " .. ctx.route.captures.id) end]], {},
      { route = { name = "users", paths = { "/users/{id}" } } })
    assert.equal("198.51.100.7 users 9", p:run { path = "/users/9", client = { ip = "198.51.100.7" } }.body)
    assert.error_code(p:run { path = "/other" }, "no_route")
  end)

  it("reaches mock services by name", function()
    local mock = t.mock_service("other", function(req) return { 200, body = "other " .. req.path } end)
    local p = t.plugin(probe [[function P.access(conf, ctx) ctx:set_service "other" end]])
    assert.equal("other /x", p:run { path = "/x" }.body)
    assert.equal(1, #mock.calls)
    mock:handle { 404 }
    assert.response(p:run()).has.status(404)
    assert.has_error(function() t.mock_service "other" end)
  end)

  it("is read again by reload, and stays as it was when it does not load", function()
    local source = probe [[function P.access(conf, ctx) ctx:exit(201) end]]
    local p = t.plugin(source)
    assert.equal(201, p:run().status)
    source.text = source.text:gsub("201", "202")
    p:reload()
    assert.equal(202, p:run().status)
    source.text = "return {"
    assert.has_error(function() p:reload() end)
    assert.equal(202, p:run().status)
  end)

  it("gets the same random numbers and the same time in every test", function()
    local text = [[function P.access(conf, ctx) ctx:exit(200, ctx.id .. " " .. tg.time.now()) end]]
    local first = t.plugin(probe(text)):run().body
    t.reset()
    assert.equal(first, t.plugin(probe(text)):run().body)
    t.reset(2)
    assert.not_equal(first, t.plugin(probe(text)):run().body)
  end)
end)

describe("checking a plugin", function()
  it("tells all mistakes of a configuration with path and suggestion", function()
    local ok, messages = t.check_conf(probe "function P.log() end", { wrod = "x", other = 1 })
    assert.is_nil(ok)
    assert.equal("other", messages[1].path)
    assert.equal("wrod", messages[2].path)
    assert.equal("word", messages[2].suggestion)
    assert.is_true(t.check_conf(probe "function P.log() end", { word = "x" }))
  end)

  it("says where a plugin does not load, as check does", function()
    local _, messages = t.check_conf(probe "function P.acces() end", {})
    assert.equal("acces", messages[1].path)
    assert.equal("access", messages[1].suggestion)
    assert.error_matches(function() t.plugin(probe "function P.log(") end, "source%-%d+%.lua:6")
    assert.error_matches(function() t.plugin "plugins/nothing.lua" end, "cannot read the plugin")
  end)

  it("refuses options and fields that it does not know", function()
    assert.error_matches(function() t.plugin(probe "function P.log() end", {}, { limit = {} }) end, '"limit"')
    local p = t.plugin(probe "function P.log() end")
    assert.error_matches(function() p:run { methd = "GET" } end, '"methd"')
    assert.error_matches(function() p:run { upstream = "x" } end, "t.refuse")
    local function check() t.check_conf(probe "function P.log() end", { word = print }) end
    assert.error_matches(check, "plain data")
  end)
end)
