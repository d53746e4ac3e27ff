-- The part of the sandbox that has to be Lua: functions that call the plugin back and must stay
-- yieldable, which a C function on LuaJIT cannot be.
--
-- core/script/sandbox.c loads this chunk once per VM, before any plugin code, with the raw functions it
-- builds on, and keeps what it returns. The plugin sees only the results. Two things must hold here:
--
--   An end that the host decided (a kill, an exit) is not caught: `caught` and `step` raise it again,
--   and because these wrappers are Lua, the armed hook fires in them even where C loops over them.
--
--   A pause that the host wants (a wait, the end of a slice) inside a coroutine of the plugin is passed
--   outward: `step` says so by its first result, and `pass` yields in turn, then goes on.

local raw, kernel = ...
local raw_pcall, raw_yield, error, select = raw.pcall, raw.yield, raw.error, raw.select
local sort, tostring, type, concat = raw.sort, raw.tostring, raw.type, raw.concat
local create, step, go_on = kernel.create, kernel.step, kernel.go_on
local caught, print_line = kernel.caught, kernel.print_line

local M = {}

local function settle(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught(...)
end

function M.pcall(f, ...)
  return settle(raw_pcall(f, ...))
end

local function handle(handler, ok, ...)
  if ok then
    return true, ...
  end
  local _, value = M.pcall(handler, (caught(...)))
  return false, value
end

-- The handler runs when the stack is unwound, not on top of what failed. A plugin has no `debug` to see
-- the difference with; the handler may wait, and LuaJIT writes beyond the stack when one calls functions
-- where the stack has overflowed.
function M.xpcall(f, handler, ...)
  if type(handler) ~= "function" then
    error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2)
  end
  return handle(handler, raw_pcall(f, ...))
end

local function pass(co, is_paused, ...)
  if is_paused then
    return pass(co, go_on(co, raw_yield()))
  end
  return ...
end

function M.resume(co, ...)
  return pass(co, step(co, ...))
end

local function unwrap(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

function M.wrap(f)
  local co = create(f)
  return function(...)
    return unwrap(pass(co, step(co, ...)))
  end
end

-- In Lua, so that a __tostring that prints does not recurse on the C stack.
function M.print(...)
  local texts, count = { ... }, select("#", ...)
  for i = 1, count do
    texts[i] = tostring(texts[i])
  end
  print_line(concat(texts, "\t", 1, count))
end

local function is_less(a, b)
  return a < b
end

-- A comparator in Lua, always: without one, a crafted list keeps the C function busy for seconds where
-- no hook fires.
function M.sort(list, ...)
  if select("#", ...) == 0 or (...) == nil then
    return sort(list, is_less)
  end
  return sort(list, (...))
end

return M
