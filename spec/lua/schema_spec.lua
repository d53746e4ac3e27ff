-- The schema DSL: each type takes, refuses and normalises; records, rules and variants; all mistakes at once.

local S = require "tidegate.schema"

local function problems(t, value, host)
  local _, found = S.validate(t, value, host)
  local texts = {}
  for i, problem in ipairs(found) do texts[i] = problem.path .. ": " .. problem.message end
  return texts
end

local function normal(t, value, host)
  local result, found = S.validate(t, value, host)
  assert.same({}, found)
  return result
end

describe("simple types", function()
  -- type, value, what becomes of it
  local good = {
    { S.string { min = 1, max = 3 }, "abc", "abc" }, { S.string { pattern = "^%a+$" }, "abc", "abc" },
    { S.int { min = 1 }, 5, 5 }, { S.number(), 0.5, 0.5 }, { S.bool(), false, false },
    { S.enum { "a", "b" }, "b", "b" }, { S.string { one_of = { "a" } }, "a", "a" },
    { S.duration { max = "15m" }, "5m", 300 }, { S.bytes { max = "1MiB" }, "32KiB", 32768 },
    { S.url(), "https://a.test/x", "https://a.test/x" }, { S.url { schemes = { "http" } }, "http://[::1]:80",
      "http://[::1]:80" },
    { S.host(), "Example.TEST", "example.test" }, { S.host(), "10.0.0.1", "10.0.0.1" }, { S.port(), 80, 80 },
    { S.cidr(), "10.1.1.1/8", "10.0.0.0/8" }, { S.header_name(), "X-Id", "x-id" }, { S.method(), "GET",
      "GET" },
    { S.header_name { editable = true }, "Host", "host" },
    { S.header_value(), "a\tb \195\164", "a\tb \195\164" },
    { S.header_value(), "", "" }, { S.status(), 404, 404 }, { S.regex(), "^a+$", "^a+$" },
    { S.template(), "a ${b.c} $${ $5", "a ${b.c} $${ $5" },
    { S.expr(), 'method == "POST"', 'method == "POST"' }, { S.any(), { 1, { a = true } }, { 1,
      { a = true } } },
  }
  for _, case in ipairs(good) do
    it(("%s takes %s"):format(case[1].kind, tostring(case[2])), function()
      assert.same(case[3], normal(case[1], case[2]))
    end)
  end

  local bad = {
    { S.string(), 5, "expected a string, got number 5" }, { S.string { min = 2 }, "a",
      "shorter than 2 bytes" },
    { S.string { max = 2 }, "abc", "longer than 2 bytes" },
    { S.string { pattern = "^%d+$" }, "a", '"a" does not match the pattern ^%d+$' },
    { S.int(), 1.5, "expected an integer, got 1.5" }, { S.int(), 0 / 0, "expected an integer, got nan" },
    { S.int { min = 1 }, 0, "0 is below the minimum 1" }, { S.number { max = 1 }, 2,
      "2 is above the maximum 1" },
    { S.number(), math.huge, "expected a finite number" }, { S.bool(), "yes",
      'expected true or false, got string "yes"' },
    { S.enum { "near" }, "naer", '"naer" is not an allowed value' },
    { S.one_of { auto = S.enum { "auto" }, count = S.int {} }, "1",
      'expected "auto" or an integer, got string "1"' },
    { S.duration(), 20, "expected a duration, got number 20" }, { S.duration(), "20",
      '"20" is not a duration' },
    { S.duration { max = "15m" }, "1h", "1h is above the maximum 15m" }, { S.bytes(), "1MB",
      '"1MB" is not a size' },
    { S.bytes { min = "1KiB" }, "1B", "1B is below the minimum 1KiB" },
    { S.url(), "example.test", '"example.test" is not a URL' },
    { S.url { schemes = { "https" } }, "http://a.test", 'scheme "http" is not allowed here' },
    { S.host(), "a..b", '"a..b" is not a host name or address' }, { S.host(), "-a",
      '"-a" is not a host name or address' },
    { S.host(), "1.2.3.400", '"1.2.3.400" is not a host name or address' },
    { S.port(), 0, "0 is below the minimum 1" }, { S.port(), 65536, "65536 is above the maximum 65535" },
    { S.cidr(), "ten", '"ten" is not a network' }, { S.header_name(), "a b", '"a b" is not a header name' },
    { S.header_name { editable = true }, "Upgrade", '"upgrade" belongs to the gateway' },
    { S.header_value(), "a\r\nb: c", '"a\\13\\10b: c" is not a header value' },
    { S.header_value(), " a", '" a" begins or ends with a blank' },
    { S.method(), "get", '"get" is not a method' }, { S.status(), 99, "99 is below the minimum 100" },
    { S.template(), "a ${b", '"${b" is not a placeholder' },
    { S.any(), print, "expected plain data, got a function" },
    { S.any(), { [{}] = 1 }, "keys must be strings or numbers, got a table" },
    { S.secret(), "hunter2", "expected a secret, got a string" },
    { S.string():sensitive(), 12345, "expected a string, got a number" },
    { S.string { pattern = "^k" }:sensitive(), "hunter2", "not a string" },
  }
  it("secret refuses an empty one, which everybody knows", function()
    assert.same({ "key: the value is empty" },
                problems(S.record { key = S.secret() }, { key = {} }, { reveal = function() return "" end }))
  end)

  for _, case in ipairs(bad) do
    it(("%s refuses %s"):format(case[1].kind, tostring(case[2])), function()
      assert.same({ ": " .. case[3] }, problems(case[1], case[2]))
    end)
  end

  it("asks the host about expressions", function()
    local host = { check_expr = function() return "a value is missing", "write one" end }
    local _, found = S.validate(S.expr(), "a ==", host)
    assert.equal('"a ==" is not an expression: a value is missing', found[1].message)
    assert.equal("write one", found[1].hint)
  end)

  it("asks the host about regular expressions", function()
    local host = { compile_regex = function() return "missing )" end }
    assert.same({ ': "(" is not a regular expression: missing )' }, problems(S.regex(), "(", host))
  end)

  it("hints at the unit that the bounds allow", function()
    local t = S.record { cpu = S.duration { max = "1s" } }
    local _, found = S.validate(t, { cpu = 20 })
    assert.equal('write cpu = "20ms"', found[1].hint)
  end)

  it("ends on data that holds itself", function()
    local loop = {}
    loop.loop = loop
    assert.matches("nested too deeply", problems(S.any(), loop)[1])
  end)
end)

