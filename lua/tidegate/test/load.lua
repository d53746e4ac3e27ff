-- From the text of a configuration to a snapshot, and the snapshots that are known already.
--
-- Purpose    The core reads a configuration as it does in production, in a VM of its own. That takes some
--            milliseconds, and specs load the same one before each test: a snapshot never changes, so it is
--            used again while no file that it was made of has changed.
-- Invariants A snapshot is reused only when the config file, the files given, the environment and every
--            other file that was looked for (plugins, modules, what tg.file and tg.secret name) read the same
--            as they did. Configurations that include others are read anew.
-- Ownership  Keeps the last KEPT snapshots.
-- Cost       Reading the files again, to compare.

local diagnostics = require "tidegate.test.diagnostics"
local harness = require "tidegate.harness"
local sorted = require "tidegate.sorted"

local load = {}

local KEPT = 32
local known = {}

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function key_of(path, files, env)
  local parts = { path, files[path] or read_file(path) or "" }
  for _, map in ipairs { files, env } do
    for _, name in ipairs(sorted(map)) do
      parts[#parts + 1] = name
      parts[#parts + 1] = tostring(map[name])
    end
    parts[#parts + 1] = "\0"
  end
  return table.concat(parts, "\0")
end

-- What the disk holds under the paths that were looked for; false: nothing. What is given is in the key.
local function texts_of(paths, files)
  local texts = {}
  for path in pairs(paths) do
    if not files[path] then texts[path] = read_file(path) or false end
  end
  return texts
end

local function is_fresh(entry)
  for path, text in pairs(entry.texts) do
    if (read_file(path) or false) ~= text then return false end
  end
  return true
end

-- Environment variables are the process's: set for the load, and then as before.
local function with_environment(env, fn)
  local before = {}
  for name, value in pairs(env) do
    before[name] = os.getenv(name) or false
    harness.setenv(name, value)
  end
  local snapshot, text, read = fn()
  for name, value in pairs(before) do harness.setenv(name, value or nil) end
  return snapshot, text, read
end

--- Loads a configuration.
-- @tparam string path
-- @tparam[opt] table files path to text, before those of the disk
-- @tparam[opt] table env names to values
-- @treturn userdata|nil snapshot
-- @treturn table messages, see diagnostics.lua; warnings when there is a snapshot
-- @treturn string the text as `check` prints it
function load.config(path, files, env)
  files, env = files or {}, env or {}
  local key = key_of(path, files, env)
  local entry = known[key]
  if entry and is_fresh(entry) then return entry.snapshot, entry.messages, entry.text end
  local snapshot, text, read = with_environment(env, function() return harness.load(path, files) end)
  local messages = diagnostics.read(text)
  if snapshot and not (files[path] or read_file(path) or ""):find("include", 1, true) then
    if #known >= KEPT then known[table.remove(known, 1)] = nil end
    if not known[key] then known[#known + 1] = key end
    known[key] = { snapshot = snapshot, texts = texts_of(read, files), messages = messages, text = text }
  end
  return snapshot, messages, text
end

return load
