--- Bundled plugins for specs of their configuration, without a gateway process.
--
--   local bundled = require("support.bundled")
--   local text = bundled.check("cors", '{ origins = {} }')   -- the messages; "" when there are none
--   local plugin = bundled.load("cors")                      -- its table, schema included

local S = require("tidegate.schema")
local config = require("tidegate.config")
local config_host = require("support.config_host")

local bundled = {}

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

-- What the binary would find: "cors" or a module of it, "cors/origins".
local function find(name)
  local path = "plugins/" .. name .. (name:find("/", 1, true) and ".lua" or "/init.lua")
  local text = read(path)
  if text then return text, path end
end

--- The table that a plugin's file returns. The gateway's library is not there: no phase can be called.
function bundled.load(name)
  local function run(what)
    local text, path = find(what)
    local chunk = assert(loadstring(assert(text, what), "@" .. path))
    return setfenv(chunk, setmetatable({
      require = function(module)
        if module == "tidegate.schema" then return S end
        return module == "tidegate" and {} or run(name .. "/" .. module)
      end,
    }, { __index = _G }))()
  end
  return run(name)
end

--- Loads a config whose only route uses the plugin with `conf` (text of a Lua table), and whose only
-- consumer is "somebody" of the group "staff".
-- @return the messages, as `tidegate check` prints them
function bundled.check(name, conf)
  local host = config_host.new({ files = { ["gateway.lua"] = ([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "echo" { builtin = "echo" }
tg.consumer "somebody" { groups = { "staff" } }
tg.route "all" { service = "echo", plugins = { tg.use "%s" %s } }
]]):format(name, conf) } })
  host.bundled = find
  local _, reports = config.load({ path = "gateway.lua", host = host })
  local texts = {}
  for i, report in ipairs(reports:sorted()) do texts[i] = reports:format(report) end
  return table.concat(texts, "\n")
end

return bundled
