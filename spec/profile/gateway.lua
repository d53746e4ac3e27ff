-- What `run` sends requests through: a bit of everything that a request passes, and nothing that is rare.
-- The gateway is its own origin, as the host `localhost`: clients of a unix socket are addressed so.
local tg = require "tidegate"

tg.settings { workers = 1 }
tg.listener "clear" { address = "unix:clear.sock", http2 = true }
tg.listener "tls" {
  address = "unix:tls.sock",
  tls = { certificates = { { cert = tg.file "tls.pem", key = tg.file "tls.key" } } },
}

tg.service "origin" { targets = { { "unix:clear.sock" } } }
tg.service "origin-h2" { targets = { { "unix:clear.sock" } }, http = "2" }
tg.service "echo" { builtin = "echo" }

tg.consumer "reader" { credentials = { key = tg.secret "env:READER_KEY" } }

tg.route "origin" {
  hosts = { "localhost" },
  plugins = { tg.use "respond" {
    body = ("The quick brown fox jumps over the lazy dog.\n"):rep(20),
    headers = { ["cache-control"] = "no-store", etag = '"33a64df5"', vary = "Accept-Encoding" },
  } },
}

tg.route "plain" { paths = { "/*" }, service = "origin" }
tg.route "h2" { paths = { "/h2/*" }, service = "origin-h2" }
tg.route "echo" { paths = { "/echo/{name}" }, methods = { "POST", "PUT" }, service = "echo" }
tg.route "shaped" {
  paths = { "/shaped/*" },
  service = "origin",
  plugins = {
    tg.use "request-id" {},
    tg.use "key-auth" { header = "x-api-key" },
    tg.use "rate-limit" { limit = 1000000, per = "1h", key = "consumer" },
    tg.use "cors" { origins = { "https://app.test" } },
    tg.use "headers" {
      request = { set = { ["x-gateway"] = "edge" }, remove = { "x-debug" } },
      response = { set = { ["x-frame-options"] = "DENY" }, remove = { "server" } },
    },
  },
}
tg.route "scripted" { paths = { "/scripted/*" }, service = "origin",
                      plugins = { tg.use "./plugins/visitors.lua" {} } }
tg.route "packed" {
  paths = { "/packed/*" },
  service = "origin",
  plugins = { tg.use "compress" {}, tg.use "access-log" { path = "access.log" } },
}
