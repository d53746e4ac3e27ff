-- Four plugins of the kind that people write first, each with its specs: `build/tidegate test
-- examples/plugins/spec`. `build/tidegate run examples/plugins/gateway.lua` serves them on 127.0.0.1:8080,
-- with this gateway itself as the service that knows the keys. Behind each line stands a piece of what comes
-- back.
--
-- curl http://127.0.0.1:8080/orders                                            "error":"missing key"
-- curl http://127.0.0.1:8080/orders -H "x-api-key: k1"                         "x-caller","bob"
-- curl http://127.0.0.1:8080/orders -H "x-api-key: k2"                         "error":"unknown key"
-- curl http://127.0.0.1:8080/profile                                           "password":"***"
-- curl http://127.0.0.1:8080/hooks -d ping                                     "error":"no signature"
-- curl http://127.0.0.1:8080/hooks -d ping -H "x-hub-signature-256: sha256=00"   "error":"bad signature"

local tg = require "tidegate"

tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "app" { builtin = "echo" }
tg.service "itself" { targets = { { "127.0.0.1:8080" } } }

-- What is asked for keys: one is known by its digest (printf k1 | sha256sum).
tg.route "keys" {
  paths = { "/internal/keys/6ab9f1eb8f7d3388f4f9d586f66e99fd54080df2c446f0e58668b09c08a16dd0" },
  plugins = { tg.use "respond" { json = { name = "bob" } } },
}
tg.route "no-keys" { paths = { "/internal/keys/*" }, plugins = { tg.use "respond" { status = 404 } } }

tg.route "orders" {
  paths = { "/orders" }, service = "app",
  plugins = {
    tg.use "./plugins/key-lookup.lua" { service = "itself", path = "/internal/keys/" },
    -- Not itself: what is posted while a gateway ends would find its door closed.
    tg.use "./plugins/audit.lua" { service = "app", path = "/audit" },
  },
}

tg.route "profile" {
  paths = { "/profile" },
  plugins = {
    tg.use "respond" { json = { name = "bob", password = "secret" } },
    tg.use "./plugins/json-mask.lua" { fields = { "password" } },
  },
}

tg.route "hooks" {
  paths = { "/hooks" }, service = "app",
  plugins = { tg.use "./plugins/webhook.lua" { secret = tg.secret "file:webhook.key" } },
}
