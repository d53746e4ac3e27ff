-- What a route does with a request besides handing it on. `build/tidegate run examples/traffic/gateway.lua`
-- serves it on 127.0.0.1:8080. Behind each line stands a piece of what comes back: the target that the built-in
-- origin was asked for, a header, or a text.
--
-- curl http://127.0.0.1:8080/shop/list?page=2                    "target":"/v2/list?page=2"
-- curl http://127.0.0.1:8080/users/7/orders/9                    "target":"/v2/orders/of/7?order=9"
-- curl http://127.0.0.1:8080/users/7/orders/a%2Fb                "target":"/v2/orders/of/7?order=a%2Fb"
-- curl http://127.0.0.1:8080/docs/en/start                       location: https://docs.example.test/en/start
-- curl http://127.0.0.1:8080/cart -b "sid=alice"                 "target":"/v3/cart"
-- curl http://127.0.0.1:8080/cart -b "sid=bob"                   "target":"/v2/cart"
-- curl http://127.0.0.1:8080/cart -H "x-canary: yes"             "target":"/v3/cart"
-- curl "http://127.0.0.1:8080/nowhere/<b>"                        no page /nowhere/&#60;b&#62;

local tg = require "tidegate"

tg.settings {
  responses = {
    [404] = { body = "<h1>no page {path}</h1>\n<p>{request_id}</p>\n", type = "text/html; charset=utf-8" },
  },
}

tg.listener "http" { address = "127.0.0.1:8080" }

-- A service's path stands in front of every path that goes there.
tg.service "v2" { builtin = "echo", path = "/v2" }
tg.service "v3" { builtin = "echo", path = "/v3" }
tg.service "shadow" { builtin = "echo" }

-- /shop/list?page=2 is /list?page=2 for the service, whose path comes in front.
tg.route "shop" { paths = { "/shop/*" }, strip_prefix = true, service = "v2" }

-- What the path captures goes into another path and another query.
tg.route "orders" {
  paths = { "/users/{id}/orders/{order}" }, service = "v2",
  rewrite = { path = "/orders/of/{id}", query = "order={order}" },
}

-- Elsewhere, with the same path but for its prefix.
tg.route "docs" {
  paths = { "/docs/*" },
  redirect = { scheme = "https", host = "docs.example.test", prefix = "/", status = 301 },
}

-- Nine of ten clients stay on v2, who asks for it goes to v3, and the shadow gets a copy of everything.
tg.route "cart" {
  paths = { "/cart/*" },
  split = { { "v2", weight = 90 }, { "v3", weight = 10 }, key = "cookie:sid" },
  canary = { service = "v3", header = "x-canary" },
  mirror = { service = "shadow", max_body = "64KiB" },
}
