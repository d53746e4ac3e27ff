-- From declarations to the tree that is frozen.
--
-- Purpose    The script has ended; now names are resolved, every table is checked against its schema, plugins
--            are loaded, chains are ordered. What comes out is plain data in which everything refers by
--            index.
-- Order      settings; the names of all objects; the objects (which attaches plugin instances); the plugins
--            and their configurations; conflicts; chains. Each step reports all it finds; a later step that
--            needs an earlier one runs only on what is sound.
-- Ownership  Owns the tree until it is returned; borrows the session.
-- Cost       One walk over everything declared. A chain is computed once for each distinct set of instances,
--            so a hundred thousand routes with the same plugins share one. Tables of the script are let go
--            of once they are checked.

local S = require "tidegate.schema"
local addresses = require "tidegate.addresses"
local chain = require "tidegate.chain"
local consumers = require "tidegate.consumers"
local matching = require "tidegate.matching"
local memory = require "tidegate.memory"
local model = require "tidegate.inspect.model"
local objects = require "tidegate.objects"
local plugin = require "tidegate.plugin"
local suggest = require "tidegate.suggest"
local targets = require "tidegate.targets"
local tls = require "tidegate.tls"
local traffic = require "tidegate.traffic"
local units = require "tidegate.units"
local upstream = require "tidegate.upstream"
local websocket = require "tidegate.websocket"
local sorted = require "tidegate.sorted"
local quote = require("tidegate.scalars").quote

local resolve = {}
resolve.__index = resolve

local ROOTS = { listener = "listeners", service = "services", route = "routes", consumer = "consumers",
                ["zone.dict"] = "zones", ["zone.cache"] = "zones", ["zone.limit"] = "zones" }
local ORDER = { "zone.dict", "zone.cache", "zone.limit",
                "global", "listener", "service", "route", "consumer" }

-- Names of one kind in order of the alphabet, for hints. Sorted once: the script has ended, and only groups
-- become known later, by all of them at once.
local function declared_names(self, kind)
  local known = self.session.by_name[kind]
  if not known then return {} end
  if not self.names[known] then self.names[known] = sorted(known) end
  return self.names[known]
end

-- Which names of a kind there are, in words.
local function declared_text(self, kind)
  local names = declared_names(self, kind)
  if #names == 0 then return "none is declared" end
  if #names > 8 then return ("%d are declared"):format(#names) end
  return "declared: " .. table.concat(names, ", ")
end

local function use_name(self, kind, name)
  self.used[kind] = self.used[kind] or {}
  self.used[kind][name] = true
  return name
end

local function resolve_name(self, kind, value)
  local session = self.session
  local object = session:object(value)
  if object and object.kind == kind then return use_name(self, kind, object.name) end
  if object or type(value) ~= "string" then return nil end
  if session.by_name[kind] and session.by_name[kind][value] then return use_name(self, kind, value) end
  -- Nobody knows which groups a consumer with mistakes would be in.
  if kind == "group" and self.has_broken_consumers then return value end
  local near = not session.diagnostics:is_full() and suggest.nearest(value, declared_names(self, kind))
  local why = ("no %s is called %s"):format(kind, quote(value))
  if near then
    local where = session.cite(session.by_name[kind][near].where)
    return nil, why, ("did you mean %s? (%s)"):format(quote(near), where), near
  end
  return nil, why, declared_text(self, kind)
end

