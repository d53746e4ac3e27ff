--- `tidegate schema`, `types` and `explain`: what a configuration may say, for machines, editors and people.

local command = require("support.command")
local json = require("cjson")
local json_schema = require("support.json_schema")

local OBJECTS = { "settings", "listener", "service", "route", "consumer", "zone.dict", "zone.cache",
                  "use", "plugin" }

describe("tidegate schema", function()
  local c

  before_each(function() c = command.folder() end)
  after_each(function() c:close() end)

  local function schema_of(name)
    local code, out, err = c:run("schema", "--json-schema", name)
    assert.same({ 0, "" }, { code, err })
    return json.decode(out)
  end

  it("lists what it knows", function()
    local code, out = c:run("schema")
    assert.equal(0, code)
    for _, name in ipairs(OBJECTS) do assert.contains(name, out) end
    assert.matches("bundled plugins: [^\n]*cors, decompress, headers", out)
  end)

  it("prints the table that a plugin's file returns, with what each function is called with", function()
    local _, out = c:run("schema", "plugin")
    assert.contains("| `body_filter` | function | optional | (conf, ctx, chunk, eof): ", out)
    assert.contains("| `message` | function | optional | (conf, ctx, data, kind, from): ", out)
    assert.contains("| `needs.http` | true or false", out)
    local _, _, err = c:run("doc", "body_filter")
    assert.contains("tidegate schema plugin", err)
  end)

  it("writes valid JSON Schema of every object and every bundled plugin", function()
    local _, out = c:run("schema")
    local names = { unpack(OBJECTS) }
    for name in out:match("bundled plugins: ([^\n]*)"):gmatch("[^, ]+") do names[#names + 1] = name end
    assert.is_true(#names > 10)
    for _, name in ipairs(names) do
      local schema = schema_of(name)
      json_schema.check(schema)
      assert.same({ "object", false }, { schema.type, schema.additionalProperties })
      assert.equal("https://json-schema.org/draft/2020-12/schema", schema["$schema"])
      assert.is_string(schema.title)
    end
  end)

  it("takes what the gateway takes, and refuses what it refuses", function()
    local service = schema_of("service")
    local good = { { builtin = "echo" }, { targets = { { ["1"] = "10.0.0.1:80", weight = 2 } },
      tags = { "a" } } }
    for _, value in ipairs(good) do assert.is_true(json_schema.fits(service, value)) end
    local bad = { {}, { builtin = "ecko" }, { builtin = "echo", targets = { { ["1"] = "10.0.0.1:80" } } },
                  { bultin = "echo" }, { targets = { {} } }, { targets = { { ["1"] = "a", weight = 0 } } } }
    for _, value in ipairs(bad) do assert.is_false(json_schema.fits(service, value)) end
    local route = schema_of("route")
    assert.is_true(json_schema.fits(route, { paths = { "/a" },
      headers = { a = "1", b = { "1", "2" }, c = true } }))
    assert.is_false(json_schema.fits(route, { headers = { a = 1 } }))
    assert.is_false(json_schema.fits(route, { paths = {}, priority = "high" }))
    assert.is_true(json_schema.fits(schema_of("settings"), { limits = { request = { body = "1MiB" } } }))
  end)

  it("says of a limit what it bounds, and from where to where", function()
    local headers = schema_of("settings").properties.limits.properties.request.properties.headers
    assert.same({ "string", "32KiB" }, { headers.type, headers.default })
    assert.equal("size of a request head; larger: 431 (256B–1MiB)", headers.description)
  end)

  it("writes of a plugin in a file, with its rules, and nothing that is sensitive", function()
    c:write("mine.lua", [[
local S = require "tidegate.schema"
return { name = "mine", version = "1.0", api = 1, stage = "guard", access = function() end,
  schema = S.record {
    a = S.int():optional(), b = S.int():optional(), mode = S.enum { "x", "y" }:default "x",
    key = S.string():sensitive():default "hunter2":example "hunter3",
    old = S.int():optional():deprecated "use a",
    zone = S.ref "zone.dict":doc "where counts are",
  }:rules { S.exactly_one("a", "b"), S.requires("old", "a"), S.when("mode", "y", S.need "b") } }
]])
    local schema = schema_of("./mine.lua")
    json_schema.check(schema)
    assert.same({ type = "string", writeOnly = true }, schema.properties.key)
    assert.same({ type = "integer", deprecated = true, description = "deprecated: use a" },
      schema.properties.old)
    assert.equal("where counts are (the name of a dict zone)", schema.properties.zone.description)
    assert.equal("plugin mine 1.0", schema.title)
    local cases = { { { zone = "z", a = 1 }, true }, { { zone = "z" }, false },
      { { zone = "z", a = 1, b = 1 }, false },
                    { { zone = "z", b = 1, old = 1 }, false }, { { zone = "z", a = 1, mode = "y" }, false },
                    { { zone = "z", b = 1, mode = "y" }, true }, { { a = 1 }, false } }
    for _, case in ipairs(cases) do assert.equal(case[2], json_schema.fits(schema, case[1])) end
  end)

  it("writes Markdown for people", function()
    local code, out = c:run("schema", "service")
    assert.equal(0, code)
    assert.contains("# tg.service\n\n| field | takes | | meaning |\n", out)
    assert.contains("| `targets[].weight` | integer 1–1000 | optional | its share of the requests; ", out)
    assert.contains('| `paths` | list of path, default { "/*" } |  |', select(2, c:run("schema", "route")))
  end)

  it("says when there is nothing of that name", function()
    local code, out, err = c:run("schema", "servise")
    assert.same({ 2, "" }, { code, out })
    assert.contains('nothing is called "servise", did you mean "service"?', err)
    code, out, err = c:run("schema", "./nowhere.lua")
    assert.same({ 1, "" }, { code, out })
    assert.contains("cannot read the plugin", err)
    c:write("bad.lua", "return 5")
    code, out, err = c:run("schema", "bad.lua")
    assert.same({ 1, "" }, { code, out })
    assert.contains("a plugin file returns a table", err)
  end)
end)

describe("tidegate types", function()
  it("writes the config language, with what the plugins of the folder take", function()
    local c = command.folder()
    finally(function() c:close() end)
    assert(os.execute(("mkdir '%s/plugins'"):format(c.dir)))
    c:write("plugins/mine.lua", 'local S = require "tidegate.schema"\n' ..
      'return { name = "mine", version = "1", api = 1, stage = "guard", access = print,\n' ..
      '  schema = S.record { rates = S.map(S.string(), S.int()):doc "per tier" } }')
    c:write("plugins/broken.lua", "return nonsense(")
    local code, out = c:run("types")
    assert.equal(0, code)
    assert.contains("wrote .tidegate/types/config.lua\n", out)
    local text = c:read(".tidegate/types/config.lua")
    assert(loadstring(text))
    for _, line in ipairs({
      "---@class tidegate.config.route\n",
      "---@field hosts? (string)[] all hosts when absent\n",
      "---@field service? string|tidegate.config.Handle ",
      "---@field route fun(name: string): fun(fields: tidegate.config.route)\n",
      "---@field service fun(name: string): fun(fields: tidegate.config.service): tidegate.config.Handle\n",
      "---@field secret fun(origin: string, name?: string): tidegate.config.Secret\n",
      "---@class tidegate.config.service_targets\n---@field [1] (string)? where the origin listens: ",
      '---@overload fun(name: "./plugins/mine.lua", options?: tidegate.config.use): ' ..
        'fun(conf: tidegate.plugin.mine)',
      "---@class tidegate.plugin.mine\n---@field rates table<string, integer> per tier\n",
      '---@overload fun(name: "cors", options?: tidegate.config.use): fun(conf: tidegate.plugin.cors)',
    }) do
      assert.contains(line, text)
    end
    assert.not_matches("plugins/broken", text)
  end)
end)

describe("tidegate explain", function()
  it("tells what a message means", function()
    local c = command.folder()
    finally(function() c:close() end)
    c:write("gateway.lua", "local tg = require 'tidegate'\ntg.rout 'x' {}")
    local _, out = c:run("check")
    local number = out:match("%[(TG%d+)%]\n")
    local code, text = c:run("explain", number)
    assert.equal(0, code)
    assert.contains(number .. ": the script failed while it ran\n", text)
    assert.contains("TG1204  a field that does not exist\n", select(2, c:run("explain")))
    local err
    code, _, err = c:run("explain", "TG0000")
    assert.equal(2, code)
    assert.contains("there is no message TG0000", err)
  end)
end)
