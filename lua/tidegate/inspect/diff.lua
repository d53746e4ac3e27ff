-- What differs between two configurations.
--
-- Purpose    `tidegate check --diff OLD` tells what a reload would change, field by field, before it does.
-- How        Both are looked at as models (model.lua). Objects are matched by their names, fields by the
--            schema, plugin instances by plugin and id at one place. Values are compared as checked, so
--            that another spelling of the same is no change, and a secret that changed is told without
--            being shown.
-- Chains     What runs where follows from plugins at several places. Changes of a chain are told once for all
--            routes that share them.
-- Ownership  Pure functions; models are borrowed.
-- Cost       One walk over both.

local json = require "tidegate.inspect.json"
local model = require "tidegate.inspect.model"
local show = require "tidegate.inspect.show"
local PHASES = require("tidegate.plugin").PHASES

local diff = {}

-- ---- Values ----------------------------------------------------------------------------------

local function union(a, b)
  local names, seen = {}, {}
  for _, value in ipairs { a, b } do
    for name in pairs(value) do
      if not seen[name] then names[#names + 1], seen[name] = name, true end
    end
  end
  table.sort(names, function(x, y) return tostring(x) < tostring(y) end)
  return names
end

local function extended(path, name)
  if type(name) == "number" then return ("%s[%d]"):format(path, name) end
  return path == "" and name or path .. "." .. name
end

local add_changes

-- The type of a field of a record, or of the entries of a map; nil: there is no such field.
local function inner(t, name)
  return t.kind == "map" and t.value or t.fields[name]
end

local function add_fields(found, path, types, old, new)
  for _, name in ipairs(union(old, new)) do
    local key = types.new.kind == "map" and show.key(types.new, name) or name
    add_changes(found, extended(path, key), { old = inner(types.old, name), new = inner(types.new, name) },
                old[name], new[name])
  end
end

local function shown(t, value)
  if value == nil then return nil end
  return show.plain(t, value)
end

-- Whether two values are compared by their parts. A secret is not, nor a record that a check of its own
-- reshaped.
local function has_parts(types, old, new)
  local one, two = types.old, types.new
  if type(old) ~= "table" or type(new) ~= "table" or one.kind ~= two.kind then return false end
  if one.is_sensitive or two.is_sensitive then return false end
  if two.kind == "map" then return not (one.key.is_sensitive or two.key.is_sensitive) end
  return two.kind == "record" and show.fits(one, old) and show.fits(two, new)
end

-- Adds { field, old, new } for each innermost field that differs. `types`: { old, new }, each the type that
-- the value was checked by.
function add_changes(found, path, types, old, new)
  if show.equal(old, new) then return end
  if has_parts(types, old, new) then return add_fields(found, path, types, old, new) end
  found[#found + 1] = { field = path == "" and "conf" or path, old = shown(types.old, old),
                        new = shown(types.new, new) }
end

-- ---- Plugin instances ------------------------------------------------------------------------

local function instance_key(instance)
  return instance.name .. (instance.id and "#" .. instance.id or "")
end

local function by_key(owner, indices)
  local found, order = {}, {}
  for i, index in ipairs(indices) do
    local instance = owner.instances[index]
    found[instance_key(instance)], order[i] = instance, instance_key(instance)
  end
  return found, order
end

local OPTIONS = { "when", "on_error" }

local function instance_changes(old, new, limits)
  local found = {}
  add_changes(found, "", { old = old.type, new = new.type }, old.conf, new.conf)
  for _, name in ipairs(OPTIONS) do
    if old[name] ~= new[name] then found[#found + 1] = { field = name, old = old[name], new = new[name] } end
  end
  for _, name in ipairs(union(old.limits, new.limits)) do
    add_changes(found, "limits." .. name, { old = limits[name], new = limits[name] }, old.limits[name],
                new.limits[name])
  end
  return found
end

-- Adds what became of the plugins of one place: added, removed, changed field by field. `route`: of a
-- consumer's plugins, the one that they are for.
local function add_plugins(found, old_model, old, new_model, new, route)
  local before, old_order = by_key(old_model, old)
  local after, new_order = by_key(new_model, new)
  local function add(key, change, where, more)
    more.plugin, more.change, more.where, more.route = key, change, where, route
    found[#found + 1] = more
  end
  for _, key in ipairs(old_order) do
    if not after[key] then add(key, "removed", before[key].where, {}) end
  end
  for _, key in ipairs(new_order) do
    local one, two = before[key], after[key]
    local fields = one and instance_changes(one, two, new_model.limits)
    if not one then
      add(key, "added", two.where, { conf = show.plain(two.type, two.conf) })
    elseif #fields > 0 then
      add(key, "changed", two.where, { fields = fields })
    end
  end
  return found
end

-- The same for an object; `old` is nil where it is new.
local function object_plugins(old_model, old, new_model, new)
  local before, after = old and old.routes or {}, new.routes or {}
  local found = add_plugins({}, old_model, old and old.plugins or {}, new_model, new.plugins)
  for _, route in ipairs(union(before, after)) do
    add_plugins(found, old_model, before[route] or {}, new_model, after[route] or {}, route)
  end
  return found
end

-- ---- Objects ---------------------------------------------------------------------------------

local function by_name(list)
  local found = {}
  for _, object in ipairs(list) do found[object.name] = object end
  return found
end

local function compare_object(old_model, old, new_model, new)
  local fields, plugins = {}, object_plugins(old_model, old, new_model, new)
  add_fields(fields, "", { old = old.type, new = new.type }, old.value, new.value)
  if #fields == 0 and #plugins == 0 then return nil end
  return { change = "changed", kind = new.kind, name = new.name, where = new.where, fields = fields,
           plugins = plugins }
end

local function compare_kind(found, kind, old_model, new_model)
  local before, after = model.list(old_model, kind), model.list(new_model, kind)
  local old_names, new_names = by_name(before), by_name(after)
  for _, object in ipairs(before) do
    if not new_names[object.name] then
      found[#found + 1] = { change = "removed", kind = kind, name = object.name, where = object.where }
    end
  end
  for _, object in ipairs(after) do
    local old = old_names[object.name]
    found[#found + 1] = old and compare_object(old_model, old, new_model, object) or not old and
      { change = "added", kind = kind, name = object.name, where = object.where,
        value = show.fields(object.type, object.value),
        plugins = object_plugins(old_model, nil, new_model, object) } or nil
  end
end

-- ---- Chains ----------------------------------------------------------------------------------

local function chain_text(owner, index, phase)
  local chain, names = index and owner.chains[index], {}
  for i, instance in ipairs(chain and chain[phase] or {}) do
    names[i] = instance_key(owner.instances[instance])
  end
  return table.concat(names, ", ")
end

-- Adds what changed of the chains `old` and `new` (indices) of one object; `listener` names whose they are.
local function add_chain_changes(found, models, object, old, new, listener)
  for _, phase in ipairs(PHASES) do
    local before, after = chain_text(models.old, old, phase), chain_text(models.new, new, phase)
    local key = table.concat({ object.kind, phase, before, after, listener or "" }, "\0")
    if before ~= after then
      if not found[key] then
        found[key] = { kind = object.kind, phase = phase, old = before, new = after, listener = listener,
                       names = json.list() }
        found[#found + 1] = found[key]
      end
      table.insert(found[key].names, object.name)
    end
  end
end

local function positions(list)
  local found = {}
  for i, object in ipairs(list) do found[object.name] = i end
  return found
end

-- Per changed chain of a phase the routes (or listeners) on which it changed. A route has a chain for each
-- listener; those that both configurations have are compared.
local function compare_chains(old_model, new_model)
  local models, found, list = { old = old_model, new = new_model }, {}, {}
  local listeners, old_at = model.list(new_model, "listener"), positions(model.list(old_model, "listener"))
  for _, kind in ipairs { "listener", "route" } do
    local before = by_name(model.list(old_model, kind))
    for _, object in ipairs(model.list(new_model, kind)) do
      local old = before[object.name]
      if old and kind == "listener" then
        add_chain_changes(found, models, object, old.chains[1], object.chains[1])
      end
      for i, listener in ipairs(old and kind == "route" and listeners or {}) do
        local at = old_at[listener.name]
        if at then
          add_chain_changes(found, models, object, old.chains[at], object.chains[i],
                            #listeners > 1 and listener.name or nil)
        end
      end
    end
  end
  for i, change in ipairs(found) do list[i] = change end
  return list
end

-- Plugin files: another version, or another text.
local function compare_files(old_model, new_model)
  local before, found, seen = {}, {}, {}
  for _, instance in ipairs(old_model.instances) do before[instance.name] = instance.plugin end
  local function text_of(plugin)
    local parts = { plugin.source }
    for _, module in ipairs(plugin.modules) do parts[#parts + 1] = module.name .. "\0" .. module.source end
    return table.concat(parts, "\0")
  end
  for _, instance in ipairs(new_model.instances) do
    local old, new = before[instance.name], instance.plugin
    if old and not seen[new] and text_of(old) ~= text_of(new) then
      found[#found + 1] = { plugin = instance.name, file = new.chunkname, old = old.version,
        new = new.version }
    end
    seen[new] = true
  end
  return found
end

--- Compares two models.
-- @treturn table settings (changed fields), global (plugins), objects, chains, files; each a list
function diff.compare(old, new)
  local settings, objects = {}, {}
  add_changes(settings, "settings", { old = old.settings.type, new = new.settings.type }, old.settings.value,
              new.settings.value)
  for _, kind in ipairs(model.KINDS) do compare_kind(objects, kind, old, new) end
  return { settings = settings, global = add_plugins({}, old, old.global, new, new.global), objects = objects,
           chains = compare_chains(old, new), files = compare_files(old, new) }
end

-- ---- Telling ---------------------------------------------------------------------------------

local LONGEST = 200
local NAMES_SHOWN = 5

local function literal(value)
  if value == nil then return "(not set)" end
  local text = show.literal(value)
  return #text > LONGEST and text:sub(1, LONGEST) .. "…" or text
end

local function field_line(change, indent)
  return ("%s%s: %s -> %s"):format(indent, change.field, literal(change.old), literal(change.new))
end

local SIGNS = { added = "+", removed = "-", changed = "~" }

local function plugin_lines(lines, plugins, indent)
  for _, plugin in ipairs(plugins) do
    local conf = plugin.conf and " " .. literal(plugin.conf) or ""
    local route = plugin.route and " on route " .. plugin.route or ""
    lines[#lines + 1] = ("%s%s plugin %s%s%s (%s)"):format(indent, SIGNS[plugin.change], plugin.plugin, route,
                                                          conf, plugin.where)
    for _, field in ipairs(plugin.fields or {}) do lines[#lines + 1] = field_line(field, indent .. "    ") end
  end
end

local function object_lines(lines, object)
  lines[#lines + 1] = ("%s %s %s (%s)"):format(SIGNS[object.change], model.NOUNS[object.kind] or object.kind,
    object.name, object.where)
  for _, field in ipairs(object.fields or {}) do lines[#lines + 1] = field_line(field, "    ") end
  for _, name in ipairs(union(object.value or {}, {})) do
    lines[#lines + 1] = ("    %s = %s"):format(tostring(name), literal(object.value[name]))
  end
  plugin_lines(lines, object.plugins or {}, "    ")
end

local function chain_line(chain)
  local names = table.concat(chain.names, ", ", 1, math.min(#chain.names, NAMES_SHOWN))
  if #chain.names > NAMES_SHOWN then names = ("%s and %d more"):format(names, #chain.names - NAMES_SHOWN) end
  local function text(list) return list == "" and "(nobody)" or list end
  local by = chain.listener and ", by listener " .. chain.listener or ""
  return ("~ %s on %s%s %s%s: %s -> %s"):format(chain.phase, chain.kind, #chain.names == 1 and "" or "s",
                                                names, by, text(chain.old), text(chain.new))
end

--- The differences for people.
-- @tparam table changes from compare
-- @tparam string old name of the file that was compared with
function diff.text(changes, old)
  local lines = {}
  for _, change in ipairs(changes.settings) do lines[#lines + 1] = "~ " .. field_line(change, "") end
  if #changes.global > 0 then lines[#lines + 1] = "~ plugins of every request" end
  plugin_lines(lines, changes.global, "    ")
  local count = { added = 0, removed = 0, changed = 0 }
  for _, object in ipairs(changes.objects) do
    object_lines(lines, object)
    count[object.change] = count[object.change] + 1
  end
  for _, chain in ipairs(changes.chains) do lines[#lines + 1] = chain_line(chain) end
  for _, file in ipairs(changes.files) do
    local version = file.old ~= file.new and ("version %s -> %s"):format(file.old, file.new) or
      "its text changed"
    lines[#lines + 1] = ("~ plugin file %s (%s): %s"):format(file.plugin, file.file, version)
  end
  if #lines == 0 then return ("nothing changes from %s\n"):format(old) end
  lines[#lines + 1] = ("\n%d added, %d removed, %d changed from %s"):format(count.added, count.removed,
                                                                          count.changed, old)
  return table.concat(lines, "\n") .. "\n"
end

--- The differences as plain data for JSON.
function diff.plain(changes)
  local plain = {}
  for name, list in pairs(changes) do plain[name] = json.list(list) end
  for _, object in ipairs(changes.objects) do
    if object.fields then json.list(object.fields) end
    if object.plugins then json.list(object.plugins) end
  end
  return plain
end

return diff
