-- Memory of a request that waits for its origin: 2,000 connections that each sent one, to an origin that
-- never answers.

local client = require "lib.client"
local connection_memory = require "lib.connection_memory"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

local COUNT = 2000

local scenario = {
  figures = { "waiting_request.bytes", "waiting_request.nginx_bytes" },
}

-- A port whose kernel takes connections and what they send, which nobody reads, and its descriptor.
local function silent_port()
  local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
  assert(socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = 0 }))
  assert(socket.listen(fd, 2 * COUNT))
  return socket.getsockname(fd).port, fd
end

function scenario.run(bench)
  local port, fd = silent_port()
  local origin = bench:start("nginx", "silent_origin.conf",
    { name = "origin", core = bench.load_core, marks = { SILENT = tostring(port) } })
  connection_memory.compare(bench, "waiting_request", origin, client.open_waiting, COUNT)
  unistd.close(fd)
end

return scenario
