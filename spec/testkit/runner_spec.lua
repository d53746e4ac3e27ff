--- `tidegate test` as people meet it: bad specs, exit status, options; and `tidegate new`.

local command = require("support.command")

local BIN = os.getenv("TIDEGATE_BIN")

describe("the program", function()
  local folder

  before_each(function()
    folder = command.folder()
  end)

  after_each(function()
    folder:close()
  end)

  local function run(argv)
    return folder:run_words(argv)
  end

  local function test(...)
    return run({ BIN, "test", ... })
  end

  local HEAD = [[
    local t = require("tidegate.test")
    local function plugin(text)
      return t.plugin(t.source(
        'local P = { name = "probe", version = "1", api = 1, stage = "guard" } ' .. text .. ' return P'))
    end
    describe("things", function()
      before_each(function() t.reset() end)
  ]]

  -- A spec file with these tests and one more, which passes.
  local function spec_with(text)
    folder:write("bad_spec.lua", HEAD .. text .. '\n it("is fine", function() assert.is_true(true) end) end)')
  end

  it("ends with 0 when everything passes", function()
    spec_with("")
    local code, out = test("bad_spec.lua")
    assert.equal(0, code)
    assert.matches("1 success / 0 failures / 0 errors", out)
  end)

  it("reports a failure and an error with file and line, and ends with 1", function()
    spec_with([[
      it("fails", function() assert.response(plugin "P.log = function() end":run()).has.status(404) end)
      it("errs", function() error "broken" end)]])
    local code, out = test("bad_spec.lua")
    assert.equal(1, code)
    assert.matches("1 success / 1 failure / 1 error", out)
    assert.matches("bad_spec.lua:8: expected status 404, got 200", out)
    assert.matches("bad_spec.lua:9: broken", out)
  end)

  it("ends a spec without an end, says where it was, and runs the others", function()
    spec_with([[
      it("spins", function() while true do end end)
      it("spins and catches", function() while true do pcall(function() while true do end end) end end)]])
    local code, out = test("--timeout=0.3", "bad_spec.lua")
    assert.equal(1, code)
    assert.matches("1 success / 0 failures / 2 errors", out)
    assert.matches('bad_spec.lua:8: "spins" takes longer than 0.3 s', out)
    assert.matches('bad_spec.lua:9: "spins and catches" takes longer than 0.3 s', out)
  end)

  it("reports what a spec left open, and where it came from", function()
    spec_with([[
      it("leaves", function()
        local gw = t.gateway("gw.lua", { files = { ["gw.lua"] = 'local tg = require "tidegate" ' ..
          'tg.listener "l" { address = "127.0.0.1:1" } tg.service "s" { targets = { { "10.0.0.1:1" } } } ' ..
          'tg.route "r" { service = "s" }' } })
        gw:upstream("s", t.hang())
        gw:open():request { path = "/left" }
      end)]])
    local code, out = test("bad_spec.lua")
    assert.equal(1, code)
    assert.matches("bad_spec.lua:8: left open at the end of the test:", out)
    assert.matches("a request that is not over: GET /left", out)
    assert.matches("a connection that was not closed, opened at bad_spec.lua:13", out)
    assert.matches("2 successes", out)
  end)

  it("closes what before_each made with each test, and what setup made with the file", function()
    folder:write("kept_spec.lua", [[
      local t = require("tidegate.test")
      local function plugin(text)
        return t.plugin(t.source('return { name = "probe", version = "1", api = 1, stage = "guard", ' ..
          'access = function(_, ctx) ' .. text .. ' end }'))
      end
      describe("things", function()
        local kept
        setup(function() kept = plugin "" end)
        before_each(function()
          local own = plugin "ctx:sleep(1)"
          t.clock:freeze()
          own:run()
          t.clock:freeze(false)
        end)
        it("has a kept one", function() assert.equal(200, kept:run().status) end)
        it("has it still", function() assert.equal(200, kept:run().status) end)
      end)]])
    local code, out = test("kept_spec.lua")
    assert.equal(1, code)
    assert.matches("2 successes / 0 failures / 2 errors", out)
    assert.matches("kept_spec.lua:15: left open at the end of the test:", out)
    assert.matches("kept_spec.lua:16: left open at the end of the test:", out)
  end)

  it("says why a plugin was killed when a spec did not expect it", function()
    spec_with([[
      it("is killed", function()
        local p = plugin "P.access = function() while true do end end"
        assert.response(p:run()).has.status(200)
      end)]])
    local code, out = test("bad_spec.lua")
    assert.equal(1, code)
    assert.matches("expected status 200, got 503", out)
    assert.matches("plugin probe failed in access: bad_spec.lua/source%-%d+.lua:1: killed %(cpu%)", out)
  end)

  it("says what check says of a plugin or file that does not load", function()
    spec_with([[
      it("has no file", function() t.plugin "plugins/none.lua" end)
      it("has a typo", function() plugin "P.acces = function() end" end)]])
    local code, out = test("bad_spec.lua")
    assert.equal(1, code)
    assert.matches('bad_spec.lua:8: .*cannot read the plugin "plugins/none.lua"', out)
    assert.matches('acces: unknown field', out)
    assert.matches('did you mean "access"', out)
  end)

  it("reports spec files that do not load, or are not there", function()
    folder:write("broken_spec.lua", "describe(")
    spec_with("")
    local code, out = test("broken_spec.lua", "bad_spec.lua", "nowhere_spec.lua")
    assert.equal(1, code)
    assert.matches("broken_spec.lua:1:", out)
    assert.matches("nowhere_spec.lua", out)
    assert.matches("1 success", out)
  end)

  it("writes JUnit XML", function()
    spec_with('it("fails", function() assert.equal(1, 2) end)')
    local code = test("--junit=results.xml", "bad_spec.lua")
    assert.equal(1, code)
    local xml = folder:read("results.xml")
    assert.matches("<testsuites", xml)
    assert.matches('failures=[\'"]1[\'"]', xml)
    assert.matches("things fails", xml)
  end)

  local PROBE = [[
      it("runs", function()
        local p = t.plugin(t.source(table.concat({
          'local seen = {}',
          'return { name = "probe", version = "1", api = 1, stage = "guard",',
          '  access = function(_, ctx)',
          '    seen[1] = ctx.id',
          '    ctx:sleep "1s"',
          '    if ctx.req.path == "/never" then',
          '      ctx:exit(404)',
          '    end',
          '  end }' }, "\n")))
        assert.response(p:run { path = "/a" }).has.status(200)
      end)]]

  it("tells which lines of plugins were run", function()
    spec_with(PROBE)
    local code, out = test("--coverage", "bad_spec.lua")
    assert.equal(0, code)
    assert.matches("%d+ of %d+ lines  bad_spec.lua/source%-%d+.lua\n          not run: 7\n", out)
  end)

  it("tells what requests write that run at once", function()
    spec_with(PROBE)
    local code, out = test("--interleave", "bad_spec.lua")
    assert.equal(0, code)
    assert.matches('plugin probe: "seen" was written by both requests: GET /a', out)
  end)

  it("leaves the spec's own run as it is without the pair", function()
    spec_with([[
      it("goes through its steps", function()
        t.mock_service("steps", t.sequence { 201, 202, 203, 204 })
        local p = t.plugin(t.source(table.concat({
          'local tg, seen = require "tidegate", {}',
          'return { name = "probe", version = "1", api = 1, stage = "guard", needs = { http = true },',
          '  access = function(_, ctx)',
          '    ctx:sleep "1s"',
          '    ctx.state.step = tg.http.get("steps", "/").status',
          '  end,',
          '  header_filter = function(_, ctx)',
          '    if ctx.resp.status == 503 then seen.bad = ctx.id end',
          '    ctx:sleep "1s"',
          '    ctx.resp:set_header("x-step", ctx.state.step)',
          '  end }' }, "\n")))
        local before = t.clock:now()
        assert.response(p:run { path = "/good" }).has.header("x-step", "201")
        assert.equal(before + 2, t.clock:now())
        assert.response(p:run { path = "/bad", upstream = { 503 } }).has.header("x-step", "202")
        assert.equal(before + 4, t.clock:now())
      end)]])
    local code, out = test("--interleave", "bad_spec.lua")
    assert.equal(0, code, out)
    assert.matches('"seen" was written by both requests: GET /bad\n', out)
  end)

  it("records an archive", function()
    spec_with(PROBE)
    assert.equal(0, (test("--record=all.har", "bad_spec.lua")))
    assert.matches('"url":"http:\\/\\/gateway.test\\/a"', folder:read("all.har"))
    local code, out = test("--record=no/such/folder.har", "bad_spec.lua")
    assert.equal(3, code)
    assert.matches("cannot write the archive: no/such/folder.har", out)
  end)

  it("does not understand everything", function()
    local code, out = test("--timeout=soon")
    assert.equal(2, code)
    assert.matches("%-%-timeout takes a number of seconds", out)
    code, out = test("--tiemout=3")
    assert.equal(1, code)
    assert.matches("tiemout", out)
  end)

  it("writes a plugin whose spec passes, and touches nothing twice", function()
    local all = "--phases=log,rewrite,access,header_filter,body_filter,message,certificate"
    local code, out = run({ BIN, "new", "plugin", "geo-tag", all })
    assert.equal(0, code)
    assert.matches("wrote plugins/geo%-tag/init.lua", out)
    code, out = test()
    assert.equal(0, code)
    assert.matches("8 successes / 0 failures / 0 errors", out)
    code, out = run({ BIN, "new", "plugin", "geo-tag" })
    assert.equal(1, code)
    assert.matches("plugins/geo%-tag/init.lua exists already; nothing was written", out)
  end)

  it("writes a gateway that loads, and whose spec passes", function()
    assert.equal(0, (run({ BIN, "new", "gateway" })))
    assert.equal(0, (run({ BIN, "check" })))
    local code, out = test()
    assert.equal(0, code)
    assert.matches("2 successes", out)
  end)

  it("refuses names and phases that are none", function()
    for _, words in ipairs({ { "plugin", "Geo" }, { "plugin" }, { "plugin", "a", "--phases=acess" }, {} }) do
      local code, out = run({ BIN, "new", unpack(words) })
      assert.equal(2, code)
      assert.matches("usage: tidegate new plugin NAME", out)
    end
  end)
end)
