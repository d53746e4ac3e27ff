-- HTTP/2 from clients, to an HTTP/1.1 origin: 10 connections of 100 streams each, an answer of 1 KiB.
--
-- The load is h2load, in clear by prior knowledge; TLS costs what scenarios/tls.lua says. Every answer must
-- be a 200, or the figure fails.

local process = require "lib.process"
local stats = require "lib.stats"

local CONNECTIONS, STREAMS = 10, 100

local scenario = {
  figures = { "h2.proxy_cpu_us", "h2.nginx_proxy_cpu_us", "h2.proxy_cpu_vs_nginx" },
}

-- CPU time of the server for one request, in us.
local function cost(bench, server, seconds)
  local before = process.cpu(server.pid)
  local text = process.run({
    "h2load", "-D", tostring(seconds), "-c", tostring(CONNECTIONS), "-m", tostring(STREAMS),
    ("http://127.0.0.1:%d/"):format(server.tls_port),
  }, { dir = bench.dir, core = bench.load_core, deadline = seconds + 20 })
  local spent = process.cpu(server.pid) - before
  local good, failed = text:match("status codes: (%d+) 2xx, 0 3xx, 0 4xx, 0 5xx"), text:match("(%d+) failed")
  if not good or tonumber(good) == 0 or failed ~= "0" then
    error(("%s: %s"):format(server.name, text), 0)
  end
  bench:note("%s: %s requests, %.2f us each", server.name, good, spent / good * 1e6)
  return spent / good * 1e6
end

local function interleave(bench, servers)
  local samples = {}
  for _, server in ipairs(servers) do
    samples[server.name] = {}
    cost(bench, server, 1)
  end
  for round = 1, bench.rounds do
    for _, server in ipairs(servers) do
      samples[server.name][round] = cost(bench, server, bench.seconds)
    end
  end
  return samples
end

function scenario.run(bench)
  local origin = bench:origin()
  local samples = interleave(bench, {
    bench:start("nginx", "nginx_h2.conf", { origin = origin }),
    bench:start("tidegate", "tidegate_h2.lua", { origin = origin }), -- nil without a binary
  })
  bench:report("h2.nginx_proxy_cpu_us", "us", samples.nginx)
  if samples.tidegate then
    bench:report("h2.proxy_cpu_us", "us", samples.tidegate)
    bench:report("h2.proxy_cpu_vs_nginx", "ratio", stats.ratios(samples.tidegate, samples.nginx))
  end
end

return scenario
