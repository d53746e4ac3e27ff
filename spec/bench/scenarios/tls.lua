-- TLS from clients, ECDSA P-256: full handshakes (1.3), resumed ones (1.2, by ticket), keep-alive requests,
-- and how many connections of a returning client two workers resume.
--
-- Handshakes are those of `openssl s_time`, one after the other, each on a connection of its own that
-- sends no request; it prints how many there were. Its own work is on the load core.

local load = require "lib.load"
local process = require "lib.process"
local stats = require "lib.stats"
local syscalls = require "lib.syscalls"

local HEADERS = { "User-Agent: bench", "Accept: */*" }
local CALL_ROUNDS = 3

local scenario = {
  figures = {
    "tls.handshake_cpu_us", "tls.nginx_handshake_cpu_us", "tls.handshake_cpu_vs_nginx",
    "tls.resumed_cpu_us", "tls.nginx_resumed_cpu_us", "tls.resumed_cpu_vs_nginx",
    "tls.syscalls_per_resumed", "tls.nginx_syscalls_per_resumed",
    "tls.proxy_cpu_us", "tls.nginx_proxy_cpu_us", "tls.proxy_cpu_vs_nginx", "tls.resumption_percent",
  },
}

local function make_certificate(bench)
  process.run({ "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
    "-nodes", "-keyout", bench.dir .. "/bench.key", "-out", bench.dir .. "/bench.pem", "-days", "2",
    "-subj", "/CN=bench.test" }, { dir = bench.dir, core = bench.load_core, deadline = 10 })
end

-- What s_time printed: a character for each connection (r: resumed), then how many there were.
local function s_time(bench, server, kind)
  local argv = { "openssl", "s_time", "-connect", "127.0.0.1:" .. server.tls_port, "-time",
                 tostring(bench.seconds), kind == "full" and "-new" or "-reuse",
                 kind == "full" and "-tls1_3" or "-tls1_2" }
  local text = process.run(argv, { dir = bench.dir, core = bench.load_core, deadline = bench.seconds + 10 })
  local count = tonumber(text:match("(%d+) connections in %d+ real seconds"))
  if not count or count == 0 then
    error(("%s: no handshakes: %s"):format(server.name, text), 0)
  end
  return count, text
end

-- CPU time of the server for one handshake, in us.
local function handshake_cost(bench, server, kind)
  local before = process.cpu(server.pid)
  local count = s_time(bench, server, kind)
  local cost = (process.cpu(server.pid) - before) / count * 1e6
  bench:note("%s: %d %s handshakes, %.1f us each", server.name, count, kind, cost)
  return cost
end

local function handshakes(bench, servers, kind)
  local samples = {}
  for _, server in ipairs(servers) do
    samples[server.name] = {}
  end
  for round = 1, bench.rounds do
    for _, server in ipairs(servers) do
      samples[server.name][round] = handshake_cost(bench, server, kind)
    end
  end
  return samples
end

-- System calls for one resumed handshake, its connection's beginning and end among them.
local function count_calls(bench, servers)
  for _, server in ipairs(servers) do
    local samples = {}
    for round = 1, CALL_ROUNDS do
      samples[round] = syscalls.per_run(bench, server, "resumed handshakes", function()
        return (s_time(bench, server, "resumed"))
      end)
    end
    bench:report(server.name == "nginx" and "tls.nginx_syscalls_per_resumed" or "tls.syscalls_per_resumed",
      "calls", samples)
  end
end

local function report(bench, what, samples)
  bench:report(("tls.nginx_%s_cpu_us"):format(what), "us", samples.nginx)
  if samples.tidegate then
    bench:report(("tls.%s_cpu_us"):format(what), "us", samples.tidegate)
    bench:report(("tls.%s_cpu_vs_nginx"):format(what), "ratio", stats.ratios(samples.tidegate, samples.nginx))
  end
end

-- Of a client that comes back to two workers, whichever accepts it.
local function resumption(bench, origin)
  local server = bench:start("tidegate", "tidegate_tls.lua", { origin = origin, marks = { WORKERS = "2" } })
  if not server then return end
  local samples = {}
  for round = 1, bench.rounds do
    local count, text = s_time(bench, server, "resumed")
    local _, resumed = text:match("starting\n(.-)\n"):gsub("r", "")
    samples[round] = resumed / count * 100
  end
  bench:report("tls.resumption_percent", "%", samples)
end

function scenario.run(bench)
  make_certificate(bench)
  local origin = bench:origin()
  local servers = {
    bench:start("nginx", "nginx_tls.conf", { origin = origin }),
    bench:start("tidegate", "tidegate_tls.lua", { origin = origin, marks = { WORKERS = "1" } }), -- or nil
  }
  for _, server in ipairs(servers) do
    server.url = ("https://127.0.0.1:%d"):format(server.tls_port)
  end
  report(bench, "handshake", handshakes(bench, servers, "full"))
  report(bench, "resumed", handshakes(bench, servers, "resumed"))
  count_calls(bench, servers)
  report(bench, "proxy", load.interleave(bench, servers, HEADERS))
  resumption(bench, origin)
end

return scenario
