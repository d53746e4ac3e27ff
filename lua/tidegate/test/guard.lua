-- Looks after the tests: closes what they made, reports what they left open, and ends those without an end.
--
-- Purpose    Everything that t.plugin and t.gateway make is closed when its test is over, and a request that
--            still waits or a connection that nobody closed fails the test, naming the place.
-- Invariants Works inside of busted only as far as busted is there: without it nothing is closed by itself.
-- Ownership  The list of what is open belongs to the running test; what was made outside of a test (in setup)
--            belongs to the file.
-- Cost       None for tests that open nothing.

local clock = require "tidegate.test.clock"

local guard = { options = { timeout = 10 }, owned = {}, watchers = {} }

-- The functions of before_each blocks: what they make belongs to the test that follows.
local before_each = setmetatable({}, { __mode = "k" })
local running -- the test, while its own function runs

local function is_for_test()
  local level = 3
  while true do
    local info = debug.getinfo(level, "f")
    if not info then return running ~= nil end
    if before_each[info.func] then return true end
    level = level + 1
  end
end

--- Takes care of `thing`, which has leave() -> list of what was left open.
function guard.own(thing)
  guard.owned[#guard.owned + 1] = { thing = thing, for_test = is_for_test() }
  return thing
end

--- `fn(kind, owner, request, result)` is told of every request that came to its end.
function guard.watch(fn) guard.watchers[#guard.watchers + 1] = fn end

--- A request of `owner` is done.
function guard.saw(owner, request, result)
  for _, fn in ipairs(guard.watchers) do fn(owner, request, result) end
end

--- Closes what `belongs` to somebody; the texts of what was left open.
local function close_all(belongs)
  local left, kept = {}, {}
  for _, entry in ipairs(guard.owned) do
    if belongs(entry) then
      for _, text in ipairs(entry.thing:leave()) do left[#left + 1] = text end
    else
      kept[#kept + 1] = entry
    end
  end
  guard.owned = kept
  return left
end

--- Closes everything, for t.reset.
function guard.reset()
  close_all(function() return true end)
  clock:reset()
end

local function report(left, element)
  if #left == 0 then return end
  local at = element.trace and ("%s:%d: "):format(element.trace.short_src, element.trace.currentline) or ""
  error(("%sleft open at the end of the %s:\n  %s"):format(at, element.trace and "test" or "file",
                                                           table.concat(left, "\n  ")), 0)
end

-- ---- busted ---------------------------------------------------------------------------------------------

local limit

local function name_of(element)
  return element and element.name and ("%q"):format(element.name) or "a spec file"
end

-- What runs from now on may take its time.
local function grant(element)
  if limit then limit(guard.options.timeout, name_of(element)) end
end

local function start_test(element)
  running = element
  grant(element)
end

local function end_test(element)
  running = nil
  grant(element)
  report(close_all(function(entry) return entry.for_test end), element)
end

local function end_file(element)
  report(close_all(function() return true end), element)
end

--- Puts the guard between busted and the tests.
-- @tparam table busted
function guard.install(busted)
  local harness = require "tidegate.harness"
  limit = jit.status() == false and harness.limit or nil
  local function on(channel, action, options)
    busted.subscribe(channel, function(...)
      action(...)
      return nil, true
    end, options)
  end
  -- Before busted's own subscriber, which lets no further one see registrations.
  on({ "register", "before_each" }, function(_, fn) before_each[fn] = true end, { priority = 1 })
  on({ "file", "start" }, grant)
  on({ "describe", "start" }, grant)
  on({ "test", "start" }, start_test)
  on({ "test", "end" }, end_test)
  on({ "file", "end" }, end_file)
  on({ "exit" }, function() if limit then limit(0) end end)
end

return guard
