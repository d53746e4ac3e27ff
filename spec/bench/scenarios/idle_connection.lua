-- Memory of an idle keep-alive connection: 5,000 that each did one request.

local client = require "lib.client"
local connection_memory = require "lib.connection_memory"

local COUNT = 5000

local scenario = {
  figures = { "idle_connection.bytes", "idle_connection.nginx_bytes" },
}

function scenario.run(bench)
  connection_memory.compare(bench, "idle_connection", bench:origin(), client.open_idle, COUNT)
end

return scenario
