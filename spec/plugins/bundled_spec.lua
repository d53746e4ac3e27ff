-- Facts about every bundled plugin: what its table says, what its README tells, that it has specs.

local bundled = require("support.bundled")
local dirent = require("posix.dirent")

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

-- The least config with which a plugin loads, where `{}` is not enough.
local LEAST = {
  acl = '{ deny = { "staff" } }', cors = '{ origins = { "*" } }',
  ["ip-restriction"] = '{ deny = { "192.0.2.1" } }', redirect = '{ to = "/" }',
  ["rate-limit"] = '{ limit = 1, per = "1s" }', ["request-size-limit"] = '{ body = "1MiB" }',
}

-- Names of a record's fields, those of records in it included.
local function field_names(schema, list)
  list = list or {}
  for name, field in pairs(schema.fields) do
    list[#list + 1] = name
    if field.kind == "record" then field_names(field, list) end
  end
  return list
end

describe("the bundled plugin", function()
  for name in dirent.files("plugins") do
    local folder = "plugins/" .. name
    if read(folder .. "/init.lua") then
      it(name .. " has name, version, stage and a schema whose fields are explained", function()
        assert.equal("", bundled.check(name, LEAST[name] or "{}"))
        local plugin = bundled.load(name)
        assert.equal(name, plugin.name)
        assert.matches("^%d+%.%d+%.%d+$", plugin.version)
        assert.is_string(plugin.stage)
        for _, field in pairs(plugin.schema.fields) do assert.is_string(field.doc_text) end
      end)

      it(name .. " has specs, and a README with an example and every field", function()
        assert.is_string(read(("spec/plugins/%s_spec.lua"):format(name)))
        local readme = read(folder .. "/README.md")
        assert.contains("# " .. name .. "\n", readme)
        assert.contains('```lua\n', readme)
        assert.contains('tg.use', readme)
        for _, field in ipairs(field_names(bundled.load(name).schema)) do
          assert.contains("`" .. field .. "`", readme)
        end
        assert.contains("`" .. name .. "`", read("plugins/README.md"))
      end)
    end
  end
end)
