-- Tidegate as a proxy that compresses: one worker, gzip at level 5.
local tg = require "tidegate"

tg.settings { workers = 1 }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "all" {
  paths = { "/*" }, service = "origin", plugins = { tg.use "compress" { levels = { gzip = 5 } } },
}