describe("lists and maps", function()
  it("check and normalise each item", function()
    assert.same({ 1, 60 }, normal(S.list(S.duration()), { "1s", "1m" }))
    assert.same({ ["x-a"] = 1 }, normal(S.map(S.header_name(), S.int()), { ["X-A"] = 1 }))
  end)

  it("report every bad item with its path", function()
    assert.same({ '[2]: expected an integer, got string "b"', '[3]: expected an integer, got string "c"' },
                problems(S.list(S.int()), { 1, "b", "c" }))
    assert.same({ 'a: expected an integer, got string "b"' }, problems(S.map(S.string(), S.int()),
      { a = "b" }))
  end)

  it("bound their length and refuse repeats", function()
    assert.same({ ": the list is empty" }, problems(S.list(S.int(), { min = 1 }), {}))
    assert.same({ ": expected at most 1 items, got 2" }, problems(S.list(S.int(), { max = 1 }), { 1, 2 }))
    assert.same({ "[3]: same as item 1" }, problems(S.list(S.int(), { unique = true }), { 1, 2, 1 }))
    assert.same({ "[2]: same as item 1" }, problems(S.list(S.any(), { unique = true }), { 0 / 0, 0 / 0 }))
  end)

  it("find repeats of tables by what is in them", function()
    local t = S.list(S.record { host = S.host(), port = S.port():default(80) }, { unique = true })
    assert.same({ "[2]: same as item 1" }, problems(t,
      { { host = "A.test" }, { port = 80, host = "a.test" } }))
    assert.same({}, problems(t, { { host = "a.test" }, { host = "a.test", port = 81 } }))
    local map = S.list(S.map(S.string(), S.any()), { unique = true })
    assert.same({}, problems(map, { { a = "1;string b=string 2" }, { a = "1", b = "2" } }))
    assert.same({}, problems(map, { { a = 2 ^ 53 }, { a = 2 ^ 53 - 1 } }))
  end)

  it("refuse keys that spell one name", function()
    assert.same({ "x-a: the same key twice: \"x-a\"" },
                problems(S.map(S.header_name(), S.int()), { ["X-A"] = 1, ["x-a"] = 2 }))
  end)

  it("refuse what is no list", function()
    assert.same({ "a: a list has no named fields" }, problems(S.list(S.int()), { a = 1 }))
    assert.same({ ': expected a list, got string "x"' }, problems(S.list(S.int()), "x"))
    assert.matches("is nil", problems(S.list(S.int()), { 1, nil, 3 })[1])
  end)
end)

