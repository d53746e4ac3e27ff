-- The first gateway: one route that a plugin answers, one that is proxied.
-- `make run` serves it on 127.0.0.1:8080. Try:
--
-- curl -i http://127.0.0.1:8080/
-- curl -i http://127.0.0.1:8080/hello/tide
-- curl -i "http://127.0.0.1:8080/echo/some/path?x=1" -d "a body"

local tg = require "tidegate"

tg.settings { workers = 2 }

tg.listener "http" { address = "127.0.0.1:8080" }

-- An origin inside the gateway: it answers JSON that tells what reached it, so nobody needs a
-- second server to see what a plugin or a setting does to a request. A real one would say
-- targets = { { "10.0.0.11:9000" } }.
tg.service "echo" { builtin = "echo" }

-- Every request gets an id, which the origin and the client see as x-request-id.
tg.global { tg.use "request-id" {} }

-- Answered by a bundled plugin alone.
tg.route "front" {
  paths = { "/" },
  plugins = {
    tg.use "respond" {
      json = { message = "Tidegate is running", try = { "/hello/you", "/echo/anything" } },
    },
  },
}

-- Answered by the plugin beside this file.
tg.route "hello" {
  paths = { "/hello/*" },
  methods = { "GET" },
  plugins = { tg.use "./plugins/hello.lua" { greeting = "Hello" } },
}

-- Proxied: the prefix goes, a header comes, and the answer shows both.
tg.route "echo" {
  paths = { "/echo/*" },
  service = "echo",
  strip_prefix = "/echo",
  plugins = {
    tg.use "headers" {
      request = { set = { ["x-greeting"] = "hello" } },
      response = { set = { ["x-served-by"] = "tidegate" } },
    },
  },
}
