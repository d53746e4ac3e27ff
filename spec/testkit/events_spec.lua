--- Events that nobody takes: they are told, not lost in silence.

local t = require "tidegate.test"

local FILES = {
  ["gateway.lua"] = [[
    local tg = require "tidegate"
    tg.settings { limits = { plugin_vm = { kills = 1 } } }
    tg.listener "http" { address = "127.0.0.1:80" }
    tg.route "all" { plugins = { tg.use "plugins/speaks.lua" {}, tg.use "plugins/listens.lua" {} } }]],
  ["plugins/speaks.lua"] = [[
    local tg = require "tidegate"
    local P = { name = "speaks", version = "1.0.0", api = 1, stage = "guard", needs = { events = true } }
    function P.access(_, ctx)
      for i = 1, 4 do tg.events.publish("news", i) end
      ctx:exit(200)
    end
    return P]],
  ["plugins/listens.lua"] = [[
    local tg = require "tidegate"
    local P = { name = "listens", version = "1.0.0", api = 1, stage = "guard", needs = { events = true } }
    function P.init() tg.events.subscribe("news", function() while true do end end) end
    function P.log() end
    return P]],
}

describe("events for a plugin in quarantine", function()
  before_each(t.reset)

  it("are dropped with a line that says why", function()
    local gw = t.gateway("gateway.lua", { files = FILES })
    for _ = 1, 2 do assert.response(gw:get "/").has.status(200) end
    assert.logged(gw, "error", "in quarantine after too many kills")
    assert.logged(gw, "warn", "an event is dropped.*in quarantine")
  end)
end)