describe("records", function()
  local retry = S.record { attempts = S.int { min = 0, max = 10 }:default(1),
    on = S.list(S.string()):optional(),
                           per = S.duration():default "1s" }

  it("fill defaults in and normalise them", function()
    assert.same({ attempts = 1, per = 1 }, normal(retry, {}))
  end)

  it("are closed, and suggest", function()
    local _, found = S.validate(S.record { retry = retry }, { retry = { atempts = 2 } })
    assert.equal("retry.atempts", found[1].path)
    assert.equal("attempts", found[1].suggestion)
    assert.equal('did you mean "attempts"? (integer 0–10, default 1)', found[1].hint)
  end)

  it("require what is not optional", function()
    local _, found = S.validate(S.record { a = S.string():doc "the a" }, {})
    assert.same({ "a", "missing", "required: a string — “the a”" },
                { found[1].path, found[1].message, found[1].hint })
  end)

  it("collect all mistakes", function()
    assert.same({ "z: unknown field", "a: missing", 'b: expected an integer, got string "x"' },
                problems(S.record { a = S.int(), b = S.int() }, { b = "x", z = 1 }))
  end)

  it("are plain: a metatable could answer anything", function()
    local tricky = setmetatable({}, { __index = function(t) return t end })
    assert.same({ ": a table with a metatable is no plain data" }, problems(S.record { a = S.int() }, tricky))
    assert.same({ ": a table with a metatable is no plain data" }, problems(S.list(S.int()), tricky))
  end)

  it("have positional fields", function()
    assert.same({ "a", weight = 2 }, normal(S.record { [1] = S.string(), weight = S.int() }, { "a",
      weight = 2 }))
    assert.same({ "[2]: unexpected item; fields have names here" }, problems(S.record { [1] = S.string() },
      { "a", "b" }))
    assert.same({ "[3]: unexpected item; at most 2 have no name here" },
                problems(S.record { S.string(), S.string() }, { "a", "b", "c" }))
  end)

  it("say how a field is written that stands there as an item", function()
    local _, found = S.validate(S.record { http = S.bool():optional() }, { "http" })
    assert.equal("write http = … (true or false)", found[1].hint)
  end)

  it("warn of deprecated fields and take them", function()
    local value, found = S.validate(S.record { old = S.int():optional():deprecated "use new" }, { old = 1 })
    assert.same({ old = 1 }, value)
    assert.same({ "warning", "use new" }, { found[1].severity, found[1].hint })
  end)

  it("do not warn of a deprecated field that nobody wrote", function()
    assert.same({}, problems(S.record { old = S.int():default(1):deprecated "use new" }, {}))
  end)

  it("tell a missing reference which names there are", function()
    local host = { declared = function(kind) return "declared: a " .. kind end }
    local _, found = S.validate(S.record { zone = S.ref "zone.dict" }, {}, host)
    assert.equal("required: the name of a dict zone\ndeclared: a zone.dict", found[1].hint)
  end)

  it("leave a type unchanged by its modifiers", function()
    local base = S.int()
    base:optional():default(3)
    assert.same({ "a: missing" }, problems(S.record { a = base }, {}))
  end)
end)

