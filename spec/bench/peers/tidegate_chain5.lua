-- Tidegate with five plugins and a counter over 10,000 consumers; peers/chain5_ngx.lua does the same in
-- ngx_lua.
local tg = require "tidegate"

tg.settings { workers = 1 }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
for number = 1, 10000 do
  local name = ("customer-%05d"):format(number)
  tg.consumer(name) { credentials = { key = tg.secret("file:chain5.keys", name) } }
end
tg.route "all" {
  paths = { "/*" },
  service = "origin",
  plugins = {
    tg.use "request-id" {},
    tg.use "key-auth" { header = "x-api-key", identity = { "name" } },
    tg.use "rate-limit" { limit = 1000000000, per = "1h", key = "consumer" },
    tg.use "cors" { origins = { "https://app.example.test" } },
    tg.use "headers" {
      request = {
        set = { ["x-gateway"] = "edge" },
        add = { ["x-hop"] = "edge" },
        remove = { "x-debug" },
      },
      response = {
        set = { ["x-frame-options"] = "DENY" },
        add = { ["x-served-by"] = "edge" },
        remove = { "x-powered-by" },
      },
    },
    tg.use "@PEERS@/count.lua" {},
  },
}
