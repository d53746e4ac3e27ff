--- What plugins say about origins and learn of them: set_retry and attempts of ctx.upstream, tg.services.

local t = require "tidegate.test"

local A, B = "10.0.0.11:9000", "10.0.0.12:9000"

local CONFIG = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" {
  targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } },
  health = { passive = { failures = 3 } }, %s
}
tg.service "plain" { targets = { { "10.0.0.13:9000" } } }
tg.service "echo" { builtin = "echo" }
tg.route "all" { service = "orders", plugins = { tg.use "./probe.lua" {} } }
]]

describe("a plugin", function()
  local gw

  before_each(t.reset)
  after_each(function() if gw then gw:close() end end)

  local function start(plugin, service)
    gw = t.gateway("api.lua", { files = { ["api.lua"] = CONFIG:format(service or ""), ["probe.lua"] = ([[
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "traffic" }
%s
return P]]):format(plugin) } })
  end

  local function errors_of(r)
    local list = {}
    for i, attempt in ipairs(r.upstream.attempts) do list[i] = attempt.error or attempt.status end
    return list
  end

  describe("that sets the rules of retrying", function()
    it("replaces what the service says, for its request alone", function()
      start([[function P.access(_, ctx)
        if ctx.req.path == "/more" then ctx.upstream:set_retry { attempts = 2, on = { 503, "reset" } } end
        if ctx.req.path == "/none" then ctx.upstream:set_retry { attempts = 0 } end
      end]], [[retry = { attempts = 1, on = { 502 } }]])
      gw:upstream("orders", t.sequence { { 503 }, t.reset_conn(), { 200 } })
      assert.same({ "status", "reset", 200 }, errors_of(gw:get "/more"))
      gw:upstream("orders", t.sequence { { 502 }, { 200 } })
      assert.same({ 502 }, errors_of(gw:get "/more"))
      gw:upstream("orders", t.sequence { { 502 }, { 200 } })
      assert.same({ "status" }, errors_of(gw:get "/none")) -- listed, but for no attempt more
      gw:upstream("orders", t.sequence { { 502 }, { 200 } })
      assert.same({ "status", 200 }, errors_of(gw:get "/"))
    end)

    it("gives rules to a service that has none, with the defaults for what it does not say", function()
      start [[function P.access(_, ctx) ctx.upstream:set_retry { on = { "timeout", 503 } } end]]
      gw:upstream("orders", t.sequence { { 503 }, { 200 } })
      assert.same({ "status", 200 }, errors_of(gw:get "/"))
      gw:upstream("orders", t.sequence { { 503 }, { 200 } })
      assert.response(gw:post("/", { body = "x" })).has.status(503)
    end)

    for text, message in pairs {
      ["{ attempts = 11 }"] = "attempts: expected a whole number from 0 to 10",
      ["{ attempts = 0/0 }"] = "attempts: expected a whole number from 0 to 10",
      ["{ attempts = 1.5 }"] = "attempts: expected a whole number from 0 to 10",
      ["{ attempts = 'x' }"] = "attempts: expected a whole number from 0 to 10",
      ["{ on = 503 }"] = "on: expected a list",
      ["{ on = { 'conect' } }"] = 'on: expected "connect", "reset", "timeout" or statuses from 400 to 599',
      ["{ on = { 200 } }"] = "on: expected",
      ["3"] = "argument 1 (retry): expected a table, got number",
    } do
      it("is told what is wrong with " .. text, function()
        start(("function P.access(_, ctx) ctx.upstream:set_retry(%s) end"):format(text))
        local r = gw:get "/"
        assert.response(r).has.status(500)
        assert.contains(message, r.error)
        assert.equal(0, #gw:calls "orders")
      end)
    end
  end)

  it("sees each attempt, a hedge marked as one", function()
    start([[function P.header_filter(_, ctx)
      local list = {}
      for i, a in ipairs(ctx.upstream.attempts) do
        list[i] = ("%s %s %s %s"):format(a.target, tostring(a.status), tostring(a.error), tostring(a.hedge))
      end
      ctx.resp:set_header("x-attempts", table.concat(list, ", "))
    end]], [[hedge = { after = "20ms" }]])
    gw:upstream("orders", { [A] = t.slow("1s", { 200 }), [B] = { 200 } })
    assert.response(gw:get "/").has.header("x-attempts",
      A .. " nil cancelled nil, " .. B .. " 200 nil true")
  end)

  describe("that asks for services", function()
    local ASK = [[
      function P.access(_, ctx)
        local service, err = tg.services.get(ctx.req.path:sub(2))
        if not service then ctx:exit(404, err) end
        local lines = {}
        for i, target in ipairs(service:targets()) do
          lines[i] = ("%s %s %d %d %d %s"):format(target.target, target.state, target.in_flight,
            target.requests, target.failures, tostring(target.latency))
        end
        local breaker = service:breaker()
        lines[#lines + 1] = breaker and breaker.state .. " " .. breaker.opened or "no breaker"
        if ctx.req:header "x-tell" then ctx:exit(200, table.concat(lines, "\n")) end
      end]]

    local function tell(name) return gw:get("/" .. name, { headers = { ["x-tell"] = "1" } }) end

    it("learns what is known of their targets and breakers", function()
      start(ASK, "breaker = { volume = 5, window = '1m' }")
      gw:upstream("orders", { [A] = { 500 }, [B] = t.slow("250ms", { 200 }) })
      for _ = 1, 5 do gw:get "/orders" end
      assert.equal(A .. " ejected 0 3 3 1e-06\n" .. B .. " up 0 2 0 0.25\nopen 1", tell("orders").body)
      assert.equal("10.0.0.13:9000 up 0 0 0 nil\nno breaker", tell("plain").body)
      assert.equal("no breaker", tell("echo").body)
    end)

    it("is told of a name that is none", function()
      start(ASK)
      local r = tell "nobody"
      assert.response(r).has.status(404)
      assert.contains("not_found", r.body)
    end)
  end)
end)
