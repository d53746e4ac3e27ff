-- acl: who may pass by groups, and who may not.

local cjson = require("cjson")
local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")

local AUTH = [[
  local tg = require "tidegate"
  local P = { name = "by-name", version = "1.0.0", api = 1, stage = "auth" }
  function P.access(_, ctx)
    local name = ctx.req:header "x-as"
    if name then ctx.consumer:authenticate(tg.consumers.get(name)) end
  end
  return P
]]

describe("acl", function()
  local g

  setup(function()
    g = gateway.start({
      files = { ["by-name.lua"] = AUTH },
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.global { tg.use "./by-name.lua" {} }
        tg.consumer "gold" { groups = { "gold" } }
        tg.consumer "both" { groups = { "gold", "banned" } }
        tg.consumer "banned" { groups = { "banned" } }
        tg.consumer "none" {}
        tg.consumer "inside" { groups = { "gold" }, plugins = { tg.use "acl" { deny = { "gold" } } } }
        local function route(name, conf)
          tg.route(name) { paths = { "/" .. name }, service = "echo", plugins = { tg.use "acl"(conf) } }
        end
        route("allow", { allow = { "gold" } })
        route("deny", { deny = { "banned" } })
        route("both", { allow = { "gold" }, deny = { "banned" } })
        route("open", { deny = { "banned" }, anonymous = true })
      ]],
    })
  end)

  teardown(function() g:stop() end)

  local EXPECTED = {
    { "/allow", gold = 200, both = 200, banned = 403, none = 403, nobody = 403 },
    { "/deny", gold = 200, both = 403, banned = 403, none = 200, nobody = 403 },
    { "/both", gold = 200, both = 403, banned = 403, none = 403, nobody = 403 },
    { "/open", gold = 200, both = 403, banned = 403, none = 200, nobody = 200 },
  }
  for _, case in ipairs(EXPECTED) do
    it("decides on " .. case[1], function()
      for _, name in ipairs { "gold", "both", "banned", "none", "nobody" } do
        local headers = name ~= "nobody" and { ["X-As"] = name } or {}
        local r = client.get(g.port, case[1], headers)
        assert.equal(name .. " " .. case[name], name .. " " .. r.status)
      end
    end)
  end

  it("says what it refuses, and not why", function()
    local r = client.get(g.port, "/allow", { ["X-As"] = "none" })
    assert.header("Content-Type", "application/problem+json", r)
    assert.equal("not_in_group", cjson.decode(r.body).code)
    assert.is_nil(r.body:find("gold", 1, true))
  end)

  it("of a consumer takes the place of the route's", function()
    assert.status(403, client.get(g.port, "/allow", { ["X-As"] = "inside" }))
  end)

  for what, case in pairs({
    ["neither list"] = { "{}", "one of these fields is needed: allow, deny" },
    ["a group that nobody is in"] = { '{ allow = { "gold" } }', 'no group is called "gold"' },
    ["a list that is none"] = { '{ deny = "gold" }', "expected a list" },
    ["an empty list"] = { "{ allow = {} }", "the list is empty" },
  }) do
    it("does not load with " .. what, function()
      assert.contains(case[2], bundled.check("acl", case[1]))
    end)
  end
end)
