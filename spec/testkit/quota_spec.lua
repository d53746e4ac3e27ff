--- tg.limit.quota: one table of cases, asked as a prepared phase and from Lua: both must do the same.

local t = require "tidegate.test"

-- `prepared` is the only difference between the two ways.
local PLUGIN = [[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = { name = "asker", version = "1.0.0", api = 1, stage = "traffic", needs = { limit = "1MiB" },
  schema = S.record { prepared = S.bool() }, exports = { "team" } }
function P.configure(conf)
  local quota = tg.limit.quota %s
  if conf.prepared then quota:instead_of("access", 'not header["x-team"]') end
  return quota
end
function P.access(conf, ctx)
  local team = ctx.req:header "x-team"
  if team then ctx.shared:set("team", tonumber(team) or team == "yes" or team) end
  ctx.resp:set_header("x-entered", "lua")
  local refusal, err = conf.compiled:take(ctx)
  if err then ctx:fail(err) end
  if conf.compiled:take(ctx) == nil ~= (refusal == nil) then error "asked twice, answered differently" end
  if refusal then
    ctx:exit(429, ("by %%s, missing %%s, again in %%d s"):format(table.concat(refusal.by, " and "),
      tostring(refusal.missing), math.ceil(refusal.retry_after)))
  end
end
return P]]

local function times(n, request)
  local list = {}
  for i = 1, n do list[i] = request or {} end
  return list
end

local function from(...)
  local list = {}
  for i, ip in ipairs { ... } do list[i] = { client = { ip = ip } } end
  return list
end

local function with(name, ...)
  local list = {}
  for i, value in ipairs { ... } do list[i] = { headers = { [name] = value } } end
  return list
end

-- quota, requests ("1s": time passes), and which of them are let through.
local CASES = {
  ["a window that slides"] = { [[{ limits = { { limit = 2, per = "10s" } }, headers = { "ratelimit" } }]],
    { {}, {}, {}, "14s", {}, {}, "20s", {} }, "110101" },
  ["a fixed window"] = { [[{ limits = { { limit = 2, per = "10s", algorithm = "fixed" } } }]],
    { {}, {}, {}, "10s", {} }, "1101" },
  ["a log"] = { [[{ limits = { { limit = 2, per = "10s", algorithm = "log" } },
    headers = { "ratelimit", "x-ratelimit" } }]], { {}, "4s", {}, {}, "6s", {}, {} }, "11010" },
  ["a bucket"] = { [[{ limits = { { limit = 1, per = "1s", algorithm = "bucket", burst = 3 } },
    headers = { "ratelimit", "x-ratelimit" } }]], { {}, {}, {}, {}, "1s", {}, {} }, "111010" },
  ["even spacing"] = { [[{ limits = { { limit = 10, per = "1s", algorithm = "gcra", burst = 1 } } }]],
    { {}, {}, "100ms", {} }, "101" },
  ["a cost"] = { [[{ limits = { { limit = 5, per = "1m", cost = 2, algorithm = "bucket" } },
    headers = { "ratelimit" } }]], times(3), "110" },
  ["addresses"] = { [[{ limits = { { limit = 1, per = "1m" } } }]],
    from("10.0.0.1", "10.0.0.2", "10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"), "110101" },
  ["networks"] = { [[{ limits = { { limit = 1, per = "1m", key = "ip/20/44" } } }]],
    from("10.0.16.1", "10.0.31.1", "10.0.32.1", "2001:db8:10::", "2001:db8:1f::", "2001:db8:20::"),
    "101101" },
  ["every address"] = { [[{ limits = { { limit = 1, per = "1m", key = "ip/32/128" } } }]],
    from("10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8::1", "::ffff:10.0.0.1"), "11100" },
  ["a header"] = { [[{ limits = { { limit = 1, per = "1m", key = "header:X-Client", absent = "share" } } }]],
    with("x-client", "a", "b", "a", nil), "110" },
  ["requests without it together"] = { [[{ limits = { { limit = 1, per = "1m", key = "header:x-client",
    absent = "share" } } }]], from("10.0.0.1", "10.0.0.2"), "10" },
  ["requests without it by address"] = { [[{ limits = { { limit = 1, per = "1m",
    key = "header:x-client" } } }]],
    from("10.0.0.1", "10.0.0.2", "10.0.0.1"), "110" },
  ["requests without it not at all"] = { [[{ limits = { { limit = 1, per = "1m", key = "consumer",
    absent = "skip" } }, headers = { "ratelimit" } }]], times(3), "111" },
  ["no request without it"] = { [[{ limits = { { limit = 1, per = "1m", key = { "ip", "credential" },
    absent = "refuse" } } }]], times(1), "0" },
  ["combinations"] = { [[{ limits = { { limit = 1, per = "1m", key = { "header:a", "header:b" } } } }]],
    { { headers = { a = "1", b = "2" } }, { headers = { a = "12", b = "" } },
      { headers = { a = "", b = "12" } },
      { headers = { a = "1", b = "2" } }, { headers = { a = "1" } }, { headers = { b = "1" } } }, "111011" },
  ["everybody, by route and service"] = { [[{ limits = { { limit = 2, per = "1m", key = { "all", "route",
    "service" } } } }]], from("10.0.0.1", "10.0.0.2", "10.0.0.3"), "110" },
  ["several, of which none pays for another"] = { [[{ headers = { "ratelimit", "x-ratelimit" }, limits = {
    { name = "day", limit = 3, per = "1d", algorithm = "fixed" },
    { name = "second", limit = 1, per = "1s", algorithm = "log" } } }]],
    { {}, {}, {}, "1s", {}, "1s", {}, "1s", {} }, "100110" },
  ["work in flight"] = { [[{ headers = { "ratelimit" }, limits = { { limit = 1, algorithm = "concurrency" },
    { name = "rate", limit = 2, per = "1m", algorithm = "bucket" } } }]], times(3), "110" },
  ["a dry run"] = { [[{ dry_run = true, headers = { "ratelimit" }, limits = { { limit = 1, per = "1m" },
    { name = "b", limit = 2, per = "1m" } } }]], times(3), "100" },
  ["what another plugin shows"] = { [[{ limits = { { limit = 1, per = "1m", key = "shared:asker.team" } } }]],
    with("x-team", "red", "blue", "red", "7", "7.5", "7", "yes", "yes"), "11011010" },
}

