-- Loads plugin files for checking.
--
-- Purpose    A plugin is a file that returns a table. Here the file is found, compiled, run once in an
--            environment of its own, and the table is checked whole, so that a plugin which a worker's VM
--            would refuse is refused at check. The workers load the same text again, each in its own VM.
-- Invariants Text only, no bytecode. While the file runs, the gateway's library can be named but not called:
--            what it needs is known at load, what it does belongs in init, configure and the phases. Unknown
--            fields, phases, stages and capabilities are errors.
-- Ownership  A loaded plugin owns its text and its modules' texts; its functions are never called.
-- Cost       One compile and one run for each file, whatever number of instances uses it.

local S = require "tidegate.schema"
local conf_fields = require "tidegate.conf_fields"
local families = require "tidegate.families"
local globals = require "tidegate.globals"
local objects = require "tidegate.objects"
local suggest = require "tidegate.suggest"
local quote = require("tidegate.scalars").quote
local REPORTED = require("tidegate.script").REPORTED

local plugin = {}
plugin.__index = plugin

plugin.STAGES = { "edge", "auth", "guard", "traffic", "transform", "observe" }
plugin.PHASES = { "certificate", "rewrite", "access", "header_filter", "body_filter", "message", "log" }
local MODULE_DEPTH = 32
local COROUTINE_DEPTH = 64 -- as in plugin VMs
-- Part of the table library in plugin VMs.
local has_table_new, table_new = pcall(require, "table.new")
if not has_table_new then table_new = function() return {} end end

--- A loader for one check.
-- @tparam table session see script.lua
function plugin.loader(session)
  return setmetatable({ session = session, host = session.host, diagnostics = session.diagnostics,
                        by_file = {}, by_name = {}, families = {}, list = {} }, plugin)
end

-- `annotation` is the type as editors know it (LuaLS).
local function fn_type(annotation)
  return S.custom { noun = "a function", lua = "function", read = function(_, value) return value end,
                    json = function() return {} end, annotation = annotation }
end

-- What each function of the table is called with and gives back.
local CALL = "fun(conf: table, ctx: tidegate.Ctx)"
local FUNCTIONS = {
  { "init", "fun(plugin: table)", "once in each VM, before any configure; may wait, as phases may" },
  { "configure", "fun(conf: table, scope: string): any",
    "once for each use; what it returns is conf.compiled. scope names the place of the use" },
  { "certificate", CALL, "a TLS handshake; of plugins of tg.global and of listeners" },
  { "rewrite", CALL, "before the route is known; of plugins of tg.global and of listeners" },
  { "access", CALL, "the route is known, the origin has not been asked" },
  { "header_filter", CALL, "the answer's head is there, whoever answers: origin, plugin or gateway" },
  { "body_filter",
    "fun(conf: table, ctx: tidegate.Ctx, chunk: string, eof: boolean): string|string[]|nil",
    "each piece of the answer's body, and once more at its end with eof; nothing returned lets chunk pass" },
  { "message", 'fun(conf: table, ctx: tidegate.Ctx, data: string, kind: "text"|"binary", ' ..
    'from: "client"|"origin"): string|false|nil',
    "a message of a WebSocket; text takes its place, false drops it, nothing lets it pass" },
  { "log", CALL, "the answer is out, or the client is gone" },
  { "save", "fun(): any", "before a reload replaces the VM: plain data of at most 1 MiB for its successor" },
  { "restore", "fun(state: any)", "after init and configure of the successor" },
  { "stop", "fun()", "the VM ends" },
}

-- Checked with `is_record`, since a table that looks like a type is none.
local schema_type = S.custom {
  noun = "a schema",
  json = function() return {} end,
  read = function(_, value)
    if S.is_type(value) and value.kind == "record" then return value end
    return nil, "expected a schema, got a " .. type(value), "write S.record { … }"
  end,
}

-- An instrument of ctx.metrics.
local function instrument_type()
  local label = S.string { min = 1, max = 32, pattern = "^[%l_][%l%d_]*$" }
  return S.record {
    type = S.enum { "counter", "gauge", "histogram" },
    labels = S.list(label, { max = 8, unique = true }):default {}:doc "names of its labels",
    unit = S.enum { "seconds", "bytes" }:default "seconds":doc "what a histogram counts",
    help = S.string { max = 200, pattern = "^[^\\%c]*$" }:default "":doc "one line for who reads the metrics",
  }:check(function(instrument)
    for _, name in ipairs(instrument.type == "histogram" and instrument.labels or {}) do
      if name == "le" then return nil, 'a histogram has a label "le" of its own: the bound of a bucket' end
    end
    return true
  end)
