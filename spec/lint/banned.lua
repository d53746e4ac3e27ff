--- Banned: the raw allocator outside core/base/mem.c, unbounded string functions, and habits that the
-- style rules out.
--
-- core/base/banned.h makes most of these compile errors; this check sees that it is included first
-- everywhere, and finds what a preprocessor cannot (free, which is also a good name for a member).

package.path = "./spec/?.lua;" .. package.path
local check = require("lint.check")

local ALLOCATOR = {
  malloc = true, calloc = true, realloc = true, reallocarray = true, free = true, strdup = true,
  strndup = true, posix_memalign = true, aligned_alloc = true, asprintf = true, vasprintf = true,
}
local FUNCTIONS = {
  strcpy = "tg_fmt", strcat = "tg_fmt", strncpy = "memcpy", strncat = "tg_fmt", sprintf = "tg_fmt",
  vsprintf = "tg_fmt", gets = "fgets", strtok = "tg_str", atoi = "a checked parser",
  atol = "a checked parser", atof = "a checked parser", alloca = "the arena", setjmp = "error codes",
  system = "posix_spawn", popen = "posix_spawn", sleep = "a timer", usleep = "a timer",
  assert = "tg_assert", localtime = "gmtime_r", gmtime = "gmtime_r", rand = "tg_rand",
}

local function check_calls(path, number, line)
  for before, name in line:gmatch("([^%w_]?)%f[%w_]([%l_]+)%s*%(") do
    local where = path .. ":" .. number
    local member = before == "." or before == ">" -- a callback of that name is not the function
    if not member and ALLOCATOR[name] and path ~= "core/base/mem.c" then
      check.problem(where, name .. " belongs to core/base/mem.c: use tg_mem, the arena or a slab")
    elseif not member and FUNCTIONS[name] then
      check.problem(where, ("%s is banned: use %s"):format(name, FUNCTIONS[name]))
    end
  end
end

for _, path in ipairs(check.find("core -name '*.[ch]'")) do
  local text = check.read(path)
  local number = 0
  for line in check.strip_c(text):gmatch("([^\n]*)\n") do
    number = number + 1
    if not line:match("^%s*#") then
      check_calls(path, number, line)
    end
    if line:match("^%s*typedef%s+struct") then
      check.problem(path .. ":" .. number, "no typedefs of structs")
    end
  end
  if path:match("%.c$") and text:match('#include%s+(%S+)') ~= '"base/banned.h"' then
    check.problem(path, 'the first include must be "base/banned.h"')
  end
  local may_ask = path == "core/base/mem.c" or path == "core/base/banned.h"
  if text:find("TG_MEM_ALLOWS_MALLOC", 1, true) and not may_ask then
    check.problem(path, "TG_MEM_ALLOWS_MALLOC is for core/base/mem.c alone")
  end
end

check.finish("banned: allocator, unbounded string functions, struct typedefs")
