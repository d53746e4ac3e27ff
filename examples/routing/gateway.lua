-- Which route takes a request: each answers with its name. `build/tidegate run examples/routing/gateway.lua`
-- serves it on 127.0.0.1:8080. The word behind each line is the route that answers:
--
-- curl http://127.0.0.1:8080/users/7                                             user-number
-- curl http://127.0.0.1:8080/users/ann                                           user
-- curl http://127.0.0.1:8080/users/ann/orders                                    users
-- curl http://127.0.0.1:8080/users/%61nn                                         user
-- curl http://127.0.0.1:8080/orders                                              orders
-- curl http://127.0.0.1:8080/orders -H "x-version: 2"                            orders-2
-- curl http://127.0.0.1:8080/orders -H "x-version: 7"                            orders-new
-- curl http://127.0.0.1:8080/orders?debug -H "x-version: 2" -b "tester=yes"      orders-test
-- curl http://127.0.0.1:8080/reports/2026-11/sales                               reports 2026 11
-- curl http://127.0.0.1:8080/users/7 -H "host: eu.example.test"                  regions
-- curl http://127.0.0.1:8080/users/7 -H "host: eu.example.test" -H "x-down: 1"   maintenance

local tg = require "tidegate"

tg.listener "http" { address = "127.0.0.1:8080", answer_options = true }

-- A list of plugins that answers with a text; a real route would have a service.
local function say(text) return { tg.use "respond" { body = text .. "\n" } } end

-- Paths: the pattern that says more about the first place of difference wins.
tg.route "user-number" { paths = { "/users/{id:int}" }, plugins = say "${route.name}" }
tg.route "user" { paths = { "/users/{name}" }, plugins = say "${route.name}" }
tg.route "users" { paths = { "/users/*" }, plugins = say "${route.name}" }

-- An expression, for what parameters cannot say; its groups are captures.
tg.route "reports" {
  paths = { "~^/reports/(?<year>\\d{4})-(\\d\\d)/[a-z]+$" },
  plugins = say "${route.name} ${capture.year} ${capture.2}",
}

-- Conditions: the route that asks for more wins, and an exact value before a list before presence.
tg.route "orders" { paths = { "/orders/*" }, methods = { "GET" }, plugins = say "${route.name}" }
tg.route "orders-2" {
  paths = { "/orders/*" }, methods = { "GET" }, headers = { ["x-version"] = "2" },
  plugins = say "${route.name}",
}
tg.route "orders-new" {
  paths = { "/orders/*" }, methods = { "GET" }, headers = { ["x-version"] = true },
  plugins = say "${route.name}",
}
tg.route "orders-test" {
  paths = { "/orders/*" }, methods = { "GET" }, headers = { ["x-version"] = { "2", "3" } },
  query = { debug = true }, cookies = { tester = "~^(yes|1)$" },
  plugins = say "${route.name}",
}

-- Hosts come before paths, and a priority before everything.
tg.route "regions" { hosts = { "*.example.test" }, plugins = say "${route.name}" }
tg.route "maintenance" { headers = { ["x-down"] = "1" }, priority = 10, plugins = say "${route.name}" }
