-- A world for config scripts in specs: files, environment and bundled plugins are tables, limits are a short
-- list.

local config = require "tidegate.config"

local host = {}

host.LIMITS = {
  { path = "request.headers", unit = "bytes", default = 32768, min = 256, max = 2 ^ 20, doc = "head" },
  { path = "request.header_count", unit = "count", default = 100, min = 1, max = 1000, doc = "headers" },
  { path = "request.deadline", unit = "seconds", default = 60, min = 0.01, max = 86400, doc = "deadline" },
  { path = "plugin.memory", unit = "bytes", default = 2 ^ 20, min = 2 ^ 14, max = 2 ^ 30, doc = "memory" },
  { path = "plugin.cpu", unit = "seconds", default = 0.02, min = 0.001, max = 1, doc = "CPU time" },
  { path = "plugin_vm.heap", unit = "bytes", default = 2 ^ 25, min = 2 ^ 18, max = 2 ^ 34, doc = "heap" },
}

host.BUDGET = { min = 2 ^ 25, max = 2 ^ 44, parts = {
  { name = "cache", share = 40, doc = "zones" },
  { name = "connections", share = 50, doc = "connections" },
  { name = "reserve", share = 10, doc = "the rest" },
} }

host.CREDENTIALS = {
  { name = "key", secret = true, doc = "API keys" },
  { name = "subject", secret = false, doc = "names in other systems" },
}

-- A plugin file with the given stage, phases and further fields as Lua text.
function host.plugin(name, stage, phases, more)
  local functions = {}
  for i, phase in ipairs(phases) do functions[i] = ("  %s = function() end,\n"):format(phase) end
  local text = [[
local S = require "tidegate.schema"
return {
  name = "%s", version = "1.0.0", api = 1, stage = "%s",
%s%s}
]]
  return text:format(name, stage, table.concat(functions), more or "  schema = S.record {},\n")
end

-- The route table belongs to C; these few rules stand in for it where only the Lua side is meant.
local function check_path(path)
  if path:sub(1, 1) ~= "/" then return "it does not begin with a slash", 'write "/a" or "/a/*"' end
end

local function check_host(name)
  if name:find(":", 1, true) or name:find("%*$") then return "it is malformed", 'write "*.example.test"' end
end

local function check_expr(text)
  if text:find "==%s*$" then return "a value is missing", 'write method == "GET"' end
end

local function path_captures(path)
  local names = {}
  for name in path:gmatch "{(%w+)" do names[#names + 1] = name end
  return names
end

local function read_template(text, kind)
  local names = {}
  if kind == "path" and text:sub(1, 1) ~= "/" then return nil, "does not begin with a slash", 'write "/a"' end
  for name in text:gmatch "{([%w_]+)}" do names[#names + 1] = name end
  return names
end

local function check_value_regex(pattern)
  if pattern:find "%($" then return "missing closing parenthesis (at byte 3)", "close it" end
end

local function build_routes(routes)
  local taken, conflicts = {}, {}
  for _, route in ipairs(routes) do
    for _, path in ipairs(route.paths) do
      local key = (route.hosts[1] or "*") .. path .. table.concat(route.methods, ",")
      if taken[key] then
        conflicts[#conflicts + 1] = { first = taken[key], second = route.name, host = "*", path = path }
      end
      taken[key] = route.name
    end
  end
  return conflicts
end

local function match_glob(pattern, path)
  local lua = pattern:gsub("[%-%.%+%^%$%(%)%%]", "%%%0"):gsub("%*", "[^/]*"):gsub("%?", "[^/]")
  return path:find("^" .. lua .. "$") ~= nil
end

--- A host over tables.
-- @tparam table world files, env, bundled: path or name to text; unreadable: path to why
function host.new(world)
  local files, env, bundled = world.files or {}, world.env or {}, world.bundled or {}
  local unreadable = world.unreadable or {}
  return {
    limits = world.limits or host.LIMITS, credentials = host.CREDENTIALS, budget = host.BUDGET,
    read_file = function(path)
      if unreadable[path] then return nil, unreadable[path] end
      if files[path] then return files[path] end
      return nil, "no such file"
    end,
    glob = function(pattern)
      local found = {}
      for path in pairs(files) do
        if match_glob(pattern, path) then found[#found + 1] = path end
      end
      return found
    end,
    getenv = function(name) return env[name] end,
    bundled = function(name)
      if bundled[name] then return bundled[name], "plugins/" .. name .. "/init.lua" end
    end,
    bundled_names = function()
      local names = {}
      for name in pairs(bundled) do names[#names + 1] = name end
      return names
    end,
    print = world.print,
    check_path = check_path, check_host = check_host, check_expr = check_expr,
    check_value_regex = check_value_regex, build_routes = build_routes,
    path_captures = path_captures, read_template = read_template,
    answer_facts = { "status", "reason", "request_id" },
  }
end

--- Loads `text` as gateway.lua.
-- @treturn table|nil tree
-- @treturn table diagnostics
function host.load(text, world)
  world = world or {}
  world.files = world.files or {}
  world.files["gateway.lua"] = text
  return config.load { path = "gateway.lua", host = host.new(world) }
end

--- The rendered messages of a config that must not load.
function host.errors(text, world)
  local tree, reports = host.load(text, world)
  assert(not tree, "the config loads")
  return reports:render "configuration not loaded"
end

return host