describe("rules", function()
  local a, b, mode = S.int():optional(), S.int():optional(), S.string():optional()
  local function with(...)
    return S.record { a = a, b = b, mode = mode }:rules { ... }
  end

  it("exactly_one", function()
    local t = with(S.exactly_one("a", "b"))
    assert.same({}, problems(t, { a = 1 }))
    assert.same({ ": one of these fields is needed: a, b" }, problems(t, {}))
    assert.same({ "b: only one of these fields may be set: a, b" }, problems(t, { a = 1, b = 2 }))
  end)

  it("requires", function()
    local t = with(S.requires("a", "b"))
    assert.same({}, problems(t, { b = 1 }))
    assert.same({ 'a: needs the field "b" too' }, problems(t, { a = 1 }))
  end)

  it("distinct", function()
    assert.same({ "b: must differ from a" }, problems(with(S.distinct("a", "b")), { a = 1, b = 1 }))
    assert.same({}, problems(with(S.distinct("a", "b")), { a = 1, b = 2 }))
  end)

  it("when", function()
    local t = with(S.when("mode", "x", S.need "b"))
    assert.same({}, problems(t, { mode = "y" }))
    local _, found = S.validate(t, { mode = "x" })
    assert.same({ "b", "missing", 'required: an integer, where mode = "x"' },
                { found[1].path, found[1].message, found[1].hint })
  end)

  it("are told in the same pass as broken fields, and not about them", function()
    local t = with(S.requires("a", "b"), S.distinct("a", "b"), S.when("mode", "x", S.need "b"))
    assert.same({ 'a: expected an integer, got string "1"', 'a: needs the field "b" too', "b: missing" },
                problems(t, { a = "1", mode = "x" }))
    assert.same({ 'b: expected an integer, got string "1"' }, problems(t, { a = 1, b = "1", mode = "x" }))
  end)

  it("name fields that exist, and values that can be", function()
    assert.has_error(function() with(S.exactly_one("a", "c")) end, 'rule 1 names the unknown field "c"')
    assert.has_error(function() with(S.when("mode", "x", S.need "c")) end,
      'rule 1 names the unknown field "c"')
    assert.has_error(function()
      S.record { kind = S.enum { "a", "b" }, x = a }:rules { S.when("kind", "c", S.need "x") }
    end, 'rule 1 waits for kind = "c", which is not one of its values')
  end)
end)

describe("one_of", function()
  local t = S.one_of {
    static = S.record { address = S.string(), weight = S.int():default(1) },
    dns = S.record { dns = S.string(), refresh = S.duration():default "30s" },
    off = S.enum { "off" },
  }

  it("takes whichever fits", function()
    assert.same({ address = "a", weight = 1 }, normal(t, { address = "a" }))
    assert.same("off", normal(t, "off"))
  end)

  it("complains about the closest variant only", function()
    assert.same({ "refesh: unknown field" }, problems(t, { dns = "a", refesh = "1s" }))
  end)

  it("names the variants where none has the shape", function()
    assert.matches("expected a table or \"off\" or a table, got number 5", problems(t, 5)[1], 1, true)
  end)
end)

