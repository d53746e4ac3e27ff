-- Sets, adds, removes and renames headers of the request and of the response.
--
-- The edits are prepared in configure(). Where nothing is renamed they stand in for the phase, and no Lua
-- runs for the request. Order of edits: remove, rename, set, add.

local S = require "tidegate.schema"
local tg = require "tidegate"

local function name() return S.header_name { editable = true } end

local function side(what)
  return S.record {
    remove = S.list(name(), { unique = true }):default {}:doc "names; every header of that name goes",
    rename = S.map(name(), name()):default {}:doc "old name = new name; values keep their order",
    set = S.map(name(), S.header_value()):default {}:doc "name = value; replaces all of that name",
    add = S.map(name(), S.header_value()):default {}:doc "name = value; beside those of that name",
  }:default {}:doc(what)
end

local P = {
  name = "headers",
  version = "1.0.0",
  api = 1,
  stage = "transform",
  schema = S.record {
    request = side "what goes to the origin",
    response = side "what goes to the client",
  },
}

local function sorted_names(map)
  local names = {}
  for key in pairs(map) do names[#names + 1] = key end
  table.sort(names)
  return names
end

-- The map with templates in the place of values that have parts.
local function compile_values(map, path)
  local values = {}
  for key, value in pairs(map) do
    if value:find("${", 1, true) then
      local template, err = tg.template(value, "header")
      if not template then error(("%s.%s: %s"):format(path, key, err.message), 0) end
      value = template
    end
    values[key] = value
  end
  return values
end

-- { old, new, old, new, … }
local function compile_renames(map)
  local list = {}
  for _, key in ipairs(sorted_names(map)) do
    list[#list + 1] = key
    list[#list + 1] = map[key]
  end
  return list
end

-- What `phase` does for each request, in this order; nil when prepared edits are all of it.
local function compile(edits, path, phase)
  local set, add = compile_values(edits.set, path .. ".set"), compile_values(edits.add, path .. ".add")
  local renames = compile_renames(edits.rename)
  if #renames == 0 then
    tg.edits({ remove = edits.remove, set = set, add = add }):instead_of(phase)
    return nil
  end
  return {
    before = tg.edits { remove = edits.remove }, renames = renames, after = tg.edits { set = set, add = add },
  }
end

function P.configure(conf)
  return {
    request = compile(conf.request, "request", "access"),
    response = compile(conf.response, "response", "header_filter"),
  }
end

-- `from` has the values, the headers of `to` are edited.
local function rename(list, from, to)
  for i = 1, #list, 2 do
    local values = from:header_list(list[i])
    if values[1] then
      to:remove_header(list[i]):set_header(list[i + 1], values[1])
      for n = 2, #values do to:add_header(list[i + 1], values[n]) end
    end
  end
end

local function edit(edits, from, to)
  to:edit(edits.before)
  rename(edits.renames, from, to)
  to:edit(edits.after)
end

--- Edits what goes to the origin, unless prepared edits do.
function P.access(conf, ctx)
  edit(conf.compiled.request, ctx.req, ctx.upstream)
end

--- Edits what goes to the client, unless prepared edits do.
function P.header_filter(conf, ctx)
  edit(conf.compiled.response, ctx.resp, ctx.resp)
end

return P
