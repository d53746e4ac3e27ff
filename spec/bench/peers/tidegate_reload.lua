-- Tidegate with two workers whose chain of plugins changes from reload to reload: @DIR@/reload-step holds the
-- reload's number.
local tg = require "tidegate"
local step = tonumber(tg.file "@DIR@/reload-step")

tg.settings { workers = 2, log = { level = "error" }, admin = { listen = "unix:@DIR@/reload-admin.sock" } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.service "tunnels" { targets = { { "127.0.0.1:@TUNNELS@" } } }
local plugins = { tg.use "request-id" {} }
if step % 4 >= 2 then plugins[2] = tg.use "@PEERS@/well.lua" {} end
tg.route "all" { paths = { "/" }, service = "origin", plugins = plugins, tags = { "step-" .. step } }
tg.route "tunnel" { paths = { "/tunnel" }, service = "tunnels" }
