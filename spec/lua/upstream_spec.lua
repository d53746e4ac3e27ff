--- What a service says about its targets: what is refused, and what the message says.

local host = require("support.config_host")

-- What `check` says of a service with these fields.
local function check(fields)
  local tree, reports = host.load(([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "back" { %s }
tg.route "all" { service = "back" }
]]):format(fields), {})
  return tree and "" or reports:render()
end

describe("a service's targets", function()
  for _, case in ipairs({
    { "targets = { { '10.0.0.1' } }", 'targets[1][1]: "10.0.0.1" is not an address with a port' },
    { "targets = { { '10.0.0.1:80', weight = 0 } }", "weight: 0 is below the minimum 1" },
    { "targets = { { '10.0.0.1:80', weight = 1001 } }", "weight: 1001 is above the maximum 1000" },
    { "balance = { 'fastest' }", 'balance[1]: "fastest" is not an allowed value' },
    { "balance = { 'hash' }", "balance: a hash needs a key" },
    { "balance = { 'hash', by = 'header' }", 'balance.by: "header" is not a source of keys' },
    { "balance = { 'hash', by = 'header:a b' }", 'balance.by: "a b" is not the name of a header' },
    { "balance = { 'random', by = 'ip' }", 'balance: by goes with balance = { "hash" }, not with "random"' },
    { "balance = { 'hash', by = 'ip', slow_start = '5s' }", "balance: slow_start has no meaning for a hash" },
    { "health = { active = {} }", "health.active: path is missing" },
    { "health = { active = { path = 'x' } }", "health.active.path: a path begins with /" },
    { "health = { active = { path = '/', every = '1s', timeout = '2s' } }", "timeout is longer than every" },
    { "health = { active = { type = 'tcp', path = '/' } }", 'path goes with type = "http"' },
    { "health = { passive = { eject = '1m', eject_max = '10s' } }", "eject_max is shorter than eject" },
    { "health = { panic = 2 }", "health.panic: 2 is above the maximum 1" },
    { "breaker = { ratio = 0 }", "breaker.ratio: 0 is below the minimum 0.01" },
    { "breaker = { ration = 0.5 }", 'did you mean "ratio"?' },
    { "retry = { atempts = 2 }", 'did you mean "attempts"? (integer 0–10, default 1)' },
    { "retry = { attempts = 11 }", "retry.attempts: 11 is above the maximum 10" },
    { "retry = { on = { 'conect' } }", "retry.on[1]" },
    { "retry = { on = { 200 } }", "retry.on[1]" },
    { "retry = { on = { 503, 503 } }", "retry.on[2]: same as item 1" },
    { "retry = { budget = 0 }", "retry.budget: 0 is below the minimum 0.01" },
    { "retry = { backoff = { base = '1s', max = '10ms' } }", "retry.backoff: max is shorter than base" },
    { "retry = { per_try = 3 }", 'write per_try = "3s"' },
    { "hedge = {}", "hedge.after: missing" },
    { "hedge = { after = 50 }", "hedge.after: expected a delay, got number 50" },
    { "hedge = { after = 'soon' }", 'hedge.after: "soon" is not a delay' },
    { "hedge = { after = '2h' }", 'hedge.after: "2h" is not from 1ms to 1h' },
    { "hedge = { after = 'p40' }", 'hedge.after: "p40" is below the minimum p50' },
    { "hedge = { after = '50ms', least = '5ms' }", "hedge: least goes with a percentile" },
    { "hedge = { after = 'p200' }", 'hedge.after: "p200" is not a delay' },
    { "hedge = { after = 'p100' }", 'hedge.after: "p100" is not a delay' },
    { "hedge = { after = 'p99.' }", 'hedge.after: "p99." is not a delay' },
    { "hedge = { after = 'p99.95' }", 'hedge.after: "p99.95" is not a delay' },
    { "hedge = { after = '1s', methods = { 'POST' } }", 'hedge.methods[1]: "POST" is not an allowed value' },
    { "pool = { min_idle = 5, max_idle = 3 }", "pool: min_idle is above max_idle" },
    { "pool = { min_idle = 5, max = 3 }", "pool: min_idle is above max" },
    { "pool = { adaptive = { min = 9, max = 8 } }", "pool.adaptive: min is above max" },
    { "pool = { adaptive = { min = 0 } }", "pool.adaptive.min: 0 is below the minimum 1" },
    { "pool = { adaptive = { min = 5 }, max = 4 }", "pool: adaptive.min is above max" },
    { "pool = { adaptive = { min = 5 }, min_idle = 6 }", "pool: min_idle is above adaptive.min" },
    { "pool = { queue = 1001 }", "pool.queue: 1001 is above the maximum 1000" },
  }) do
    local text, message = case[1], case[2]
    it("refuses " .. text, function()
      if not text:find("targets", 1, true) then text = "targets = { { '10.0.0.1:80' } }, " .. text end
      assert.contains(message, check(text))
    end)
  end

  it("takes all of it together", function()
    assert.equal("", check([[
      targets = { { "10.0.0.1:80", weight = 3, zone = "a", region = "eu" }, { "10.0.0.2:80" } },
      balance = { "least-requests", slow_start = "30s" },
      health = { active = { path = "/healthz", every = "5s", timeout = "1s", rise = 2, fall = 3 },
                 passive = { failures = 5, window = "10s", eject = "30s" }, panic = 0.4 },
      breaker = { ratio = 0.5, volume = 20, window = "10s", cooldown = "15s", probes = 3 },
      retry = { attempts = 2, on = { "connect", 502, 503 }, methods = { "GET" }, budget = 0.2 },
      hedge = { after = "p99.5", least = "5ms", methods = { "GET", "PUT" } },
      pool = { min_idle = 2, max_idle = 10, max = 100, connecting = 5, adaptive = {}, queue = 50, wait = "1s",
               requests = 1000, lifetime = "10m", idle_timeout = "30s" },
      timeout = { connect = "500ms", response = "3s" },
    ]]))
  end)

  it("have a route say otherwise about hedges, by false or a table", function()
    local config = [[
      local tg = require "tidegate"
      tg.listener "http" { address = "127.0.0.1:0" }
      tg.service "back" { targets = { { "10.0.0.1:80" }, { "10.0.0.2:80" } }, hedge = { after = "p95" } }
      tg.route "all" { service = "back", hedge = %s }
    ]]
    assert.is_table(host.load(config:format("false"), {}))
    assert.is_table(host.load(config:format('{ after = "10ms" }'), {}))
    local _, reports = host.load(config:format("true"), {})
    assert.contains('hedge: true says not when: hedge = { after = "50ms" }', reports:render())
  end)
end)
