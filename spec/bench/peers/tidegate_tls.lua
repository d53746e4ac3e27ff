-- Tidegate as a proxy that ends TLS: as many workers as asked for, no plugins.
local tg = require "tidegate"

tg.settings { workers = tonumber "@WORKERS@" }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.listener "https" { address = "127.0.0.1:@TLS@", tls = {
  certificates = { { cert = tg.file "@DIR@/bench.pem", key = tg.file "@DIR@/bench.key" } },
} }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "all" { paths = { "/*" }, service = "origin" }
