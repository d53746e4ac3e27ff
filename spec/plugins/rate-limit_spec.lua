--- rate-limit on the fake clock: whom it counts, what it refuses, what it tells.

local bundled = require "support.bundled"
local t = require "tidegate.test"

local CONFIG = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.zone.limit "quota" { size = "1MiB" }
tg.service "back" { targets = { { "10.0.0.1:80" } } }
tg.service "other" { targets = { { "10.0.0.2:80" } } }
tg.global { %s }
tg.route "a" { paths = { "/a" }, service = "back", plugins = { %s } }
tg.route "b" { paths = { "/b" }, service = "other", plugins = { %s } }
]]

describe("rate-limit", function()
  local gw

  before_each(function() t.reset() end)

  -- A gateway with these uses of plugins: on route a, on route b, for all.
  local function start(a, b, global)
    local text = CONFIG:format(global or "", a or "", b or "")
    gw = t.gateway("gateway.lua", { files = { ["gateway.lua"] = text } })
    for _, name in ipairs { "back", "other" } do gw:upstream(name, { 200, body = "ok" }) end
    local started = gw
    finally(function() started:close() end)
  end

  local function use(conf) return ('tg.use "rate-limit" { %s }'):format(conf) end

  -- Status of a request; `from` is the client's address.
  local function ask(path, from, headers)
    local r = gw:request { path = path or "/a", headers = headers, client = from and { ip = from } }
    return r.status, r
  end

  local function assert_grants(n, ...)
    for _ = 1, n do assert.equal(200, (ask(...))) end
    assert.equal(429, (ask(...)))
  end

  it("lets so many through in so long a time, and says when to come back", function()
    start(use 'limit = 2, per = "1m", algorithm = "bucket"')
    assert_grants(2)
    local _, r = ask()
    assert.response(r).has.status(429)
    assert.response(r).has.header("retry-after", "30")
    assert.response(r).has.json { error = "too many requests" }
    assert.is_false(r.upstream.called)
    t.clock:advance "29s"
    assert.equal(429, (ask()))
    t.clock:advance "1s"
    assert.equal(200, (ask()))
  end)

  it("tells policy and state in structured fields, on every answer", function()
    start(use('limits = { { name = "burst", limit = 2, per = "10s", algorithm = "log" }, ' ..
      '{ limit = 100, per = "1h", algorithm = "gcra", burst = 10 }, ' ..
      '{ limit = 5, algorithm = "concurrency" } }, headers = { "ratelimit", "x-ratelimit" }'))
    local _, r = ask()
    local policy = '"burst";q=2;w=10, "limit-2";q=100;w=3600, "limit-3";q=5;qu="concurrent-requests"'
    assert.response(r).has.header("ratelimit-policy", policy)
    assert.response(r).has.header("ratelimit", '"burst";r=1;t=10, "limit-2";r=9;t=36')
    assert.response(r).has.header("x-ratelimit-limit", "2")
    assert.response(r).has.header("x-ratelimit-remaining", "1")
    assert.response(r).has.header("x-ratelimit-reset", "10")
    t.clock:advance "4s"
    assert.equal(200, (ask()))
    _, r = ask()
    assert.response(r).has.status(429)
    assert.response(r).has.header("retry-after", "6")
    assert.response(r).has.header("ratelimit-policy", policy)
    assert.response(r).has.header("ratelimit", '"burst";r=0;t=6, "limit-2";r=8;t=68')
    assert.response(r).has.header("x-ratelimit-remaining", "0")
  end)

  it("tells nothing where that is wanted, and answers as configured", function()
    start(use 'limit = 1, per = "1m", headers = {}, status = 503, message = "later"')
    local _, r = ask()
    assert.response(r).has.no.header "ratelimit"
    assert.response(r).has.no.header "ratelimit-policy"
    _, r = ask()
    assert.response(r).has.status(503)
    assert.response(r).has.json { error = "later" }
    assert.response(r).has.no.header "ratelimit"
  end)

  it("charges no limit for what another refuses", function()
    start(use('limits = { { name = "day", limit = 10, per = "1d", algorithm = "fixed" }, ' ..
      '{ name = "second", limit = 1, per = "1s", algorithm = "log" } }'))
    for i = 1, 10 do
      local status, r = ask()
      assert.equal(200, status)
      assert.matches(('"day";r=%d;'):format(10 - i), r.headers.ratelimit, 1, true)
      for _ = 1, 3 do assert.equal(429, (ask())) end
      t.clock:advance "1s"
    end
    local _, r = ask()
    assert.matches('"day";r=0;', r.headers.ratelimit, 1, true)
    assert.response(r).has.status(429)
  end)

  it("takes the cost of each request", function()
    start(use 'limit = 10, per = "1m", cost = 4')
    local _, r = ask()
    assert.matches('"default";r=6;', r.headers.ratelimit, 1, true)
    assert.equal(200, (ask()))
    assert.equal(429, (ask()))
  end)

  it("counts every address by itself", function()
    start(use 'limit = 2, per = "1m"')
    assert_grants(2, "/a", "10.0.0.1")
    assert_grants(2, "/a", "10.0.0.2")
    assert_grants(2, "/a", "2001:db8::1")
    assert.equal(429, (ask("/a", "2001:db8::ffff:1"))) -- the same /64
    assert_grants(2, "/a", "2001:db8:0:1::1")
  end)

  it("counts networks", function()
    start(use 'limit = 2, per = "1m", key = "ip/24/48"')
    assert_grants(2, "/a", "10.0.0.1")
    assert.equal(429, (ask("/a", "10.0.0.200")))
    assert_grants(2, "/a", "10.0.1.1")
    assert_grants(2, "/a", "2001:db8:1::1")
    assert.equal(429, (ask("/a", "2001:db8:1:ffff::1")))
  end)

  it("counts combinations, whose parts no client can shift", function()
    start(use 'limit = 1, per = "1m", key = { "header:x-a", "header:x-b" }')
    for _, pair in ipairs { { "1", "2" }, { "1", "3" }, { "", "12" }, { "12", "" }, { "1:=", "2" },
                            { "1", ":=2" } } do
      assert_grants(1, "/a", nil, { ["x-a"] = pair[1], ["x-b"] = pair[2] })
    end
  end)

  it("counts by route, by service, and all together", function()
    start(nil, nil, table.concat({
      'tg.use("rate-limit", { id = "route" }) { limit = 2, per = "1m", key = "route" }',
      'tg.use("rate-limit", { id = "all" }) { limit = 3, per = "1m", key = "all" }',
    }, ", "))
    assert_grants(2, "/a")
    assert.equal(200, (ask("/b")))
    assert.equal(429, (ask("/b")))
  end)

  it("counts instances apart, unless they share", function()
    start(use 'limit = 1, per = "1m"', use 'limit = 1, per = "1m"')
    assert_grants(1, "/a")
    assert_grants(1, "/b")
    start(use 'limit = 2, per = "1m", shared = true, zone = "quota"',
      use 'limit = 2, per = "1m", shared = true, zone = "quota"')
    assert.equal(200, (ask("/a")))
    assert_grants(1, "/b")
    assert.equal(429, (ask("/a")))
  end)

  it("counts consumers, and each of their keys", function()
    local keys = { ONE = "acme-key-one-00", TWO = "acme-key-two-00", OTHER = "umbrella-key-00" }
    local text = CONFIG:format('tg.use "key-auth" {}', use 'limit = 3, per = "1m", key = "consumer"',
      use 'limit = 1, per = "1m", key = "credential"') .. [[
tg.consumer "acme" { credentials = { key = { tg.secret "env:ONE", tg.secret "env:TWO" } } }
tg.consumer "umbrella" { credentials = { key = { tg.secret "env:OTHER" } } }
]]
    gw = t.gateway("gateway.lua", { files = { ["gateway.lua"] = text }, env = keys })
    finally(function() gw:close() end)
    for _, name in ipairs { "back", "other" } do gw:upstream(name, { 200 }) end
    local function with(key) return { ["x-api-key"] = key } end
    assert_grants(1, "/b", nil, with "acme-key-one-00")
    assert_grants(1, "/b", nil, with "acme-key-two-00")
    assert_grants(1, "/b", nil, with "umbrella-key-00")
    assert.equal(200, (ask("/a", "10.0.0.1", with "acme-key-one-00")))
    assert_grants(2, "/a", "10.0.0.2", with "acme-key-two-00")
    assert_grants(3, "/a", nil, with "umbrella-key-00")
  end)

  it("counts what another plugin found out", function()
    local files = { ["gateway.lua"] = CONFIG:format("", 'tg.use "./plan.lua" {}, ' ..
      use 'limit = 1, per = "1m", key = "shared:plan.team", absent = "skip"', ""),
      ["plan.lua"] = [[
local P = { name = "plan", version = "1.0.0", api = 1, stage = "guard", exports = { "team" } }
function P.access(_, ctx) ctx.shared:set("team", ctx.req:query "team") end
return P]] }
    gw = t.gateway("gateway.lua", { files = files })
    finally(function() gw:close() end)
    gw:upstream("back", { 200 })
    assert_grants(1, "/a?team=x")
    assert_grants(1, "/a?team=y")
    for _ = 1, 3 do assert.equal(200, (ask("/a"))) end
  end)

  describe("of a request without the key", function()
    local function with(absent)
      return use(('limit = 1, per = "1m", key = "consumer", absent = %q'):format(absent))
    end

    it("counts the address", function()
      start(use 'limit = 1, per = "1m", key = "consumer"')
      assert_grants(1, "/a", "10.0.0.1")
      assert_grants(1, "/a", "10.0.0.2")
    end)

    it("counts all together", function()
      start(with "share")
      assert.equal(200, (ask("/a", "10.0.0.1")))
      assert.equal(429, (ask("/a", "10.0.0.2")))
    end)

    it("counts nothing", function()
      start(with "skip")
      for _ = 1, 5 do assert.equal(200, (ask())) end
    end)

    it("refuses it", function()
      start(with "refuse")
      local status, r = ask()
      assert.equal(403, status)
      assert.response(r).has.json { error = "this request has no consumer to be counted by" }
    end)

    it("is not fooled by a header that looks like an address", function()
      start(use 'limit = 1, per = "1m", key = "header:x-client"')
      assert_grants(1, "/a", "10.0.0.1")
      assert_grants(1, "/a", nil, { ["x-client"] = "10.0.0.1" })
    end)
  end)

  it("only notes in a dry run", function()
    start(use 'limit = 1, per = "1m", dry_run = true, name = "trial"')
    for _ = 1, 3 do
      local status, r = ask()
      assert.equal(200, status)
      assert.response(r).has.no.header "ratelimit"
    end
    local _, r = ask()
    assert.metric(r, "limited", { limit = "trial", mode = "dry_run" }).equals(1)
  end)

  it("counts what it refuses", function()
    start(use 'limit = 1, per = "1m"')
    assert_grants(1)
    local _, r = ask()
    assert.metric(r, "limited", { limit = "default", mode = "enforced" }).equals(1)
  end)

  it("bounds what is in flight", function()
    start(use 'limit = 2, algorithm = "concurrency"')
    gw:upstream("back", t.slow("3s", { 200, body = "late" }))
    local first, second, third = gw:open(), gw:open(), gw:open()
    local one, two = first:request { path = "/a" }, second:request { path = "/a" }
    local refused = third:request { path = "/a" }
    assert.equal(429, refused.status)
    assert.equal("1", refused.headers["retry-after"])
    t.clock:advance "3s"
    assert.same({ "late", "late" }, { one.body, two.body })
    local again = third:request { path = "/a" }
    t.clock:advance "3s"
    assert.equal(200, again.status)
    for _, c in ipairs { first, second, third } do c:close() end
  end)

  it("lowers an adaptive bound when the service fails", function()
    start(use 'limit = 20, min = 1, algorithm = "adaptive", latency = "100ms"')
    gw:upstream("back", { 500 })
    for _ = 1, 30 do
      ask()
      t.clock:advance "100ms"
    end
    gw:upstream("back", t.slow("50ms", { 200 }))
    local connections, answers = {}, {}
    for i = 1, 3 do
      connections[i] = gw:open()
      answers[i] = connections[i]:request { path = "/a" }
    end
    t.clock:advance "50ms"
    assert.same({ 200, 429, 429 }, { answers[1].status, answers[2].status, answers[3].status })
    for _, c in ipairs(connections) do c:close() end
  end)

  it("goes on counting over a reload, with a limit that was raised", function()
    start(use 'limit = 3, per = "1m"')
    assert_grants(3)
    gw.files["gateway.lua"] = CONFIG:format("", use 'limit = 5, per = "1m"', "")
    assert.is_true(gw:reload "gateway.lua")
    assert_grants(2)
  end)

  for what, case in pairs {
    ["no limit"] = { "{}", 'limit is missing: write limit = 600, per = "1m"' },
    ["a limit of nothing"] = { '{ limit = 0, per = "1s" }', "limit: 0 is below the minimum 1" },
    ["a negative rate"] = { '{ limit = -5, per = "1s" }', "limit: -5 is below the minimum 1" },
    ["a zero window"] = { '{ limit = 1, per = "0s" }', "per: 0s is below the minimum 1ms" },
    ["no window"] = { "{ limit = 5 }", 'per is missing: 5 in how long? write per = "1m"' },
    ["both forms"] = { '{ limit = 1, per = "1s", limits = { { limit = 1, per = "1s" } } }', "not both" },
    ["an idle burst"] = { '{ limit = 1, per = "1s", burst = 3 }', 'burst goes with algorithm = "bucket"' },
    ["a long log"] = { '{ limit = 129, per = "1s", algorithm = "log" }', "a log is for at most 128" },
    ["an impossible cost"] = { '{ limit = 3, per = "1s", cost = 4 }',
                               "cost: 4 is more than is ever granted (3)" },
    ["what cannot be counted"] = { '{ limit = 4294967295, per = "366d" }', "cannot be counted" },
    ["an unknown key"] = { '{ limit = 1, per = "1s", key = "cookie:x" }',
                           '"cookie:x" is no key; write "consumer"' },
    ["a prefix that is none"] = { '{ limit = 1, per = "1s", key = "ip/33" }', '"ip/33" is no key' },
    ["a reserved key"] = { '{ limit = 1, per = "1s", key = "claim:sub" }', '"claim:sub" is reserved' },
    ["a bad header"] = { '{ limit = 1, per = "1s", key = "header:a b" }', '"a b" is not a header name' },
    ["a period in flight"] = { '{ limit = 1, per = "1s", algorithm = "concurrency" }',
                               "per does not go with" },
    ["no latency"] = { '{ limit = 1, algorithm = "adaptive" }', "adaptive needs latency" },
    ["one name twice"] = { '{ limits = { { name = "a", limit = 1, per = "1s" }, ' ..
                           '{ name = "a", limit = 2, per = "1s" } } }', 'two limits are called "a"' },
    ["an unknown zone"] = { '{ limit = 1, per = "1s", zone = "q" }', 'no zone.limit is called "q"' },
  } do
    it("refuses " .. what, function() assert.contains(case[2], bundled.check("rate-limit", case[1])) end)
  end
end)
