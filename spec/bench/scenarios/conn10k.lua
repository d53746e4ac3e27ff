-- Memory of a whole gateway, its supervisor included, that holds 10,000 idle keep-alive connections which
-- each did one request. Pages that the processes share, such as the program's code, count in each of them.
-- Kernel memory is not counted.
--
-- The connections come from 20 addresses of 127.0.0.0/8, since gateways bound those of one address, and
-- 10,000 descriptors are needed here and in the gateway.

local client = require "lib.client"
local process = require "lib.process"

local COUNT = 10000
local ROUNDS = 3
local HEADERS = { "User-Agent: bench", "Accept: */*" }
local SETTLE = 0.5 -- seconds that memory is given to settle

local scenario = { figures = { "conn10k.rss_bytes" } }

-- One sample of a gateway of its own.
local function sample(bench, origin)
  local server = bench:start("tidegate", "tidegate_proxy.lua", { origin = origin })
  local fds = client.open_idle(server.port, COUNT, HEADERS)
  process.pause(SETTLE)
  local bytes, closed = process.rss(server.pid), client.count_closed(fds)
  client.close(fds)
  process.stop(server.pid)
  if closed > 0 then
    error(("%s: closed %d of %d idle connections"):format(server.name, closed, COUNT), 0)
  end
  return bytes
end

function scenario.run(bench)
  local origin = bench:origin()
  local samples = {}
  for round = 1, bench.tidegate and ROUNDS or 0 do
    samples[round] = sample(bench, origin)
  end
  if bench.tidegate then
    bench:report("conn10k.rss_bytes", "bytes", samples)
  end
end

return scenario
