--- The plugin API in its four shapes: what a plugin finds, the types, the reference, the table behind.

local client = require("support.client")
local gateway = require("support.gateway")
local json = require("cjson")
local command = require("support.command")

describe("the plugin API", function()
  local folder

  setup(function()
    folder = command.folder()
  end)

  teardown(function()
    folder:close()
  end)

  local function run(...)
    return folder:run(...)
  end

  -- class -> set of its functions and fields, from the annotations.
  local function parse_types(text)
    local classes, current = {}, nil
    for line in text:gmatch("[^\n]+") do
      local name = line:match("^%-%-%-@class tidegate%.(%w+)$")
      if name then
        current = name
        classes[name] = {}
      end
      local field = line:match("^%-%-%-@field ([%w_]+) ")
      local owner, member = line:match("^function (%w+)[.:]([%w_]+)%(")
      if owner then
        classes[owner][member] = "function"
      elseif field then
        classes[current][field] = "field"
      end
    end
    return classes
  end

  local function keys(map)
    local list = {}
    for key in pairs(map) do list[#list + 1] = key end
    table.sort(list)
    return list
  end

  it("has the library that the types declare, no more and no less", function()
    local g = gateway.start({
      files = { ["probe.lua"] = [[
        local tg = require "tidegate"
        local P = { name = "probe", version = "1.0.0", api = 1, stage = "edge" }
        function P.access(_, ctx)
          local found = {}
          for name, value in pairs(tg) do
            local members = {}
            for member in pairs(type(value) == "table" and value or {}) do members[#members + 1] = member end
            table.sort(members)
            found[name] = type(value) == "table" and members or type(value)
          end
          ctx:exit(200, found)
        end
        return P
      ]] },
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./probe.lua" {} } }
      ]],
    })
    finally(function() g:stop() end)
    local _, text = run("types", "--stdout")
    local declared = parse_types(text)
    local expected, library = {}, text:match("%-%-%-@class tidegate%.Library\n.*$") -- the last class
    for name, kind in pairs(declared.Library) do
      local class = library:match("%-%-%-@field " .. name .. " tidegate%.(%w+) ")
      expected[name] = kind == "function" and "function" or keys(declared[class])
    end
    assert.same(expected, json.decode(client.get(g.port, "/").body))
  end)

  it("has the objects of a request that the types declare", function()
    local _, text = run("types", "--stdout")
    local declared = parse_types(text)
    local wanted = {}
    local classes = { "Ctx", "Req", "Resp", "Upstream", "Log", "Shared", "Client", "Route", "Service" }
    for _, class in ipairs(classes) do
      wanted[class] = keys(declared[class])
    end
    local g = gateway.start({
      vars = { WANTED = json.encode(wanted) },
      files = { ["probe.lua"] = [=[
        local tg = require "tidegate"
        local P = { name = "probe", version = "1.0.0", api = 1, stage = "edge" }
        function P.header_filter(_, ctx)
          local missing = {}
          local wanted = tg.json.decode [[@WANTED@]]
          for class, names in pairs(wanted) do
            local object = class == "Ctx" and ctx or ctx[class:lower()]
            for _, name in ipairs(names) do
              local ok, err = pcall(function() return object[name] end)
              if not ok and err:find("has no field", 1, true) then missing[#missing + 1] = err end
            end
          end
          ctx:exit(200, table.concat(missing, "\n"))
        end
        return P
      ]=] },
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./probe.lua" {} } }
      ]],
    })
    finally(function() g:stop() end)
    assert.is_true(#wanted.Ctx > 15 and #wanted.Req > 15)
    local response = client.get(g.port, "/")
    assert.status(200, response)
    assert.equal("", response.body)
  end)

  it("has types that are Lua, with a name and a type for each argument", function()
    local _, text = run("types", "--stdout")
    assert.is_truthy(loadstring(text))
    assert.contains("\nfunction Metrics:inc(name, labels, n) end", text)
    assert.contains("\n---@param labels? table<string, string>\n", text)
    assert.contains("\nfunction Cache:fetch(key, options, compute) end", text)
  end)

  it("is explained, name by name, as the types declare it", function()
    local _, text = run("types", "--stdout")
    local code, reference = run("doc")
    assert.equal(0, code)
    local count = 0
    for _, members in pairs(parse_types(text)) do
      for member, kind in pairs(members) do
        if kind == "function" then
          count = count + 1
          assert.contains(member .. "(", reference)
        end
      end
    end
    assert.is_true(count > 60)
    code, text = run("doc", "ctx.req:header")
    assert.same({ 0, "ctx.req:header(name: string) -> string?" }, { code, text:match("^[^\n]+") })
  end)

  it("says when there is no such name", function()
    local code, out, err = run("doc", "ctx.nothing")
    assert.same({ 2, "" }, { code, out })
    assert.contains('the plugin API has nothing called "ctx.nothing"', err)
  end)

  it("is written where editors look; the user's settings stay", function()
    assert.equal(0, (run("types")))
    assert.contains("---@class tidegate.Ctx", folder:read(".tidegate/types/tidegate.lua"))
    assert.contains(".tidegate/types", json.decode(folder:read(".luarc.json"))["workspace.library"][1])
    folder:write(".luarc.json", "{}")
    local code, out = run("types")
    assert.equal(0, code)
    assert.contains("kept .luarc.json", out)
    assert.equal("{}", folder:read(".luarc.json"))
  end)
end)
