-- tg.dict: values shared by workers and kept by reloads, and what is refused.

local helper = require("zones.helper")

describe("tg.dict", function()
  local function start(...)
    local z = helper.start(...)
    finally(function() z.g:stop() end)
    return z
  end

  it("holds what all workers add up", function()
    local z = start("{}", [[
      function ops.incr() return note "n" end
    ]])
    local calls = z:workers("incr")
    assert.equal(tostring(calls), z:call("noted?key=n"))
    z:together(20, "incr")
    assert.equal(tostring(calls + 20), z:call("noted?key=n"))
  end)

  it("stores strings, numbers, booleans and plain tables", function()
    local z = start("{ dict = '64KiB' }", [[
      function ops.store(ctx)
        local d = tg.dict()
        d:set("s", "text") d:set("n", 1.5) d:set("f", false) d:set("t", { a = { 1, "x" } })
        local copy = d:get("t")
        copy.a[1] = 2
        return { d:get("s"), d:get("n"), d:get("f"), d:get("t").a, tostring(d:get("none")) }
      end
    ]])
    assert.equal('["text",1.5,false,[1,"x"],"nil"]', z:call("store"))
  end)

  it("adds, swaps, deletes and tells the time that is left", function()
    local z = start("{ dict = '64KiB' }", [[
      function ops.steps()
        local d = tg.dict()
        return { d:add("k", 1, { ttl = "60s" }), d:add("k", 2), d:cas("k", 2, 3), d:cas("k", 1, "x"),
                 d:ttl("k") > 50, d:cas("none", nil, 1), d:ttl("none") == math.huge, d:delete("k"),
                 d:delete("k"), d:ttl("k") == nil, d:incr("i", 2, { init = 5 }), d:incr("i") }
      end
      function ops.absent() return tg.dict():incr("nope", 1) end
      function ops.text() tg.dict():set("s", "1") return tg.dict():incr("s", 1) end
      function ops.large() return tg.dict():set("s", ("x"):rep(100000)) end
    ]])
    assert.equal("[true,false,false,true,true,true,true,true,false,true,7,8]", z:call("steps"))
    assert.equal("error not_found", z:call("absent"))
    assert.equal("error bad_input", z:call("text"))
    assert.equal("error too_large", z:call("large"))
  end)

  it("lets an entry end with its time", function()
    local z = start("{}", [[
      function ops.set() return tg.dict("shared"):set("k", 1, { ttl = "20ms" }) end
    ]])
    assert.equal("true", z:call("set"))
    z:await("noted?key=k", "0")
  end)

  it("is as large as it says, and no more", function()
    local z = start("{ dict = '64KiB' }", [[
      function ops.fill()
        local d, left = tg.dict(), 0
        for i = 1, 500 do d:set("k" .. i, ("x"):rep(1000)) end
        for i = 1, 500 do left = left + (d:get("k" .. i) and 1 or 0) end
        return { left > 20, left < 64, d:get "k500" ~= nil }
      end
    ]])
    assert.equal("[true,true,true]", z:call("fill"))
  end)

  it("keeps its entries over a reload, unless its size has changed", function()
    local z = start("{ dict = '64KiB' }", [[
      function ops.set() tg.dict():set("own", 1) return note "n" end
      function ops.get() return { tg.dict():get("own"), tg.dict("shared"):get("n") } end
    ]])
    z:call("set")
    z.g:reload(helper.changed(1))
    z.g:wait_for_log("revision 2")
    assert.equal('[1,1]', z:call("get"))
    z.g:reload((helper.CONFIG:gsub('"shared" { size = "1MiB"', '"shared" { size = "2MiB"')))
    z.g:wait_for_log("revision 3")
    assert.equal('[1]', z:call("get"))
    z.g:wait_for_log("the size of a zone has changed: it starts empty zone=shared")
  end)

  local MISUSE = {
    { "tg.dict('shard'):get('k')", 'tg.dict(): argument 1 (zone): no dict zone is called "shard"' },
    { "tg.dict('pages'):get('k')", 'tg.dict(): argument 1 (zone): no dict zone is called "pages"' },
    { "tg.dict():get('k')", 'tg.dict(): the plugin does not declare needs = { dict = "1MiB" }' },
    { "tg.cache():get('k')", 'tg.cache(): the plugin does not declare needs = { cache = "1MiB" }' },
    { "tg.dict('shared'):get()", "dict:get(): argument 1 (key): expected a string, got nothing" },
    { "tg.dict('shared'):set('k', nil)", "dict:set(): argument 2 (value): expected a value, got nil" },
    { "tg.dict('shared'):set('k', print)", "dict:set(): argument 2 (value): expected a string, a number" },
    { "tg.dict('shared'):set('k', { { f = print } })", "value[1].f: a function cannot cross" },
    { "tg.dict('shared'):set('k', 1, { tll = 1 })", "argument 3 (options): there is no option tll" },
    { "tg.dict('shared'):set('k', 1, { ttl = '5 s' })", "argument 3 (options): ttl: expected seconds" },
    { "tg.dict('shared'):incr('k', '1')", "dict:incr(): argument 2 (n): expected a finite number" },
    { "tg.dict('shared'):cas('k', {}, 1)", "dict:cas(): argument 2 (expected): expected a string, a number" },
    { "tg.dict('shared').get({}, 'k')", "dict:get() was called on a table" },
    { "tg.dict('shared').got", 'dict has no field or method "got"' },
  }

  it("tells what was misused", function()
    local lines = {}
    for i, case in ipairs(MISUSE) do
      local call = ("pcall(function() local x = %s return x end)"):format(case[1])
      lines[i] = ("function ops.m%d() return { why = select(2, %s) } end"):format(i, call)
    end
    local z = start("{}", table.concat(lines, "\n"))
    for i, case in ipairs(MISUSE) do
      local answer = z:call("m" .. i):gsub('\\"', '"')
      assert.contains(case[2], answer)
      assert.contains("probe.lua:", answer)
    end
  end)
end)
