-- What a configuration says, kept for being looked at.
--
-- Purpose    The tree that is frozen for serving forgets what only people ask about: where things were
--            declared, what a route matches, which types the values had. The commands that tell about a
--            configuration look at this instead.
-- A model    path       of the configuration
--            settings   { type, value, where }
--            objects    by kind ("listener", "service", "route", "zone.dict", …): lists, in order of
--                       declaration, of { kind, name, where, type, value, plugins, declaration }; a
--                       listener and a route also have `chains`, a route `match`, the set of fields that
--                       decide whether it takes a request, and `ways`, the services that it may go to, each
--                       with its chains; a consumer `routes`, its plugins on single routes by their names
--            global     plugins of every request
--            instances  { name, version, stage, phases, scope, where, id, when, on_error, limits, conf, type,
--                       plugin } by index, as `plugins` and chains refer to them
--            limits     the types of instances' limits, by name
--            chains     as in the tree: per phase a list of instances
--            order      hosts and paths of all routes in order of precedence:
--                       { route, host, path, auto_head }
--            used       per kind the set of names that something refers to
-- Ownership  A model owns its objects; instances and chains are shared with the tree. Nobody changes them.
-- Cost       A copy of each object.

local matching = require "tidegate.matching"

local model = {}

local MATCH = { paths = true }
for _, field in ipairs(matching.FIELDS) do MATCH[field] = true end

--- Kinds in the order in which people are told of them, and what one is called.
model.KINDS = { "listener", "service", "route", "consumer", "zone.dict", "zone.cache", "zone.limit" }
model.NOUNS = { ["zone.dict"] = "zone", ["zone.cache"] = "zone", ["zone.limit"] = "zone" }

local function indices(list)
  local found = {}
  for i, instance in ipairs(list or {}) do found[i] = instance.index end
  return found
end

-- The tree's form is made from the checked tables in place.
local function copy(value)
  if type(value) ~= "table" then return value end
  local new = {}
  for key, item in pairs(value) do new[key] = copy(item) end
  return new
end

-- Less what holds plugins: these are kept by their indices.
local function fields_of(checked, kind)
  local new = {}
  for name, item in pairs(checked) do
    if name ~= "plugins" and not (kind == "consumer" and name == "routes") then new[name] = copy(item) end
  end
  return new
end

local function plugins_on_routes(routes)
  local found = {}
  for name, list in pairs(routes) do found[name] = indices(list) end
  return found
end

local function object_of(resolver, declaration)
  local object = {
    kind = declaration.kind, name = declaration.name, where = resolver.session.cite(declaration.where),
    type = resolver.types[declaration.kind], value = fields_of(declaration.checked, declaration.kind),
    declaration = declaration,
    plugins = indices(declaration.checked.plugins),
  }
  if declaration.kind == "route" then object.match = MATCH end
  if declaration.kind == "consumer" then object.routes = plugins_on_routes(declaration.checked.routes) end
  return object
end

local function instance_of(resolver, instance)
  local plugin = instance.plugin
  return {
    name = plugin.name, version = plugin.version, stage = plugin.stage, phases = plugin.phases,
    scope = instance.scope, where = resolver.session.cite(instance.where), id = instance.id,
    when = instance.when,
    on_error = instance.on_error, limits = instance.limits, conf = instance.checked, type = plugin.schema,
    plugin = plugin, attached = instance,
  }
end

--- Takes what a resolver knows, before it becomes the tree.
function model.of(resolver)
  local self = { path = resolver.session.path, objects = {}, instances = {}, used = resolver.used,
                 settings = resolver.checked_settings, global = indices(resolver:global_instances()),
                 limits = resolver.options_type.fields.limits.fields }
  for _, declaration in ipairs(resolver.session.declarations) do
    local kind = declaration.kind
    if kind ~= "global" and declaration.checked then
      self.objects[kind] = self.objects[kind] or {}
      table.insert(self.objects[kind], object_of(resolver, declaration))
    end
  end
  for i, instance in ipairs(resolver.attached) do self.instances[i] = instance_of(resolver, instance) end
  return self
end

-- The services that a route's requests may go to, each with the chains that run then: its own, unless a split
-- has taken its place, and those of split and canary.
local function ways_of(object, frozen)
  local ways, split, canary = {}, object.value.split, object.value.canary
  if not split then ways[1] = { service = object.value.service, chains = frozen.chains } end
  for i, choice in ipairs(split or {}) do
    ways[#ways + 1] = { service = choice[1], chains = frozen.split.choices[i].chains }
  end
  if canary then ways[#ways + 1] = { service = canary.service, chains = frozen.canary.chains } end
  return ways
end

--- Adds what is known once the tree is there.
-- @tparam table tree
-- @tparam[opt] table order of the routes, from the host
function model.complete(self, tree, order)
  self.chains = tree.chains
  for i, listener in ipairs(tree.listeners) do self.objects.listener[i].chains = { listener.chain } end
  for i, route in ipairs(tree.routes) do
    local object = self.objects.route[i]
    object.chains, object.ways = route.chains, ways_of(object, route)
  end
  self.order = order or {}
  return self
end

--- The objects of a kind.
function model.list(self, kind)
  return self.objects[kind] or {}
end

return model
