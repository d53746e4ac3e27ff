-- Plugin files at check: what is loaded from them, and every way in which one is refused.

local host = require "support.config_host"

local GATEWAY = [==[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "echo" { builtin = "echo" }
tg.route "all" { service = "echo", plugins = { tg.use "./p.lua" {} } }
]==]

local function load(text, modules)
  local files = { ["p.lua"] = text }
  for path, module in pairs(modules or {}) do files[path] = module end
  return host.load(GATEWAY, { files = files })
end

-- First lines of the messages.
local function messages(text, modules)
  local tree, reports = load(text, modules)
  assert.is_nil(tree)
  local lines = {}
  for i, report in ipairs(reports:sorted()) do
    lines[i] = reports:format(report):match "^([^\n]*) %[TG%d+%]"
  end
  return lines
end

local HEAD = 'local P = { name = "p", version = "1.0.0", api = 1, stage = "guard" }\n'

describe("a plugin file", function()
  it("is loaded with its phases, text and modules", function()
    local text = 'local util = require "util"\n' .. HEAD .. "function P.access() return util end\nreturn P\n"
    local tree = load(text, { ["util.lua"] = "return { 1 }" })
    local plugin = tree.plugins[1]
    assert.equal("p", plugin.name)
    assert.equal("p.lua", plugin.chunkname)
    assert.equal(text, plugin.source)
    assert.same({ access = true }, plugin.phases)
    assert.same({ { name = "util", chunkname = "util.lua", source = "return { 1 }" } }, plugin.modules)
  end)

  it("may be a folder", function()
    local tree = host.load((GATEWAY:gsub("%./p%.lua", "./p")),
                           { files = { ["p/init.lua"] = HEAD .. "function P.log() end\nreturn P" } })
    assert.equal("p/init.lua", tree.plugins[1].chunkname)
  end)

  it("may name the library at load", function()
    assert.is_table(load('local tg = require "tidegate"\nlocal now = tg.time.now\n' .. HEAD ..
                         "function P.access() return now() end\nreturn P"))
  end)

  it("declares instruments", function()
    local function with(text)
      return HEAD .. "P.metrics = { " .. text .. " }\nfunction P.access() end\nreturn P"
    end
    assert.is_table(load(with 'no = { type = "counter", labels = { "reason" } }, open = { type = "gauge" }'))
    assert.matches("metrics%.x%.type", messages(with 'x = { type = "meter" }')[1])
    assert.matches("metrics%.x%.type", messages(with "x = {}")[1])
    assert.matches("metrics%.x%.labels", messages(with 'x = { type = "gauge", labels = { "a-b" } }')[1])
    assert.matches("metrics", messages(with '["a-b"] = { type = "gauge" }')[1])
  end)

  local cases = {
    { "that does not parse", "local x = = 1", { "p.lua:1: unexpected symbol near '='" } },
    { "that is bytecode", "\27LJ\2", { "p.lua:1: compiled bytecode is not loaded; give the text" } },
    { "that fails", "local x\nlocal y = x.z\nreturn y",
      { "p.lua:2: attempt to index local 'x' (a nil value)" } },
    { "that throws a table", "error {}", { "p.lua:1: error object: a table" } },
    { "that returns nothing", "local x = 1",
      { "p.lua:1: a plugin file returns a table, this one returned nothing" } },
    { "that returns a string", "return 'x'",
      { "p.lua:1: a plugin file returns a table, this one returned a string" } },
    { "without identity", "return { log = function() end }",
      { "p.lua:1:1: api: missing", "p.lua:1:1: name: missing", "p.lua:1:1: stage: missing",
        "p.lua:1:1: version: missing" } },
    { "without a phase", HEAD .. "return P", { "p.lua:2:1: it has no phase" } },
    { "with an unknown phase", HEAD .. "function P.acess() end\nfunction P.log() end\nreturn P",
      { "p.lua:2:12: acess: unknown field" } },
    { "with an unknown field", HEAD .. "P.prioritty = 1\nfunction P.log() end\nreturn P",
      { "p.lua:2:3: prioritty: unknown field" } },
    { "with an unknown stage", 'return { name = "p", version = "1", api = 1, stage = "gaurd", log = print }',
      { 'p.lua:1:46: stage: "gaurd" is not an allowed value' } },
    { "that has nothing decoded", HEAD .. "P.needs = { decode = true }\nfunction P.log() end\nreturn P",
      { 'p.lua:2:3: needs: decode = true goes with body = "response" or body = "both"' } },
    { "with an unknown capability", HEAD .. "P.needs = { htpp = true }\nfunction P.log() end\nreturn P",
      { "p.lua:2:13: needs.htpp: unknown field" } },
    { "for another contract", 'return { name = "p", version = "1", api = 2, stage = "guard", log = print }',
      { "p.lua:1:37: api: 2 is above the maximum 1" } },
    { "whose schema is a plain table", HEAD .. "P.schema = {}\nfunction P.log() end\nreturn P",
      { "p.lua:2:3: schema: expected a schema, got a table" } },
    { "whose phase is no function", HEAD .. "P.log = 1\nreturn P",
      { "p.lua:2:3: log: expected a function, got number 1" } },
    { "with a broken schema",
      'local S = require "tidegate.schema"\nreturn { schema = S.record { a = S.strng() } }',
      { 'p.lua:2: tidegate.schema has no "strng"; did you mean "string"?' } },
    { "with a type that is not called",
      'local S = require "tidegate.schema"\nreturn { schema = S.record { a = S.string } }',
      { 'p.lua:2: field "a" is not a schema type but what makes one: write S.string(…)' } },
    { "with a default that its schema refuses", 'local S = require "tidegate.schema"\n' .. HEAD ..
      "P.schema = S.record { a = S.int { min = 3 }:default(1) }\nfunction P.log() end\nreturn P",
      { "gateway.lua:4:48: routes.all.plugins[1] (./p.lua).a: the default in its schema does not fit: " ..
        "1 is below the minimum 3" } },
    { "that reads an undeclared global",
      HEAD .. "function P.access()\n  return strng.rep('x', 2)\nend\nreturn P",
      { 'p.lua:3:10: access: undeclared global "strng"' } },
    { "that takes from os what a plugin has not", HEAD ..
      "function P.access()\n  local t = os\n  return os.time() + #os.getenv 'A', t.clock()\nend\nreturn P",
      { "p.lua:4:23: access: a plugin has no os.getenv" } },
    { "that writes a global", HEAD .. "function P.access()\n  count = 1\nend\nreturn P",
      { 'p.lua:3:3: access: assignment to the global "count"' } },
    { "whose phase is declared with a colon", HEAD .. "function P:access(conf) end\nreturn P",
      { "p.lua:2: access: its first parameter is self, but it is called without the plugin's table" } },
    { "whose configure is declared with a colon",
      HEAD .. "function P.log() end\nfunction P:configure() end\nreturn P",
      { "p.lua:3: configure: its first parameter is self, but it is called without the plugin's table" } },
    { "that reads a field which its schema has not",
      HEAD .. "function P.access(conf)\n  if conf.enabeld then return end\nend\nreturn P",
      { 'p.lua:3:6: access: the plugin\'s schema has no field "enabeld"' } },
    { "that calls a modifier which is none",
      'local S = require "tidegate.schema"\nreturn { schema = S.record { a = S.int():defalt(1) } }',
      { "p.lua:2: attempt to call method 'defalt' (a nil value)" } },
    { "that requires what another gateway has", 'require "cjson"',
      { 'p.lua:1: cannot require "cjson": tg.json is JSON' } },
    { "that calls the library while it loads", 'local tg = require "tidegate"\ntg.http.get("x")',
      { "p.lua:2: tg.http.get cannot be called while the plugin is loaded; " ..
        "call it in init, configure or a phase" } },
    { "that looks for the schema in the library",
      'local tg = require "tidegate"\nreturn { schema = tg.schema.record {} }',
      { 'p.lua:2: tg has no schema: require "tidegate.schema" is the module' } },
    { "that requires what it may not", 'require "socket"',
      { 'p.lua:1: cannot require "socket": ' ..
        "a plugin may require its own files, tidegate and tidegate.schema" } },
    { "that requires outside of its folder", 'require "..secret"',
      { 'p.lua:1: cannot require "..secret": ' ..
        "a plugin may require its own files, tidegate and tidegate.schema" } },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. " is refused", function() assert.same(case[3], messages(case[2])) end)
  end

  local function with_fields(body)
    return 'local S = require "tidegate.schema"\n' .. HEAD .. [[
P.schema = S.record { enabled = S.bool():default(true), depth = S.int():optional(), [1] = S.int():optional() }
]] .. body .. "\nreturn P"
  end

  it("may read all that its schema has, and what configure() made", function()
    assert.is_table(load(with_fields [[
function P.configure(conf) return conf.enabled end
function P.access(conf, ctx)
  ctx.state.on = conf.enabled and conf.depth and conf.compiled and conf[1]
  conf.compiled = conf
  if not conf then ctx.state.conf = conf end
end]]))
  end)

  it("is told a slip in the name of a field", function()
    local _, reports = load(with_fields "function P.log(conf)\n  local on = conf.enabeld\n  return on\nend")
    local shown = reports:render "checked"
    assert.contains("p.lua:5:14: log: the plugin's schema has no field \"enabeld\" [TG1410]", shown)
    assert.contains("did you mean conf.enabled?", shown)
  end)

  it("may put something else in the place of conf", function()
    assert.is_table(load(with_fields [[
function P.access(conf, ctx)
  conf = ctx.state
  return conf.anything
end
function P.log(conf)
  for _ = 1, 2 do conf = { other = conf } end
  return conf.other
end]]))
  end)

  it("that is not there may be near to one that is", function()
    local files = { ["plugins/geo.lua"] = HEAD .. "function P.log() end\nreturn P" }
    for _, name in ipairs { "./plugins/goe.lua", "plugins/geo", "./plugins/goe" } do
      local shown = host.errors((GATEWAY:gsub("%./p%.lua", name)), { files = files })
      assert.contains('did you mean "./plugins/geo.lua"?', shown)
    end
  end)

  it("is not poisoned through strings", function()
    assert.is_table(load(HEAD .. "assert(getmetatable('') == nil)\nassert(string.dump == nil)\n" ..
                         "function P.log() end\nreturn P"))
  end)

  it("cannot change the schema library for others", function()
    assert.matches("the schema library cannot be changed",
                   messages('local S = require "tidegate.schema"\nS.string = nil')[1])
  end)

  it("may have what its VM calls at its end", function()
    assert.is_table(load(HEAD .. "function P.log() end\nfunction P.stop() end\nreturn P"))
  end)

  it("has modules that are checked too", function()
    assert.same({ "a.lua:1: '=' expected near '<eof>'" }, messages('require "a"', { ["a.lua"] = "x" }))
    assert.same({ 'a.lua:1:8: undeclared global "strng"' },
                messages('require "a"\n' .. HEAD .. "function P.log() end\nreturn P",
                  { ["a.lua"] = "return strng" }))
    assert.matches("modules that require each other",
                   messages('require "a"', { ["a.lua"] = 'require "b"', ["b.lua"] = 'require "a"' })[1])
  end)

  it("shares its name with no other file", function()
    local text = GATEWAY:gsub('tg.use "./p.lua" {}', 'tg.use "./p.lua" {}, tg.use "./q.lua" {}')
    local plugin = HEAD .. "function P.log() end\nreturn P"
    assert.matches('two files are the plugin "p": p.lua and q.lua',
                   host.errors(text, { files = { ["p.lua"] = plugin, ["q.lua"] = plugin } }), 1, true)
  end)

  it("lowers limits and never raises them", function()
    local text = HEAD .. 'P.limits = { memory = "64KiB", cpu = "1s", heap = "1MiB" }\n' ..
                 "function P.log() end\nreturn P"
    local tree = load(text)
    assert.same({ memory = 65536, cpu = 0.02 }, tree.instances[1].limits)
    assert.equal(2 ^ 20, tree.plugins[1].heap)
  end)

  it("is told which value holds where it asks for more than the operator's", function()
    local text = HEAD .. 'P.limits = { memory = "64KiB", cpu = "1s", heap = "1GiB" }\n' ..
                 "function P.log() end\nreturn P"
    local tree, reports = load(text)
    assert.is_table(tree)
    assert.equal(2, reports.warnings)
    local shown = reports:render "checked"
    assert.contains('limits.cpu = "1s", and gets the "20ms" of settings.limits.plugin.cpu', shown)
    assert.contains('tg.use("./p.lua", { limits = { cpu = "1s" } })', shown)
    assert.contains('limits.heap = "1GiB", and gets the "32MiB" of settings.limits.plugin_vm.heap', shown)
    assert.contains("raise settings.limits.plugin_vm.heap", shown)
    assert.contains("gateway.lua:4", shown)
    local raised = GATEWAY:gsub('tg.use "./p.lua"', 'tg.use("./p.lua", { limits = { cpu = "1s" } })')
    tree, reports = host.load(raised, { files = { ["p.lua"] = text } })
    assert.equal(1, tree.instances[1].limits.cpu) -- the operator may raise it
    assert.equal(1, reports.warnings)
  end)
end)
