--- tg.limit on the fake clock: each algorithm against a model that knows every request, and its edges.

local cjson = require "cjson.safe"
local t = require "tidegate.test"

-- Each request asks with what its body says, as Lua; the answer is what came of it, as JSON.
local ASKING = [[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = { name = "asking", version = "1.0.0", api = 1, stage = "traffic", needs = { limit = "1MiB" },
  schema = S.record {} }
function P.access(_, ctx)
  local q = ctx.req:json()
  local options = q.options
  if q.max then options = q.max end
  local result, err = tg.limit[q.name](nil, q.key or "k", options)
  if type(result) == "userdata" then result = { permit = true, given = q.give and result:release(),
                                                again = q.give and result:release() } end
  if result and result.retry_after == math.huge then result.retry_after = "never" end
  ctx:exit(200, { result = result, err = err and err.code, now = tg.time.monotonic() })
end
return P]]

-- Who may go on at `now` (s) when `grants` went before: { time, cost }.
local model = {}

local function sum_of(grants, wanted)
  local sum = 0
  for _, grant in ipairs(grants) do
    if wanted(grant.time) then sum = sum + grant.cost end
  end
  return sum
end

local function window_of(time, per) return math.floor(time / per + 1e-9) end

function model.fixed(grants, now, cost, rule)
  local window = window_of(now, rule.per)
  local used = sum_of(grants, function(time) return window_of(time, rule.per) == window end)
  return used + cost <= rule.limit
end

function model.sliding(grants, now, cost, rule)
  local window = window_of(now, rule.per)
  local used = sum_of(grants, function(time) return window_of(time, rule.per) == window end)
  local before = sum_of(grants, function(time) return window_of(time, rule.per) == window - 1 end)
  local passed = now / rule.per - window
  return used + before * (1 - passed) + cost <= rule.limit + 1e-9
end

function model.log(grants, now, cost, rule)
  local used = sum_of(grants, function(time) return time > now - rule.per + 1e-7 end)
  return used + cost <= rule.limit
end

function model.bucket(grants, now, cost, rule)
  local tokens, last = rule.burst, 0
  for _, grant in ipairs(grants) do
    tokens = math.min(rule.burst, tokens + (grant.time - last) * rule.limit / rule.per) - grant.cost
    last = grant.time
  end
  return math.min(rule.burst, tokens + (now - last) * rule.limit / rule.per) >= cost - 1e-6
end

model.gcra = model.bucket

-- How each is asked for; `burst` is of those that have one.
local ASK = {
  fixed = function(r, cost)
    return "window", { limit = r.limit, per = r.per, kind = "fixed", cost = cost }
  end,
  sliding = function(r, cost) return "window", { limit = r.limit, per = r.per, cost = cost } end,
  log = function(r, cost) return "window", { limit = r.limit, per = r.per, kind = "log", cost = cost } end,
  bucket = function(r, cost)
    return "bucket", { rate = r.limit, per = r.per, burst = r.burst, cost = cost }
  end,
  gcra = function(r, cost)
    return "gcra", { limit = r.limit, per = r.per, burst = r.burst, cost = cost }
  end,
}

