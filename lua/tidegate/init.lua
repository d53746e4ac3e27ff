-- The config language: what `require "tidegate"` is inside a config file.
--
-- Purpose    Each function records what it was told and where; nothing is checked until the script has ended,
--            so declarations may come in any order.
-- Invariants A declaration is a function call, never an assignment: that is how file and line are known.
--            Names are unique within their kind; a second declaration is an error that cites the first. A
--            mistake that leaves a value to go on with is reported and the script goes on; misuse of the
--            language itself raises.
-- Ownership  What is recorded belongs to the session (script.lua). Tables given by the script are borrowed
--            until the check ends.
-- Cost       One small record a call.

local suggest = require "tidegate.suggest"
local sorted = require "tidegate.sorted"
local quote = require("tidegate.scalars").quote

local language = {}

local NAMED = { listener = "a listener", service = "a service", route = "a route", consumer = "a consumer",
                ["zone.dict"] = "a dict zone", ["zone.cache"] = "a cache zone",
                ["zone.limit"] = "a limit zone" }
-- Names appear in logs, metrics and the keys of state that outlives a reload.
local NAME = { pattern = "^[%w_][%w_.-]*$", hint = 'letters, digits, ".", "_" and "-", at most %d' }
-- People are consumers too, and called as in their own system.
local CONSUMER_NAME = { pattern = "^[%w_][%w_.@+:-]*$",
                        hint = 'letters, digits, ".", "_", "-", "@", "+" and ":", at most %d' }
local LONGEST_NAME = 128
local NO_OPTIONS = {}
local TAKEN = { where = {} } -- stands for a declaration that is not kept

local function check_name(session, where, kind, name)
  local rule = kind == "consumer" and CONSUMER_NAME or NAME
  if name:find(rule.pattern) and #name <= LONGEST_NAME then return end
  session:report(where, {
    code = "bad_call", message = ("%s is not a name for %s"):format(quote(name), NAMED[kind]),
    hint = rule.hint:format(LONGEST_NAME),
  })
end

-- Records a declaration, unless its name is taken.
local function declare(session, declaration)
  local kind, name = declaration.kind, declaration.name
  local names = session.by_name[kind] or {}
  session.by_name[kind] = names
  local first = names[name]
  if first then
    session:report(declaration.where, {
      code = "duplicate_name", message = ("%s %s is declared twice"):format(kind, quote(name)),
      hint = "first declared at " .. session.cite(first.where),
    })
  elseif session.trail then
    names[name] = TAKEN
    session.trail:declared(session, declaration)
  else
    names[name] = declaration
    session:add(declaration)
  end
end

-- Waits for the table of `tg.route "name"`; a script that never gives one is told so.
local function await_table(session, func, name, complete)
  local file, line = session:current_line()
  local pending = { kind = "pending", noun = ("an unfinished tg.%s"):format(func), func = func,
                    where = { file = file, line = line, func = func:match "%w+$", name = name } }
  session.pending[pending] = true
  function pending.call(value)
    if type(value) ~= "table" then
      error(("tg.%s %s takes a table, got a %s"):format(func, quote(name), type(value)), 3)
    end
    session.pending[pending] = nil
    return complete(value)
  end
  return session:handle(pending)
end

local function named(session, kind)
  local func = kind:match "%w+$"
  return function(name)
    if type(name) ~= "string" then
      error(("tg.%s takes a name: tg.%s \"name\" { … }"):format(kind, kind), 2)
    end
    return await_table(session, kind, name, function(value)
      local declaration = session:declaration(kind, func, name, value)
      check_name(session, declaration, kind, name)
      declare(session, declaration)
      -- Nothing refers to a route, and there may be many.
      if kind == "route" then return nil end
      return session:handle { kind = kind, noun = NAMED[kind], text = name, name = name }
    end)
  end
end

local function settings(session)
  return function(value)
    if type(value) ~= "table" then error("tg.settings takes a table", 2) end
    local where = session:where "settings"
    if session.settings then
      session:report(where, { code = "duplicate_name", message = "settings are declared twice",
                              hint = "first declared at " .. session.cite(session.settings.where) })
      return
    end
    session.settings = { kind = "settings", value = value, where = where }
    session.admin_given = rawget(value, "admin")
    if session.trail then session.trail:declared(session, session.settings) end
  end
end

local function global(session)
  return function(value)
    if type(value) ~= "table" then error("tg.global takes a list of plugins", 2) end
    local declaration = session:declaration("global", "global", "", value)
    if session.trail then return session.trail:declared(session, declaration) end
    session:add(declaration)
  end
end

