--- Hedged requests: when a second one goes, which answer counts, and what is left of the other.

local t = require "tidegate.test"

local A, B = "10.0.0.11:9000", "10.0.0.12:9000"

describe("a hedged request", function()
  local gw

  before_each(t.reset)
  after_each(function() if gw then gw:close() end end)

  local function start(service, route, more)
    local path = ("hedge-%d.lua"):format(math.random(1e9))
    gw = t.gateway(path, { files = { [path] = ([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" {
  targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } },
  timeout = { connect = "1s", response = "5s" }, %s
}
tg.route "all" { service = "orders", %s }
%s
]]):format(service, route or "", more or "") } })
  end

  -- { "status or error", with "+" in front of a hedge }, in order.
  local function story(r)
    local list = {}
    for i, attempt in ipairs(r.upstream.attempts) do
      list[i] = (attempt.hedge and "+" or "") .. tostring(attempt.error or attempt.status)
    end
    return table.concat(list, " ")
  end

  local function ms(r) return math.floor(r.elapsed * 1000 + 0.5) end

  it("goes to another target after the time, whose answer counts", function()
    start [[hedge = { after = "50ms" }]]
    gw:upstream("orders", { [A] = t.slow("1s", { 200, body = "a" }), [B] = { 200, body = "b" } })
    local r = gw:get "/"
    assert.response(r).has.body "b"
    assert.equal(50, ms(r))
    assert.equal("cancelled +200", story(r))
    assert.same({ A, B }, { r.upstream.attempts[1].target, r.upstream.attempts[2].target })
    assert.equal(B, r.upstream.target)
    assert.equal(2, #gw:calls "orders")
    assert.equal(0, gw:targets("orders")[1].in_flight)
  end)

  it("stays alone when the first is answered in time", function()
    start [[hedge = { after = "50ms" }]]
    gw:upstream("orders", t.slow("49ms", { 200 }))
    assert.equal("200", story(gw:get "/"))
    assert.equal(1, #gw:calls "orders")
  end)

  it("is let go of when the first is answered after all", function()
    start [[hedge = { after = "50ms" }]]
    gw:upstream("orders", { [A] = t.slow("80ms", { 200, body = "a" }), [B] = t.slow("200ms", { 200 }) })
    local r = gw:get "/"
    assert.response(r).has.body "a"
    assert.equal(80, ms(r))
    assert.equal("200 +cancelled", story(r))
  end)

  it("carries on alone when the first fails, and leaves the first alone when it fails itself", function()
    start [[hedge = { after = "50ms" }, timeout = { connect = "100ms" }]]
    gw:upstream("orders", { [A] = t.hang "connect", [B] = t.slow("70ms", { 200, body = "b" }) })
    local r = gw:get "/"
    assert.response(r).has.body "b"
    assert.equal("connect +200", story(r))
    assert.equal(120, ms(r))
    gw:upstream("orders", { [A] = t.slow("100ms", { 200, body = "a" }), [B] = t.reset_conn() })
    r = gw:get "/"
    assert.response(r).has.body "a"
    assert.equal("200 +stale +reset", story(r)) -- its kept connection was dead, and the fresh one no better
    gw:upstream("orders", { [A] = t.hang "connect", [B] = t.hang "connect" })
    r = gw:get "/"
    assert.response(r).has.status(504)
    assert.equal("timeout +connect", story(r))
  end)

  it("passes over answers that are to be tried again while there is another", function()
    start [[hedge = { after = "50ms" }, retry = { attempts = 1, on = { 503 } }]]
    gw:upstream("orders", { [A] = t.slow("80ms", { 503 }), [B] = t.slow("90ms", { 200 }) })
    local r = gw:get "/"
    assert.equal("status +200", story(r))
    assert.equal(140, ms(r))
    gw:upstream("orders", { [A] = t.slow("80ms", { 200 }), [B] = { 503 } })
    r = gw:get "/"
    assert.equal("200 +status", story(r))
    assert.equal(80, ms(r))
    gw:upstream("orders", { 503 })
    r = gw:get "/"
    assert.response(r).has.status(503)
    assert.equal("status status", story(r))
  end)

  it("does not count as a failure of the target that was not heard", function()
    start [[hedge = { after = "50ms" }, health = { passive = { failures = 1, latency = "10ms" } },
            breaker = { volume = 1 }]]
    gw:upstream("orders", { [A] = t.slow("1s", { 200 }), [B] = { 200 } })
    for _ = 1, 3 do assert.equal("cancelled +200", story(gw:get "/")) end
    local target = gw:targets("orders")[1]
    assert.equal("up", target.state)
    assert.equal(0.05, target.latency) -- as long as it was waited for
    assert.equal("closed", gw:breaker("orders").state)
  end)

  it("is one for methods that are listed, and for those alone", function()
    start [[hedge = { after = "50ms", methods = { "GET", "PUT" } }]]
    gw:upstream("orders", { [A] = t.slow("200ms", { 200 }), [B] = { 200 } })
    for method, expected in pairs { GET = "cancelled +200", PUT = "cancelled +200", DELETE = "200" } do
      assert.equal(expected, story(gw:request { method = method, path = "/" }))
      gw:reload()
    end
    gw:close()
    start [[hedge = { after = "50ms" }]]
    gw:upstream("orders", t.slow("200ms", { 200 }))
    assert.equal("200", story(gw:request { method = "POST", path = "/", body = "x" }))
    assert.equal("200", story(gw:request { method = "PUT", path = "/", body = "x" }))
  end)

  it("sends the body again as far as it is kept, and waits until it is whole", function()
    start [[hedge = { after = "50ms", methods = { "PUT" } }, retry = { attempts = 0, buffer = "4KiB" }]]
    gw:upstream("orders", { [A] = t.slow("1s", { 200 }), [B] = function(request)
      return { 200, body = request.body }
    end })
    for _, chunks in ipairs { { ("w"):rep(4096) }, { "one", "two", "three" } } do
      local r = gw:request { method = "PUT", path = "/", chunks = chunks }
      assert.equal("cancelled +200", story(r))
      assert.equal(table.concat(chunks), r.body)
    end
    assert.equal("200", story(gw:request { method = "PUT", path = "/", body = ("l"):rep(4097) }))
    t.clock:freeze()
    local c = gw:open()
    c:send "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nla"
    local before = #gw:calls "orders"
    t.clock:advance "500ms"
    assert.is_true(#gw:calls "orders" <= before)
    c:send "te"
    t.clock:advance "60ms"
    assert.contains("late", c:receive())
    c:close()
  end)

  it("takes a place in the budget of retries, and does not go where there is none", function()
    start [[hedge = { after = "50ms" }, retry = { budget = 0.01 }, pool = { max_idle = 100 }]]
    gw:upstream("orders", t.slow("200ms", { 200 }))
    local all, hedged = {}, 0
    for i = 1, 5 do
      local connection = gw:open()
      all[i] = { connection, connection:request { path = "/" } }
    end
    for _, one in ipairs(all) do
      one[1]:finish(one[2])
      one[1]:close()
      hedged = hedged + #one[2].upstream.attempts - 1
    end
    assert.equal(3, hedged)
    assert.equal("200 +cancelled", story(gw:get "/")) -- the places are free again
  end)

  it("follows a percentile of the service's latency, as soon as enough is known", function()
    start [[hedge = { after = "p90", least = "5ms" }]]
    gw:upstream("orders", t.slow("20ms", { 200 }))
    for _ = 1, 100 do assert.equal("200", story(gw:get "/")) end
    gw:upstream("orders", { [A] = t.slow("1s", { 200 }), [B] = { 200 } })
    t.clock:advance "1s"
    local r
    repeat r = gw:get "/" until #r.upstream.attempts > 1
    assert.is_true(ms(r) >= 19 and ms(r) <= 21)
    t.clock:advance "2m" -- what was known is forgotten
    gw:upstream("orders", t.slow("500ms", { 200 }))
    assert.equal("200", story(gw:get "/"))
  end)

  it("is what the route says before what the service says", function()
    start([[hedge = { after = "50ms" }]], [[hedge = false, paths = { "/off/*" }]],
          [[tg.route "soon" { service = "orders", hedge = { after = "10ms" } }]])
    gw:upstream("orders", { [A] = t.slow("200ms", { 200 }), [B] = { 200 } })
    local r = gw:get "/"
    assert.equal(10, ms(r))
    gw:upstream("orders", t.slow("200ms", { 200 }))
    assert.equal("200", story(gw:get "/off/1"))
  end)

  it("helps a request that waits for a connection", function()
    start [[hedge = { after = "50ms" }, pool = { max = 1, wait = "1s" },
            balance = { "hash", by = "header:x-user" }]]
    gw:upstream("orders", { [A] = t.slow("500ms", { 200 }), [B] = t.slow("500ms", { 200 }) })
    local first, second = gw:open(), gw:open()
    local headers = { ["x-user"] = "u1" }
    local one = first:request { path = "/", method = "POST", headers = headers }
    local two = second:request { path = "/", headers = headers }
    second:finish(two)
    first:finish(one)
    assert.equal(550, ms(two))
    assert.not_equal(one.upstream.attempts[1].target, two.upstream.attempts[2].target)
    assert.equal("cancelled +200", story(two))
    first:close()
    second:close()
  end)

  it("has its mirror copied once, whichever of the two is the first to go out", function()
    local path = "hedge-mirror.lua"
    gw = t.gateway(path, { files = { [path] = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" { targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } }, timeout = { connect = "1s" },
                      hedge = { after = "50ms", methods = { "GET", "PUT" } } }
tg.service "copy" { targets = { { "10.0.0.13:9000" } } }
tg.route "kept" { service = "orders", mirror = { service = "copy" }, plugins = { tg.use "./read.lua" {} } }
tg.route "made" { service = "orders", mirror = { service = "copy" }, paths = { "/made" },
                  plugins = { tg.use "./make.lua" {} } }
]], ["read.lua"] = [[
return { name = "read", version = "1.0.0", api = 1, stage = "guard", needs = { body = "request" },
         access = function(_, ctx) ctx.req:body() end }
]], ["make.lua"] = [[
return { name = "make", version = "1.0.0", api = 1, stage = "guard", needs = { body = "request" },
         access = function(_, ctx) ctx.req:body() ctx.upstream:set_body("made") end }
]] } })
    gw:upstream("copy", { 200 })
    local messages = {
      { { method = "GET", path = "/" }, "" },
      { { method = "PUT", path = "/", chunks = { "one", "two" } }, "onetwo" },
      { { method = "PUT", path = "/made", body = "sent" }, "made" },
    }
    local cases = { -- the first, the second, the story; none goes out as long as no connection is kept
      { t.hang "connect", t.hang "connect", "none" },
      { t.hang "connect", { 200 }, "cancelled +200" },
      { t.hang "connect", t.slow("2s", { 200 }), "connect +200" },
      { t.slow("1s", { 200 }), { 200 }, "cancelled +200" },
    }
    for i, case in ipairs(cases) do
      for n, message in ipairs(messages) do
        local what = ("case %d, message %d"):format(i, n)
        gw:upstream("orders", { [A] = case[1], [B] = case[2] })
        local before = #gw:calls "copy"
        local told = story(gw:request(message[1]))
        local calls = gw:calls "copy"
        if case[3] == "none" then
          assert.equal(before, #calls, what)
        else
          assert.equal(case[3], told, what)
          assert.equal(before + 1, #calls, what)
          assert.equal(message[2], calls[#calls].body or "", what)
        end
        gw:reload() -- the turn is the first target's again
      end
    end
  end)

  it("runs each phase of each plugin once", function()
    local path = "hedge-once.lua"
    gw = t.gateway(path, { files = { [path] = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" { targets = { { "10.0.0.11:9000" }, { "10.0.0.12:9000" } },
                      hedge = { after = "50ms" } }
tg.route "all" { service = "orders", plugins = { tg.use "./once.lua" {} } }
]], ["once.lua"] = [[
local seen = {}
local function note(phase) return function(_, ctx) seen[#seen + 1] = phase
  if phase == "header_filter" then
    ctx.resp:set_header("x-seen", table.concat(seen, " "))
    seen = {}
  end end end
return { name = "once", version = "1.0.0", api = 1, stage = "observe", access = note "access",
         header_filter = note "header_filter", log = note "log" }
]] } })
    gw:upstream("orders", { [A] = t.slow("1s", { 200 }), [B] = { 200 } })
    gw:get "/"
    local r = gw:get "/"
    assert.response(r).has.header("x-seen", "log access header_filter")
    assert.equal("cancelled +200", story(r))
  end)

  describe("whose client goes away", function()
    local states = {
      ["before the second goes"] = { "10ms", t.slow("1s", { 200 }), { 200 } },
      ["while the second connects"] = { "60ms", t.slow("1s", { 200 }), t.hang "connect" },
      ["while both are awaited"] = { "60ms", t.slow("1s", { 200 }), t.slow("1s", { 200 }) },
      ["while the first connects"] = { "60ms", t.hang "connect", t.slow("1s", { 200 }) },
      ["during the second's answer"] = { "60ms", t.slow("1s", { 200 }),
                                         t.chunks { "a", "b", delay = "1s" } },
      ["during the first's answer"] = { "60ms", t.slow("55ms", t.chunks { "a", "b", delay = "1s" }),
                                        t.slow("1s", { 200 }) },
    }
    for name, case in pairs(states) do
      it(name .. " leaves nothing behind", function()
        start [[hedge = { after = "50ms" }]]
        gw:upstream("orders", { [A] = case[2], [B] = case[3] })
        t.clock:freeze()
        local c = gw:open()
        local r = c:request { path = "/" }
        t.clock:advance(case[1])
        c:reset()
        t.clock:advance "2s"
        assert.is_true(r.aborted)
        for _, target in ipairs(gw:targets "orders") do assert.equal(0, target.in_flight) end
      end)
    end
  end)
end)
