-- Consumers: from declarations to what the store and the chains are made of.
--
-- Purpose    resolve.lua has checked each consumer's table; here they are checked against each other, their
--            plugins become lists that many share, and both go into the tree.
-- Invariants A credential belongs to one consumer. No message shows one, nor quotes a line that may.
--            Consumers whose plugins are equal, in configuration and options, share one list and so one set
--            of instances: ten thousand consumers of three tiers cost three lists, however the configuration
--            wrote them.
--            A consumer is known once somebody authenticated it, so instances run from stage guard on, and
--            `before` and `after` order them among themselves: where they stand among the route's is decided
--            for each request by stage and priority (core/gateway/consumer.c).
-- Ownership  Borrows the resolver; what it returns is the tree's.
-- Cost       One pass over all consumers; each instance is written out once to be compared.

local S = require "tidegate.schema"
local chain = require "tidegate.chain"
local plugin = require "tidegate.plugin"
local sorted = require "tidegate.sorted"
local quote = require("tidegate.scalars").quote
local written = require("tidegate.check").identity

local consumers = {}

local FIRST_STAGE = "guard"
local LONGEST_KEY = 4096 -- bytes; what is longer fits no header

local function path_of(declaration, ...)
  return S.path_text { "consumers", declaration.name, ... }
end

-- ---- Credentials ----------------------------------------------------------------------------------------

-- Why nobody can send this key; nil when somebody can.
local function unusable(text)
  if text == "" then return "is empty" end
  if #text > LONGEST_KEY then return ("is longer than %d bytes"):format(LONGEST_KEY) end
  if text:find "%c" then return "has a line break or another control character in it" end
  if text:find "^ " or text:find " $" then return "begins or ends with a space" end
end

local function report_credential(self, declaration, kind, nth, message, hint)
  local path = path_of(declaration, "credentials", kind.name, nth)
  local keys = { "credentials", kind.name, nth }
  self.session:report(declaration.where, {
    code = "conflict", path = path, message = message, hint = hint,
  }, keys)
end

local function check_credential(self, declaration, kind, nth, text, owners)
  local why = kind.secret and unusable(text)
  if why then return report_credential(self, declaration, kind, nth, "the value " .. why) end
  local first = owners[text]
  owners[text] = first or declaration
  if not first then return end
  local message = first == declaration and "the same value twice" or
                  ("consumer %s has the same value"):format(quote(first.name))
  report_credential(self, declaration, kind, nth, message, "declared at " .. self.session.cite(first.where))
end

-- One or several become a list; nobody has the value of another.
local function credentials(self, list, kinds)
  for _, kind in ipairs(kinds) do
    local owners = {}
    for _, declaration in ipairs(list) do
      local given = declaration.checked.credentials[kind.name]
      if type(given) == "string" then
        declaration.checked.credentials[kind.name] = { given }
        check_credential(self, declaration, kind, nil, given, owners)
      else
        for nth, text in ipairs(given or {}) do
          check_credential(self, declaration, kind, nth, text, owners)
        end
      end
    end
  end
end

-- ---- Names ----------------------------------------------------------------------------------------------

local function unique(self, list, field, value_of)
  local owners = {}
  for _, declaration in ipairs(list) do
    local value = value_of(declaration)
    local first = value and owners[value]
    if first then
      self.session:report(declaration.where, {
        code = "conflict", path = path_of(declaration, field),
        message = ("consumer %s has the %s %s too"):format(quote(first.name), field, quote(value)),
        hint = "declared at " .. self.session.cite(first.where),
      }, declaration.checked[field] and { field } or nil)
    elseif value then
      owners[value] = declaration
    end
  end
end

--- The groups that consumers are in: name to the first declaration that has it.
function consumers.groups(list)
  local groups = {}
  for _, declaration in ipairs(list) do
    for _, group in ipairs(declaration.checked.groups) do groups[group] = groups[group] or declaration end
  end
  return groups
end

--- What contradicts itself among the consumers.
-- @tparam table self the resolver
-- @tparam {table,...} list checked declarations
-- @tparam table kinds the host's list of credentials
function consumers.check(self, list, kinds)
  credentials(self, list, kinds)
  unique(self, list, "id", function(declaration) return declaration.checked.id or declaration.name end)
  unique(self, list, "custom_id", function(declaration) return declaration.checked.custom_id end)
end

-- ---- Plugins --------------------------------------------------------------------------------------------

