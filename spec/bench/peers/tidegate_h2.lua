-- Tidegate as a proxy that clients speak HTTP/2 with, in clear (nothing else changes the cost of HTTP/2) and
-- over TLS: one worker, no plugins.
local tg = require "tidegate"

tg.settings { workers = 1, limits = { request = { deadline = "5m" } } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.listener "h2" { address = "127.0.0.1:@TLS@", http2 = true }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } }, pool = { max_idle = 1024 } }
tg.route "all" { paths = { "/*" }, service = "origin" }
