-- Loads a configuration: the one entry point.
--
-- Purpose    From a path to plain data that C freezes, or to the list of all mistakes.
-- Host       What the script's world is made of, so that tests and `check` can bring their own:
--              read_file(path, secret) -> text, or nil, why
--              glob(pattern) -> list of paths, or nil, why
--              getenv(name, secret) -> string or nil
--              bundled(name) -> text, chunkname of a bundled plugin ("cors") or its module ("cors/origin")
--              limits: list of { path, unit ("bytes", "seconds" or "count"), default, min, max, doc }
--              budget: { min, max, parts = list of { name, share, doc } }: of settings.memory
--              credentials: list of { name, secret, doc }: the kinds that consumers may have
--              bundled_names() -> list of names, for suggestions; optional
--              check_host(pattern), check_path(pattern), check_expr(text) -> why it is none, and a hint; else
--                nothing
--              path_captures(pattern) -> list of names that a path captures, in order
--              read_template(text, "path", "query", "host" or "body") -> list of the names in a template, or
--                nil, why it is none, and a hint
--              answer_facts: list of names that templates of answers may use
--              check_value_regex(pattern) -> why a value cannot be matched by it, and a hint; else nothing
--              build_routes(list of { name, hosts, paths, methods, priority, conditions = { { source, name,
--                kind, values }… }, networks, scheme, sni }; from priority on they may be nil) -> list of
--                conflicts { first, second (names), host, path }, or nil, why, the index of a route that is
--                refused, and a hint or nil; the host keeps the table of the last call, that of the tree
--              check_tls(kind ("server", "client"), table as tls.lua reads it) -> nothing, or why not, the
--                field and the number of the certificate (0: none)
--              certificate_end(PEM) -> when it expires, and the time now, in seconds since 1970
--              route_order() -> what the last build_routes made of the routes, in order of precedence: list
--                of { route (index), host, path, priority, auto_head }; optional
--              print(text): where the script's print goes; optional
--              compile_regex(pattern) -> why it does not compile, or nil; optional
--              script_line() -> file and line of the script's innermost function on the stack; optional
--              digest(objects, value...) -> a number that is the same for equal values, whatever the order of
--                keys; handles, the keys of `objects`, count as what they stand for; optional
-- Invariants Nothing is half loaded: a tree comes back only when nothing is wrong. The script is evaluated
--            twice and must declare the same both times, at every load: check, start and reload.
-- Ownership  The tree is the caller's; nothing in it points back here.
-- Cost       Two evaluations of the script and one resolution.
--
-- The tree (indices count from 1, 0 is none; times in seconds, sizes in bytes):
--   settings  { workers (0 auto), server_name, log = { level }, limits = { ["request.body"] = n, … },
--               memory = { total, shares = { [part] = percent } } or nil, adaptive =
--               { latency, min } or nil, admin = { listen = { path or host and port, text }, write } or nil,
--               dns = { servers ("10.0.0.53:53,…") or nil, hosts, resolv_conf }, responses or nil }
--   listeners { name, address = { host, port, text }, trusted = { cidr… }, allow_trace,
--               allow_connect, merge_slashes, answer_options, tls, proxy_protocol, redirects,
--               redirect_port, hsts, http2, chain }
--   services  { name, path or nil, builtin, targets = { { kind ("address", "name", "srv"), text,
--               path, host, domain, query, port, refresh, weight, zone, region: see targets.lua }… },
--               timeout = { connect, response, idle },
--               pool = { max_idle, idle_timeout }, tags, tls, proxy_protocol (1, 2) }
--   routes    { name, paths, service, strip_prefix, preserve_host, tags, client_cert,
--               timeout = { deadline too }, chains (one a listener),
--               and each of these or nil:
--               rewrite = { path, prefix, query, host, strip (what the pattern matched) },
--               redirect = { status, scheme, host, port, path, prefix, query },
--               split = { choices = { { service, weight, chains }… }, key = { by, name } },
--               canary = { service, chains, header, value, percent, key },
--               mirror = { service, percent, max_body },
--               websocket = { from_client = { max_message, rate, burst }, from_origin = the same, ping,
--               pong_timeout, idle_timeout, reconnect = { buffer, deadline, backoff, max_backoff } },
--               responses = { { status (4, 5: a class), body, type, fields = { { name, value }… } }… } }
--   zones     { kind ("dict", "cache", "limit"), name, size, stale }
--   consumers { name, id, custom_id, groups, tags, metadata or nil, importance and queue_priority or nil,
--               credentials = { key = { text… }, … }, plugins (index in consumer_plugins) }
--   consumer_plugins { chain, routes = { { route, chain }… } }: what a consumer's own plugins are, on those
--             routes and elsewhere; consumers with the same share one
--   plugins   { name, version, chunkname, source, modules = { { name, chunkname, source }… }, stage, place,
--               phases, when = { phase = condition }, body, exports, heap, dict, cache, limit (sizes),
--               timers, events, http }
--   instances { plugin, id, when, conf, on_error, limits = { memory, … }, scope, identity, where }
--   chains    { certificate, rewrite, access, header_filter, body_filter, message, log }: lists of instances
--             in running order. A listener's chain holds what runs before routing and for a request that no
--             route takes; a route's chains hold the rest.

local diagnostics = require "tidegate.diagnostics"
local language = require "tidegate"
local model = require "tidegate.inspect.model"
local resolve = require "tidegate.resolve"
local schema = require "tidegate.schema"
local script = require "tidegate.script"

local config = {}

local function evaluate(options, reports, trail)
  local session = script.new(options.path, options.host, reports)
  session.trail = trail
  session.language = language.new(session)
  local ran = session:run()
  if ran then language.finish(session) end
  return session, ran
