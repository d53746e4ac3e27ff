-- A plain HTTP/1.1 proxy: keep-alive on both sides, 64 connections, an answer of 1 KiB; and how many of its
-- requests went to the origin on a connection that was open already, as the gateway itself counts them.

local load = require "lib.load"
local process = require "lib.process"
local stats = require "lib.stats"

local HEADERS = { "User-Agent: bench", "Accept: */*" }

local scenario = {
  figures = {
    "proxy.cpu_us", "proxy.nginx_cpu_us", "proxy.haproxy_cpu_us", "proxy.cpu_vs_nginx",
    "pool.reuse",
  },
}

-- The share of leases that found a connection, in percent.
local function reuse(bench)
  local argv = { bench.tidegate, "metrics", "--admin", "unix:" .. bench.dir .. "/proxy-admin.sock" }
  local text = process.run(argv, { dir = bench.dir, deadline = 10 })
  local reused = tonumber(text:match "\ntidegate_upstream_reuses_total (%d+)")
  local made = tonumber(text:match "\ntidegate_upstream_connects_total (%d+)")
  return 100 * reused / (reused + made)
end

function scenario.run(bench)
  local origin = bench:origin()
  local servers = {
    bench:start("nginx", "nginx_proxy.conf", { origin = origin }),
    bench:start("haproxy", "haproxy_proxy.cfg", { origin = origin }),
    bench:start("tidegate", "tidegate_proxy.lua", { origin = origin }), -- nil without a binary
  }
  local samples = load.interleave(bench, servers, HEADERS)
  bench:report("proxy.nginx_cpu_us", "us", samples.nginx)
  bench:report("proxy.haproxy_cpu_us", "us", samples.haproxy)
  if samples.tidegate then
    bench:report("proxy.cpu_us", "us", samples.tidegate)
    bench:report("proxy.cpu_vs_nginx", "ratio", stats.ratios(samples.tidegate, samples.nginx))
    bench:report("pool.reuse", "percent", { reuse(bench) })
  end
end

return scenario
