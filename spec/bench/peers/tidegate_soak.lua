-- Tidegate with one worker, a well-behaved route beside three whose plugins leak, spin and allocate. Kills
-- bring no quarantine here: the plugins go on as long as the soak does.
local tg = require "tidegate"

tg.settings {
  workers = 1,
  log = { level = "error" },
  limits = { plugin_vm = { heap = "8MiB", kills = 1000000 } },
}
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "well" { paths = { "/" }, service = "origin", plugins = { tg.use "@PEERS@/well.lua" {} } }
tg.route "leaking" { paths = { "/leak" }, service = "origin", plugins = { tg.use "@PEERS@/leak.lua" {} } }
tg.route "spinning" { paths = { "/spin" }, service = "origin", plugins = { tg.use "@PEERS@/spin.lua" {} } }
tg.route "allocating" {
  paths = { "/alloc" }, service = "origin",
  plugins = { tg.use "@PEERS@/alloc.lua" {} },
}