-- Lists of a consumer's instances: everywhere, then those of routes, by name.
local function lists_of(declaration)
  local lists, names = { declaration.checked.plugins }, sorted(declaration.checked.routes)
  for _, name in ipairs(names) do lists[#lists + 1] = declaration.checked.routes[name] end
  return lists, names
end

-- What two instances have to have in common to be one. Limits are a table that most share.
local function identity(instance, limits)
  limits[instance.limits] = limits[instance.limits] or written(instance.limits)
  return table.concat({
    instance.plugin.index, instance.id or "", instance.when or "", instance.before or "",
    instance.after or "", instance.on_error, limits[instance.limits], written(instance.checked),
  }, "\0")
end

-- The instance that runs in place of this one: itself, an equal one, or (nil) none.
local function settled(self, instance, known, limits)
  if not instance.plugin or not instance.checked then return instance end -- reported
  if instance.plugin.rank < plugin.rank(FIRST_STAGE) then
    self.session:warn(instance.where, {
      code = "bad_scope", path = instance.path,
      message = ("stage %s cannot be attached to a consumer"):format(quote(instance.plugin.stage)),
      hint = "consumers are known only after the auth stage; attach it to a route, service or globally",
    })
    return nil
  end
  local key = identity(instance, limits)
  known[key] = known[key] or instance
  return known[key]
end

--- Shares equal instances, once plugins are loaded.
-- @treturn table set of the instances that nothing refers to any more
function consumers.settle(self, list)
  local known, dropped, kept, limits = {}, {}, {}, {}
  for _, declaration in ipairs(list) do
    for _, plugins in ipairs((lists_of(declaration))) do
      local new = {}
      for _, instance in ipairs(plugins) do
        local stands = settled(self, instance, known, limits)
        new[#new + 1] = stands
        if stands then kept[stands] = true end
        -- What a route or service has as well stays for it.
        if stands ~= instance and instance.scope:find "^consumers" then dropped[instance] = true end
      end
      for i = 1, #plugins do plugins[i] = new[i] end
    end
  end
  for instance in pairs(kept) do dropped[instance] = nil end
  return dropped
end

-- What before and after name has to be in the same list.
local function check_constraints(self, ordered)
  for _, instance in ipairs(ordered) do
    for _, field in ipairs { "before", "after" } do
      local found = not instance[field]
      for _, other in ipairs(ordered) do
        found = found or other ~= instance and chain.matches(other, instance[field])
      end
      if not found then
        self.session:report(instance.where, {
          code = "bad_order", path = instance.path .. "." .. field,
          message = ("%s is none of the consumer's plugins"):format(quote(instance[field])),
          hint = "before and after order a consumer's plugins among themselves",
        }, { field }, true)
      end
    end
  end
end

-- Index of the chain of these scopes.
local function chain_of(self, scopes)
  for _, scope in ipairs(scopes) do check_constraints(self, scope) end
  return self:chain_index(scopes)
end

-- Index of the consumer's list of plugins, which equal ones share; 0: it has none.
local function plugins_index(self, declaration, routes, shared)
  local lists, names = lists_of(declaration)
  local everywhere = lists[1]
  local entry, some, key = { chain = chain_of(self, { everywhere }), routes = {} }, #everywhere > 0, {}
  for i, name in ipairs(names) do
    local index = chain_of(self, { everywhere, lists[i + 1] })
    some = some or #lists[i + 1] > 0
    entry.routes[i] = { route = routes[name], chain = index }
    key[i] = routes[name] .. "=" .. index
  end
  if not some then return 0 end
  table.sort(entry.routes, function(a, b) return a.route < b.route end)
  local text = entry.chain .. ";" .. table.concat(key, ",")
  if not shared.by_key[text] then
    shared.list[#shared.list + 1] = entry
    shared.by_key[text] = #shared.list
  end
  return shared.by_key[text]
end

--- The tree's consumers and consumer_plugins.
-- @tparam {table,...} route_list the tree's routes
function consumers.tree(self, list, route_list)
  local result, shared, routes = {}, { list = {}, by_key = {} }, {}
  for i, route in ipairs(route_list) do routes[route.name] = i end
  for i, declaration in ipairs(list) do
    local value = declaration.checked
    result[i] = {
      name = declaration.name, id = value.id, custom_id = value.custom_id, groups = value.groups,
      importance = value.importance, queue_priority = value.queue_priority,
      tags = value.tags, metadata = next(value.metadata) and value.metadata or nil,
      credentials = value.credentials, plugins = plugins_index(self, declaration, routes, shared),
    }
  end
  return result, shared.list
end

return consumers