local TOLD = { "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining",
               "x-ratelimit-reset" }

describe("a quota", function()
  before_each(t.reset)

  -- What the client sees of each request; which of them were let through; how many entered Lua.
  local function run(quota, requests, prepared)
    t.reset()
    local p = t.plugin(t.source(PLUGIN:format(quota)), { prepared = prepared })
    local seen, passed, entered = {}, "", 0
    for _, request in ipairs(requests) do
      if type(request) == "string" then
        t.clock:advance(request)
      else
        local r = p:run(request)
        local lines = { r.status, r.status == 200 and "" or r.body }
        for _, name in ipairs(TOLD) do lines[#lines + 1] = name .. ": " .. tostring(r.headers[name]) end
        seen[#seen + 1] = table.concat(lines, "\n")
        passed = passed .. (r.status == 200 and "1" or "0")
        if r.headers["x-entered"] or r.status ~= 200 then entered = entered + 1 end
      end
    end
    return seen, passed, entered
  end

  for what, case in pairs(CASES) do
    it("counts " .. what .. ", prepared or not", function()
      local quota, requests, expected = case[1], case[2], case[3]
      local in_lua, passed, entered = run(quota, requests, false)
      local prepared, same, exceptions = run(quota, requests, true)
      assert.equal(expected, passed)
      assert.equal(expected, same)
      assert.same(in_lua, prepared)
      assert.equal(#expected, entered)
      local in_table = requests[1].headers and requests[1].headers["x-team"] -- whom Lua is left to
      assert.equal(in_table and #expected or select(2, expected:gsub("0", "0")), exceptions)
    end)
  end

  it("says what a limit refuses", function()
    local seen = run([[{ limits = { { name = "one", limit = 1, per = "90s", algorithm = "fixed" } } }]],
      times(2), true)
    assert.matches("by one, missing nil, again in %d+ s", seen[2])
    seen = run([[{ limits = { { limit = 1, per = "1s", key = "consumer", absent = "refuse" } } }]], times(1),
      true)
    assert.matches("by , missing consumer, again in 0 s", seen[1], 1, true)
  end)

  it("is of a zone that the configuration declares", function()
    local function why(quota)
      local ok, message = pcall(t.plugin, t.source(PLUGIN:format(quota)), { prepared = true })
      assert.is_false(ok)
      return tostring(message)
    end
    local lost = why '{ zone = "lost", limits = { { limit = 1, per = "1s" } } }'
    assert.matches('no limit zone is called "lost"', lost, 1, true)
    for quota, message in pairs {
      ["{}"] = "limits: expected a list",
      ["{ limits = {} }"] = "limits: expected 1 to 16 limits",
      ["{ limits = { 1 } }"] = "limits[1].limit: expected a table for each limit",
      ["{ limits = { { limit = 1, per = '1s' } }, zones = 1 }"] = "zones: there is no such option",
      ["{ limits = { { limit = 1, per = '1s', keys = 'ip' } } }"] = "limits[1].keys: there is no such option",
      ["{ limits = { { limit = 0, per = '1s' } } }"] = "limits[1].limit: expected a whole number from 1",
      ["{ limits = { { limit = 1 } } }"] = 'limits[1].per: expected a duration such as "1m"',
      ["{ limits = { { limit = 1, per = '400d' } } }"] = "a period is from 1ms to 366d",
      ["{ limits = { { limit = 1, per = '1s', cost = 2 } } }"] = "limits[1].cost: more than is ever granted",
      ["{ limits = { { limit = 1, per = '1s', key = 'ip/33' } } }"] = "limits[1].key: expected",
      ["{ limits = { { limit = 1, per = '1s', key = 'cookie:a' } } }"] = "limits[1].key: expected",
      ["{ limits = { { limit = 1, per = '1s', key = 'header:a b' } } }"] = "limits[1].key: expected",
      ["{ limits = { { limit = 1, per = '1s', key = 'shared:a' } } }"] = "limits[1].key: expected",
      ["{ limits = { { limit = 1, per = '1s', key = {} } } }"] = "an empty list counts nothing",
      ["{ limits = { { limit = 1, per = '1s', absent = 'no' } } }"] = "limits[1].absent: is none of those",
      ["{ limits = { { limit = 1, per = '1s', algorithm = 'no' } } }"] = "limits[1].algorithm: is none",
      ["{ limits = { { limit = 1, per = '1s', name = 'a\"b' } } }"] = "limits[1].name: expected",
      ["{ limits = { { limit = 5, min = 9, latency = '1s', algorithm = 'adaptive' } } }"] = "the least bound",
      ["{ limits = { { limit = 1, per = '1s' } }, headers = { 'retry' } }"] = 'headers: expected "ratelimit"',
    } do
      assert.matches(message, why(quota), 1, true)
    end
  end)
end)

describe("a quota that answers by itself", function()
  before_each(t.reset)

  local ANSWERING = [[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = { name = "answering", version = "1.0.0", api = 1, stage = "traffic", needs = { limit = "1MiB" },
  schema = S.record { prepared = S.bool() }, metrics = {
    limited = { type = "counter", labels = { "mode", "limit" } },
    other = { type = "counter", labels = { "limit" } } } }
function P.configure(conf)
  local quota = tg.limit.quota %s
  if conf.prepared then quota:instead_of "access" end
  return quota
end
function P.access(conf, ctx)
  ctx.resp:set_header("x-entered", "lua")
  if conf.compiled:take(ctx) or conf.compiled:take(ctx) then error "not reached" end
end
return P]]

  local QUOTA = [[{ %s, headers = { "ratelimit" }, limits = { { name = "n", limit = 1, per = "90s",
    algorithm = "bucket", key = { "all", "%s" }, absent = "refuse" } } }]]
  local REFUSAL = 'refusal = { status = 503, message = "\\"slowly\\"", counter = "limited", field = "why" }'

  for _, prepared in ipairs { true, false } do
    local way = prepared and ", prepared" or ", from Lua"

    local function start(options, key)
      local source = ANSWERING:format(QUOTA:format(options, key or "all"))
      return t.plugin(t.source(source), { prepared = prepared })
    end

    it("says what it was told" .. way, function()
      local p = start(REFUSAL)
      local passed, refused = p:run {}, p:run {}
      assert.response(passed).has.status(200)
      assert.equal(prepared and 0 or 1, passed.headers["x-entered"] and 1 or 0)
      assert.response(refused).has.status(503)
      assert.response(refused).has.header("retry-after", "90")
      assert.response(refused).has.header("content-type", "application/json")
      assert.response(refused).has.json { error = '"slowly"' }
      assert.response(refused).has.header("ratelimit", '"n";r=0;t=90')
      assert.is_false(refused.upstream.called)
      assert.metric(refused, "limited", { limit = "n", mode = "enforced" }).equals(1)
    end)

    it("refuses what cannot be counted" .. way, function()
      local r = start(REFUSAL, "credential"):run {}
      assert.response(r).has.status(403)
      assert.response(r).has.json { error = "this request has no credential to be counted by" }
    end)

    it("only counts in a dry run, and once" .. way, function()
      local p = start(REFUSAL .. ", dry_run = true")
      assert.response(p:run {}).has.status(200)
      local r = p:run {}
      assert.response(r).has.status(200)
      assert.response(r).has.no.header "ratelimit"
      assert.metric(r, "limited", { limit = "n", mode = "dry_run" }).equals(1)
    end)
  end

  it("ends no phase from a task", function()
    local p = t.plugin(t.source [[
      local tg = require "tidegate"
      local P = { name = "aside", version = "1.0.0", api = 1, stage = "traffic", needs = { limit = "1MiB" } }
      local quota
      function P.init()
        quota = tg.limit.quota { refusal = {}, limits = { { limit = 1, per = "1h", key = "all" } } }
      end
      function P.access(_, ctx)
        local _, err = ctx:spawn(function() quota:take(ctx) end):wait()
        ctx:exit(200, tostring(err))
      end
      return P]])
    assert.matches("which is not for tasks to do", p:run({}).body, 1, true)
  end)

  it("says what was misused", function()
    for options, message in pairs {
      ["{ status = 200 }"] = "refusal.status: expected 400 to 599",
      ["{ counter = 'none' }"] = "refusal.counter: expected a declared counter with the labels",
      ["{ counter = 'other' }"] = "refusal.counter: expected a declared counter",
      ["{ field = 'a b' }"] = "refusal.field: a key is letters",
      ["{ message = ('x'):rep(1001) }"] = "refusal.message: at most 1000 bytes",
      ["{ code = 1 }"] = "code: there is no such option",
      ["true"] = "refusal: expected a table",
    } do
      local source = ANSWERING:format(QUOTA:format("refusal = " .. options, "all"))
      local ok, problem = pcall(t.plugin, t.source(source), { prepared = true })
      assert.is_false(ok)
      assert.matches(message, tostring(problem), 1, true)
    end
  end)
end)

describe("the plugin rate-limit", function()
  before_each(t.reset)

  it("runs no Lua, whatever comes of a request", function()
    local p = t.plugin("rate-limit", { limit = 1, per = "1m" })
    local passed, refused = p:run {}, p:run {}
    assert.same({ 200, 429 }, { passed.status, refused.status })
    assert.same({ 0, 0 }, { passed.usage.alloc_total, refused.usage.alloc_total })
  end)
end)

describe("a prepared counter", function()
  before_each(t.reset)

  local COUNTING = [[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = { name = "counting", version = "1.0.0", api = 1, stage = "observe",
  schema = S.record { prepared = S.bool() },
  metrics = { seen = { type = "counter", labels = { "status", "who", "how" } }, plain = { type = "counter" },
              level = { type = "gauge" } } }
function P.configure(conf)
  local seen = tg.metrics.counter("seen", { status = tg.template "${resp.status}", how = "x",
    who = tg.template "${header.x-who}!" })
  if conf.prepared then seen:instead_of "log" end
  tg.metrics.counter("plain"):instead_of("header_filter", 'method == "GET"')
  %s
  return seen
end
function P.header_filter(_, ctx) ctx.metrics:inc("plain", nil, 10) end
function P.log(conf, ctx) conf.compiled:inc(ctx) end
return P]]

  for _, prepared in ipairs { true, false } do
    it("counts by what its labels become, " .. (prepared and "prepared" or "in Lua"), function()
      local p = t.plugin(t.source(COUNTING:format ""), { prepared = prepared })
      local r = p:run { headers = { ["x-who"] = 'a"b' } }
      assert.metric(r, "seen", { status = "200", who = 'a"b!', how = "x" }).equals(1)
      assert.metric(r, "plain").equals(1)
      r = p:run { method = "POST", upstream = { status = 503 } }
      assert.metric(r, "seen", { status = "503", who = "!", how = "x" }).equals(1)
      assert.metric(r, "plain").equals(10)
    end)
  end

  it("says what was misused", function()
    local function why(text)
      local ok, message = pcall(t.plugin, t.source(COUNTING:format(text)), { prepared = true })
      assert.is_false(ok)
      return tostring(message)
    end
    assert.matches("does not declare", why 'tg.metrics.counter "none"', 1, true)
    assert.matches("counts in a counter, and this is none", why 'tg.metrics.counter "level"', 1, true)
    assert.matches('the label "status" is missing', why 'tg.metrics.counter "seen"', 1, true)
    assert.matches("template made without escape",
      why 'tg.metrics.counter("seen", { status = tg.template("x", "url"), who = "", how = "" })', 1, true)
    assert.matches("a label that the instrument does not declare",
      why 'tg.metrics.counter("plain", { a = "b" })', 1, true)
    assert.matches('a counter can be "access", "header_filter" or "log"',
      why 'tg.metrics.counter("plain"):instead_of "rewrite"', 1, true)
  end)
end)