-- What the schema asks its host; see check.lua.
local function schema_host(self)
  local session = self.session
  return {
    resolve = function(kind, value) return resolve_name(self, kind, value) end,
    declared = function(kind) return declared_text(self, kind) end,
    opaque = function(value)
      local object = session:object(value)
      return object and object.noun
    end,
    object = function(value) return session:object(value) end,
    reveal = function(value)
      local object = session:object(value)
      return object and object.secret
    end,
    unknown = function(value)
      local object = session:object(value)
      return object and object.kind == "unknown"
    end,
    attach = function(instance, keys)
      if instance.path then return end
      local separator = type(keys[1]) == "string" and "." or ""
      instance.path = ("%s%s%s (%s)"):format(self.root, separator, S.path_text(keys), instance.name)
      local below = keys[1] == "routes" and "." .. S.path_text { keys[1], keys[2] } or ""
      instance.scope = self.root .. below
      self.attached[#self.attached + 1] = instance
    end,
    compile_regex = session.host.compile_regex,
    check_expr = session.host.check_expr,
    check_host = session.host.check_host,
    check_path = session.host.check_path,
    path_captures = session.host.path_captures,
    read_template = session.host.read_template,
    answer_facts = session.host.answer_facts,
    check_value_regex = session.host.check_value_regex,
  }
end

--- A resolver for one evaluated session. With `keeps` set before its tree is built it has a `model`
-- afterwards.
function resolve.new(session)
  local self = setmetatable({ session = session, attached = {}, chains = {}, chain_by_key = {},
                              route_chains = {}, used = {}, names = {} }, resolve)
  self.host = schema_host(self)
  self.loader = plugin.loader(session)
  return self
end

-- Path of a declaration as text: routes.orders, or routes["a.b"].
local function root_of(declaration)
  if not declaration.name or declaration.name == "" then return declaration.kind end
  return S.path_text { ROOTS[declaration.kind], declaration.name }
end

-- Checks one declaration's table; nil when it is not sound (reported).
local function check(self, declaration, t)
  self.root = root_of(declaration)
  local value, problems = S.validate(t, declaration.value, self.host)
  self.session:report_problems(declaration.where, self.root, problems)
  declaration.value = nil
  return value
end

function resolve:settings(limits)
  local session = self.session
  local declaration = session.settings or { kind = "settings", value = {}, where = {} }
  local t = objects.settings(limits, session.host.budget)
  local value = check(self, declaration, t)
  if not value then return nil end
  self.checked_settings = { type = t, value = value, where = declaration.where }
  local flat = {}
  for _, limit in ipairs(limits) do
    local at = value.limits
    for key in limit.path:gmatch "[^.]+" do at = at[key] end
    flat[limit.path] = at
  end
  self.frozen_memory = memory.freeze(value.memory, session.host.budget)
  return { workers = value.workers == "auto" and 0 or value.workers, server_name = value.server_name,
           log = value.log, limits = flat, admin = value.admin, place = value.place,
           adaptive = value.overload.adaptive, memory = self.frozen_memory,
           dns = targets.resolve_dns(value.dns), responses = traffic.freeze_responses(value.responses) }
end

--- The types of what is declared, by kind.
-- @tparam table kinds the host's list of credentials
function resolve.types_of(kinds)
  return { global = objects.plugins, listener = objects.listener, service = objects.service,
           route = objects.route, ["zone.dict"] = objects.zone_dict, ["zone.cache"] = objects.zone_cache,
           ["zone.limit"] = objects.zone_limit, consumer = objects.consumer(kinds) }
end

-- Checks all declarations; each sound one gets `checked`.
function resolve:objects(kinds)
  local types = resolve.types_of(kinds)
  self.types = types
  for _, kind in ipairs(ORDER) do
    for _, declaration in ipairs(self.session.by_kind[kind] or {}) do
      declaration.checked = check(self, declaration, types[kind])
    end
  end
end

local function each_checked(self, kind)
  local list = {}
  for _, declaration in ipairs(self.session.by_kind[kind] or {}) do
    if declaration.checked then list[#list + 1] = declaration end
  end
  return list
end

--- What is a group: S.ref "group" names one that a consumer is in.
function resolve:groups()
  local list = each_checked(self, "consumer")
  self.has_broken_consumers = #list < #declared_names(self, "consumer")
  self.session.by_name.group = consumers.groups(list)
end

-- Instances that set nothing share the limits of their plugin.
local function effective_limits(all, given, loaded, operator)
  local own = loaded.limits
  if next(given) == nil and loaded.shared_limits then return loaded.shared_limits end
  local limits = {}
  for _, limit in ipairs(all) do
    local name = limit.path:match "^plugin%.(.+)$"
    if name then
      local bound = operator[limit.path]
      limits[name] = given[name] or own[name] and math.min(own[name], bound) or bound
    end
  end
  if next(given) == nil then loaded.shared_limits = limits end
  return limits
end

local function limit_text(limit, value)
  if limit.unit == "bytes" then return quote(units.format_bytes(value)) end
  return limit.unit == "seconds" and quote(units.format_duration(value)) or ("%.0f"):format(value)
end

local function warn_of_limit(self, instance, limit, name)
  local asked = limit_text(limit, instance.plugin.limits[name])
  self.session:warn(instance.where, {
    code = "plugin_limits", path = instance.path,
    message = ("the plugin asks for limits.%s = %s, and gets the %s of settings.limits.%s"):format(
      name, asked, limit_text(limit, self.operator[limit.path]), limit.path),
    hint = limit.path:find "^plugin%." and
      ("a plugin only lowers limits; raise it for this use: tg.use(%s, { limits = { %s = %s } })"):format(
        quote(instance.name), name, asked) or
      ("a plugin only lowers limits; raise settings.limits.%s"):format(limit.path),
  })
end

-- What a plugin asks for above the operator's limits it does not get; told once for each plugin.
local function warn_of_limits(self, instance, given, limits)
  local loaded = instance.plugin
  for _, limit in ipairs(limits) do
    local name = limit.path:match "^plugin%.(.+)$" or limit.path:match "^plugin_vm%.(heap)$"
    local asked = name and loaded.limits[name]
    if asked and asked > self.operator[limit.path] and not given[name] and not loaded.told[name] then
      loaded.told[name] = true
      warn_of_limit(self, instance, limit, name)
    end
  end
end

-- What a plugin's configuration lacks is shown with the place in the plugin that asks for it.
local function cite_schema(self, problems, loaded)
  local source = self.session.diagnostics:source(loaded.chunkname)
  for _, problem in ipairs(problems) do
    if problem.code == "missing_field" and problem.hint then
      local token = source and source:field_of("schema", problem.keys)
      local place = token and ("at %s:%d"):format(loaded.chunkname, (source:position(token))) or
                    "in " .. loaded.chunkname
      problem.hint = ("%s\n(schema %s)"):format(problem.hint, place)
    end
  end
end

local function check_instance(self, instance, limits)
  local session = self.session
  local options, problems = S.validate(self.options_type, instance.options, self.host)
  session:report_problems(instance.where, instance.path, problems, true)
  local loaded = self.loader:load(instance)
  if not loaded then return end
  local conf
  conf, problems = S.validate(loaded.schema, instance.conf, self.host)
  cite_schema(self, problems, loaded)
  session:report_problems(instance.where, instance.path, problems)
  instance.conf, instance.options = nil, nil
  if not options or not conf then return end
  instance.plugin, instance.checked, instance.id = loaded, conf, options.id
  instance.before, instance.after, instance.when = options.before, options.after, options.when
  instance.on_error = options.on_error or (loaded.stage == "observe" and "skip" or "fail")
  instance.limits = effective_limits(limits, options.limits, loaded, self.operator)
  warn_of_limits(self, instance, options.limits, limits)
end

-- Equal plugins of consumers become one; numbers those that are left.
local function share_instances(self)
  local attached = {}
  local dropped = consumers.settle(self, each_checked(self, "consumer"))
  for _, instance in ipairs(self.attached) do
    if not dropped[instance] then
      attached[#attached + 1] = instance
      instance.index = #attached
    end
  end
  self.attached = attached
end

--- Loads the plugins of all attached instances and checks their configurations.
function resolve:instances(limits, operator)
  self.options_type = objects.options(limits)
  self.operator = operator
  for index, instance in ipairs(self.attached) do
    instance.index = index
    check_instance(self, instance, limits)
  end
  share_instances(self)
end

-- All that before and after may name: a list without repetition, and its set.
local function names_for_order(self)
  local names, known = {}, {}
  for _, instance in ipairs(self.attached) do
    for _, name in ipairs { instance.plugin and instance.plugin.name or instance.name, instance.name,
                            instance.id } do
      if not known[name] then names[#names + 1], known[name] = name, true end
    end
  end
  return names, known
end

-- before and after must name something that exists somewhere.
function resolve:ordering_names()
  local names, known = names_for_order(self)
  for _, instance in ipairs(self.attached) do
    for _, field in ipairs { "before", "after" } do
      if instance[field] and not known[instance[field]] then
        local near = suggest.nearest(instance[field], names)
        self.session:report(instance.where, {
          code = "unknown_name", path = instance.path .. "." .. field,
          message = ("no plugin is called %s"):format(quote(instance[field])),
          hint = near and ("did you mean %s?"):format(quote(near)) or nil,
        }, { field }, true)
      end
    end
  end
end

-- The same plugin twice at one scope needs ids: only one of them would run.
local function duplicate_instances(self, list)
  local seen = {}
  for _, instance in ipairs(list) do
    local key = instance.plugin and instance.plugin.index .. "\0" .. (instance.id or "")
    local first = key and seen[key]
    if first and first ~= instance then
      self.session:report(instance.where, {
        code = "duplicate_instance", path = instance.path,
        message = ("%s is attached twice here"):format(quote(instance.plugin.name)),
        hint = ("first at %s; give each an id: tg.use(%s, { id = \"…\" }) { … }"):format(
          self.session.cite(first.where), quote(instance.name)),
      })
    end
    if key then seen[key] = instance end
  end
end

-- Rewrite runs before the route is known, so on a route or service it never would. Plugins that have an
-- access phase too are made for both places.
local function phases_that_never_run(self, declaration)
  for _, instance in ipairs(declaration.checked.plugins) do
    local phases = instance.plugin and instance.plugin.phases
    local early = phases and (phases.certificate and "certificate" or phases.rewrite and "rewrite")
    if early and not phases.access and not instance.warned then
      instance.warned = true
      local where = instance.where
      self.session:warn(where, {
        code = "phase_never_runs", path = instance.path,
        message = ("its %s phase does not run on a %s"):format(early, declaration.kind),
        hint = early .. " runs before routing; attach the plugin globally or to a listener",
      })
    end
  end
end

local function answers(instance)
  return not instance.plugin or instance.plugin.phases.access
end

local function check_route_answers(self, declaration)
  local route = declaration.checked
  if route.service or route.split or route.redirect then return end
  for _, instance in ipairs(route.plugins) do
    if answers(instance) then return end
  end
  self.session:report(declaration.where, {
    code = "nothing_to_serve", path = root_of(declaration), message = "nothing answers on this route",
    hint = "give it a service, a split, a redirect, or a plugin with an access phase",
  })
end

local function check_strip_prefix(self, declaration)
  local prefix = declaration.checked.strip_prefix
  if not prefix or prefix == true or prefix == "/" then return end
  for i, path in ipairs(declaration.checked.paths) do
    local plain = path:gsub("/%*$", "")
    if plain ~= prefix and plain:sub(1, #prefix + 1) ~= prefix .. "/" then
      self.session:report(declaration.where, {
        code = "conflict", path = root_of(declaration) .. ".strip_prefix",
        message = ("%s does not begin with the prefix %s"):format(quote(path), quote(prefix)),
        hint = ("paths[%d] would reach the service unstripped"):format(i),
      }, { "strip_prefix" })
      return
    end
  end
end

local function keys_of(field)
  local keys = {}
  for key in field:gsub("%[(%d+)%]", ".%1"):gmatch "[^.]+" do keys[#keys + 1] = tonumber(key) or key end
  return keys
end

local function check_traffic(self, declaration)
  if traffic.is_plain(declaration.checked) then return end
  local session, where, root = self.session, declaration.where, root_of(declaration)
  local function has_plugins(name)
    local service = session.by_name.service[name].checked
    return service and #service.plugins > 0
  end
  traffic.check(declaration.checked, self.host, has_plugins, function(field, code, message, hint)
    session:report(where, { code = code, path = root .. "." .. field, message = message, hint = hint },
                   keys_of(field))
  end)
  if traffic.redirects_to_itself(declaration.checked) then
    session:warn(where, {
      code = "conflict", path = root .. ".redirect", message = "it leads to where the request came from",
      hint = "say another scheme, host, port, path, prefix or query",
    }, { "redirect" })
  end
end

local function check_websocket(self, declaration)
  local where, root = declaration.where, root_of(declaration)
  websocket.check(declaration.checked, function(field, code, message, hint)
    self.session:report(where, { code = code, path = root .. "." .. field, message = message, hint = hint },
                        keys_of(field))
  end)
end

-- Builds the route table; two routes that take the same requests are found there.
local function check_route_conflicts(self, routes)
  local list, by_name = {}, self.session.by_name.route or {}
  for i, declaration in ipairs(routes) do list[i] = matching.of(declaration) end
  local conflicts, why, index, hint = self.session.host.build_routes(list)
  if not conflicts then
    local refused = routes[index]
    self.session:report(refused.where, { code = "bad_value", path = root_of(refused), message = why,
                                         hint = hint })
  end
  for _, conflict in ipairs(conflicts or {}) do
    local first, second = by_name[conflict.first], by_name[conflict.second]
    if second.position < first.position then first, second = second, first end
    self.session:report(second.where, {
      code = "conflict", path = root_of(second),
      message = ("route %s takes the same requests (%s %s)"):format(quote(first.name), conflict.host,
                                                                    conflict.path),
      hint = "declared at " .. self.session.cite(first.where),
    })
  end
end

--- What contradicts itself or serves nothing.
function resolve:consistency()
  local listeners, routes = each_checked(self, "listener"), each_checked(self, "route")
  for _, kind in ipairs { "listener", "service", "route", "consumer" } do
    for _, declaration in ipairs(each_checked(self, kind)) do
      duplicate_instances(self, declaration.checked.plugins)
      for _, plugins in pairs(kind == "consumer" and declaration.checked.routes or {}) do
        duplicate_instances(self, plugins)
      end
      if kind ~= "listener" then phases_that_never_run(self, declaration) end
    end
  end
  duplicate_instances(self, self:global_instances())
  for _, declaration in ipairs(routes) do
    check_route_answers(self, declaration)
    check_strip_prefix(self, declaration)
    check_traffic(self, declaration)
    check_websocket(self, declaration)
  end
  addresses.check(self.session, self.checked_settings, listeners, root_of)
  tls.check(self.session, listeners, each_checked(self, "service"), root_of)
  check_route_conflicts(self, routes)
  if #declared_names(self, "listener") == 0 then
    self.session.diagnostics:error {
      code = "nothing_to_serve", file = self.session.path, message = "no listener is declared",
      hint = 'write tg.listener "http" { address = "127.0.0.1:8080" }',
    }
  end
end

-- A tg.use that no list holds does nothing, and nothing of it was checked.
local function warn_of_unattached(session)
  for _, instance in ipairs(session.instances) do
    if not instance.path then
      session:warn(instance.where, {
        code = "attached_nowhere", message = ("plugin %s is attached nowhere"):format(quote(instance.name)),
        hint = "put it into tg.global, or into the plugins of a listener, service, route or consumer",
      })
    end
  end
end

function resolve:global_instances()
  local list = {}
  for _, declaration in ipairs(each_checked(self, "global")) do
    for _, instance in ipairs(declaration.checked) do list[#list + 1] = instance end
  end
  return list
end

local function key_of(scopes)
  local parts = {}
  for i, scope in ipairs(scopes) do
    local indices = {}
    for j, instance in ipairs(scope) do indices[j] = instance.index end
    parts[i] = table.concat(indices, ",")
  end
  return table.concat(parts, ";")
end

-- Index of the chain for these scopes; computed once for each distinct set.
local function chain_index(self, scopes, leave_out)
  local key = key_of(scopes) .. (leave_out.access and "!" or "")
  if self.chain_by_key[key] then return self.chain_by_key[key] end
  local ordered, offender, why = chain.order(scopes)
  if not ordered then
    local field = offender.before and "before" or "after"
    self.session:report(offender.where, {
      code = "bad_order", path = offender.path .. "." .. field, message = why,
    }, { field }, true)
    ordered = {}
  end
  self.chains[#self.chains + 1] = chain.phases(ordered, leave_out)
  self.chain_by_key[key] = #self.chains
  return #self.chains
end

local BEFORE_ROUTING = { access = true }
local AFTER_ROUTING = { certificate = true, rewrite = true }

--- The same for a consumer's own plugins.
function resolve:chain_index(scopes)
  return chain_index(self, scopes, AFTER_ROUTING)
end

function resolve:listeners()
  local list, global = {}, self:global_instances()
  for _, declaration in ipairs(each_checked(self, "listener")) do
    local value = declaration.checked
    list[#list + 1] = {
      name = declaration.name, address = value.address, trusted = value.trusted,
      tls = value.tls, proxy_protocol = value.proxy_protocol or nil, redirects = value.redirect and true,
      redirect_port = value.redirect and value.redirect_port, hsts = tls.hsts_text(value.hsts),
      allow_trace = value.allow_trace, allow_connect = value.allow_connect,
      merge_slashes = value.merge_slashes, answer_options = value.answer_options,
      http2 = value.http2 or (value.http2 == nil and value.tls ~= nil),
      chain = chain_index(self, { global, value.plugins }, BEFORE_ROUTING), plugins = value.plugins,
    }
  end
  return list
end

function resolve:services()
  local list = {}
  for _, declaration in ipairs(each_checked(self, "service")) do
    local value, resolved = declaration.checked, {}
    for i, target in ipairs(value.targets or {}) do
      resolved[i] = targets.resolve(target, value.tls ~= nil)
    end
    list[#list + 1] = {
      name = declaration.name, path = value.path ~= "/" and value.path or nil, builtin = value.builtin,
      targets = resolved, timeout = value.timeout,
      pool = value.pool, tags = value.tags, plugins = value.plugins, balance = value.balance,
      health = value.health, breaker = value.breaker, retry = upstream.freeze_retry(value.retry),
      hedge = value.hedge,
      tls = value.tls, http = value.http,
      proxy_protocol = value.proxy_protocol and tonumber(value.proxy_protocol:sub(2)),
    }
  end
  return list
end

-- Which part of settings.memory the zones of a kind come out of.
local PART = { dict = "cache", cache = "cache", limit = "counters" }

-- Zones that could never be filled are a mistake that would show under load.
local function check_zones_fit(self, zones, frozen)
  local sums = { cache = 0, counters = 0 }
  for _, zone in ipairs(zones) do sums[PART[zone.kind]] = sums[PART[zone.kind]] + zone.size end
  for _, part in ipairs { "cache", "counters" } do
    local room = frozen and frozen.shares[part] and memory.bytes(frozen, part)
    if room and sums[part] > room then
      self.session:report(self.session.settings.where, {
        code = "conflict", path = "settings.memory",
        message = ("zones are declared with %.1f MiB in all, and the share of %s is %.1f MiB"):format(
          sums[part] / 2 ^ 20, part, room / 2 ^ 20),
        hint = ("make zones smaller, the total larger, or give more to shares.%s"):format(part),
      }, { "memory" })
    end
  end
end

function resolve:zones()
  local list = {}
  for _, kind in ipairs { "dict", "cache", "limit" } do
    for _, declaration in ipairs(each_checked(self, "zone." .. kind)) do
      local value = declaration.checked
      list[#list + 1] = { kind = kind, name = declaration.name, size = value.size, stale = value.stale }
    end
  end
  check_zones_fit(self, list, self.frozen_memory)
  return list
end

-- The chains of a route, one a listener. Routes of the same plugins share the list.
local function route_chains(self, listeners, global, of_service, of_route)
  local key = key_of { of_service, of_route }
  local known = self.route_chains[key]
  if known then return known end
  local chains = {}
  for i, listener in ipairs(listeners) do
    chains[i] = chain_index(self, { global, listener.plugins, of_service, of_route }, AFTER_ROUTING)
  end
  self.route_chains[key] = chains
  return chains
end

function resolve:routes(listeners, services)
  local list, global, index = {}, self:global_instances(), {}
  for i, service in ipairs(services) do index[service.name] = i end
  for _, declaration in ipairs(each_checked(self, "route")) do
    local value = declaration.checked
    local service = value.service and index[value.service]
    local function chains_of(to)
      return route_chains(self, listeners, global, to and services[to].plugins or {}, value.plugins)
    end
    -- The checked table becomes the tree's: with many routes a copy would count.
    value.name, value.service, value.chains = declaration.name, service or 0, chains_of(service)
    if not traffic.is_plain(value) then traffic.freeze(value, index, chains_of) end
    value.plugins = nil
    for _, field in ipairs(matching.FIELDS) do value[field] = nil end
    list[#list + 1] = value
  end
  return list
end

function resolve:plugins(operator)
  local list = {}
  for i, loaded in ipairs(self.loader.list) do
    local heap = operator["plugin_vm.heap"]
    list[i] = {
      name = loaded.name, version = loaded.version, chunkname = loaded.chunkname, source = loaded.source,
      modules = loaded.modules, stage = loaded.stage, phases = loaded.phases, when = loaded.when,
      place = plugin.place(loaded),
      body = loaded.needs.body, decode = loaded.needs.decode, exports = loaded.exports,
      dict = loaded.needs.dict, cache = loaded.needs.cache, limit = loaded.needs.limit,
      timers = loaded.needs.timers, events = loaded.needs.events, http = loaded.needs.http,
      sink = loaded.needs.sink,
      heap = loaded.limits.heap and math.min(loaded.limits.heap, heap) or heap,
    }
  end
  return list
end

function resolve:instance_list()
  local list = {}
  for i, instance in ipairs(self.attached) do
    list[i] = {
      plugin = instance.plugin.index, id = instance.id, when = instance.when, conf = instance.checked,
      on_error = instance.on_error, limits = instance.limits, scope = instance.scope,
      identity = instance.id and instance.scope .. "#" .. instance.id or instance.scope,
      where = self.session.cite(instance.where),
    }
  end
  return list
end

local function without_plugins(list)
  for _, object in ipairs(list) do object.plugins = nil end
  return list
end

-- What the operator's limits are while his own are broken: enough to check everything else.
local function default_limits(limits)
  local flat = {}
  for _, limit in ipairs(limits) do flat[limit.path] = limit.default end
  return flat
end

--- Builds the tree.
-- @tparam table limits the host's list of limits
-- @tparam table kinds the host's list of credentials
function resolve:tree(limits, kinds)
  local diagnostics = self.session.diagnostics
  local settings = self:settings(limits)
  self:objects(kinds)
  self:groups()
  self:instances(limits, settings and settings.limits or default_limits(limits))
  self:ordering_names()
  self:consistency()
  consumers.check(self, each_checked(self, "consumer"), kinds)
  if diagnostics.errors > 0 then return nil end
  warn_of_unattached(self.session)
  self.model = self.keeps and model.of(self)
  local listeners, services = self:listeners(), self:services()
  local routes = self:routes(listeners, services)
  local consumer_list, consumer_plugins = consumers.tree(self, each_checked(self, "consumer"), routes)
  if diagnostics.errors > 0 then return nil end
  return {
    settings = settings, listeners = without_plugins(listeners), services = without_plugins(services),
    routes = routes, zones = self:zones(), plugins = self:plugins(settings.limits),
    consumers = consumer_list, consumer_plugins = consumer_plugins,
    instances = self:instance_list(), chains = self.chains,
  }
end

return resolve
