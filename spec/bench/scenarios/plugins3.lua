-- Three plugins (request-id, headers, cors) against the same work in ngx_lua.
--
-- What these plugins do for a usual request they prepare when they are configured, so it runs no Lua. The
-- same in one plugin that prepares nothing is measured beside it (lua3): what phases in Lua cost.
--
-- All are compared before they are measured: the same requests, with and without a request id, from
-- an allowed and a foreign origin, must give the same answer to the client and the same request to the
-- origin; see lib/compare.lua.

local compare = require "lib.compare"
local load = require "lib.load"
local stats = require "lib.stats"

local ALLOWED = "Origin: https://app.example.test"
local AGENT, DEBUG = "User-Agent: bench", "X-Debug: 1"
local HEADERS = { AGENT, ALLOWED, DEBUG }
local CASES = {
  { name = "an allowed origin", headers = HEADERS },
  { name = "a foreign origin", headers = { AGENT, "Origin: https://other.example.test", DEBUG } },
  { name = "a request id", headers = { AGENT, ALLOWED, "X-Request-Id: 0123456789abcdef" } },
}
local GIVEN_ID = "0123456789abcdef"
local scenario = {
  figures = { "plugins3.cpu_us", "plugins3.nginx_lua_cpu_us", "plugins3.cpu_vs_nginx_lua", "lua3.cpu_us",
              "lua3.cpu_vs_nginx_lua" },
}

function scenario.run(bench)
  local origin = bench:origin()
  local nginx = bench:start("nginx", "nginx_plugins3.conf", { origin = origin, name = "nginx_lua" })
  local tidegate = bench:start("tidegate", "tidegate_plugins3.lua", { origin = origin })
  local in_lua = bench:start("tidegate", "tidegate_lua3.lua", { origin = origin, name = "lua3" })
  if tidegate then
    compare.same(tidegate, nginx, CASES, GIVEN_ID)
    compare.same(in_lua, nginx, CASES, GIVEN_ID)
  end
  local samples = load.interleave(bench, { nginx, tidegate, in_lua }, HEADERS)
  bench:report("plugins3.nginx_lua_cpu_us", "us", samples.nginx_lua)
  if tidegate then
    bench:report("plugins3.cpu_us", "us", samples.tidegate)
    bench:report("plugins3.cpu_vs_nginx_lua", "ratio",
      stats.ratios(samples.tidegate, samples.nginx_lua))
    bench:report("lua3.cpu_us", "us", samples.lua3)
    bench:report("lua3.cpu_vs_nginx_lua", "ratio", stats.ratios(samples.lua3, samples.nginx_lua))
  end
end

return scenario
