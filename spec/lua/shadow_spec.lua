-- The proof behind "no request reaches this route": which pattern covers which, and what follows for a table.

local cover = require "tidegate.inspect.cover"
local shadow = require "tidegate.inspect.shadow"

describe("a path covers another", function()
  local cases = {
    { "/a", "/a", true }, { "/a", "/a/", false }, { "/a/", "/a", false }, { "/a/*", "/a", true },
    { "/a/*", "/a/b/{c}", true }, { "/a/*", "/ab", false }, { "/*", "/", true }, { "/*", "/a/*", true },
    { "/a/{x}", "/a/b", true }, { "/a/{x}", "/a/{y}", true }, { "/a/{x}", "/a/", false },
      { "/a/b", "/a/{x}", false },
    { "/a/{x}", "/a/*", false }, { "/a/{x:int}", "/a/12", true }, { "/a/{x:int}", "/a/b", false },
    { "/a/{x:int}", "/a/{y:int}", true }, { "/a/{x:int}", "/a/{y}", false },
      { "/a/{x}", "/a/{y:[a-z]+}", true },
    { "/a/{x:[a-z]+}", "/a/b", false }, { "/a/{r...}", "/a/b/c", true }, { "/a/{r...}", "/a/", true },
    { "/a/{r...}", "/a", false }, { "/a/{r...}", "/a/*", false }, { "/a/*", "/a/{r...}", true },
    { "/{x}/b", "/a/b", true }, { "/{x}/*", "/a", true }, { "/a/*", "/*", false }, { "/a/b/*", "/a", false },
  }
  for _, case in ipairs(cases) do
    it(("%s %s %s"):format(case[1], case[3] and "covers" or "does not cover", case[2]), function()
      assert.equal(case[3], cover.path(cover.segments(case[1]), cover.segments(case[2])))
    end)
  end

  it("never where it is an expression", function()
    assert.is_nil(cover.segments "~^/a")
    assert.is_nil(cover.segments "/a/{x:[^/]+}")
  end)
end)

it("a host is covered by its wildcards, with and without its port", function()
  assert.same({ "a.b.test", "*.b.test", "*.test", "*" }, cover.hosts "A.b.test")
  assert.same({ "*.b.test", "*.test", "*" }, cover.hosts "*.b.test")
  assert.same({ "*" }, cover.hosts "*")
  assert.same({ "a.test:80", "a.test", "*.test:80", "*.test", "*:80", "*" }, cover.hosts "a.test:80")
end)

it("conditions hold where those that ask for the same, and more, do", function()
  local one = { kind = "value", values = { "1" } }
  assert.is_true(cover.conditions({}, { headers = { a = one } }))
  assert.is_true(cover.conditions({ headers = { a = one } },
    { headers = { a = one, b = one }, scheme = "https" }))
  assert.is_false(cover.conditions({ headers = { a = one } }, {}))
  assert.is_false(cover.conditions({ headers = { a = one } },
                                   { headers = { a = { kind = "value", values = { "1", "2" } } } }))
  assert.is_false(cover.conditions({ networks = { "10.0.0.0/8" } },
    { networks = { "10.0.0.0/8", "192.0.2.0/24" } }))
end)

describe("a table", function()
  local MATCH = { paths = true, hosts = true, methods = true, headers = true }

  -- Routes as { name, path, methods, host }, in order of precedence.
  local function find(...)
    local model = { objects = { route = {} }, order = {} }
    for i, given in ipairs { ... } do
      model.objects.route[i] = { name = given[1], match = MATCH, value = { methods = given[3] } }
      model.order[i] = { route = i, host = given[4] or "*", path = given[2] }
    end
    local names = {}
    for _, lost in ipairs(shadow.find(model)) do
      local takers = {}
      for i, taker in ipairs(lost.takers) do takers[i] = taker.route.name end
      names[lost.route.name] = table.concat(takers, ",")
    end
    return names
  end

  it("tells who takes a route's requests", function()
    assert.same({ b = "a" }, find({ "a", "/x/*" }, { "b", "/x/y" }, { "c", "/y" }))
    assert.same({ c = "a,b" }, find({ "a", "/x", { "GET" } }, { "b", "/*", { "PUT" } },
      { "c", "/x", { "GET", "PUT" } }))
    assert.same({}, find({ "a", "/x", { "GET" } }, { "b", "/x" }))
    assert.same({ b = "a" }, find({ "a", "/x", nil, "*.test" }, { "b", "/x", nil, "a.test" }))
    assert.same({}, find({ "a", "/x", nil, "a.test" }, { "b", "/x", nil, "*.test" }))
  end)

  it("of a hundred thousand routes is looked through in some seconds", function()
    local routes = {}
    for i = 1, 100000 do
      routes[i] = { "r" .. i, ("/v%d/%d/{id}"):format(i % 7, i), nil, "h" .. i % 1000 .. ".test" }
    end
    local started = os.clock()
    assert.same({}, find(unpack(routes, 1, 7000)))
    assert.is_true(os.clock() - started < 5)
  end)
end)
