-- Positions in a config file: the constructor of a call, and the key that a path names inside it.

local source = require "tidegate.source"

local TEXT = [==[
#!/usr/bin/env tidegate
-- a comment with tg.service "orders" {
local tg = require "tidegate"
tg.service "orders" {
  retry   = { atempts = 2, on = { "connect", 502 }, f = function(a, b) return a, b end, budget = 0.2 },
  ["odd key"] = 1, [[not a key]], [4] = "four",
  list = { tg.use "a" { k = 1 }, tg.use("b", { id = "x" }) { q = { 1, 2 } } }; last = "} = {",
  computed = make { hidden = 1 }.x, [some()] = 2,
}
tg.route("r" .. 1) { paths = {} } tg.route "s" { paths = {} } tg.route "s" { hosts = {} }
tg.settings({ workers = 3 })
]==]

local function at(src, token)
  local line, column = src:position(token)
  return ("%d:%d"):format(line, column)
end

describe("the position of a field", function()
  local src, orders
  before_each(function()
    src = source.new(TEXT)
    orders = src:call { line = 4, func = "service", name = "orders", nth = 1 }
  end)

  local function find(...)
    local token, depth = src:locate(orders.open, { ... })
    return token and at(src, token), depth
  end

  it("is that of its key", function()
    assert.equal("5:3", find "retry")
    assert.equal("5:15", find("retry", "atempts"))
  end)

  it("is that of the item in a list", function()
    assert.equal("5:46", (find("retry", "on", 2)))
    assert.equal("7:34", (find("list", 2)))
  end)

  it("is not misled by a function's commas", function()
    assert.equal("5:89", (find("retry", "budget")))
  end)

  it("is found for quoted, numeric and positional keys", function()
    assert.equal("6:3", (find "odd key"))
    assert.equal("6:20", (find(1)))
    assert.equal("6:35", (find(4)))
  end)

  it("is not misled by braces in strings", function()
    assert.equal("7:80", (find "last"))
  end)

  it("is that of the enclosing key where a value is computed", function()
    local place, depth = find("computed", "hidden")
    assert.equal("8:3", place)
    assert.equal(1, depth)
  end)

  it("is nothing where the key is not written", function()
    assert.is_nil((find "absent"))
  end)

  it("is found in options and in nested calls", function()
    local use = src:call { line = 7, func = "use", name = "b", nth = 1 }
    assert.equal("7:34", at(src, use.start))
    assert.equal("7:48", at(src, src:locate(use.options, { "id" })))
    assert.equal("7:71", at(src, src:locate(use.open, { "q", 2 })))
  end)
end)

describe("the call on a line", function()
  local src
  before_each(function() src = source.new(TEXT) end)

  it("is told by its name", function()
    local s = src:call { line = 10, func = "route", name = "s", nth = 2 }
    assert.equal("10:35", at(src, s.start))
  end)

  it("is told by its turn where names are the same", function()
    local where = { line = 10, func = "route", name = "s", nth = 3 }
    local second = src:call(where)
    assert.equal("10:78", at(src, src:locate(second.open, { "hosts" })))
    where.nth = 6
    assert.same(second, src:call(where))
  end)

  it("is told by its name alone where turns do not fit", function()
    local skipped = src:call { line = 7, func = "use", name = "b", nth = 1 }
    assert.equal("7:34", at(src, skipped.start))
  end)

  it("may have a computed name", function()
    assert.equal("10:1", at(src, src:call({ line = 10, func = "route", name = "r1", nth = 1 }).start))
  end)

  it("may have parentheses around its table", function()
    local settings = src:call { line = 11, func = "settings", nth = 1 }
    assert.equal("11:15", at(src, src:locate(settings.open, { "workers" })))
  end)

  it("is nothing where there is none", function()
    assert.is_nil(src:call { line = 3, func = "service", name = "orders", nth = 1 })
    assert.is_nil(src:call { line = 99, func = "service", name = "orders", nth = 1 })
  end)
end)

describe("lines", function()
  it("come without their ends, carriage returns too", function()
    local src = source.new "one\r\ntwo\n\nfour"
    assert.same({ "one", "two", "", "four" },
                { src:line_text(1), src:line_text(2), src:line_text(3), src:line_text(4) })
    assert.is_nil(src:line_text(5))
  end)
end)
