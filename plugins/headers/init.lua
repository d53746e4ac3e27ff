-- headers: sets, adds, removes and renames headers of requests and responses.
--
-- The tables of the configuration are turned into flat lists of edits once, sorted by name, so that
-- the order on the wire does not depend on the order of a Lua table. Order of the operations: remove,
-- rename, set, add. Values may be templates (tg.template).

local S = require "tidegate.schema"
local tg = require "tidegate"

local OWN = {
  connection = true, ["content-length"] = true, ["transfer-encoding"] = true, upgrade = true,
  ["keep-alive"] = true, ["proxy-connection"] = true, expect = true,
}

local function name()
  return S.header_name():check(function(value)
    if OWN[value] then return nil, value .. " belongs to the gateway, which frames messages itself" end
    return true
  end)
end

local function edits(what)
  return S.record {
    set = S.map(name(), S.string { max = 4096 }):default {}:doc "replaces, or adds where there is none",
    add = S.map(name(), S.string { max = 4096 }):default {}:doc "adds beside what is there",
    remove = S.list(name()):default {}:doc "takes away all of that name",
    rename = S.map(name(), name()):default {}:doc "old name = new name",
  }:default {}:doc(what)
end

local P = {
  name = "headers", version = "1.0.0", api = 1, stage = "transform",
  schema = S.record {
    request = edits "what goes to the origin",
    response = edits "what goes to the client",
  },
}

-- { name, text or nil, template or nil } for each pair, sorted by name.
local function compile_values(map)
  local list = {}
  for header, text in pairs(map) do
    local entry = { name = header, text = text }
    if text:find("${", 1, true) then
      local template, err = tg.template(text)
      if not template then error(header .. ": " .. err.message, 0) end
      entry.template = template
    end
    list[#list + 1] = entry
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function compile_names(map)
  local list = {}
  for from, to in pairs(map) do list[#list + 1] = { from = from, to = to } end
  table.sort(list, function(a, b) return a.from < b.from end)
  return list
end

local function has_template(list)
  for _, entry in ipairs(list) do
    if entry.template then return true end
  end
  return false
end

local function compile(conf)
  local compiled = {
    remove = conf.remove, rename = compile_names(conf.rename),
    set = compile_values(conf.set), add = compile_values(conf.add),
  }
  if #compiled.rename == 0 and not has_template(compiled.set) and not has_template(compiled.add) then
    compiled.prepared = tg.edits { remove = conf.remove, set = conf.set, add = conf.add }
  end
  local any = #compiled.remove + #compiled.rename + #compiled.set + #compiled.add > 0
  return any and compiled or nil
end

function P.configure(conf)
  return { request = compile(conf.request), response = compile(conf.response) }
end

-- Applies `edit` to `target` (ctx.upstream or ctx.resp); renamed values are those of `source`.
local function apply(edit, target, source, ctx)
  if edit.prepared then return target:edit(edit.prepared) end
  local remove, rename, set, add = edit.remove, edit.rename, edit.set, edit.add
  for i = 1, #remove do target:remove_header(remove[i]) end
  for i = 1, #rename do
    local values = source:header_list(rename[i].from)
    if values[1] then target:remove_header(rename[i].from):remove_header(rename[i].to) end
    for j = 1, #values do target:add_header(rename[i].to, values[j]) end
  end
  for i = 1, #set do
    local entry = set[i]
    target:set_header(entry.name, entry.template and entry.template:render(ctx) or entry.text)
  end
  for i = 1, #add do
    local entry = add[i]
    target:add_header(entry.name, entry.template and entry.template:render(ctx) or entry.text)
  end
end

function P.access(conf, ctx)
  local edit = conf.compiled.request
  if edit then apply(edit, ctx.upstream, ctx.req, ctx) end
end

function P.header_filter(conf, ctx)
  local edit = conf.compiled.response
  if edit then apply(edit, ctx.resp, ctx.resp, ctx) end
end

return P
