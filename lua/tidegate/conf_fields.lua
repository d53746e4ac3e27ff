-- Finds misspelt fields of `conf` in a plugin's functions without running them.
--
-- Purpose    `conf.enabeld` is nil, so a plugin that reads it does the opposite of what is configured and
--            says nothing. The schema knows all fields, and the bytecode names those that are read.
-- How        A phase has conf as its first parameter, in register 0. Every TGETS on that register takes a
--            field of it. What functions inside of the phase read, and what others read to whom conf is
--            handed on, is not looked at.
-- Invariants Never wrong about a field that it reports: where an instruction could put something else into
--            the register, the function is passed over whole. Numbers of instructions differ between builds
--            of LuaJIT, so those that are needed are read off one-line chunks.
-- Cost       One pass over a function's bytecode; nothing where jit.util is missing.

local conf_fields = {}

local has_util, util = pcall(require, "jit.util")

-- Operation, and its operands A, B and C.
local function split(instruction)
  local rest = math.floor(instruction / 256)
  return instruction % 256, rest % 256, math.floor(instruction / 0x1000000), math.floor(rest / 256) % 256
end

-- Number of the instruction at `at` of the function that a one-line chunk returns.
local function probe(text, at)
  return (split(util.funcbc(load("return " .. text, "=probe", "t")(), at)))
end

local FIELD = has_util and probe("function(a) return a.b end", 1)

-- Instructions whose A is 0 and that write no register.
local HARMLESS = {}
if has_util then
  HARMLESS[probe("function() end", 1)] = true -- returns nothing
  HARMLESS[probe("function(a) if a then return a.b end end", 1)] = true -- tests
  HARMLESS[probe("function(a) if not a then return a.b end end", 1)] = true
  HARMLESS[probe("function(a, b) b.c = a end", 1)] = true -- stores a
end

--- The fields that a function takes from its first parameter.
-- @tparam function fn
-- @treturn table list of { name, line }; empty where that is not certain
function conf_fields.read_by(fn)
  local found = {}
  if not has_util or util.funcinfo(fn).params < 1 then return found end
  for at = 1, math.huge do
    local instruction = util.funcbc(fn, at)
    if not instruction then break end
    local operation, a, b, c = split(instruction)
    if a == 0 and not HARMLESS[operation] then return {} end
    local name = operation == FIELD and b == 0 and util.funck(fn, -c - 1)
    if type(name) == "string" then
      found[#found + 1] = { name = name, line = util.funcinfo(fn, at).currentline }
    end
  end
  return found
end

return conf_fields
