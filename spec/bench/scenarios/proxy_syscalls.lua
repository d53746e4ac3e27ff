-- System calls of a plain proxy for one keep-alive request, without the loop's wait.

local syscalls = require "lib.syscalls"

local HEADERS = { "User-Agent: bench", "Accept: */*" }
local ROUNDS = 3

local scenario = {
  figures = { "proxy.syscalls_per_request", "proxy.nginx_syscalls_per_request" },
}

function scenario.run(bench)
  local origin = bench:origin()
  local nginx = bench:start("nginx", "nginx_proxy.conf", { origin = origin })
  local tidegate = bench:start("tidegate", "tidegate_proxy.lua", { origin = origin })
  local ours, theirs = {}, {}
  for round = 1, ROUNDS do
    ours[round] = tidegate and syscalls.per_request(bench, tidegate, HEADERS)
    theirs[round] = syscalls.per_request(bench, nginx, HEADERS)
  end
  bench:report("proxy.nginx_syscalls_per_request", "calls", theirs)
  if tidegate then
    bench:report("proxy.syscalls_per_request", "calls", ours)
  end
end

return scenario
