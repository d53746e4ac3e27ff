-- Load: wrk against one server, and what the server's process tree spent on it.
--
-- wrk runs one thread in a closed loop. Its count of complete answers is the divisor of every
-- cost. An error of any kind fails the figure: a refused or broken connection, a timeout, a status
-- of 400 and above; and a number of bytes that is not the number of answers times the size of the one
-- seen beforehand (give or take what was under way at the end), which shows redirects, short bodies and
-- error pages that claim success.

local client = require "lib.client"
local process = require "lib.process"

local CONNECTIONS = 64

local load = {}
local begun = 0 -- loads beside others, for the names of their files

local function counts(text)
  local line = text:match("counts ([^\n]+)")
  if not line then
    error("wrk printed no counts: " .. text, 0)
  end
  local found = {}
  for name, value in line:gmatch("([%w_]+)=(%d+)") do
    found[name] = tonumber(value)
  end
  return found
end

local function check(server, found, expected_size)
  for _, kind in ipairs { "connect", "read", "write", "status", "timeout" } do
    if found[kind] > 0 then
      error(("%s: %d errors (%s) in %d requests"):format(server.name, found[kind], kind,
        found.requests), 0)
    end
  end
  local expected = found.requests * expected_size
  if found.requests == 0 or math.abs(found.bytes - expected) > CONNECTIONS * expected_size then
    error(("%s: %d bytes in %d answers, expected %d bytes each"):format(server.name, found.bytes,
      found.requests, expected_size), 0)
  end
end

-- options: connections, seconds, headers, path ("/" unless said), keys (a file of NAME=KEY lines: each
-- request has the next of these keys in X-Api-Key)
local function command(bench, server, options)
  local argv = {
    "wrk", "-t1", "-c" .. options.connections, ("-d%ds"):format(options.seconds),
    "-s", ("%s/lib/%s.lua"):format(bench.here, options.keys and "wrk_keys" or "wrk_report"),
  }
  for _, header in ipairs(options.headers or {}) do
    argv[#argv + 1] = "-H"
    argv[#argv + 1] = header
  end
  argv[#argv + 1] = ("http://127.0.0.1:%d%s"):format(server.port, options.path or "/")
  if options.keys then
    argv[#argv + 1] = "--"
    argv[#argv + 1] = bench.here
    argv[#argv + 1] = options.keys
  end
  return argv
end

local function wrk(bench, server, options)
  return counts(process.run(command(bench, server, options),
    { dir = bench.dir, core = bench.load_core, deadline = options.seconds + 10 }))
end

--- Begins a load beside others; finish() waits for its end. options: connections, seconds, path.
function load.begin(bench, server, options)
  begun = begun + 1
  local out = ("%s/load-%d.out"):format(bench.dir, begun)
  local pid = process.spawn(command(bench, server, options),
    { core = bench.load_core, stdout = out, stderr = out })
  return { pid = pid, out = out, deadline = options.seconds + 10 }
end

--- What a load that was begun came to: wrk's counts, requests, status and others, whatever they are.
function load.finish(running)
  local ended = process.wait_until(running.deadline, function()
    return process.ended(running.pid)
  end)
  if not ended then
    process.stop(running.pid)
    error(("wrk: no end within %d s"):format(running.deadline), 0)
  end
  return counts(process.read(running.out))
end

--- The latency that 99 % of the requests of a load stay below, in ms. options as for begin().
function load.latency(bench, server, options)
  local seen = assert(client.fetch(server.port, options.path or "/"))
  local found = wrk(bench, server, options)
  check(server, found, seen.size)
  return found.p99_us / 1000
end

--- Loads a server for some seconds; returns the CPU time that it spent per request, in µs. `keys` as for
-- begin(); the headers have one of them.
function load.cost(bench, server, headers, seconds, keys)
  local seen = assert(client.fetch(server.port, "/", headers))
  if seen.status ~= 200 then
    error(("%s: answers %s instead of 200"):format(server.name, seen.status), 0)
  end
  local before = process.cpu(server.pid)
  local found = wrk(bench, server,
    { connections = CONNECTIONS, headers = headers, seconds = seconds, keys = keys })
  local spent = process.cpu(server.pid) - before
  check(server, found, seen.size)
  bench:note("%s: %d requests, %.2f us each, core busy %.0f %%", server.name, found.requests,
    spent / found.requests * 1e6, spent / found.duration_us * 1e8)
  return spent / found.requests * 1e6
end

--- Loads each server in turn, round after round: A B C A B C … The first second of each, in which
-- it opens its connections to the origin, is not counted. Returns samples[server.name][round].
function load.interleave(bench, servers, headers, keys)
  local samples = {}
  for _, server in ipairs(servers) do
    samples[server.name] = {}
    load.cost(bench, server, headers, 1, keys)
  end
  for round = 1, bench.rounds do
    for _, server in ipairs(servers) do
      samples[server.name][round] = load.cost(bench, server, headers, bench.seconds, keys)
    end
  end
  return samples
end

load.CONNECTIONS = CONNECTIONS

return load
