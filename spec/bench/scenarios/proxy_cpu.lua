-- A plain HTTP/1.1 proxy: keep-alive on both sides, 64 connections, an answer of 1 KiB.

local load = require "lib.load"
local stats = require "lib.stats"

local HEADERS = { "User-Agent: bench", "Accept: */*" }

local scenario = {
  figures = {
    "proxy.cpu_us", "proxy.nginx_cpu_us", "proxy.haproxy_cpu_us", "proxy.cpu_vs_nginx",
  },
}

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
  end
end

return scenario
