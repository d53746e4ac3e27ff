-- Runs a config script: its environment, its files, its errors.
--
-- Purpose    A session is one evaluation of a configuration. It loads the script and what the script requires
--            or includes, runs it in a restricted environment, and remembers what was declared and where.
-- Invariants The script reaches no clock, network, file, process, bytecode or debug library; what it reads,
--            it reads through the host. Only text is loaded. An error in the script ends that file, never the
--            check. A name that does not exist is an error, with a suggestion, not nil.
-- Ownership  The session owns the declarations; it borrows the host and the diagnostics. Handles that the
--            script holds are empty tables: what they stand for is known to the session alone.
-- Cost       One load and one run for each file.

local suggest = require "tidegate.suggest"
local schema = require "tidegate.schema"

local script = {}
script.__index = script

local LIBRARY = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
  "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
}
-- Left out of the copied libraries: they make bytecode or differ between two evaluations.
local HIDDEN = { dump = true, random = true, randomseed = true }
local INCLUDE_DEPTH = 16

-- What is thrown where the mistake has been reported already.
local REPORTED = setmetatable({}, { __metatable = false })
script.REPORTED = REPORTED

-- What handles do; one metatable for all of a session, since a large config holds a handle for each object.
local function handle_behaviour(objects)
  local function refuse(handle, key)
    error(("%s has no field %q"):format(objects[handle].noun, tostring(key)), 2)
  end
  return {
    __metatable = false, __index = refuse, __newindex = refuse,
    __tostring = function(handle) return objects[handle].text or objects[handle].noun end,
    __concat = function(left, right)
      local object = objects[left] or objects[right]
      error(("%s cannot be joined to a string"):format(object.noun), 2)
    end,
    __call = function(handle, ...)
      local object = objects[handle]
      if not object.call then error(("%s cannot be called"):format(object.noun), 2) end
      return object.call(...)
    end,
  }
end

--- A session for the config file at `path`.
-- @tparam table host see config.lua
-- @tparam table diagnostics where mistakes go
function script.new(path, host, diagnostics)
  local objects = setmetatable({}, { __mode = "k" })
  return setmetatable({
    path = path, dir = path:match "^(.*/)[^/]*$" or "", host = host, diagnostics = diagnostics,
    chunks = {}, modules = {}, loading = {}, depth = 0, sites = {},
    objects = objects, handles = handle_behaviour(objects),
    declarations = {}, by_kind = {}, by_name = {}, instances = {}, pending = {}, secret_files = {},
  }, script)
end

