-- README.md says what the program does: its table of limits is that of core/base/limits.def, the
-- configurations and the plugin in it work, and the commands in it exist.

local client = require("support.client")
local gateway = require("support.gateway")
local limits_table = require("support.limits_table")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local README = read("README.md")

-- The code block of the README that contains `mark`.
local function block(language, mark)
  for text in README:gmatch("```" .. language .. "\n(.-)\n```") do
    if text:find(mark, 1, true) then
      return text
    end
  end
  error("README.md has no " .. language .. " block with " .. mark)
end

describe("README.md", function()
  it("has the limits of limits.def (make readme)", function()
    assert.equal(limits_table.readme(), README)
  end)

  it("names make targets that exist", function()
    local makefile = read("Makefile")
    for target in README:gmatch("`make (%l+)[^`]*`") do
      assert.is_truthy(makefile:find("\n" .. target .. ":", 1, true), "no such target: make " .. target)
    end
  end)

  it("names files that exist", function()
    for path in README:gmatch("%]%(([^):#]+)%)") do
      local file = io.open(path)
      assert.is_truthy(file, "no such file: " .. path)
      file:close()
    end
  end)

  it("shows a mistake as check prints it", function()
    local shown = block("text", "bultin")
    local folder = io.popen("mktemp -d"):read("*l")
    local file = io.open(folder .. "/gateway.lua", "w")
    file:write((block("lua", 'tg.listener "public"'):gsub("builtin =", "bultin =")))
    file:close()
    local pipe = io.popen(("cd %s && '%s' check 2>&1"):format(folder, os.getenv("TIDEGATE_BIN")))
    local printed = pipe:read("*a")
    pipe:close()
    os.execute("rm -r " .. folder)
    assert.contains(shown, printed)
  end)

  describe("has a first configuration and a first plugin", function()
    local g

    setup(function()
      g = gateway.start({
        config = block("lua", 'tg.listener "public"'):gsub("0%.0%.0%.0:8080", "127.0.0.1:@PORT@"),
        files = { ["plugins/api-version.lua"] = block("lua", 'name = "api-version"') },
      })
    end)

    teardown(function()
      g:stop()
    end)

    it("that proxy", function()
      local response = client.get(g.port, "/api/orders?id=7")
      assert.status(200, response)
      assert.contains('"target":"/orders?id=7"', response.body)
      assert.contains('"x-request-id"', response.body)
    end)

    it("that refuse or let through, and edit", function()
      assert.status(400, client.get(g.port, "/reports/2024"))
      assert.status(410, client.get(g.port, "/reports/2024", { { "X-Api-Version", "1" } }))
      local response = client.get(g.port, "/reports/2024", { { "X-Api-Version", "3" } })
      assert.status(200, response)
      assert.header("x-served-versions", "2, 3", response)
      assert.contains('["x-year","2024"]', response.body)
    end)
  end)
end)
