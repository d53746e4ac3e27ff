-- Tidegate with three plugins; peers/plugins3_ngx.lua does the same in ngx_lua.
local tg = require "tidegate"

tg.settings { workers = 1 }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "all" {
  paths = { "/*" },
  service = "origin",
  plugins = {
    tg.use "request-id" {},
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
    tg.use "cors" { origins = { "https://app.example.test" } },
  },
}