describe("tg.limit", function()
  local p

  before_each(function()
    t.reset()
    p = t.plugin(t.source(ASKING))
  end)

  local function ask(name, options, more)
    local question = { name = name, options = options }
    for key, value in pairs(more or {}) do question[key] = value end
    return p:run { method = "POST", body = cjson.encode(question) }
  end

  local function answer(...)
    local r = ask(...)
    assert.response(r).has.status(200)
    return cjson.decode(r.body)
  end

  for kind, arguments in pairs(ASK) do
    it("grants by " .. kind .. " what the model does", function()
      local rule, grants = { limit = 7, per = 10, burst = 4 }, {}
      local random = 12345
      local function below(n)
        random = (random * 1103515245 + 12345) % 2 ^ 31
        return math.floor(random / 65536) % n
      end
      for _ = 1, 250 do
        t.clock:advance(("%dms"):format(below(15) == 0 and below(30000) or below(2500)))
        local cost = below(5) == 0 and below(6) or 1
        local name, options = arguments(rule, cost)
        local a = answer(name, options)
        assert.equal(model[kind](grants, a.now, cost, rule), a.result.allowed)
        if a.result.allowed then
          grants[#grants + 1] = { time = a.now, cost = cost }
          assert.equal(0, a.result.retry_after)
        end
        local most = (kind == "bucket" or kind == "gcra") and rule.burst or rule.limit
        assert.equal(cost > most, a.result.retry_after == "never")
        assert.is_true(a.result.remaining >= 0 and a.result.reset <= 2 * rule.per)
      end
      assert.is_true(#grants > 50)
    end)

    it("grants by " .. kind .. " when retry_after is over, and not before", function()
      local rule = { limit = 4, per = 10, burst = 4 }
      local name, options = arguments(rule, 2)
      for _ = 1, 2 do assert.is_true(answer(name, options).result.allowed) end
      local refused = answer(name, options).result
      assert.same({ false, 0 }, { refused.allowed, refused.remaining })
      assert.is_true(refused.retry_after > 0 and refused.retry_after <= 20)
      local ms = math.ceil(refused.retry_after * 1000)
      t.clock:advance(("%dms"):format(ms - 2))
      assert.is_false(answer(name, options).result.allowed)
      t.clock:advance "2ms"
      assert.is_true(answer(name, options).result.allowed)
    end)
  end

  it("only looks when the cost is 0", function()
    assert.equal(3, answer("window", { limit = 3, per = "1m", cost = 0 }).result.remaining)
    assert.equal(2, answer("window", { limit = 3, per = "1m" }).result.remaining)
    assert.equal(2, answer("window", { limit = 3, per = "1m", cost = 0 }).result.remaining)
  end)

  it("tells keys of any bytes apart", function()
    for _, key in ipairs { "", "\0", "\0\0", "a", ("x"):rep(5000), ("x"):rep(5000) .. "y", "\255\254" } do
      local text = key:gsub("[^a-z]", function(c) return ("\\u%04x"):format(c:byte()) end)
      local body = ('{"name":"window","options":{"limit":1,"per":"1m"},"key":"%s"}'):format(text)
      for _, allowed in ipairs { true, false } do
        local r = p:run { method = "POST", body = body }
        assert.equal(allowed, cjson.decode(r.body).result.allowed)
      end
    end
  end)

  it("gives permits back when the request ends, or before", function()
    for _ = 1, 3 do assert.is_true(answer("concurrency", nil, { max = 1 }).result.permit) end
    local a = answer("concurrency", nil, { max = 1, give = true })
    assert.same({ permit = true, given = true, again = false }, a.result)
    assert.is_true(answer("adaptive", { max = 2, latency = "1s" }).result.permit)
  end)

  it("refuses nonsense by the name of the argument", function()
    for _, case in ipairs {
      { "window", { limit = 0, per = "1s" }, "limit: expected a whole number from 1 to 4294967295" },
      { "window", { limit = -3, per = "1s" }, "limit: expected a whole number" },
      { "window", { limit = 1.5, per = "1s" }, "limit: expected a whole number" },
      { "window", { limit = 1 }, 'per: expected a duration such as "1m", got nothing' },
      { "window", { limit = 1, per = "0s" }, "a period is from 1ms to 366d" },
      { "window", { limit = 1, per = "400d" }, "a period is from 1ms to 366d" },
      { "window", { limit = 1, per = "1s", kind = "leaky" }, 'kind: expected "fixed", "sliding" or "log"' },
      { "window", { limit = 129, per = "1s", kind = "log" }, "a log is for limits up to 128" },
      { "window", { limit = 4294967295, per = "366d" }, "so large a limit over so long a period" },
      { "window", { limit = 1, per = "1s", costs = 2 }, "there is no option costs" },
      { "bucket", { burst = 3 }, "rate: expected a whole number, got nothing" },
      { "bucket", { rate = 1, cost = -1 }, "cost: expected a whole number from 0" },
      { "gcra", { limit = 1, per = "1s", burst = 0 }, "burst: expected a whole number from 1" },
      { "adaptive", { max = 5 }, "latency: expected a duration" },
      { "adaptive", { max = 5, min = 6, latency = "1s" }, "the least bound is from 1 to the greatest" },
    } do
      local r = ask(case[1], case[2])
      assert.response(r).has.status(500)
      assert.matches(case[3], tostring(r.error and r.error.message or r.error), 1, true)
    end
  end)

  it("names a zone that is not declared", function()
    local q = t.plugin(t.source [[
local tg = require "tidegate"
local P = { name = "lost", version = "1.0.0", api = 1, stage = "traffic" }
function P.access(_, ctx) tg.limit.window(ctx.req:query "zone", "k", { limit = 1, per = "1s" }) end
return P]])
    local r = q:run { path = "/?zone=nowhere" }
    assert.matches('no limit zone is called "nowhere"; declare it in the configuration: ' ..
      'tg.zone.limit "nowhere"', tostring(r.error and r.error.message or r.error), 1, true)
    r = q:run { path = "/" }
    assert.matches('the plugin does not declare needs = { limit = "1MiB" }',
      tostring(r.error and r.error.message or r.error), 1, true)
  end)
end)
