-- The servers of a run: origin, gateways and peers, each from a template in peers/.
--
-- A template is the server's own configuration with marks: @PORT@ (where it listens), @ORIGIN@ (the
-- origin's port), @DIR@ (the run's temporary directory), @PEERS@ (the templates' directory), @BODY@
-- (the origin's answer, 1 KiB). Gateways run on the gateway core, origins on the load core. A server is
-- { name, port, pid }; main.lua ends those that a scenario started when the scenario is over.

local client = require "lib.client"
local process = require "lib.process"

local START_DEADLINE = 5 -- seconds

-- kind -> its command for a configuration file.
local COMMANDS = {
  nginx = function(bench, path)
    return { "nginx", "-p", bench.dir, "-c", path, "-e", path .. ".error" }
  end,
  haproxy = function(_, path)
    return { "haproxy", "-db", "-q", "-f", path }
  end,
  tidegate = function(bench, path)
    return { bench.tidegate, "run", path }
  end,
}

local servers = {}

local function render(bench, template, marks)
  local text = process.read(bench.here .. "/peers/" .. template)
  if not text then
    error("no template spec/bench/peers/" .. template, 0)
  end
  return (text:gsub("@(%u+)@", function(mark)
    return marks[mark] or error(("peers/%s: unknown mark @%s@"):format(template, mark), 0)
  end))
end

local function logs(path)
  local text = ""
  for _, suffix in ipairs { ".out", ".err", ".error" } do
    text = text .. (process.read(path .. suffix) or "")
  end
  return text
end

local function wait_for(server, path, options)
  local why
  local ready = process.wait_until(options.deadline or START_DEADLINE, function()
    if process.ended(server.pid) then
      return "gone"
    end
    local answer
    answer, why = client.fetch(server.port, "/", options.headers)
    if answer and answer.status ~= 200 then
      answer, why = nil, "status " .. tostring(answer.status)
    end
    return answer
  end)
  if not ready or ready == "gone" then
    process.stop(server.pid)
    error(("%s does not serve %s: %s\n%s"):format(server.name, path:match("[^/]+$"),
      ready == "gone" and "it ended" or why, logs(path)), 0)
  end
end

--- Starts a server and waits until it answers. kind: "nginx", "haproxy" or "tidegate"; template: a file
-- in peers/; options: name (default: kind), origin (a server), core (default: the gateways'; false: any),
-- headers (of the request that it answers when it is ready), deadline (seconds for it to serve), marks (more of
-- them).
-- Returns nil when the kind is tidegate and there is no binary: the scenario then measures the peers.
function servers.start(bench, kind, template, options)
  if kind == "tidegate" and not bench.tidegate then
    return nil
  end
  local port = client.free_port()
  local path = ("%s/%d-%s"):format(bench.dir, port, template)
  local file = assert(io.open(path, "w"))
  local marks = {
    PORT = tostring(port),
    ORIGIN = options.origin and tostring(options.origin.port),
    DIR = bench.dir,
    PEERS = bench.here .. "/peers",
    BODY = ("tidegate "):rep(114):sub(1, 1024),
  }
  for name, value in pairs(options.marks or {}) do marks[name] = value end
  file:write(render(bench, template, marks))
  file:close()
  local server = { name = options.name or kind, port = port }
  server.pid = process.spawn(COMMANDS[kind](bench, path), {
    core = options.core == nil and bench.gateway_core or options.core,
    stdout = path .. ".out",
    stderr = path .. ".err",
  })
  wait_for(server, path, options)
  return server
end

--- The origin: nginx on the load core, answering 1 KiB on "/" and, on "/seen", what it was asked.
function servers.origin(bench)
  return servers.start(bench, "nginx", "origin.conf", { name = "origin", core = bench.load_core })
end

return servers