end

-- Only what a body_filter gets is decoded.
local function check_needs(needs)
  if needs.decode and needs.body ~= "response" and needs.body ~= "both" then
    return nil, 'decode = true goes with body = "response" or body = "both"'
  end
  return true
end

-- For which requests a phase is for: tested in C, so that the others do not enter the plugin at all.
local function phase_conditions()
  local fields = {}
  for _, phase in ipairs(plugin.PHASES) do
    fields[phase] = S.expr():optional():doc("runs only for requests of which this is true")
  end
  return S.record(fields):default {}
end

-- A condition of a phase that is not there is a slip of the name.
local function check_conditions(value)
  for _, phase in ipairs(plugin.PHASES) do
    if value.when[phase] and not value[phase] then
      return nil, ("when.%s: the plugin has no function %s"):format(phase, phase)
    end
  end
  return true
end

--- The shape of the table that a plugin returns.
-- @tparam table limits those of the host
function plugin.shape_for(limits)
  local own_limits = objects.limit_fields(limits, "plugin")
  for name, t in pairs(objects.limit_fields(limits, "plugin_vm")) do own_limits[name] = t end
  local fields = {
    name = S.string { min = 1, max = 64, pattern = "^[%l%d][%l%d_-]*$" }
      :doc "lower case, digits, - and _; logs and metrics go by it",
    version = S.string { pattern = "^%d+[%d.]*[%w.+-]*$", max = 64 }:doc "such as 1.2.0",
    api = S.int { min = 1, max = 1 }:doc "the contract that it is written for",
    stage = S.enum(plugin.STAGES):doc "when it runs among others, in this order; answers pass in reverse",
    priority = S.int { min = -1000, max = 1000 }:default(0):doc "order inside the stage; higher runs earlier",
    schema = schema_type:default(S.record {}):doc "what its configuration may hold",
    needs = S.record {
      body = S.enum { "request", "response", "both" }:optional()
        :doc "which bodies it reads: for who reads the plugin, and for decode",
      decode = S.bool():default(false):doc "gzip and deflate bodies reach its body_filter decoded",
      sink = S.bool():default(false):doc "opens destinations of lines by tg.sink",
      dict = objects.zone_size():optional():doc "size of its own dict, for tg.dict()",
      cache = objects.zone_size():optional():doc "size of its own cache, for tg.cache()",
      limit = objects.zone_size():optional():doc "size of its own counter table, for tg.limit",
      timers = S.bool():default(false):doc "sets timers while it serves requests",
      http = S.bool():default(false):doc "sends requests to declared services by tg.http",
      events = S.bool():default(false):doc "publishes and subscribes to events",
    }:check(check_needs):default {},
    limits = S.record(own_limits):default {}:doc "bounds of its own, below the operator's",
    exports = S.list(S.string { min = 1, max = 64 }, { max = 64, unique = true }):default {}
      :doc "keys that it may set in ctx.shared",
    when = phase_conditions():doc "for which requests a phase is",
    metrics = S.map(S.string { min = 1, max = 64, pattern = "^[%l_][%l%d_]*$" }, instrument_type())
      :default {}:doc "instruments for ctx.metrics, by name",
  }
  for _, entry in ipairs(FUNCTIONS) do
    local name, annotation, doc = unpack(entry)
    local arguments = annotation:match "^fun(%b())":gsub(": [^,)]+", "")
    fields[name] = fn_type(annotation):optional():doc(arguments .. ": " .. doc)
  end
  return S.record(fields):check(check_conditions)
end

-- Stands for the gateway's library while a plugin loads: every name exists, none can be called. But for the
-- one that is looked for there just then, and is elsewhere.
local function library(path)
  return setmetatable({}, {
    __metatable = false,
    __index = function(_, key)
      if path == "tg" and key == "schema" then
        error('tg has no schema: require "tidegate.schema" is the module', 2)
      end
      return library(path .. "." .. tostring(key))
    end,
    __newindex = function() error("the library cannot be changed", 2) end,
    __call = function()
      error(path .. " cannot be called while the plugin is loaded; call it in init, configure or a phase", 2)
    end,
  })
