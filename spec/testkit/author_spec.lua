--- What somebody who writes a plugin needs when it does not work yet: secrets and zones in its specs, counts
--- and lines of what runs for no request, and who called whom when something failed.

local t = require "tidegate.test"

local function plugin(text, conf, options)
  return t.plugin(t.source([[
local S = require "tidegate.schema"
local tg = require "tidegate"
local P = { name = "author", version = "1", api = 1, stage = "guard" }
]] .. text .. "\nreturn P"), conf, options)
end

-- The fields of the first line of this level and message.
local function line_of(lines, level, message)
  for _, line in ipairs(lines) do
    if line.level == level and line.message == message then return line.fields end
  end
  return nil
end

describe("t.plugin", function()
  before_each(function() t.reset() end)

  local KEEPER = [[
P.schema = S.record { keys = S.list(S.secret(), { min = 1 }), zone = S.ref "zone.dict":optional() }
function P.access(conf, ctx)
  local seen = conf.zone and tg.dict(conf.zone):incr("seen", 1, { init = 0 })
  ctx:exit(200, table.concat(conf.keys, ",") .. (seen and " " .. seen or ""))
end
]]

  it("gives a plugin the secrets that its schema asks for", function()
    local p = plugin(KEEPER, { keys = { t.secret "one", t.secret "two" } })
    assert.response(p:run()).has.body "one,two"
  end)

  it("takes no secret that is empty or no text", function()
    assert.error_matches(function() t.secret "" end, "t.secret takes the text of the secret", 1, true)
    assert.error_matches(function() t.secret() end, "t.secret takes the text of the secret", 1, true)
  end)

  it("says what a plugin with secrets wants of a plain text", function()
    assert.error_matches(function() plugin(KEEPER, { keys = { "one" } }) end,
                         "expected a secret, got a string", 1, true)
  end)

  it("declares zones for it", function()
    local p = plugin(KEEPER, { keys = { t.secret "k" }, zone = "seen" },
                     { zones = { dict = { seen = { size = "64KiB" } } } })
    p:run()
    assert.response(p:run()).has.body "k 2"
  end)

  it("gives secrets to a plugin that is attached to a gateway", function()
    local gw = t.gateway("conf/gateway.lua", { files = { ["conf/gateway.lua"] = [[
      local tg = require "tidegate"
      tg.listener "http" { address = "127.0.0.1:80" }
      tg.service "app" { builtin = "echo" }
      tg.route "app" { service = "app" }]] } })
    gw:attach("global", t.source([[local S = require "tidegate.schema"
      return { name = "author", version = "1", api = 1, stage = "guard",
        schema = S.record { key = S.secret() },
        access = function(conf, ctx) ctx:exit(200, conf.key) end }]]), { key = t.secret "hidden" })
    assert.response(gw:get "/").has.body "hidden"
    gw:close()
  end)
end)

describe("what runs for no request", function()
  before_each(function() t.reset() end)

  local QUEUE = [[
P.needs = { http = true, timers = true }
P.metrics = { sent = { type = "counter", labels = { "to" } } }
function P.configure()
  tg.timer.after("1h", function() tg.log.warn("the hour is over", { hours = 1, late = false }) end)
  return tg.queue { name = "mail", retry = 1, handler = function(items)
    local res, err = tg.http.post("sink", "/", { json = items })
    if not res then return nil, err end
    if res.status ~= 202 then return nil, "status " .. res.status end
    tg.metrics.inc("sent", { to = "sink" }, #items)
  end }
end
function P.log(conf) assert(conf.compiled:push { n = 1 }) end
]]

  it("counts, and an assertion on the plugin finds it", function()
    t.mock_service("sink", { 202 })
    local p = plugin(QUEUE)
    p:run()
    p:run()
    assert.metric(p, "sent").equals(0)
    t.clock:advance "2s"
    assert.metric(p, "sent", { to = "sink" }).equals(2)
    assert.error_matches(function() assert.metric(p, "sent").equals(3) end, "to be  3, got 2", 1, true)
    assert.error_matches(function() assert.metric(p, "snt").equals(0) end,
                         "no plugin declares metrics.snt", 1, true)
  end)

  it("writes lines with tg.log", function()
    local p = plugin(QUEUE)
    t.clock:advance "1h"
    local fields = line_of(p:logs(), "warn", "the hour is over")
    assert.same({ plugin = "author", hours = "1", late = "false" }, fields)
  end)

  it("has the log say why a queue's handler failed, and what was lost for it", function()
    t.mock_service("sink", { 500 })
    local p = plugin(QUEUE)
    p:run()
    t.clock:advance "1m"
    local again = line_of(p:logs(), "warn", "a queue's handler failed; its batch is tried again")
    assert.equal("status 500", again.reason)
    assert.equal("status 500", line_of(p:logs(), "error", "a queue has lost items").reason)
  end)

  it("has the log say what an error of the API said", function()
    t.mock_service("sink", t.refuse())
    local p = plugin(QUEUE)
    p:run()
    t.clock:advance "1m"
    assert.matches("^connection refused %(.*%)$", line_of(p:logs(), "error", "a queue has lost items").reason)
  end)

  it("is told which field of a line is none", function()
    local r = plugin("function P.access(_, ctx) ctx.log:info('x', { list = { 1 } }) end"):run()
    assert.matches("list: values are strings, numbers or booleans, not a table", r.error, 1, true)
  end)
end)

describe("the log of a plugin that failed", function()
  before_each(function() t.reset() end)

  local function calls(text)
    local fields = line_of(plugin(text):run().logs, "error", "a plugin failed")
    return fields and (fields.calls or "none"):gsub("%S*/", "")
  end

  it("tells who called whom", function()
    local trace = calls [[
local function inner(x) return x.y.z end
local function outer(x)
  local value = inner(x)
  return value
end
function P.access() outer {} end]]
    assert.matches("^source%-%d+%.lua:4 in inner < source%-%d+%.lua:6 in outer < source%-%d+%.lua:9$", trace)
  end)

  it("tells it of an error of the API, and of a kill", function()
    assert.matches(":4 in ask < ", calls [[
local function ask(ctx) ctx.req:header(nil) end
function P.access(_, ctx) ask(ctx) end]])
    assert.matches(":4 in spin < ", calls [[
local function spin() while true do end end
function P.access() spin() end]])
  end)

  it("ends after some calls", function()
    local trace = calls [[
local function deep(n)
  if n == 0 then error "bottom" end
  local below = deep(n - 1)
  return below
end
function P.access() deep(100) end]]
    local _, count = trace:gsub(" in deep", "")
    assert.equal(8, count)
    assert.matches(" < %.%.%.$", trace)
  end)

  it("is silent where the error's place says it", function()
    assert.equal("none", calls "function P.access() error 'here' end")
    assert.equal("none", calls [[
local function again() return 1 + again() end
function P.access() again() end]])
  end)
end)

describe("an answer to HEAD", function()
  before_each(function() t.reset() end)

  local HEAD = { method = "HEAD", upstream = { 200, headers = { ["content-length"] = "7" } } }

  it("tells no length that a body filter may change", function()
    local p = plugin "function P.body_filter(_, _, chunk) return chunk .. chunk end"
    assert.response(p:run(HEAD)).has.no.header "content-length"
    assert.response(p:run { upstream = { 200, body = "a" } }).has.body "aa"
  end)

  it("tells the origin's length otherwise", function()
    assert.response(plugin("function P.access() end"):run(HEAD)).has.header("content-length", "7")
  end)
end)
