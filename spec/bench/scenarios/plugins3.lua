-- Three plugins (request-id, headers, cors) against the same work in ngx_lua.
--
-- What these plugins do for a usual request they prepare when they are configured, so it runs no Lua. The
-- same in one plugin that prepares nothing is measured beside it (lua3): what phases in Lua cost.
--
-- All are compared before they are measured: the same requests, with and without a request id, from
-- an allowed and a foreign origin, must give the same answer to the client and the same request to the
-- origin. Left out of the comparison is what differs by design (OWN) and the value of a generated id.

local client = require "lib.client"
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
-- Each gateway's own headers about itself and its connections.
local OWN = { date = true, server = true, via = true, connection = true, ["keep-alive"] = true }

local scenario = {
  figures = { "plugins3.cpu_us", "plugins3.nginx_lua_cpu_us", "plugins3.cpu_vs_nginx_lua", "lua3.cpu_us",
              "lua3.cpu_vs_nginx_lua" },
}

-- What is visible of one exchange, as lines of text that can be compared: the answer's headers, sorted,
-- then what the origin saw. Ids that the gateway made up become "(generated)".
local function visible(server, case)
  local answer = assert(client.fetch(server.port, "/seen", case.headers))
  local lines, id = {}, nil
  for _, header in ipairs(answer.headers) do
    if header.name == "x-request-id" then
      id = header.value
    end
    -- The length differs with that of the id.
    if not OWN[header.name] and header.name ~= "content-length" then
      lines[#lines + 1] = header.name .. ": " .. header.value
    end
  end
  table.sort(lines)
  table.insert(lines, 1, "status " .. answer.status)
  local text = table.concat(lines, "\n") .. "\n-- at the origin\n" .. answer.body
  if not id or #id < 16 then
    error(("%s: no request id in the answer to %s:\n%s"):format(server.name, case.name, text), 0)
  end
  if id == GIVEN_ID then
    return text
  end
  return (text:gsub(id:gsub("%p", "%%%0"), "(generated)"))
end

local function compare(ours, theirs)
  for _, case in ipairs(CASES) do
    local mine, peer = visible(ours, case), visible(theirs, case)
    if mine ~= peer then
      error(("the answers to %s differ.\n%s:\n%s\n%s:\n%s"):format(case.name, ours.name, mine,
        theirs.name, peer), 0)
    end
  end
end

function scenario.run(bench)
  local origin = bench:origin()
  local nginx = bench:start("nginx", "nginx_plugins3.conf", { origin = origin, name = "nginx_lua" })
  local tidegate = bench:start("tidegate", "tidegate_plugins3.lua", { origin = origin })
  local in_lua = bench:start("tidegate", "tidegate_lua3.lua", { origin = origin, name = "lua3" })
  if tidegate then
    compare(tidegate, nginx)
    compare(in_lua, nginx)
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
