-- What a route does with WebSockets besides carrying their bytes: the field `websocket`.
--
-- Purpose    Bounds on messages, pings, idle time and reconnection. A route that has the field, or a plugin
--            with a message phase, has its WebSockets inspected (core/gateway/ws.h); on others they are
--            tunnels of bytes.
-- Ownership  Types are constant; the checked table is the tree's as it is (config.lua).
-- Cost       A look-up for a route that has none of it.

local S = require "tidegate.schema"

local websocket = {}

local function side_type(who)
  return S.record {
    max_message = S.bytes { min = "1B", max = "64MiB" }:default "1MiB"
      :doc("size of a message from the " .. who .. "; larger: closed with 1009"),
    rate = S.int { min = 1, max = 1000000 }:optional()
      :doc("messages and control frames a second from the " .. who .. "; more: closed with 1008"),
    burst = S.int { min = 1, max = 1000000 }:optional()
      :doc "how many may come at once; as many as in a second unless said",
  }:rules { S.requires("burst", "rate") }:default {}
end

local reconnect_type = S.record {
  buffer = S.bytes { max = "16MiB" }:default "64KiB"
    :doc "messages of the client that wait for the origin; more: closed with 1013",
  deadline = S.duration { min = "10ms", max = "1h" }:default "10s"
    :doc "time for a new connection; longer: closed with 1011",
  backoff = S.duration { min = "1ms", max = "1m" }:default "100ms"
    :doc "pause after an attempt that failed, half of it by chance; doubles up to max_backoff",
  max_backoff = S.duration { min = "1ms", max = "10m" }:default "2s":doc "longest pause between two attempts",
}:check(function(value)
  if value.max_backoff < value.backoff then return nil, "max_backoff is shorter than backoff" end
  return true
end)

--- The field of a route.
websocket.route_field = S.record {
  from_client = side_type "client":doc "bounds on what the client sends",
  from_origin = side_type "origin":doc "bounds on what the origin sends",
  ping = S.duration { min = "10ms", max = "1d" }:optional()
    :doc "a client that has sent nothing for so long is pinged",
  pong_timeout = S.duration { min = "10ms", max = "1h" }:default "10s"
    :doc "time for a client to answer a ping; longer: closed with 1011",
  idle_timeout = S.duration { min = "10ms", max = "1d" }:optional()
    :doc "time without a message; longer: closed with 1001. connection.tunnel_idle_timeout unless said",
  reconnect = reconnect_type:optional():doc "another connection when the origin's breaks",
}:optional():doc "WebSockets are inspected: bounds on messages, pings, reconnection"

--- What contradicts itself on a route.
-- @tparam table route the checked table
-- @tparam function report (path of the field, code, message, hint)
function websocket.check(route, report)
  if not route.websocket then return end
  if route.redirect then
    report("websocket", "conflict", "only one of redirect and websocket may be set")
  end
  local get = not route.methods
  for _, method in ipairs(route.methods or {}) do get = get or method == "GET" end
  if not get then
    report("websocket", "rule", "no WebSocket can begin: the route does not take GET", 'add "GET" to methods')
  end
end

return websocket