--- Keeps a declaration, in the order of all and among those of its kind.
function script:add(declaration)
  local kind = declaration.kind
  local of_kind = self.by_kind[kind] or {}
  self.by_kind[kind] = of_kind
  of_kind[#of_kind + 1] = declaration
  self.declarations[#self.declarations + 1] = declaration
  declaration.position = #self.declarations
end

-- What a handle stands for; nil for anything that is no handle of this session.
function script:object(value)
  return type(value) == "table" and self.objects[value] or nil
end

--- Makes an opaque handle for `object`: a table with `kind` and `noun`, and at will `text` (what it prints)
--  and
-- `call` (what calling it does).
function script:handle(object)
  local handle = setmetatable({}, self.handles)
  self.objects[handle] = object
  return handle
end

--- A stand-in for a value whose mistake has been reported: it bears every use, so that the check can go on.
function script:unknown()
  local unknown
  local function same() return unknown end
  unknown = setmetatable({}, {
    __metatable = false, __index = function() return same end, __newindex = function() end,
    __concat = same, __call = same, __tostring = function() return "?" end,
  })
  self.objects[unknown] = { kind = "unknown", noun = "an unknown value" }
  return unknown
end

-- The innermost line of the script on the stack; nil when the script is not running.
function script:current_line()
  if self.host.script_line then return self.host.script_line() end
  for level = 3, 200 do
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    local file = info.source:match "^@(.*)$"
    if file and self.chunks[file] then return file, info.currentline end
  end
end

-- What the calls of `tg.<func>` on one line have in common; counts them.
local function site_of(self, func)
  local file, line = self:current_line()
  local lines = self.sites[file or ""] or {}
  self.sites[file or ""] = lines
  local funcs = lines[line or 0] or {}
  lines[line or 0] = funcs
  local site = funcs[func] or { file = file, line = line, func = func, count = 0 }
  funcs[func] = site
  site.count = site.count + 1
  return site
end

--- Where the running call of `tg.<func>` stands.
-- @tparam string func
-- @tparam[opt] string name its literal argument
function script:where(func, name)
  local site = site_of(self, func)
  local nth = site.count > 1 and site.count or nil
  return { file = site.file, line = site.line, func = func, name = name, nth = nth }
end

--- A declaration by the running call of `tg.<func>`: its `name` and `value`, and all that `where` tells. A
--  loop may make a hundred thousand of them, so what they share is in one place.
function script:declaration(kind, func, name, value)
  local site = site_of(self, func)
  local nth = site.count > 1 and site.count or nil
  site.of_declarations = site.of_declarations or {
    __index = function(declaration, key)
      if key == "where" then return declaration end
      if key == "kind" then return kind end
      return site[key]
    end,
  }
  return setmetatable({ name = name, value = value, nth = nth }, site.of_declarations)
end

--- "gateway.lua:28", to cite a place in a message.
function script.cite(where)
  return ("%s:%d"):format(where.file or "?", where.line or 0)
end

-- Adds file, line, column and width to a report about the call at `where`.
-- `keys` names the field inside the call's table (or its options); nil is the call itself.
local function place(self, report, where, keys, in_options)
  local source = self.diagnostics:source(where.file)
  report.file, report.line = where.file, where.line
  if not source or not where.line or self.diagnostics:is_full() then return report end
  local call = source:call(where)
  local open = call and (in_options and call.options or not in_options and call.open)
  local token = open and keys and source:locate(open, keys) or nil
  token = token or call and call.start or source:name_on_line(where.line, where.func, where.name)
  if token then report.line, report.column, report.width = source:position(token) end
  return report
end

--- Reports a mistake at a call of the language, or at a field inside it.
-- @tparam table where of the call
-- @tparam table report code, message, optional hint and path
-- @tparam[opt] table keys of the field
-- @tparam[opt] boolean in_options whether the field belongs to tg.use's second argument
function script:report(where, report, keys, in_options)
  self.diagnostics:error(place(self, report, where, keys, in_options))
end

--- Warns at a call of the language.
function script:warn(where, report, keys)
  self.diagnostics:warn(place(self, report, where, keys))
end

-- The keys of a problem, less the last one where nothing was written.
local function written_keys(problem)
  if not problem.missing then return problem.keys end
  local keys = {}
  for i = 1, #problem.keys - (problem.code == "rule" and problem.message ~= "missing" and 0 or 1) do
    keys[i] = problem.keys[i]
  end
  return keys
end

--- Reports what the schema found.
-- @tparam table where of the call whose table was checked
-- @tparam string root path of that table, as text
-- @tparam table problems from schema.validate
function script:report_problems(where, root, problems, in_options)
  for _, problem in ipairs(problems) do
    local separator = (problem.path == "" or problem.path:sub(1, 1) == "[") and "" or "."
    local report = { code = problem.code, message = problem.message, hint = problem.hint,
                     path = root .. separator .. problem.path }
    place(self, report, where, written_keys(problem), in_options)
    if problem.sensitive and report.line then self.diagnostics:hide_line(report.file, report.line) end
    self.diagnostics[problem.severity == "warning" and "warn" or "error"](self.diagnostics, report)
  end
end

local function strict(library, name)
  local names = {}
  for key in pairs(library) do names[#names + 1] = key end
  return setmetatable(library, {
    __metatable = false,
    __index = function(_, key)
      local near = type(key) == "string" and suggest.nearest(key, names)
      error(("%s has no function %q%s"):format(name, tostring(key),
        near and ("; did you mean %q?"):format(near) or ""), 2)
    end,
  })
end

local function copy_library(library)
  local new = {}
  for name, value in pairs(library) do
    if not HIDDEN[name] then new[name] = value end
  end
  return new
end

local function protected_getmetatable(value)
  if type(value) ~= "table" then return nil end
  return getmetatable(value)
end

-- The names that every file of the config sees.
function script:base_environment()
  if self.base then return self.base end
  local base = { _VERSION = _VERSION, getmetatable = protected_getmetatable }
  for _, name in ipairs(LIBRARY) do base[name] = _G[name] end
  base.string = strict(copy_library(string), "string")
  base.table = strict(copy_library(table), "table")
  base.math = strict(copy_library(math), "math")
  base.bit = strict(copy_library(require "bit"), "bit")
  base.require = function(name) return self:require(name) end
  base.print = function(...)
    local texts = {}
    for i = 1, select("#", ...) do texts[i] = tostring((select(i, ...))) end
    if self.host.print then self.host.print(table.concat(texts, "\t")) end
  end
  self.base = base
  return base
end

local NOT_HERE = { io = true, os = true, debug = true, ffi = true, jit = true, package = true,
                   coroutine = true, load = true, loadstring = true, loadfile = true, dofile = true,
                   collectgarbage = true }

-- A fresh environment for one file: its own globals over the common names.
function script:environment()
  local base, env = self:base_environment(), {}
  env._G = env
  return setmetatable(env, {
    __metatable = false,
    __index = function(_, key)
      local value = base[key]
      if value ~= nil then return value end
      if NOT_HERE[key] then error(("%s is not available in a config file"):format(key), 2) end
      local names = {}
      for name in pairs(base) do names[#names + 1] = name end
      for name in pairs(env) do names[#names + 1] = name end
      local near = type(key) == "string" and suggest.nearest(key, names)
      local hint = near and ("; did you mean %q?"):format(near) or ""
      error(("undeclared global %q%s"):format(tostring(key), hint), 2)
    end,
  })
end

-- Splits Lua's "file:line: message".
local function split_message(self, message)
  for file in pairs(self.chunks) do
    if message:sub(1, #file + 1) == file .. ":" then
      local line, rest = message:match("^(%d+): (.*)$", #file + 2)
      if line then return file, tonumber(line), rest end
    end
  end
end

-- Where on its line a failure stands, as far as its text tells: the name that it is about, or the token
-- that the compiler stumbled over. Column and width are nil where the line has no such thing, or more than
-- one.
local function place_in_line(self, file, line, message)
  local source = self.diagnostics:source(file)
  if not source or not line then return nil end
  local name = message:match '^undeclared global "([%w_]+)"' or message:match 'has no function "([%w_]+)"' or
               message:match "^tg[%w.]*%.([%w_]+) " or message:match "^([%w_]+) is not available"
  local token
  if name then token = source:name_on_line(line, name) else
    local near = message:match "near '(.+)'$"
    token = near and source:only_on_line(line, near)
  end
  if not token then return nil end
  local at, column, width = source:position(token)
  if at == line then return column, width end
end

-- Runs in the failing stack: keeps the message and the line of the script, whatever was thrown.
function script:failure(thrown)
  if rawequal(thrown, REPORTED) then return end
  local message = type(thrown) == "string" and thrown or ("error object: a " .. type(thrown))
  local file, line, rest = split_message(self, message)
  if not file then file, line = self:current_line() end
  message = rest or message
  local near = message:match "did you mean \"([^\"]+)\"%?$"
  local column, width = place_in_line(self, file, line, message)
  self.diagnostics:error {
    code = message:find "^undeclared global" and "undeclared_global" or "runtime",
    file = file, line = line, column = column, width = width,
    message = near and message:gsub("; did you mean.*$", "") or message,
    hint = near and ("did you mean %q?"):format(near) or nil,
  }
end

--- Path of a file that the config names: absolute, or below the config's folder.
function script:locate(path)
  if path:sub(1, 1) == "/" then return path end
  return self.dir .. path:gsub("^%./", "")
end

--- Reads and compiles a file of the config; reports what is wrong with it.
-- @treturn function|nil
function script:compile(file, text)
  self.diagnostics:add_source(file, text)
  self.chunks[file] = true
  if text:sub(1, 1) == "\27" then
    self.diagnostics:error { code = "bytecode", file = file, line = 1,
                             message = "compiled bytecode is not loaded; give the text" }
    return nil
  end
  local chunk, why = load((text:gsub("^#[^\n]*", "")), "@" .. file, "t", self:environment())
  if chunk then return chunk end
  local _, line, message = split_message(self, why)
  local column, width = place_in_line(self, file, line, message or "")
  self.diagnostics:error { code = "syntax", file = file, line = line, column = column, width = width,
                           message = message or why }
end

-- Runs a compiled chunk; true and its value, or false when it failed (reported).
local function run(self, chunk)
  local told, last
  local ran, value = xpcall(chunk, function(thrown)
    last = last or thrown
    self:failure(thrown)
    told = true
    return REPORTED
  end)
  if not ran and not told and value ~= "not enough memory" then
    -- The stack had overflowed and left the handler no room: once more, with all that there is. (When memory
    -- is out, the host tells.)
    self:failure(last or value)
  end
  return ran, value
end

--- Runs the config file itself.
-- @treturn boolean whether it ran to its end
function script:run()
  local text, why = self.host.read_file(self.path)
  if not text then
    local message = ("cannot read %s: %s"):format(self.path, why)
    self.diagnostics:error { code = "unreadable_file", message = message }
    return false
  end
  local chunk = self:compile(self.path, text)
  return chunk ~= nil and (run(self, chunk))
end

local function is_below(path)
  return path:sub(1, 1) ~= "/" and not ("/" .. path .. "/"):find("/../", 1, true)
end

-- Enters a file on behalf of require or include; guards against cycles and depth.
function script:enter(file, text)
  if self.loading[file] then error(("%s is being loaded already"):format(file), 3) end
  if self.depth >= INCLUDE_DEPTH then
    error(("%s is loaded by the last of %d files, each loaded by the one before; so many are too deep")
      :format(file, INCLUDE_DEPTH), 3)
  end
  local chunk = self:compile(file, text)
  if not chunk then error(REPORTED, 0) end
  self.loading[file], self.depth = true, self.depth + 1
  local ran, value = run(self, chunk)
  self.loading[file], self.depth = nil, self.depth - 1
  if not ran then error(REPORTED, 0) end
  return value
end

-- Does the system say that there is no such file?
local function is_absent(why)
  return why:find "^[Nn]o such file" ~= nil or why == "Not a directory"
end

--- Reads the first of `files` that is there. None stands in for one that is there and cannot be read.
-- @treturn string|nil its text
-- @treturn string its path; without a text: which one is there and why it cannot be read, or ""
function script:read_first(files)
  for _, file in ipairs(files) do
    local text, why = self.host.read_file(file)
    if text then return text, file end
    if not is_absent(why) then return nil, ("; %s: %s"):format(file, why) end
  end
  return nil, ""
end

--- `require` of the config: the language, the schema, or a file below the config's folder.
function script:require(name)
  if name == "tidegate" then return self.language end
  if name == "tidegate.schema" then return schema.view end
  if type(name) ~= "string" or not name:find "^[%w_-]+[%w_.-]*$" or name:find("..", 1, true) then
    error(("cannot require %q: a module is a file below the config's folder"):format(tostring(name)), 3)
  end
  if self.modules[name] ~= nil then return self.modules[name] end
  local base = self:locate((name:gsub("%.", "/")))
  local text, file = self:read_first { base .. ".lua", base .. "/init.lua" }
  if not text then
    error(("no module %q: neither %s.lua nor %s/init.lua can be read%s"):format(name, base, base, file), 3)
  end
  local value = self:enter(file, text)
  self.modules[name] = value == nil and true or value
  return self.modules[name]
end

-- A pattern that finds nothing is good, for a folder may be empty; one whose folder is not there was
-- mistyped, or the folder has gone, and all that it declared with it.
local function warn_of_lost_folder(self, pattern, path)
  local folder = path:match "^([^*?%[]*)/"
  if not folder or folder == "" then return end
  local there = self.host.glob(folder)
  if there and #there > 0 then return end
  self:warn(self:where("include", pattern), { code = "bad_include",
            message = ("there is no folder %s, so nothing is included"):format(folder) })
end

--- `tg.include`: runs the files that a pattern below the config's folder names, in alphabetical order.
function script:include(pattern)
  local function refuse(message)
    self:report(self:where("include", pattern), { code = "bad_include", message = message })
    error(REPORTED, 0)
  end
  if type(pattern) ~= "string" or not is_below(pattern) then
    refuse "tg.include takes a path below the config's folder"
  end
  local files = { self:locate(pattern) }
  if pattern:find "[*?%[]" then
    local listed, why = self.host.glob(files[1])
    if not listed then refuse(("cannot list %s: %s"):format(files[1], why)) end
    if #listed == 0 then warn_of_lost_folder(self, pattern, files[1]) end
    files = listed
    table.sort(files)
  end
  for _, file in ipairs(files) do
    local text, why = self.host.read_file(file)
    if not text then refuse(("cannot read %s: %s"):format(file, why)) end
    self:enter(file, text)
  end
end

return script
