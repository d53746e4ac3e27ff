-- Consumers of t.plugin: whose the requests are, and who else there is.
--
-- Purpose    Writes `consumer` and `consumers` of the options as declarations of the config script.
-- Invariants A consumer has the fields of tg.consumer, but keys in the clear, as text or a list: a spec's
--            keys are no secrets. They reach the configuration as files that only it sees.
-- Cost       A line of the script for each.

local literal = require "tidegate.test.literal"
local sorted = require "tidegate.sorted"

local consumers = {}

local NAME = "test" -- of options.consumer, unless it says

--- The consumer that all requests are authenticated as; nil: none.
function consumers.name(options)
  return options.consumer and (options.consumer.name or NAME)
end

-- Puts each key into a file of its own; returns what stands for them in the script.
local function write_keys(name, keys, files)
  local list = {}
  for i, key in ipairs(type(keys) == "table" and keys or { keys }) do
    local file = ("t.consumer/%s/%d"):format(name, i)
    files[file] = key
    list[i] = ("tg.secret %q"):format("file:" .. file)
  end
  return "{ " .. table.concat(list, ", ") .. " }"
end

local function write_map(map, write)
  local parts = {}
  for i, key in ipairs(sorted(map)) do parts[i] = ("[%q] = %s"):format(key, write(key, map[key])) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function declaration(name, fields, files)
  local own = {}
  for field, value in pairs(fields) do own[field] = value end
  own.name = nil
  local function write_credential(kind, value)
    return kind == "key" and write_keys(name, value, files) or literal.write(value, files)
  end
  return ("tg.consumer %q %s"):format(name, write_map(own, function(field, value)
    return field == "credentials" and write_map(value, write_credential) or literal.write(value, files)
  end))
end

--- Adds the declarations to the lines of a config script, and their keys to its files.
-- @tparam table options consumer (fields, and `name`), consumers (fields by name)
function consumers.write(options, lines, files)
  local all = {}
  for name, fields in pairs(options.consumers or {}) do all[name] = fields end
  if options.consumer then all[consumers.name(options)] = options.consumer end
  for _, name in ipairs(sorted(all)) do lines[#lines + 1] = declaration(name, all[name], files) end
end

return consumers
