-- The clock of all gateways in a spec.
--
-- Purpose    One time for everything: t.clock and gw.clock are this object. Turning it fires what is due,
--            timer by timer, in every gateway that is open.
-- Invariants Time moves only by advance(), and by requests that have to wait (p:run, gw:get…), which turn it
--            until they have their answer; freeze() forbids the latter.
-- Ownership  Knows the open worlds; they put themselves in and out.
-- Cost       One look at each world for each step of time.

local duration = require "tidegate.test.duration"

local EPOCH = 1704067200 -- 2024-01-01T00:00:00Z

local clock = { worlds = {}, real = EPOCH, frozen = false }

--- Seconds since 1970, as tg.time.now() tells plugins.
function clock:now() return self.real end

--- Turns the clock by a duration ("61s" or seconds); what is due on the way happens in order.
function clock:advance(by)
  local seconds = duration.read(by)
  for _, world in ipairs { unpack(self.worlds) } do world:advance(seconds) end
  self.real = self.real + seconds
  return self
end

--- No request turns the clock from now on; one that has to wait comes back with `done` false, and is finished
-- by advance(). freeze(false) undoes it.
function clock:freeze(on)
  self.frozen = on ~= false
  return self
end

-- A world has turned its own clock: the others follow.
function clock:follow(moved, seconds)
  for _, world in ipairs { unpack(self.worlds) } do
    if world ~= moved then world:advance(seconds) end
  end
  self.real = self.real + seconds
end

function clock:join(world) self.worlds[#self.worlds + 1] = world end

function clock:part(world)
  for i, one in ipairs(self.worlds) do
    if one == world then table.remove(self.worlds, i) end
  end
end

--- Where time begins for gateways that are made from now on; none may be open.
function clock:set(real)
  if #self.worlds > 0 then error("the clock is set before the first gateway is made", 3) end
  self.real = real
end

function clock:reset()
  self.real, self.frozen = EPOCH, false
end

return clock
