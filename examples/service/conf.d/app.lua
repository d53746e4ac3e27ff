-- /etc/tidegate/conf.d/app.lua: one application, with all that belongs to it.
local tg = require "tidegate"

tg.service "app" { builtin = "echo" }

-- The key is in the environment of the service (EnvironmentFile=), not in this file.
tg.consumer "partner" { credentials = { key = tg.secret "env:PARTNER_KEY" } }

tg.route "app" { service = "app" }
tg.route "partners" { paths = { "/partners/*" }, service = "app", plugins = { tg.use "key-auth" {} } }