describe("checks of one's own", function()
  it("refuse with a reason, or replace the value", function()
    local t = S.record { n = S.int():check(function(n, path)
      if n == 13 then return nil, path .. " is unlucky" end
      return n * 2
    end) }
    assert.same({ n = 4 }, normal(t, { n = 2 }))
    assert.same({ "n: n is unlucky" }, problems(t, { n = 13 }))
  end)

  it("are told when they break", function()
    local t = S.int():check(function() error("oops", 0) end)
    assert.same({ ": the schema's own check failed: oops" }, problems(t, 1))
  end)
end)

describe("what is sensitive", function()
  local found

  -- All that people would read of the mistakes, in one text.
  local function said(t, value)
    local _, list = S.validate(t, value)
    found = list
    local parts = {}
    for i, problem in ipairs(list) do
      parts[i] = table.concat({ problem.path, problem.message, problem.hint or "", problem.suggestion or
        "" }, " ")
    end
    return table.concat(parts, "\n")
  end

  local types = {
    text = S.string { min = 20 }, pattern = S.string { pattern = "^%d+$" }, word = S.enum { "huntsman" },
    duration = S.duration(), url = S.url(), header = S.header_name { editable = true },
      number = S.int { max = 1 },
    either = S.one_of { a = S.int(), b = S.enum { "x" } }, list = S.list(S.cidr()),
    record = S.record { inner = S.record { word = S.enum { "huntsman" } } },
    checked = S.string():check(function(value) return nil, value .. " is bad" end),
    broken = S.string():check(function(value) error(value) end),
  }
  local values = { number = 12345, list = { "hunter2" }, record = { inner = { word = "hunter2" } } }

  for name, t in pairs(types) do
    it("is not shown by a mistake in it: " .. name, function()
      local text = said(S.record { field = t:sensitive() }, { field = values[name] or "hunter2 " })
      assert.not_matches("hunter2", text)
      assert.not_matches("12345", text)
      assert.is_true(#found > 0)
      for _, problem in ipairs(found) do assert.is_true(problem.sensitive) end
    end)
  end

  it("is not shown as the key of a map", function()
    local text = said(S.map(S.string():sensitive(), S.int()), { hunter2 = "x" })
    assert.not_matches("hunter", text)
    assert.matches('expected an integer, got string "x"', text)
  end)

  it("is not shown by what the host says of a name, nor by the line of a deprecated field", function()
    local host = { resolve = function(_, value) return nil, "no " .. value, "hint " .. value, value end }
    local _, list = S.validate(S.ref("service"):sensitive(), "hunter2", host)
    assert.same({ "not the name of a service" }, { list[1].message, list[1].hint, list[1].suggestion })
    _, list = S.validate(S.string():deprecated("use b"):sensitive(), "hunter2")
    assert.is_true(list[1].sensitive)
  end)

  it("does not hide its neighbours", function()
    assert.matches('got string "shown"', said(S.record { a = S.list(S.int()):sensitive(), b = S.int() },
                                             { a = { "hidden" }, b = "shown" }))
    assert.not_matches("hidden", said(S.record { a = S.list(S.int()):sensitive() }, { a = { "hidden" } }))
  end)
end)

describe("references", function()
  local host = { resolve = function(kind, value)
    if value == "orders" then return "orders" end
    return nil, ("no %s is called %q"):format(kind, tostring(value)), "declared: orders"
  end }

  it("are names that the host knows", function()
    assert.equal("orders", normal(S.ref "service", "orders", host))
    assert.same({ ': no service is called "odrers"' }, problems(S.ref "service", "odrers", host))
  end)
end)

describe("a schema's author", function()
  it("is told of a mistake where it stands", function()
    assert.has_error(function() S.int { minimum = 1 } end, 'S.int has no option "minimum"; it has max, min')
    assert.has_error(function() S.duration { max = 5 } end, "max of S.duration must be a string")
    assert.has_error(function() S.list "string" end, "the item of S.list is not a schema type")
    assert.has_error(function() S.record { a = {} } end, 'field "a" is not a schema type')
    assert.has_error(function() S.list(S.string) end,
      "the item of S.list is not a schema type but what makes one: write S.string(…)")
  end)
end)
