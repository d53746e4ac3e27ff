-- Tidegate with all of peers/plugins3_ngx.lua in one plugin, in Lua for every request.
local tg = require "tidegate"

tg.settings { workers = 1 }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
tg.service "origin" { targets = { { "127.0.0.1:@ORIGIN@" } } }
tg.route "all" { paths = { "/*" }, service = "origin", plugins = { tg.use "@PEERS@/lua3.lua" {} } }
