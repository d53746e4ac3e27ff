-- A chat whose messages the gateway looks at. `build/tidegate run examples/websocket/gateway.lua` serves it on
-- 127.0.0.1:8080, in front of a WebSocket server on port 9000. With node's `ws` package (Debian: node-ws):
--
--   node spec/peers/ws_origin.js 9000 &
--   node spec/peers/ws_client.js ws://127.0.0.1:8080/chat hello "you fool"
--
-- The answers are "hello" and "you ****". A third of those words, and the client is closed with 4003. Kill the server
-- in the middle of a conversation and start it again: the client notices nothing.

local tg = require "tidegate"

tg.listener "http" { address = "127.0.0.1:8080" }

tg.service "chat" { targets = { { "127.0.0.1:9000" } }, timeout = { connect = "1s" } }

tg.route "chat" {
  paths = { "/chat" },
  service = "chat",
  websocket = {
    -- Who sends more than that is closed with 1009 or 1008; the origin may send as much as the defaults say.
    from_client = { max_message = "16KiB", rate = 20, burst = 40 },
    ping = "30s",
    idle_timeout = "10m",
    reconnect = { buffer = "64KiB", deadline = "15s" },
  },
  plugins = { tg.use "./plugins/manners.lua" { words = { "fool", "knave" }, patience = 3 } },
}