end

-- Coroutines that nest no deeper than in a plugin's VM: each level takes C stack, and that ends without a
-- word.
local function bounded_coroutines()
  local copy, depth = {}, 0
  for name, fn in pairs(coroutine) do copy[name] = fn end
  local function leave(...)
    depth = depth - 1
    return ...
  end
  local function unwrap(ok, ...)
    if ok then return ... end
    error((...), 0)
  end
  function copy.resume(co, ...)
    if depth == COROUTINE_DEPTH then error("coroutines are nested too deeply", 0) end
    depth = depth + 1
    return leave(coroutine.resume(co, ...))
  end
  function copy.wrap(f)
    local co = coroutine.create(f)
    return function(...) return unwrap(copy.resume(co, ...)) end
  end
  return copy
end

local function environment(require_module)
  local env = { require = require_module, _VERSION = _VERSION }
  for _, name in ipairs(globals.PLUGIN_GLOBALS) do
    local value = _G[name]
    if type(value) == "table" then
      local copy = {}
      for key, item in pairs(value) do copy[key] = item end
      value = copy
    end
    if env[name] == nil then env[name] = value end
  end
  env.string.dump = nil
  env.coroutine = bounded_coroutines()
  env.table.new = table_new
  env.getmetatable = function(value) return type(value) == "table" and getmetatable(value) or nil end
  env.os = { time = os and os.time, date = os and os.date, clock = os and os.clock }
  env.print = function() end
  env.collectgarbage = function() return 0 end
  return env
end

-- A file of the plugin: { file, text, chunk } or nil when it does not compile (reported).
function plugin:compile(file, text, env)
  self.diagnostics:add_source(file, text)
  if text:sub(1, 1) == "\27" then
    self.diagnostics:error { code = "bytecode", file = file, line = 1,
                             message = "compiled bytecode is not loaded; give the text" }
    return nil
  end
  local chunk, why = load(text, "@" .. file, "t", env)
  if chunk then return chunk end
  local line, message = why:match("^" .. file:gsub("%p", "%%%0") .. ":(%d+): (.*)$")
  self.diagnostics:error { code = "plugin_syntax", file = file, line = tonumber(line),
                           message = message or why }
end

-- Where a bundled plugin's or a file plugin's modules are: a function from module name to text and file; or
-- nil and what is there and cannot be read, or "".
local function module_reader(self, found)
  return function(name)
    local below = name:gsub("%.", "/")
    if not found.bundled then
      return self.session:read_first { found.dir .. below .. ".lua", found.dir .. below .. "/init.lua" }
    end
    local text, file = self.host.bundled(found.bundled .. "/" .. below)
    return text, file or ""
  end
end

-- What people of other gateways require, and where it is.
local LIBRARY_INSTEAD = {
  cjson = "tg.json is JSON", ["cjson.safe"] = "tg.json is JSON", ["resty.http"] = "tg.http sends requests",
  ["resty.lrucache"] = "tg.cache() and tg.dict() are shared by all workers", ["resty.lock"] = "tg.lock locks",
  ["resty.string"] = "tg.hex and tg.crypto are there", ["resty.sha256"] = "tg.crypto.sha256 is there",
  ["resty.hmac"] = "tg.crypto.hmac is there", ["ngx.re"] = "tg.re has regular expressions",
}

