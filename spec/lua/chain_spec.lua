-- Which instances of plugins run, and in what order: stages, priorities, before and after, scopes, phases.

local chain = require "tidegate.chain"

local RANKS = { edge = 1, auth = 2, guard = 3, traffic = 4, transform = 5, observe = 6 }

-- Instances from short texts: "name stage [key=value…]".
local function instances(...)
  local list, plugins = {}, {}
  for i, text in ipairs { ... } do
    local name, stage = text:match "^(%S+) (%S+)"
    plugins[name] = plugins[name] or { name = name, stage = stage, rank = RANKS[stage], priority = 0,
      index = name,
                                       phases = { access = true, body_filter = true, message = true, log = true } }
    list[i] = { name = name, index = i, plugin = plugins[name] }
    for key, value in text:gmatch "(%w+)=(%S+)" do
      if key == "priority" then plugins[name].priority = tonumber(value) else list[i][key] = value end
    end
  end
  return list
end

local function names(ordered)
  local list = {}
  for i, instance in ipairs(ordered) do list[i] = instance.name end
  return table.concat(list, " ")
end

local function order(...)
  local ordered, _, why = chain.order { instances(...) }
  return ordered and names(ordered) or why
end

describe("the order of a chain", function()
  it("follows the stages", function()
    assert.equal("e a g t x o", order("o observe", "x transform", "t traffic", "g guard", "a auth", "e edge"))
  end)

  it("puts higher priorities first inside a stage", function()
    assert.equal("c a b", order("a guard", "b guard priority=-1", "c guard priority=5"))
  end)

  it("keeps the order of declaration where all is equal", function()
    assert.equal("c b a", order("c guard", "b guard", "a guard"))
  end)

  it("obeys before and after", function()
    assert.equal("b c a", order("a guard", "b guard before=a", "c guard before=a"))
    assert.equal("b c a", order("a guard after=c", "b guard", "c guard"))
  end)

  it("moves nothing else for them", function()
    assert.equal("b a c d", order("a guard after=b", "b guard", "c guard", "d guard"))
  end)

  it("ignores names that are not here", function()
    assert.equal("a b", order("a guard after=zzz", "b guard"))
  end)

  it("takes ids for names", function()
    assert.equal("b a", order("a guard after=second", "b guard id=second"))
  end)

  it("never breaks the stages", function()
    assert.equal("stage observe runs after stage auth", order("a auth after=o", "o observe"))
  end)

  it("finds circles", function()
    assert.equal("before and after go round in a circle", order("a guard before=b", "b guard before=a"))
  end)
end)

describe("scopes", function()
  it("let the most specific instance win", function()
    local all = instances("a guard", "b guard", "a guard", "a guard id=two")
    local ordered = chain.order { { all[1], all[2] }, {}, { all[3] }, { all[4] } }
    assert.same({ all[2], all[3], all[4] }, ordered)
  end)

  it("let an instance that is attached twice run once", function()
    local all = instances "a guard"
    assert.same(all, chain.order { { all[1] }, { all[1] } })
  end)
end)

describe("phases", function()
  it("run forward to the origin and back in reverse", function()
    local phases = chain.phases(instances("a edge", "b guard"), {})
    assert.same({ certificate = {}, rewrite = {}, access = { 1, 2 }, header_filter = {},
                  body_filter = { 2, 1 }, message = { 1, 2 }, log = { 1, 2 } }, phases)
  end)

  it("leave out what does not run here", function()
    assert.same({}, chain.phases(instances("a edge"), { access = true }).access)
  end)
end)
