-- Answers compressed with gzip at level 5: JSON of 32 KiB, keep-alive on both sides, 64 connections.
--
-- Both compress with the same library. The sizes of what they send are compared first: less work at the same
-- price would be none.

local client = require "lib.client"
local load = require "lib.load"
local stats = require "lib.stats"

local HEADERS = { "User-Agent: bench", "Accept: */*", "Accept-Encoding: gzip" }
local SIZE = 32768

local scenario = { figures = { "gzip.cpu_us", "gzip.nginx_cpu_us", "gzip.cpu_vs_nginx" } }

-- Records that look like those of an API, the same in each run.
local function text()
  local parts, size, x = {}, 0, 1
  while size < SIZE do
    x = (x * 16807) % 2147483647
    local record = ('{"id":%d,"name":"user-%d","state":"%s","score":%.3f,"tags":["a%d","b%d"]},\n')
      :format(x % 1000000, x % 977, x % 3 == 0 and "active" or "waiting", x % 10000 / 7, x % 13, x % 29)
    parts[#parts + 1] = record
    size = size + #record
  end
  return table.concat(parts):sub(1, SIZE)
end

local function check_sizes(bench, servers)
  local sizes = {}
  for i, server in ipairs(servers) do
    sizes[i] = assert(client.fetch(server.port, "/", HEADERS)).size
    bench:note("%s: %d bytes of %d", server.name, sizes[i], SIZE)
  end
  for _, size in ipairs(sizes) do
    if size > SIZE / 2 or math.abs(size - sizes[1]) > sizes[1] / 50 then
      error("the answers are not compressed alike", 0)
    end
  end
end

function scenario.run(bench)
  local file = assert(io.open(bench.dir .. "/text.json", "wb"))
  file:write(text())
  file:close()
  local origin = bench:start("nginx", "origin_text.conf", { name = "origin", core = bench.load_core })
  local servers = {
    bench:start("nginx", "nginx_gzip.conf", { origin = origin }),
    bench:start("tidegate", "tidegate_gzip.lua", { origin = origin }), -- nil without a binary
  }
  check_sizes(bench, servers)
  local samples = load.interleave(bench, servers, HEADERS)
  bench:report("gzip.nginx_cpu_us", "us", samples.nginx)
  if samples.tidegate then
    bench:report("gzip.cpu_us", "us", samples.tidegate)
    bench:report("gzip.cpu_vs_nginx", "ratio", stats.ratios(samples.tidegate, samples.nginx))
  end
end

return scenario
