-- The figures of micro/script_bench.c: what a phase costs to enter, what the accounting allocator costs
-- beside LuaJIT's own, and what a VM holds. Built by `make bench` and `make micro`.

local process = require "lib.process"
local unistd = require "posix.unistd"

local PROGRAM = "/build/spec/bench/micro/script_bench"

local scenario = {
  figures = { "sandbox.entry_ns", "sandbox.resume_ns", "sandbox.alloc_vs_luajit", "sandbox.vm_bytes" },
}

function scenario.run(bench)
  local program = bench.root .. PROGRAM
  if not unistd.access(program, "x") then
    error("no " .. program .. ": run make micro", 0)
  end
  local samples, units = {}, {}
  for _ = 1, bench.rounds do
    local text = process.run({ program }, { dir = bench.dir, core = bench.gateway_core, deadline = 60 })
    for name, value, unit in text:gmatch "bench (%S+) (%S+) (%S+)" do
      samples[name] = samples[name] or {}
      table.insert(samples[name], tonumber(value))
      units[name] = unit
    end
  end
  for _, name in ipairs(scenario.figures) do
    bench:report(name, units[name], assert(samples[name], name))
  end
end

return scenario
