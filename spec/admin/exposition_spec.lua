--- /metrics is text that a scraper takes whole or not at all: whatever plugins, paths and clients bring into
-- it, each line is one of Prometheus' text format.

local client = require("support.client")
local helper = require("admin.helper")

-- What the plugin declares was checked; what it makes of its table afterwards was not.
local PLUGIN = [==[
local P = { name = "shifty", version = "1.0.0", api = 1, stage = "guard",
            metrics = { good = { type = "counter", labels = { "what" }, help = "Well done." } } }
function P.init()
  local evil = 'x"} 1\n# TYPE tidegate_requests_total gauge\nevil 1'
  P.metrics.good.help = evil
  P.metrics[evil] = { type = "counter" }
  P.metrics.labels = { type = "gauge", labels = { evil } }
  P.metrics.twice = { type = "gauge", labels = { "a", "a" } }
  P.metrics.bounds = { type = "histogram", labels = { "le" } }
end
function P.access(_, ctx)
  ctx.metrics:inc("good", { what = ctx.req:header "x-what" or "" })
  for _, name in ipairs { "labels", "twice", "bounds" } do
    local known = pcall(ctx.metrics.set, ctx.metrics, name, {}, 1)
    ctx.resp:set_header("x-" .. name, tostring(known))
  end
end
return P
]==]

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1, admin = { listen = "unix:admin.sock" } }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "back" { targets = { { "unix:run/a\"b\\c {}.sock" } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "back" { paths = { "/back" }, service = "back" }
  tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./shifty.lua" {} } }
]]

-- A sample: a name, labels whose values hold no bare quote, a number.
local function is_sample(line)
  local rest = line:match "^[%a_:][%w_:]*(.*)$"
  if not rest then return false end
  if rest:sub(1, 1) == "{" then
    local at, names = 2, {}
    repeat
      local name, value_at = rest:match('^([%a_][%w_]*)="()', at)
      if not name or names[name] then return false end
      names[name] = true
      at = value_at
      while rest:sub(at, at) ~= '"' do
        if at > #rest then return false end
        at = at + (rest:sub(at, at) == "\\" and 2 or 1)
      end
      at = at + 1
      local separator = rest:sub(at, at)
      at = at + 1
    until separator ~= ","
    if rest:sub(at - 1, at - 1) ~= "}" then return false end
    rest = rest:sub(at)
  end
  return tonumber(rest:match "^ (%S+)$") ~= nil
end

local function is_line(line)
  return line:find "^# HELP [%a_:][%w_:]* " ~= nil or is_sample(line) or
         line:find "^# TYPE [%a_:][%w_:]* %l+$" ~= nil
end

describe("the exposition", function()
  local g

  before_each(function()
    g = helper.start({ config = CONFIG, files = { ["shifty.lua"] = PLUGIN } })
  end)

  after_each(function() g:stop() end)

  it("holds whatever names and values come", function()
    for _, what in ipairs({ 'a"} 1', "back\\slash", "\195\169", "\255\254", ("long"):rep(100) }) do
      assert.status(200, client.get(g.port, "/", { ["x-what"] = what }))
    end
    client.get(g.port, "/back")
    local text = helper.get(helper.socket(g), "/metrics").body
    for line in text:gmatch "([^\n]*)\n" do
      assert.is_true(is_line(line), line)
    end
    assert.contains([[tidegate_plugin_shifty_good_total{what="a\"} 1"} 1]], text)
    assert.contains([[a\"b\\c {}.sock"} 1]], text)
    local types = {}
    for family in text:gmatch "\n# TYPE (%S+)" do
      assert.is_nil(types[family], family)
      types[family] = true
    end
  end)
end)
