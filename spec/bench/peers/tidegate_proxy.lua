-- Tidegate as a plain proxy: one worker, no plugins.
local tg = require "tidegate"

tg.settings { workers = 1, admin = { listen = "unix:@DIR@/proxy-admin.sock" } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "all" { paths = { "/*" }, service = "origin" }
