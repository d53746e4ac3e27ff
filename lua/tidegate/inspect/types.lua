-- The config language and the configurations of plugins as types for editors (LuaLS).
--
-- Purpose    `tg.route "x" {` and `tg.use "cors" {` complete their fields. In a config file `require
--            "tidegate"` is the language, in a plugin the library; editors know one module of that name, so
--            the language's functions are added to the class of the library.
-- Invariants Written from the schemas that check, so a field that is there can be written, and the other
-- way round.
-- Result     as of the other answers; the text is a Lua file of annotations

local docs = require "tidegate.inspect.schema"

local types = {}

local NUMBERS = { int = "integer", port = "integer", status = "integer", number = "number" }

local writer = {}
writer.__index = writer

-- Text that may stand behind an annotation.
local function one_line(text)
  return text and " " .. text:gsub("%s+", " ") or ""
end

local composite = {
  bool = function() return "boolean" end,
  any = function() return "any" end,
  secret = function() return "tidegate.config.Secret" end,
  ref = function() return "string|tidegate.config.Handle" end,
  enum = function(_, t)
    local texts = {}
    for i, value in ipairs(t.values) do texts[i] = '"' .. value .. '"' end
    return table.concat(texts, "|")
  end,
  list = function(self, t, name) return "(" .. self:type_of(t.item, name) .. ")[]" end,
  map = function(self, t, name)
    return ("table<%s, %s>"):format(self:type_of(t.key, name), self:type_of(t.value, name))
  end,
  one_of = function(self, t, name)
    local texts = {}
    for i, variant in ipairs(t.names) do
      texts[i] = self:type_of(t.variants[variant], name .. "_" .. variant)
    end
    return table.concat(texts, "|")
  end,
  record = function(self, t, name)
    self:class(name, t)
    return name
  end,
}

-- The type of what a JSON Schema describes, for types that the language made for itself.
local function of_json(described)
  if described.const ~= nil then return tostring(described.const) end
  local texts = {}
  for i, choice in ipairs(described.oneOf or described.anyOf or {}) do texts[i] = of_json(choice) end
  if #texts > 0 then return table.concat(texts, "|") end
  if described.type == "array" then return "(" .. of_json(described.items or {}) .. ")[]" end
  if type(described.type) == "table" then return table.concat(described.type, "|") end
  return described.type or "any"
end

-- The type of a field; classes that it needs are written under names that begin with `name`.
function writer:type_of(t, name)
  if composite[t.kind] then return composite[t.kind](self, t, name) end
  if NUMBERS[t.kind] then return NUMBERS[t.kind] end
  if t.entry and t.entry.annotation then return t.entry.annotation end
  if t.entry and not t.entry.lua then
    return t.entry.noun == "a plugin" and "tidegate.config.Plugin" or of_json(t.entry.json(t))
  end
  return "string"
end

function writer:class(name, t)
  local lines = { ("---@class %s"):format(name) }
  for _, field in ipairs(t.names) do
    local of = t.fields[field]
    local may_lack = of.is_optional or of.default_value ~= nil
    local numbered = type(field) == "number"
    local key = numbered and ("[%d]"):format(field) or field .. (may_lack and "?" or "")
    local kind = self:type_of(of, name .. "_" .. field)
    if numbered and may_lack then kind = ("(%s)?"):format(kind) end -- a number takes no mark
    lines[#lines + 1] = ("---@field %s %s%s"):format(key, kind, one_line(of.doc_text))
  end
  self.classes[#self.classes + 1] = table.concat(lines, "\n") .. "\n"
end

local HEAD = [[
---@meta
-- Written by `tidegate types`; the next run replaces it.

---what a declaration returns; stands for its name
---@class tidegate.config.Handle

---what tg.use returns; goes into a list of plugins
---@class tidegate.config.Plugin

---what tg.secret returns; nobody can read it
---@class tidegate.config.Secret
]]

-- Plugins that tg.use may name: the bundled ones, and those of the folder that load.
local function plugins_of(host)
  local names = host.bundled_names()
  for _, pattern in ipairs { "plugins/*.lua", "plugins/*/init.lua" } do
    for _, path in ipairs(host.glob(pattern) or {}) do
      names[#names + 1] = "./" .. path:gsub("/init%.lua$", "")
    end
  end
  table.sort(names)
  return names
end

local OVERLOAD = "---@overload fun(name: %s, options?: tidegate.config.use): " ..
                 "fun(conf: %s): tidegate.config.Plugin"

local function use_class(self, host)
  local lines = { "---@class tidegate.config.Use", OVERLOAD:format("string", "table") }
  for _, name in ipairs(plugins_of(host)) do
    local loaded = docs.plugin(name, host)
    if loaded then
      local class = "tidegate.plugin." .. loaded.name:gsub("[^%w_]", "_")
      self:class(class, loaded.schema)
      lines[#lines + 1] = OVERLOAD:format('"' .. name .. '"', class)
    end
  end
  self.classes[#self.classes + 1] = table.concat(lines, "\n") .. "\n"
end

local DECLARATION = "---@field %s fun(name: string): fun(fields: %s)%s\n"
local LANGUAGE = [[
---@class tidegate.config.Zone
---@field dict fun(name: string): fun(fields: tidegate.config.zone_dict): tidegate.config.Handle
---@field cache fun(name: string): fun(fields: tidegate.config.zone_cache): tidegate.config.Handle
---@field limit fun(name: string): fun(fields: tidegate.config.zone_limit): tidegate.config.Handle

---in a config file
---@class tidegate.Library
---@field settings fun(fields: tidegate.config.settings)
---@field global fun(plugins: tidegate.config.Plugin[])
%s---@field zone tidegate.config.Zone
---@field use tidegate.config.Use
---@field env fun(name: string, default?: string): string
---@field file fun(path: string): string
---@field secret fun(origin: string, name?: string): tidegate.config.Secret
---@field include fun(pattern: string)
]]

-- What tg has no declaration of its own for.
local NO_DECLARATION = { settings = true, use = true, plugin = true }

--- The annotations of config files.
function types.answer(_, host)
  local self = setmetatable({ classes = {} }, writer)
  local of, names = docs.language(host)
  local named = {}
  for _, name in ipairs(names) do
    local class = name == "plugin" and "tidegate.Plugin" or "tidegate.config." .. name:gsub("%.", "_")
    self:class(class, of[name])
    if not NO_DECLARATION[name] and not name:find("%.") then
      -- Nothing refers to a route by a handle.
      local handle = name ~= "route" and ": tidegate.config.Handle" or ""
      named[#named + 1] = DECLARATION:format(name, class, handle)
    end
  end
  use_class(self, host)
  return 0, HEAD .. "\n" .. table.concat(self.classes, "\n") .. "\n" ..
    LANGUAGE:format(table.concat(named)), ""
end

return types
