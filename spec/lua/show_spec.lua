-- Checked values written as a configuration writes them, and as JSON.

local S = require "tidegate.schema"
local json = require "tidegate.inspect.json"
local show = require "tidegate.inspect.show"

-- What was written comes out again, less defaults.
local function there_and_back(t, value, host)
  local normal, problems = S.validate(t, value, host)
  assert.same({}, problems)
  return show.plain(t, normal)
end

describe("a checked value", function()
  it("is shown as it was written", function()
    local t = S.record {
      per = S.duration(), size = S.bytes(), [1] = S.string(), level = S.enum { "a", "b" },
      workers = S.one_of { auto = S.enum { "auto" }, count = S.int() },
      either = S.one_of { time = S.record { every = S.duration() }, size = S.record { of = S.bytes() } },
      map = S.map(S.header_name(), S.list(S.duration())),
    }
    local value = { "x", per = "1m", size = "32KiB", level = "b", workers = 4, either = { of = "1MiB" },
                    map = { ["x-a"] = { "1s", "250ms" } } }
    assert.same(value, there_and_back(t, value))
  end)

  it("is left out where it says no more than its default", function()
    local t = S.record { a = S.duration():default "1s", b = S.list(S.string()):default { "x" },
                         c = S.record { d = S.int():default(1) }:default {} }
    assert.same({}, there_and_back(t, { a = "1000ms", b = { "x" }, c = { d = 1 } }))
    assert.same({ a = "2s", b = {}, c = { d = 2 } }, there_and_back(t, { a = "2s", b = {}, c = { d = 2 } }))
  end)

  it("is hidden where it is sensitive, at any depth", function()
    local t = S.record { key = S.string():sensitive(),
      more = S.record { list = S.list(S.string()):sensitive() },
                         secret = S.secret(), map = S.map(S.string():sensitive(), S.int()) }
    local shown = there_and_back(t, { key = "hunter2", more = { list = { "hunter2" } }, secret = "s",
                                      map = { hunter2 = 1 } }, { reveal = function() return "hunter2" end })
    assert.not_matches("hunter", show.literal(shown))
    assert.same({ key = "***", more = { list = "***" }, secret = "***", map = { ["***"] = 1 } }, shown)
  end)

  it("may have any shape after a check of its own, and is hidden if a secret may be in it", function()
    local t = S.duration():check(function() return { odd = true } end)
    assert.same({ odd = true }, there_and_back(t, "1s"))
    local function reshaped(fields)
      return S.record(fields):check(function(value) return { all = value } end)
    end
    local host = { reveal = function() return "hunter2" end }
    assert.same({ all = { a = 1 } }, there_and_back(reshaped { a = S.int() }, { a = 1 }))
    assert.equal("***", there_and_back(reshaped { a = S.int(), list = S.list(S.secret()) },
                                       { a = 1, list = { "x" } }, host))
  end)

  it("is hidden where one of several types hides it", function()
    local t = S.one_of { plain = S.string(), secret = S.secret() }
    local hidden = S.validate(t, "x", { reveal = function() return "hunter2" end })
    assert.equal("***", show.plain(t, hidden))
  end)

  it("is whole where it is anybody's data", function()
    assert.same({ text = "t", n = 1 }, there_and_back(S.any(), { text = "t", n = 1 }))
  end)
end)

it("a literal is one line of Lua", function()
  local value = { 1, "a\n\"b\"", { x = true }, ["a-b"] = {}, c = 0.5 }
  local text = show.literal(value)
  assert.equal('{ 1, "a\\10\\34b\\34", { x = true }, ["a-b"] = {}, c = 0.5 }', text)
  assert.same(value, loadstring("return " .. text)())
  assert.equal("{ [404] = 1, [500] = 2 }", show.literal { [404] = 1, [500] = 2 })
end)

describe("JSON", function()
  it("has its keys in order, and lists where they are marked", function()
    assert.equal('{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    0.5,\n    true\n  ]\n}\n',
                 json.encode { c = { 1, 0.5, true }, a = json.list(), b = {} })
    assert.equal('{\n  "1": "a",\n  "x": 2\n}\n', json.encode(json.object { "a", x = 2 }))
  end)

  it("is valid whatever a string holds", function()
    local decoded = require("cjson").decode(json.encode { "\0\1\n\"\\\127", "ü€𝄞", "\255x\192\128" })
    assert.same({ "\0\1\n\"\\\127", "ü€𝄞", "\239\191\189x\239\191\189\239\191\189" }, decoded)
  end)

  it("writes numbers exactly, large ones too", function()
    assert.equal("9007199254740992\n", json.encode(2 ^ 53))
  end)
end)
