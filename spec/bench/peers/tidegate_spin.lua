-- Tidegate with one worker, a route to the origin, and a route whose plugin spins. Kills bring no quarantine
-- here, so that it goes on spinning.
local tg = require "tidegate"

tg.settings { workers = 1, log = { level = "error" }, limits = { plugin_vm = { kills = 1000000 } } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "others" { paths = { "/" }, service = "origin" }
tg.route "spinning" { paths = { "/spin" }, service = "origin", plugins = { tg.use "@PEERS@/spin.lua" {} } }
