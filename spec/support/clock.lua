--- Time for specs: a monotonic clock, deadlines, and waiting for a condition.
--
-- A spec never sleeps for a guessed time. It waits until something holds, with a deadline that only a
-- broken program reaches. Deadlines are stretched by `clock.patience` where the program under test
-- is slow by construction (sanitizer builds), so specs name the time that a release build is given.
--
-- All times are seconds (numbers); deadlines are points on the monotonic clock.

local poll = require("posix.poll").poll
local posix_time = require("posix.time")

local clock = {}

local PATIENCE = { asan = 4, tsan = 8, cover = 2 }

--- Factor on every waiting time; TIDEGATE_BUILD names the variant under test.
clock.patience = PATIENCE[os.getenv("TIDEGATE_BUILD") or "release"] or 1

--- How long helpers wait where the caller names no time.
clock.default = 5

--- Seconds on the monotonic clock.
function clock.now()
  local t = posix_time.clock_gettime(posix_time.CLOCK_MONOTONIC)
  return t.tv_sec + t.tv_nsec / 1e9
end

--- The point `seconds` from now, stretched by the patience.
function clock.deadline(seconds)
  return clock.now() + (seconds or clock.default) * clock.patience
end

--- Milliseconds until `deadline`, at least 0, rounded up: what poll(2) wants.
function clock.left(deadline)
  return math.max(0, math.ceil((deadline - clock.now()) * 1000))
end

--- Calls `condition` until it returns something true, and returns that.
-- @param condition function; its result decides, its errors pass through
-- @param seconds how long to try (default 5)
-- @param what words for the error: "waited 5 s for <what>"
function clock.wait_until(condition, seconds, what)
  local deadline = clock.deadline(seconds)
  local step = 1
  while true do
    local result = condition()
    if result then
      return result
    end
    local left = clock.left(deadline)
    if left == 0 then
      error(("waited %g s for %s"):format((seconds or clock.default) * clock.patience,
        what or "a condition"), 2)
    end
    poll({}, math.min(step, left))
    step = math.min(step * 2, 20)
  end
end

return clock
