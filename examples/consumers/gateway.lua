-- Three consumers, recognised by their keys: who may do what, and what differs for whom.
--
-- The keys are in keys.env beside this file, NAME=KEY a line. These are for trying out: real ones are made
-- with `openssl rand -hex 16` and stay out of the repository.
--
-- curl -i http://127.0.0.1:8080/orders/7
-- curl -i -H 'x-api-key: f3c1a5d0e7b24869a1c0d9e8f7b6a594' http://127.0.0.1:8080/orders/7
-- curl -i 'http://127.0.0.1:8080/orders/7?api_key=0b7e5c9a4d3f42e18a6c5b4d3e2f1a09&page=2'
-- curl -i -H 'x-api-key: f3c1a5d0e7b24869a1c0d9e8f7b6a594' http://127.0.0.1:8080/reports/2026
-- curl -i -H 'x-api-key: 0b7e5c9a4d3f42e18a6c5b4d3e2f1a09' http://127.0.0.1:8080/reports/2026
-- curl -i http://127.0.0.1:8080/catalog
local tg = require "tidegate"

local function key(name) return tg.secret("file:keys.env", name) end

-- What all gold customers have: written once, shared by who has it.
local gold = { tg.use "headers" { response = { set = { ["x-tier"] = "gold" } } } }

-- Two keys: the new one is used from now on, the old one until nobody sends it any more.
tg.consumer "acme" {
  custom_id = "4711",
  groups = { "gold", "reports" },
  credentials = { key = { key "ACME_NEW", key "ACME_OLD" } },
  plugins = gold,
}

tg.consumer "corner-shop" {
  groups = { "free" },
  credentials = { key = key "CORNER_SHOP" },
  -- Smaller bodies than others may send, on this route only.
  routes = { orders = { tg.use "request-size-limit" { body = "4KiB" } } },
}

-- Whoever comes without a key, where that is allowed.
tg.consumer "guest" {}

tg.listener "public" { address = "127.0.0.1:8080" }
tg.service "shop" { builtin = "echo" }

tg.global {
  tg.use "request-id" {},
  tg.use "access-log" { fields = { "time", "method", "path", "status", "route", "consumer", "credential" } },
}

tg.route "orders" {
  paths = { "/orders/*" },
  service = "shop",
  plugins = {
    tg.use "key-auth" { header = "x-api-key", query = "api_key" },
    tg.use "request-size-limit" { body = "1MiB" },
  },
}

tg.route "reports" {
  paths = { "/reports/*" },
  service = "shop",
  plugins = { tg.use "key-auth" {}, tg.use "acl" { allow = { "reports" } } },
}

tg.route "catalog" {
  paths = { "/catalog" },
  service = "shop",
  plugins = { tg.use "key-auth" { anonymous = "guest" } },
}
