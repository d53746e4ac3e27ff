-- What a gateway is mostly asked for, a route each. `build/tidegate run examples/recipes/gateway.lua` serves
-- it on 127.0.0.1:8080. Behind each line stands a piece of what comes back. X-Forwarded-For plays the load
-- balancer.
--
-- curl http://127.0.0.1:8080/search -H "X-Forwarded-For: 203.0.113.9"         "target":"/search"
-- curl http://127.0.0.1:8080/search -H "X-Forwarded-For: 203.0.113.9"         "error":"too many requests"
-- curl http://127.0.0.1:8080/search -H "X-Forwarded-For: 203.0.113.10"        "target":"/search"
-- curl http://127.0.0.1:8080/internal                                         "code":"address_not_allowed"
-- curl http://127.0.0.1:8080/internal -H "X-Forwarded-For: 10.1.2.3"          "target":"/internal"
-- curl http://127.0.0.1:8080/old/a                                            <h1>Back soon</h1>
-- curl http://127.0.0.1:8080/ -H "Origin: https://app.example.test"           access-control-allow-origin
-- curl http://127.0.0.1:8080/ -H "Accept-Encoding: gzip"                      content-encoding: gzip
-- curl http://127.0.0.1:8080/ -d "" -H "Content-Length: 20000000"             "code":"request_too_large"
-- curl http://127.0.0.1:8080/upload/a -T examples/recipes/gateway.lua         "target":"/upload/a"

local tg = require "tidegate"

tg.settings {
  -- The largest body of any route; plugins below lower it for the others.
  limits = { request = { body = "2GiB" } },
}

-- Behind a load balancer at these addresses: whom it names as the client is believed. One that speaks the
-- PROXY protocol instead: proxy_protocol = true beside it.
tg.listener "http" { address = "127.0.0.1:8080", trusted = { "127.0.0.1/32" } }

tg.service "app" { builtin = "echo" }

tg.global {
  tg.use "request-size-limit" { body = "10MiB" },
  tg.use "cors" { origins = { "https://app.example.test" } },
  tg.use "compress" { min_size = "16B" },
}

tg.route "app" { service = "app" }

-- Once an hour for each address, to see it at work.
tg.route "search" {
  paths = { "/search" }, service = "app",
  plugins = { tg.use "rate-limit" { limit = 1, per = "1h", key = "ip" } },
}

tg.route "internal" {
  paths = { "/internal/*" }, service = "app",
  plugins = { tg.use "ip-restriction" { allow = { "10.0.0.0/8" } } },
}

-- A page in place of what is being mended; for all routes: paths = { "/*" } and priority = 1000.
tg.route "maintenance" {
  paths = { "/old/*" },
  plugins = {
    tg.use "respond" {
      status = 503, body = tg.file "maintenance.html", content_type = "text/html; charset=utf-8",
      headers = { ["Retry-After"] = "600" },
    },
  },
}

-- Large uploads, which may take their time. Nothing is kept of them: they stream.
tg.route "upload" {
  paths = { "/upload/*" }, service = "app", methods = { "PUT", "POST" },
  timeout = { deadline = "2h", response = "5m" },
  plugins = { tg.use "request-size-limit" { body = "2GiB" } },
}

-- Server-sent events and long polling: quiet for up to ten minutes, each event passed on as it comes.
tg.route "events" {
  paths = { "/events/*" }, service = "app",
  timeout = { deadline = "10m", response = "10m", idle = "10m" },
}
