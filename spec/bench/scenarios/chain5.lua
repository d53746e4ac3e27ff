-- Five plugins (request-id, key-auth, rate-limit, cors, headers) and a counter of requests, over 10,000
-- consumers whose keys come in turn, against the same work in ngx_lua with shared dictionaries.
--
-- Both are compared before they are measured; see lib/compare.lua. What is left of a limit and when it is
-- whole again differ with the order of requests, so numbers in RateLimit are not compared.

local compare = require "lib.compare"
local load = require "lib.load"
local stats = require "lib.stats"

local CONSUMERS = 10000
local ALLOWED = "Origin: https://app.example.test"
local AGENT, DEBUG = "User-Agent: bench", "X-Debug: 1"
local GIVEN_ID = "0123456789abcdef"

local scenario = {
  figures = { "chain5.cpu_us", "chain5.nginx_lua_cpu_us", "chain5.cpu_vs_nginx_lua" },
}

-- 32 hex digits that differ for each consumer.
local function key_of(number)
  return ("%08x%08x%08x%08x"):format(number, number * 7919, number * 104729, number * 1299709)
end

local function write_keys(path)
  local file = assert(io.open(path, "w"))
  for number = 1, CONSUMERS do
    file:write(("customer-%05d=%s\n"):format(number, key_of(number)))
  end
  file:close()
end

local function settle(name, value)
  return name == "ratelimit" and value:gsub("=%d+", "=(number)") or value
end

function scenario.run(bench)
  local keys = bench.dir .. "/chain5.keys"
  write_keys(keys)
  local headers = { AGENT, ALLOWED, DEBUG, "X-Api-Key: " .. key_of(1) }
  local cases = {
    { name = "an allowed origin", headers = headers },
    { name = "a foreign origin",
      headers = { AGENT, "Origin: https://other.example.test", DEBUG, "X-Api-Key: " .. key_of(CONSUMERS) } },
    { name = "a request id and a name of its own",
      headers = { AGENT, "X-Request-Id: " .. GIVEN_ID, "X-Consumer-Name: root",
                  "X-Api-Key: " .. key_of(17) } },
  }
  local origin = bench:origin()
  local nginx = bench:start("nginx", "nginx_chain5.conf",
    { origin = origin, name = "nginx_lua", headers = headers })
  local tidegate = bench:start("tidegate", "tidegate_chain5.lua",
    { origin = origin, headers = headers })
  if tidegate then
    compare.same(tidegate, nginx, cases, GIVEN_ID, settle)
  end
  local samples = load.interleave(bench, { nginx, tidegate }, headers, keys)
  bench:report("chain5.nginx_lua_cpu_us", "us", samples.nginx_lua)
  if tidegate then
    bench:report("chain5.cpu_us", "us", samples.tidegate)
    bench:report("chain5.cpu_vs_nginx_lua", "ratio", stats.ratios(samples.tidegate, samples.nginx_lua))
  end
end

return scenario
