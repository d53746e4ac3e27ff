-- /etc/tidegate/gateway.lua: a configuration in several files, with settings and secrets from outside.
local tg = require "tidegate"

tg.settings {
  workers = "auto",
  memory = tg.env("TIDEGATE_MEMORY", "512MiB"),
  log = { level = "info" },
  admin = { listen = "unix:" .. tg.env("RUNTIME_DIRECTORY", "/run/tidegate") .. "/admin.sock" },
  limits = { connection = { drain_timeout = "30s" } },
}

tg.listener "http" { address = tg.env("TIDEGATE_LISTEN", "0.0.0.0:80") }

tg.global {
  tg.use "request-id" {},
  tg.use "access-log" { path = tg.env("LOGS_DIRECTORY", "/var/log/tidegate") .. "/access.log" },
}

-- In alphabetical order; what one file declares, others may name.
tg.include "conf.d/*.lua"
