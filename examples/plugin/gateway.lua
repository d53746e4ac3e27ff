-- The gateway of the tutorial in README.md: one plugin before an origin that shows what it gets.
-- build/tidegate run examples/plugin/gateway.lua, then:
--
-- curl -i http://127.0.0.1:8080/ -H 'cookie: visitor=4'

local tg = require "tidegate"

tg.listener "http" { address = "127.0.0.1:8080" }

tg.service "echo" { builtin = "echo" }

tg.route "all" {
  service = "echo",
  plugins = { tg.use "./plugins/visitors.lua" { days = 7 } },
}
