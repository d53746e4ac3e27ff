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
local raw_pcall, raw_xpcall, raw_yield = raw.pcall, raw.xpcall, raw.yield
local error, select, sort, tostring, concat = raw.error, raw.select, raw.sort, raw.tostring, raw.concat
local create, step, go_on = kernel.create, kernel.step, kernel.go_on
local caught, is_ending, print_line = kernel.caught, kernel.is_ending, kernel.print_line

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

-- The handler runs while LuaJIT holds hooks back if the error came from one, and only an end does: then
-- the plugin's handler is not called.
function M.xpcall(f, handler, ...)
  return settle(raw_xpcall(f, function(...)
    if is_ending() then
      return nil
    end
    return handler(...)
  end, ...))
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
