-- Finds undeclared globals in a plugin without running it.
--
-- Purpose    A misspelt name in a branch that no test takes would fail in production; a written global would
--            leak from one request to the next. Both stand in the bytecode, so `check` can say so.
-- How        Every function of the chunk is walked through jit.util: the instructions GGET and GSET name the
--            globals that it reads and writes. Their numbers differ between builds of LuaJIT, so they are
--            read off two one-line chunks.
--            What is taken from the global `os` at once (TGETS) is looked at as well, since so little of it
--            is there.
-- Invariants PLUGIN_GLOBALS and PLUGIN_OS list what a plugin's VM offers; the sandbox and these lists must
--            agree.
-- Cost       One pass over the bytecode; nothing where jit.util is missing (the answer is then "none").

local globals = {}

globals.PLUGIN_GLOBALS = {
  "_VERSION", "assert", "bit", "collectgarbage", "coroutine", "error", "getmetatable", "ipairs", "math",
  "next", "os", "pairs", "pcall", "print", "rawequal", "rawget", "rawset", "require", "select",
  "setmetatable", "string", "table", "tonumber", "tostring", "type", "unpack", "xpcall",
}

globals.PLUGIN_OS = { clock = true, date = true, time = true }

local has_util, util = pcall(require, "jit.util")

-- Number of the instruction at `at` in a one-line chunk.
local function probe(text, at)
  return util.funcbc(load(text, "=probe", "t"), at) % 256
end

local READ = has_util and probe("return some_global", 1)
local WRITE = has_util and probe("some_global = 1", 2)
local FIELD = has_util and probe("return some_global.field", 2)

-- The name of the field that the instruction at `at` takes from what the one before it, `last`, has read.
local function field_after(fn, at, last)
  local instruction = util.funcbc(fn, at)
  local register = math.floor(last / 256) % 256
  if not instruction or instruction % 256 ~= FIELD or math.floor(instruction / 0x1000000) ~= register then
    return nil
  end
  return util.funck(fn, -(math.floor(instruction / 65536) % 256) - 1)
end

local function walk(fn, visit)
  local at = 1
  while true do
    local instruction = util.funcbc(fn, at)
    if not instruction then break end
    local operation = instruction % 256
    if operation == READ or operation == WRITE then
      local name = util.funck(fn, -math.floor(instruction / 65536) - 1)
      local field = name == "os" and operation == READ and field_after(fn, at + 1, instruction)
      visit(name, util.funcinfo(fn, at).currentline, operation == WRITE, field)
    end
    at = at + 1
  end
  local constant = -1
  while true do
    local value = util.funck(fn, constant)
    if value == nil then break end
    if type(value) == "proto" then walk(value, visit) end
    constant = constant - 1
  end
end

--- The globals that a compiled chunk uses without their being declared.
-- @tparam function chunk as `load` made it
-- @tparam {string,...} declared the names that exist
-- @treturn table list of { name, line, written, field }; field: what is taken from `os` and is not there
function globals.undeclared(chunk, declared)
  local known, found = {}, {}
  for _, name in ipairs(declared) do known[name] = true end
  if not has_util then return found end
  walk(chunk, function(name, line, written, field)
    local absent = field and not globals.PLUGIN_OS[field] and field or nil
    if written or absent or not known[name] then
      found[#found + 1] = { name = name, line = line, written = written, field = absent }
    end
  end)
  table.sort(found, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.name < b.name
  end)
  return found
end

return globals
