-- Sets, adds, removes and renames headers of the request and of the response.
--
-- Fixed edits are prepared in configure() (tg.edits): one call for a whole side, where nothing is renamed
-- and no value has ${...} parts. Order of edits: remove, rename, set, add.

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

-- Fixed values as a map; { name, template, name, template, … } of those with parts.
local function split_values(map, path)
  local fixed, templates = {}, {}
  for _, key in ipairs(sorted_names(map)) do
    if map[key]:find("${", 1, true) then
      local template, err = tg.template(map[key], "header")
      if not template then error(("%s.%s: %s"):format(path, key, err.message), 0) end
      templates[#templates + 1] = key
      templates[#templates + 1] = template
    else
      fixed[key] = map[key]
    end
  end
  return fixed, templates
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

-- What is done for each request, in this order; nil when there is nothing.
local function compile(edits, path)
  local renames = compile_renames(edits.rename)
  local set, set_templates = split_values(edits.set, path .. ".set")
  local add, add_templates = split_values(edits.add, path .. ".add")
  if #renames + #set_templates + #add_templates > 0 then
    return {
      remove = tg.edits { remove = edits.remove }, renames = renames,
      set = tg.edits { set = set }, set_templates = set_templates,
      add = tg.edits { add = add }, add_templates = add_templates,
    }
  end
  if #edits.remove > 0 or next(set) or next(add) then
    return { all = tg.edits { remove = edits.remove, set = set, add = add } }
  end
end

function P.configure(conf)
  return { request = compile(conf.request, "request"), response = compile(conf.response, "response") }
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

local function edit_in_steps(edits, ctx, from, to)
  local set, add = edits.set_templates, edits.add_templates
  to:edit(edits.remove)
  rename(edits.renames, from, to)
  to:edit(edits.set)
  for i = 1, #set, 2 do to:set_header(set[i], set[i + 1]:render(ctx)) end
  to:edit(edits.add)
  for i = 1, #add, 2 do to:add_header(add[i], add[i + 1]:render(ctx)) end
end

--- Edits what goes to the origin.
function P.access(conf, ctx)
  local edits = conf.compiled.request
  if not edits then return end
  if edits.all then
    ctx.upstream:edit(edits.all)
  else
    edit_in_steps(edits, ctx, ctx.req, ctx.upstream)
  end
end

--- Edits what goes to the client.
function P.header_filter(conf, ctx)
  local edits = conf.compiled.response
  if not edits then return end
  if edits.all then
    ctx.resp:edit(edits.all)
  else
    edit_in_steps(edits, ctx, ctx.resp, ctx.resp)
  end
end

return P
