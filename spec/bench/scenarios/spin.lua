-- What the others feel of a plugin that never ends: 64 connections to one worker, one of which asks for the
-- spinning plugin again and again. The latency that 99 % of the others' requests stay below, with it and
-- without it, in the same round. The load is a closed loop, so the worker is busy in both cases.

local load = require "lib.load"

local scenario = { figures = { "spin.neighbour_p99", "spin.quiet_p99" } }

function scenario.run(bench)
  local tidegate = bench:start("tidegate", "tidegate_spin.lua", { origin = bench:origin() })
  if not tidegate then
    return
  end
  local spinning, quiet = {}, {}
  local others = load.CONNECTIONS - 1
  load.latency(bench, tidegate, { connections = others, seconds = 1 })
  for round = 1, bench.rounds do
    quiet[round] = load.latency(bench, tidegate, { connections = others, seconds = bench.seconds })
    local spin = load.begin(bench, tidegate, { connections = 1, seconds = bench.seconds + 1, path = "/spin" })
    spinning[round] = load.latency(bench, tidegate, { connections = others, seconds = bench.seconds })
    local found = load.finish(spin)
    if found.requests == 0 or found.status < found.requests then
      error(("of %d spinning requests %d were killed"):format(found.requests, found.status), 0)
    end
  end
  bench:report("spin.neighbour_p99", "ms", spinning)
  bench:report("spin.quiet_p99", "ms", quiet)
end

return scenario
