-- `tidegate schema`: what a configuration may say, from the schemas that check it.
--
-- Purpose    JSON Schema for machines, Markdown for people, of settings, of the objects of the language and
--            of plugins, bundled ones or files.
-- Request    name ("settings", "route", "cors", "./plugins/mine.lua"; absent: which names there are),
--            json_schema
-- Result     exit status, text for stdout, text for stderr

local diagnostics = require "tidegate.diagnostics"
local docs = require "tidegate.schema_docs"
local json = require "tidegate.inspect.json"
local objects = require "tidegate.objects"
local plugin = require "tidegate.plugin"
local resolve = require "tidegate.resolve"
local sorted = require "tidegate.sorted"
local script = require "tidegate.script"
local suggest = require "tidegate.suggest"

local schema = {}

-- What tg.<name> "…" { … } takes.
local TITLES = {
  settings = "tg.settings", listener = "tg.listener", service = "tg.service", route = "tg.route",
  consumer = "tg.consumer",
  ["zone.dict"] = "tg.zone.dict", ["zone.cache"] = "tg.zone.cache", ["zone.limit"] = "tg.zone.limit",
  use = "the second argument of tg.use", plugin = "the table that a plugin's file returns",
}

--- The schemas of the language: by name, and their names in order.
function schema.language(host)
  local types = {
    settings = objects.settings(host.limits, host.budget), use = objects.options(host.limits),
    plugin = plugin.shape_for(host.limits),
  }
  for kind, t in pairs(resolve.types_of(host.credentials)) do
    if t.kind == "record" then types[kind] = t end
  end
  return types, sorted(types)
end

--- Loads a plugin for its schema.
-- @treturn table|nil the plugin; else nil and its mistakes as text
function schema.plugin(name, host)
  local reports = diagnostics.new()
  local loaded = plugin.loader(script.new("", host, reports)):load { name = name, where = {}, path = name }
  if not loaded then return nil, reports:render "no schema to show" end
  return loaded
end

local function sorted_plugins(host)
  local names = host.bundled_names()
  table.sort(names)
  return names
end

local function list(host)
  local _, names = schema.language(host)
  return ("objects of the language: %s\nbundled plugins: %s\n"):format(table.concat(names, ", "),
    table.concat(sorted_plugins(host), ", ")) ..
    "a plugin of your own is named by its file: ./plugins/name.lua\n"
end

local function rendered(title, t, request)
  if not request.json_schema then return ("# %s\n\n%s"):format(title, docs.markdown(t)) end
  local described = docs.json_schema(t)
  described.title = title
  return json.encode(described)
end

local function unknown(name, host, names)
  local all = { unpack(names) }
  for _, bundled in ipairs(sorted_plugins(host)) do all[#all + 1] = bundled end
  local near = suggest.nearest(name, all)
  return ("tidegate schema: nothing is called %q%s; `tidegate schema` lists what there is\n"):format(
    name, near and (", did you mean %q?"):format(near) or "")
end

local function is_bundled(name, host)
  for _, bundled in ipairs(host.bundled_names()) do
    if bundled == name then return true end
  end
  return false
end

--- The answer to `tidegate schema`.
function schema.answer(request, host)
  if not request.name then return 0, list(host), "" end
  local types, names = schema.language(host)
  local name = request.name
  if types[name] then return 0, rendered(TITLES[name] or name, types[name], request), "" end
  if not name:find "/" and not name:find "%.lua$" and not is_bundled(name, host) then
    return 2, "", unknown(name, host, names)
  end
  local loaded, mistakes = schema.plugin(name, host)
  if not loaded then return 1, "", mistakes end
  return 0, rendered(("plugin %s %s"):format(loaded.name, loaded.version), loaded.schema, request), ""
end

return schema
