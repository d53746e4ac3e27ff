-- How long plugin authors wait: one spec that makes a plugin and sends a request, and all specs of the
-- example plugin with the program's start.
--
-- Elapsed time, since that is what people wait for; on a core of its own. The time of one spec is the
-- difference between a run of many and a run of one, so the start is not in it.

local process = require "lib.process"

local SPECS = 200
local ROUNDS = 5
local DEADLINE = 60 -- seconds
local EXAMPLE = "/examples/plugin"

local SPEC = [[
local t = require "tidegate.test"
describe("visitors", function()
  local p
  before_each(function()
    t.reset()
    p = t.plugin("%s/plugins/visitors.lua", { days = 7 })
  end)
  for i = 1, %d do
    it("counts " .. i, function()
      local r = p:run { headers = { cookie = "visitor=" .. i } }
      assert.request(r.upstream).has.header("x-visits", tostring(i + 1))
    end)
  end
end)
]]

local scenario = { figures = { "test.plugin_spec_ms", "test.example_ms" } }

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- Seconds that `tidegate test` takes for a file or folder.
local function time_of(bench, path)
  local start = process.now()
  process.run({ bench.tidegate, "test", path },
    { dir = bench.dir, core = bench.gateway_core, deadline = DEADLINE })
  return process.now() - start
end

function scenario.run(bench)
  if not bench.tidegate then
    return
  end
  local example = bench.root .. EXAMPLE
  local one, many = bench.dir .. "/one_spec.lua", bench.dir .. "/many_spec.lua"
  write(one, SPEC:format(example, 1))
  write(many, SPEC:format(example, SPECS))
  local specs, whole = {}, {}
  for round = 1, ROUNDS do
    specs[round] = (time_of(bench, many) - time_of(bench, one)) / (SPECS - 1) * 1000
    whole[round] = time_of(bench, example .. "/spec") * 1000
  end
  bench:report("test.plugin_spec_ms", "ms", specs)
  bench:report("test.example_ms", "ms", whole)
end

return scenario
