-- What the others feel of a plugin that never ends: 64 connections to one worker, of which one, or a crowd of
-- sixteen, asks for the spinning plugin again and again. The latency that 99 % of the others' requests stay
-- below, with one, with the crowd and without, in the same round. The load is a closed loop, so the worker is
-- busy in each case.

local load = require "lib.load"

local scenario = { figures = { "spin.neighbour_p99", "spin.crowd_p99", "spin.quiet_p99" } }

local CROWD = 16

-- The latency of the others beside so many connections that spin.
local function beside(bench, tidegate, spinning)
  local options = { connections = load.CONNECTIONS - math.max(1, spinning), seconds = bench.seconds }
  if spinning == 0 then
    return load.latency(bench, tidegate, options)
  end
  local spin = load.begin(bench, tidegate,
    { connections = spinning, seconds = bench.seconds + 1, path = "/spin" })
  local latency = load.latency(bench, tidegate, options)
  local found = load.finish(spin)
  if found.requests == 0 or found.status < found.requests then
    error(("of %d spinning requests %d were killed"):format(found.requests, found.status), 0)
  end
  return latency
end

function scenario.run(bench)
  local tidegate = bench:start("tidegate", "tidegate_spin.lua", { origin = bench:origin() })
  if not tidegate then
    return
  end
  local quiet, one, crowd = {}, {}, {}
  load.latency(bench, tidegate, { connections = load.CONNECTIONS - 1, seconds = 1 })
  for round = 1, bench.rounds do
    quiet[round] = beside(bench, tidegate, 0)
    one[round] = beside(bench, tidegate, 1)
    crowd[round] = beside(bench, tidegate, CROWD)
  end
  bench:report("spin.neighbour_p99", "ms", one)
  bench:report("spin.crowd_p99", "ms", crowd)
  bench:report("spin.quiet_p99", "ms", quiet)
end

return scenario