-- `require` of a plugin: its own files, the library, the schema.
local function requirer(self, loading, env)
  local read = module_reader(self, loading.found)
  local values, depth = {}, 0
  return function(name)
    if name == "tidegate" then return library "tg" end
    if name == "tidegate.schema" then return S.view end
    if values[name] ~= nil then return values[name] end
    local text, file = nil, ""
    if type(name) == "string" and name:find "^[%w_-]+[%w_.-]*$" and not name:find("..", 1, true) then
      text, file = read(name)
    end
    local why = not text and (file ~= "" and "its file cannot be read" .. file or
                LIBRARY_INSTEAD[name] or
                "a plugin may require its own files, tidegate and tidegate.schema") or
                loading.open[name] and "modules that require each other" or
                depth >= MODULE_DEPTH and ("more than %d modules, each required by the one before")
                  :format(MODULE_DEPTH) or nil
    if why then error(("cannot require %s: %s"):format(quote(tostring(name)), why), 2) end
    local chunk = self:compile(file, text, env)
    if not chunk then error(REPORTED, 0) end
    self:check_globals(file, chunk)
    loading.open[name], depth = true, depth + 1
    local value = chunk(name)
    loading.open[name], depth = nil, depth - 1
    values[name] = value == nil and true or value
    loading.modules[#loading.modules + 1] = { name = name, chunkname = file, source = text }
    return values[name]
  end
end

-- File and line of the innermost function of the plugin, in the stack of a failure.
local function failing_place(self)
  for level = 3, 1000 do
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    local file = info.source:match "^@(.+)"
    if file and info.currentline > 0 and self.diagnostics:source(file) then return file, info.currentline end
  end
end

-- A modifier of a schema's type that is not there: what was meant.
local function modifier_hint(message)
  local name = message:match "^attempt to call method '([%w_]+)' %(a nil value%)$"
  local near = name and suggest.nearest(name, S.modifiers)
  return near and ("did you mean :%s?"):format(near) or nil
end

-- Runs in the failing stack of a plugin's load.
local function on_failure(self, file)
  return function(thrown)
    if rawequal(thrown, REPORTED) then return thrown end
    local message = type(thrown) == "string" and thrown or ("error object: a " .. type(thrown))
    local at, line, rest = message:match "^(.-):(%d+): (.*)$"
    local known = at and self.diagnostics:source(at)
    if known then message = rest else at, line = failing_place(self) end
    self.diagnostics:error {
      code = message:find("cannot require", 1, true) and "plugin_require" or "plugin_shape",
      file = at or file, line = tonumber(line), message = message, hint = modifier_hint(message),
    }
    return REPORTED
  end
end

-- The phase whose function spans `line` of `file`; nil outside of all.
local function phase_at(functions, file, line)
  for _, phase in ipairs(plugin.PHASES) do
    local fn = functions and functions[phase]
    local info = type(fn) == "function" and debug.getinfo(fn, "S")
    if info and info.source == "@" .. file and line >= info.linedefined and line <= info.lastlinedefined then
      return phase
    end
  end
end

local NO_FILES = "a plugin reads no files: tg.file and tg.secret in the configuration bring what is in " ..
                 "them; ctx.log and tg.sink write lines"
local NO_CODE = "a plugin compiles no code; require takes files of its own folder"
local OTHER_API = "`tidegate doc` prints the API of this gateway"
-- What people look for that no plugin has, and where it is.
local ABSENT = { io = NO_FILES, load = NO_CODE, loadstring = NO_CODE, loadfile = NO_CODE, dofile = NO_CODE,
                 ngx = OTHER_API, kong = OTHER_API, core = OTHER_API, txn = OTHER_API }

local function global_hint(found, known)
  if found.field then
    return "there are os.time, os.date and os.clock; settings come by the plugin's schema"
  end
  if found.written then return "declare it with local: globals would be shared by all requests" end
  local near = suggest.nearest(found.name, known)
  return ABSENT[found.name] or near and ("did you mean %s?"):format(quote(near)) or nil
end

--- Reports the undeclared globals of a compiled file.
-- @tparam string file
-- @tparam function chunk
-- @tparam[opt] table functions the plugin's table, to name the phase
function plugin:check_globals(file, chunk, functions)
  local known = globals.PLUGIN_GLOBALS
  for _, found in ipairs(globals.undeclared(chunk, known)) do
    local text = found.written and "assignment to the global %s" or
                 found.field and "a plugin has no %s" or "undeclared global %s"
    local report = {
      code = "plugin_global", file = file, line = found.line, path = phase_at(functions, file, found.line),
      message = text:format(found.field and "os." .. found.field or quote(found.name)),
      hint = global_hint(found, known),
    }
    local source = self.diagnostics:source(file)
    local token = source:name_on_line(found.line, found.field or found.name)
    if token then report.line, report.column, report.width = source:position(token) end
    self.diagnostics:error(report)
  end
end

-- Reports what is wrong with the returned table, at the place in the file that names the field.
function plugin:report_shape(file, value, problems)
  local source = self.diagnostics:source(file)
  for _, problem in ipairs(problems) do
    local report = { code = problem.code, file = file, path = problem.path, message = problem.message,
                     hint = problem.hint }
    local given = type(value) == "table" and #problem.keys == 1 and rawget(value, problem.keys[1])
    local token = not problem.missing and source:field_anywhere(problem.keys) or source:last_name "return"
    if token then
      report.line, report.column, report.width = source:position(token)
    elseif type(given) == "function" then
      report.line = debug.getinfo(given, "S").linedefined
    end
    self.diagnostics[problem.severity == "warning" and "warn" or "error"](self.diagnostics, report)
  end
end

-- What stands for the plugin's table in a function that was declared with a colon.
local function check_receiver(self, file, name, fn)
  if not debug.getlocal or debug.getlocal(fn, 1) ~= "self" then return end
  self.diagnostics:error {
    code = "plugin_shape", file = file, line = debug.getinfo(fn, "S").linedefined, path = name,
    message = "its first parameter is self, but it is called without the plugin's table",
    hint = ("write function P.%s(conf%s), with a dot"):format(name, name == "configure" and "" or ", ctx"),
  }
end

-- Fields of conf that the schema does not know.
local function check_conf_fields(self, file, name, fn, fields)
  local known = { "compiled" }
  for field in pairs(fields) do known[#known + 1] = type(field) == "string" and field or nil end
  table.sort(known)
  for _, found in ipairs(conf_fields.read_by(fn)) do
    if fields[found.name] == nil and found.name ~= "compiled" then
      local near = suggest.nearest(found.name, known)
      local report = {
        code = "plugin_field", file = file, line = found.line, path = name,
        message = ("the plugin's schema has no field %s"):format(quote(found.name)),
        hint = near and ("did you mean conf.%s?"):format(near) or
               "conf has: " .. table.concat(known, ", "),
      }
      local source = self.diagnostics:source(file)
      local token = source and source:name_on_line(found.line, found.name)
      if token then report.line, report.column, report.width = source:position(token) end
      self.diagnostics:error(report)
    end
  end
end

-- Slips in the functions that are called with conf, which would fail late or not at all.
function plugin:check_functions(value)
  for _, name in ipairs { "configure", unpack(plugin.PHASES) } do
    local fn = value[name]
    local info = fn and debug.getinfo(fn, "S")
    local file = info and info.what == "Lua" and info.source:match "^@(.*)"
    if file then
      check_receiver(self, file, name, fn)
      check_conf_fields(self, file, name, fn, value.schema.fields)
    end
  end
end

local function phases_of(value)
  local phases = {}
  for _, phase in ipairs(plugin.PHASES) do
    if value[phase] then phases[phase] = true end
  end
  return phases
end

-- Runs the file and checks what it returns; nil when anything is wrong (reported).
function plugin:run(found)
  local loading = { found = found, modules = {}, open = {} }
  local env = environment()
  env.require = requirer(self, loading, env)
  local before = self.diagnostics.errors
  local chunk = self:compile(found.file, found.text, env)
  if not chunk then return nil end
  local report = on_failure(self, found.file)
  local ran, value = xpcall(chunk, report)
  if not ran and self.diagnostics.errors == before and value ~= "not enough memory" then
    -- The stack had overflowed and left the handler no room: once more, for the message that unwinding gives.
    -- (When memory is out, the host tells.)
    report(select(2, pcall(chunk)))
  end
  self:check_globals(found.file, chunk, ran and type(value) == "table" and value or nil)
  if not ran then return nil end
  if type(value) ~= "table" then
    self.diagnostics:error { code = "plugin_shape", file = found.file, line = 1,
      message = ("a plugin file returns a table, this one returned %s"):format(value == nil and "nothing" or
                "a " .. type(value)), hint = 'end the file with "return P"' }
    return nil
  end
  self.shape = self.shape or plugin.shape_for(self.host.limits)
  local normal, problems = S.validate(self.shape, value, { check_expr = self.host.check_expr })
  if normal and next(phases_of(normal)) == nil then
    problems[1] = { code = "plugin_shape", keys = {}, path = "", missing = true, message = "it has no phase",
                    hint = "one or more of: " .. table.concat(plugin.PHASES, ", ") }
  end
  self:report_shape(found.file, value, problems)
  if normal then self:check_functions(normal) end
  if not normal or self.diagnostics.errors > before then return nil end
  return normal, loading.modules
end

-- Where a plugin's file is: a bare name is bundled, a path is a file or a folder with init.lua. Without one:
-- nil, and what is there and cannot be read, or "".
function plugin:find(name)
  if not name:find "^%.?%.?/" and not name:find "%.lua$" then
    if not name:find "^[%w_-]+$" then return nil, "" end
    local text, file = self.host.bundled(name)
    return text and { file = file, text = text, bundled = name }, ""
  end
  local path = self.session:locate(name)
  local files = name:find "%.lua$" and { path } or { path .. ".lua", path .. "/init.lua" }
  local text, file = self.session:read_first(files)
  if not text then return nil, file end
  return { file = file, text = text, dir = file:match "^(.*/)" or "" }
end

-- The plugin of the configuration's folder that a path may have meant: with another name, or without "./".
local function nearest_file(self, name)
  local wanted = name:gsub("^%./", "")
  local with_end = wanted:find "%.lua$"
  local known, files = {}, {}
  for _, pattern in ipairs { "plugins/*.lua", "plugins/*/init.lua" } do
    for _, path in ipairs(self.host.glob and self.host.glob(self.session:locate(pattern)) or {}) do
      local file = path:sub(#self.session:locate "" + 1):gsub("/init%.lua$", "")
      local spelt = with_end and file or file:gsub("%.lua$", "")
      known[#known + 1], files[spelt] = spelt, file
    end
  end
  local near = files[wanted] and wanted or suggest.nearest(wanted, known)
  return near and "./" .. files[near]
end

local function not_found(self, instance, problem)
  local near = self.host.bundled_names and suggest.nearest(instance.name, self.host.bundled_names())
  local is_path = instance.name:find("/", 1, true) or instance.name:find "%.lua$"
  near = near or is_path and nearest_file(self, instance.name)
  self.session:report(instance.where, {
    code = "unknown_plugin", path = instance.path,
    message = is_path and ("cannot read the plugin %s%s"):format(quote(instance.name), problem) or
              ("no bundled plugin is called %s"):format(quote(instance.name)),
    hint = near and ("did you mean %s?"):format(quote(near)) or not is_path and
           "a plugin of your own is named by its file: \"./plugins/name.lua\"" or nil,
  })
end

-- Two files must not share a name: logs, metrics and kept state go by it.
local function is_unique(self, instance, loaded)
  local other = self.by_name[loaded.name]
  if not other then return true end
  self.session:report(instance.where, {
    code = "duplicate_plugin", path = instance.path,
    message = ("two files are the plugin %s: %s and %s"):format(quote(loaded.name), other.chunkname,
                                                                loaded.chunkname),
  })
  return false
end

-- Nor must two instruments be one family.
local function counts_apart(self, instance, value)
  local why = families.claim(self.families, value.name, value.metrics)
  if not why then return true end
  self.session:report(instance.where, {
    code = "duplicate_plugin", path = instance.path, message = why,
    hint = 'rename one: the name of the plugin, "-" as "_", and that of the metric make the family',
  })
  return false
end

--- Place of a stage in their order, from 1.
function plugin.rank(stage)
  for rank, name in ipairs(plugin.STAGES) do
    if name == stage then return rank end
  end
end

--- Stage and priority as one number: lower runs earlier.
function plugin.place(loaded)
  return loaded.rank * 10000 - loaded.priority
end

-- Makes the record of a plugin from its checked table.
local function record(found, value, modules)
  return {
    name = value.name, version = value.version, chunkname = found.file, source = found.text,
    modules = modules, stage = value.stage, rank = plugin.rank(value.stage),
    priority = value.priority, schema = value.schema, phases = phases_of(value), when = value.when,
    needs = value.needs, limits = value.limits, exports = value.exports,
    told = {},
  }
end

--- The plugin that an instance uses, loaded once.
-- @treturn table|nil nil when it cannot be used (reported)
function plugin:load(instance)
  local found, problem = self:find(instance.name)
  if not found then
    not_found(self, instance, problem)
    return nil
  end
  local known = self.by_file[found.file]
  if known ~= nil then return known or nil end
  local value, modules = self:run(found)
  local loaded = value and record(found, value, modules)
  if loaded and not (is_unique(self, instance, loaded) and counts_apart(self, instance, value)) then
    loaded = nil
  end
  self.by_file[found.file] = loaded or false
  if not loaded then return nil end
  self.by_name[loaded.name] = loaded
  self.list[#self.list + 1] = loaded
  loaded.index = #self.list
  return loaded
end

return plugin