local function use(session)
  return function(name, options)
    if type(name) ~= "string" then error('tg.use takes a plugin: tg.use "name" { … }', 2) end
    if options ~= nil and type(options) ~= "table" then error("the options of tg.use are a table", 2) end
    return await_table(session, "use", name, function(conf)
      local instance = { kind = "use", noun = "a plugin", name = name, options = options or NO_OPTIONS,
                         conf = conf, where = session:where("use", name) }
      if session.trail then
        session.trail:used(session, instance)
        instance.conf, instance.options = nil, nil
      else
        session.instances[#session.instances + 1] = instance
      end
      return session:handle(instance)
    end)
  end
end

local function env(session)
  return function(name, default)
    if type(name) ~= "string" then error("tg.env takes the name of a variable", 2) end
    local value = session.host.getenv(name)
    if value == nil then value = default end
    if value ~= nil then return value end
    session:report(session:where("env", name), {
      code = "missing_environment", message = ("the environment has no variable %s"):format(name),
      hint = ("set it, or give a default: tg.env(%s, \"…\")"):format(quote(name)),
    })
    return session:unknown()
  end
end

-- Without the newline at its end. Not by a pattern, which would begin at each byte of a large file.
local function without_newline(text)
  if text:sub(-1) ~= "\n" then return text end
  return text:sub(1, text:sub(-2, -2) == "\r" and -3 or -2)
end

local function read_or_report(session, func, argument, path, code)
  local text, why = session.host.read_file(session:locate(path), func == "secret")
  if text then
    session.origins = session.origins or {} -- for messages about what stands in a file
    session.origins[func == "secret" and without_newline(text) or text] = session:locate(path)
    return text
  end
  session:report(session:where(func, argument), {
    code = code, message = ("cannot read %s: %s"):format(session:locate(path), why),
  })
end

local function file(session)
  return function(path)
    if type(path) ~= "string" then error("tg.file takes a path", 2) end
    return read_or_report(session, "file", path, path, "unreadable_file") or session:unknown()
  end
end

-- The values of a file of NAME=VALUE lines by their names; read once for a configuration.
local function named_secrets(session, origin, path)
  local located = session:locate(path)
  local values = session.secret_files[located]
  if values then return values end
  values = {}
  session.secret_files[located] = values
  local text, number = read_or_report(session, "secret", origin, path, "bad_secret") or "", 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local name, value = line:match "^%s*([^=#%s][^=]*)=%s*(.-)%s*$"
    name = name and name:gsub("%s+$", "")
    local wrong = not name and line:find "^%s*[^#%s]" and "is not NAME=VALUE" or
                  values[name] and ("names %s again"):format(quote(name))
    if wrong then
      session:report(session:where("secret", origin), {
        code = "bad_secret", message = ("line %d of %s %s"):format(number, located, wrong) })
    elseif name then
      values[name] = value
    end
  end
  return values
end

-- One value of such a file.
local function named_secret(session, origin, path, name)
  local values = named_secrets(session, origin, path)
  if values[name] or next(values) == nil then return values[name] end
  local names = {}
  for known in pairs(values) do names[#names + 1] = known end
  local near = suggest.nearest(name, names)
  session:report(session:where("secret", origin), {
    code = "bad_secret", message = ("%s has no line for %s"):format(session:locate(path), quote(name)),
    hint = near and ("did you mean %s?"):format(quote(near)) or nil })
end

local function secret_text(session, origin, name)
  local kind, rest = origin:match "^(%l+):(.+)$"
  if kind == "file" and name then return named_secret(session, origin, rest, name) end
  if kind == "env" then
    local value = session.host.getenv(rest, true)
    if value then return value end
    session:report(session:where("secret", origin), {
      code = "bad_secret", message = ("the environment has no variable %s"):format(rest) })
  elseif kind == "file" then
    local text = read_or_report(session, "secret", origin, rest, "bad_secret")
    return text and without_newline(text)
  else
    session:report(session:where("secret", origin), {
      code = "bad_secret", message = "a secret is named by where it is kept, never written out",
      hint = 'write tg.secret "env:NAME" or tg.secret "file:PATH"' })
    local file_name, line = session:current_line()
    if line then session.diagnostics:hide_line(file_name, line) end
  end
end

local function secret(session)
  return function(origin, name)
    if type(origin) ~= "string" then error('tg.secret takes "env:NAME" or "file:PATH"', 2) end
    if name ~= nil and (type(name) ~= "string" or not origin:find "^file:") then
      error('the name of a line goes with a file: tg.secret("file:PATH", "NAME")', 2)
    end
    local text = secret_text(session, origin, name)
    if not text then return session:unknown() end
    return session:handle { kind = "secret", noun = "a secret", text = "***", secret = text }
  end
end

-- A table of functions that cannot be changed and knows what was meant.
local function library(path, functions)
  local names = sorted(functions)
  local function unknown(_, key)
    local near = type(key) == "string" and suggest.nearest(key, names)
    error(("%s has no function %s%s"):format(path, quote(tostring(key)),
      near and ("; did you mean %s?"):format(quote(near)) or ""), 2)
  end
  return setmetatable({}, {
    __metatable = false,
    __index = function(_, key)
      local fn = functions[key]
      if fn then return fn end
      return unknown(_, key)
    end,
    __newindex = function() error("the language cannot be changed", 2) end,
  })
end

--- The language for one session.
-- @tparam table session see script.lua
-- @treturn table what the script's `require "tidegate"` returns
function language.new(session)
  local functions = {
    settings = settings(session), global = global(session), use = use(session), env = env(session),
    file = file(session), secret = secret(session),
    include = function(pattern) return session:include(pattern) end,
  }
  local zone = {}
  for kind in pairs(NAMED) do
    local of_zone = kind:match "^zone%.(.+)$"
    if of_zone then zone[of_zone] = named(session, kind) else functions[kind] = named(session, kind) end
  end
  functions.zone = library("tg.zone", zone)
  return library("tg", functions)
end

--- Reports the declarations that never received their table.
function language.finish(session)
  for pending in pairs(session.pending) do
    local where = pending.where
    session:report(where, {
      code = "unfinished_call", message = ("tg.%s %s has no table"):format(pending.func, quote(where.name)),
      hint = ("write tg.%s %s { … }"):format(pending.func, quote(where.name)),
    })
  end
end

return language
