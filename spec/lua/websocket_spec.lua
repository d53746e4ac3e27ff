-- The field `websocket` of routes (lua/tidegate/websocket.lua): what it comes to, a case for each mistake.

local host = require "support.config_host"

local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n' ..
             'tg.service "a" { targets = { { "127.0.0.1:1" } } }\n'

local function field(text)
  local tree, reports = host.load(HEAD .. ('tg.route "x" { service = "a", %s }'):format(text))
  assert(tree, reports:render())
  return tree.routes[1].websocket
end

describe("websocket", function()
  it("is not there for routes without", function()
    assert.is_nil(field "")
  end)

  it("has defaults for both sides", function()
    assert.same({ from_client = { max_message = 1048576 }, from_origin = { max_message = 1048576 },
                  pong_timeout = 10 }, field "websocket = {}")
  end)

  it("has what is said", function()
    assert.same({
      from_client = { max_message = 1024, rate = 5, burst = 10 }, from_origin = { max_message = 1048576 },
      ping = 30, pong_timeout = 2, idle_timeout = 600,
      reconnect = { buffer = 65536, deadline = 10, backoff = 0.1, max_backoff = 2 },
    }, field [[websocket = { from_client = { max_message = "1KiB", rate = 5, burst = 10 }, ping = "30s",
                             pong_timeout = "2s", idle_timeout = "10m", reconnect = {} }]])
  end)
end)

local CASES = {
  { 'service = "a", websocket = { from_client = { burst = 5 } }',
    "routes.x.websocket.from_client.burst: needs the field \"rate\" too" },
  { 'service = "a", websocket = { from_origin = { max_message = "65MiB" } }',
    "routes.x.websocket.from_origin.max_message: 65MiB is above the maximum 64MiB" },
  { 'service = "a", websocket = { from_client = { max_message = 100 } }',
    "routes.x.websocket.from_client.max_message: expected a size, got number 100" },
  { 'service = "a", websocket = { reconnect = { backoff = "5s" } }',
    "routes.x.websocket.reconnect: max_backoff is shorter than backoff" },
  { 'service = "a", websocket = { pings = "1s" }', 'did you mean "ping"?' },
  { 'service = "a", methods = { "POST" }, websocket = {}',
    "routes.x.websocket: no WebSocket can begin: the route does not take GET" },
  { 'redirect = { host = "b.test" }, websocket = {}',
    "routes.x.websocket: only one of redirect and websocket may be set" },
}

describe("a mistake in websocket:", function()
  for _, case in ipairs(CASES) do
    it(case[1], function()
      local tree, reports = host.load(HEAD .. ('tg.route "x" { %s }'):format(case[1]))
      assert.is_nil(tree)
      assert.is_truthy(reports:render():find(case[2], 1, true), reports:render())
    end)
  end
end)