end

-- What a value is for comparison: handles by what they stand for, everything else as it is.
local function plain_form(session, value)
  local object = session:object(value)
  if not object then return value end
  return object.kind .. ":" .. (object.secret or object.name or "")
end

local difference

local function table_difference(one, a, two, b, keys, depth)
  local all = {}
  for key in next, a do all[key] = true end
  for key in next, b do all[key] = true end
  for key in next, all do
    local path = { unpack(keys) }
    path[#path + 1] = type(key) == "number" and key or tostring(key)
    local found = difference(one, rawget(a, key), two, rawget(b, key), path, depth + 1)
    if found then return found end
  end
end

-- Path of the first value in which two evaluations differ; nil when they agree. Functions are not compared:
-- the schema refuses them where they matter. Tables that hold themselves were refused before.
function difference(one, a, two, b, keys, depth)
  a, b = plain_form(one, a), plain_form(two, b)
  if type(a) ~= type(b) then return keys end
  if type(a) == "table" then return depth < 64 and table_difference(one, a, two, b, keys, depth) or nil end
  return type(a) ~= "function" and a ~= b and a == a and keys or nil
end

-- Everything that a session declared, in order.
local function declared(session)
  local list = { session.settings }
  for _, declaration in ipairs(session.declarations) do list[#list + 1] = declaration end
  for _, instance in ipairs(session.instances) do
    list[#list + 1] = { kind = "use", name = instance.name, where = instance.where,
                        value = { conf = instance.conf, options = instance.options } }
  end
  return list
end

local function report_difference(session, declaration, keys)
  session:report(declaration.where, {
    code = "not_deterministic", path = keys and schema.path_text(keys) or nil,
    message = "evaluating the file twice gave two results",
    hint = "a configuration may depend on the environment and on files, not on chance: " ..
           "pairs() over tables or functions as keys, or tostring() of a table",
  }, keys)
end

-- What an evaluation declared, as digests: for the second one, of which nothing else is kept.
local trail = {}
trail.__index = trail

local function digest_of(session, declaration)
  return session.host.digest(session.objects, declaration.kind, declaration.name or "", declaration.value)
end

local function digest_of_use(session, instance)
  return session.host.digest(session.objects, instance.name, instance.conf, instance.options)
end

function trail:declared(session, declaration)
  if declaration.kind == "settings" then
    self.settings = digest_of(session, declaration)
  else
    self.digests[#self.digests + 1] = digest_of(session, declaration)
  end
end

function trail:used(session, instance)
  self.uses[#self.uses + 1] = digest_of_use(session, instance)
end

-- Whether `session` declared what the trail tells.
local function follows(session, of)
  local settings = session.settings and digest_of(session, session.settings)
  if of.settings ~= settings or #of.digests ~= #session.declarations or #of.uses ~= #session.instances then
    return false
  end
  for i, declaration in ipairs(session.declarations) do
    if of.digests[i] ~= digest_of(session, declaration) then return false end
  end
  for i, instance in ipairs(session.instances) do
    if of.uses[i] ~= digest_of_use(session, instance) then return false end
  end
  return true
end

-- Evaluates once more, without printing again, and compares: by digests where the host makes them, and where
-- these differ (a table may have been changed after it was declared) value by value.
local function check_determinism(options, first)
  local host = {}
  for name, value in pairs(options.host) do host[name] = value end
  host.print = nil
  local again = { path = options.path, host = host }
  if host.digest then
    local digests = setmetatable({ digests = {}, uses = {} }, trail)
    evaluate(again, diagnostics.new(), digests)
    if follows(first, digests) then return end
  end
  local second = evaluate(again, diagnostics.new())
  local a, b = declared(first), declared(second)
  for i = 1, math.max(#a, #b) do
    local one, two = a[i], b[i]
    if not one or not two or one.kind ~= two.kind or one.name ~= two.name then
      return report_difference(first, one or a[#a] or { where = {} })
    end
    local keys = difference(first, one.value, second, two.value, {}, 0)
    if keys then return report_difference(first, one, keys) end
  end
end

-- settings.admin of a session that has mistakes, as the tree would have it; nil when it is one of them.
local function admin_of(session, limits)
  local given = session.admin_given
  if type(given) ~= "table" then return nil end
  local quiet = script.new(session.path, session.host, diagnostics.new())
  quiet.settings = { kind = "settings", value = { admin = given }, where = {} }
  local settings = resolve.new(quiet):settings(limits)
  return settings and settings.admin
end

--- Loads a configuration.
-- @tparam table options path of the config file, and host; with `inspect` the tree has a `model` of what the
--   configuration says (inspect/model.lua), and what is probably not meant is warned of as well
-- @treturn table|nil the tree
-- @treturn table the diagnostics; they may hold warnings when there is a tree
-- @treturn table|nil without a tree: settings.admin, where the script got as far as to say it well. Who wants
--  to ask the gateway that runs finds it by that.
function config.load(options)
  local reports = diagnostics.new()
  local session, ran = evaluate(options, reports)
  -- After an error in the script, what is missing may be missing only because of it.
  if not ran then return nil, reports, admin_of(session, options.host.limits) end
  check_determinism(options, session)
  local resolver = resolve.new(session)
  resolver.keeps = options.inspect
  local tree = resolver:tree(options.host.limits, options.host.credentials)
  if reports.errors > 0 then return nil, reports, admin_of(session, options.host.limits) end
  if options.inspect then
    local order = options.host.route_order and options.host.route_order()
    tree.model = model.complete(resolver.model, tree, order)
    require("tidegate.inspect.lint").run(tree.model, session) -- only here: a reload does not pay for it
  end
  return tree, reports
end

return config
