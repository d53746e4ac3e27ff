-- What check warns of that routes ask of connections, over listeners that need no certificates here.

local config = require "tidegate.config"
local host = require "support.config_host"

local HEAD = 'local tg = require "tidegate"\ntg.service "e" { builtin = "echo" }\n'
local PEM = "-----BEGIN STAND-IN-----"
local TLS = 'tls = { certificates = { { cert = tg.file "pem", key = tg.file "pem" } }%s }'

local function tls(more) return TLS:format(more or "") end

-- The warnings of a configuration, without its lines.
local function warnings(text)
  local world = host.new { files = { ["gateway.lua"] = HEAD .. text, pem = PEM, ["early.lua"] =
    host.plugin("early", "edge", { "certificate" }) } }
  world.check_tls = function() end
  world.certificate_end = function() end
  local tree, reports = config.load { path = "gateway.lua", host = world, inspect = true }
  assert(tree, reports:render())
  local found = {}
  for i, report in ipairs(reports:sorted()) do found[i] = report.path .. ": " .. report.message end
  return found
end

local function gateway(listener, route)
  return ('tg.listener "l" { %s }\ntg.route "r" { %s }'):format(listener, route)
end

local ECHO = ', service = "e"'
local HTTP, HTTPS = 'address = "127.0.0.1:80"', 'address = "127.0.0.1:443", ' .. tls()

describe("a route", function()
  for _, case in ipairs {
    { "sni without TLS", HTTP, 'sni = { "a.test" }' .. ECHO,
      "routes.r.sni: no request reaches it: no listener speaks TLS" },
    { "https without TLS", HTTP, 'scheme = "https"' .. ECHO,
      "routes.r.scheme: no request reaches it: none comes by this scheme" },
    { "http where all is TLS", HTTPS, 'scheme = "http"' .. ECHO,
      "routes.r.scheme: no request reaches it: none comes by this scheme" },
    { "certificates that nobody is asked for", HTTPS, 'client_cert = "required"' .. ECHO,
      "routes.r.client_cert: every request gets a 403: no listener asks clients for certificates" },
    { "certificates where the mode is none",
      'address = "127.0.0.1:443", ' .. tls ', client_auth = { mode = "none" }',
      'client_cert = "required"' .. ECHO,
      "routes.r.client_cert: every request gets a 403: no listener asks clients for certificates" },
    { "a way back to itself", HTTPS, 'redirect = { scheme = "https" }',
      "routes.r.redirect: requests that come by https are sent to where they came from" },
  } do
    it("is warned of: " .. case[1], function()
      local found = warnings(gateway(case[2], case[3]))
      assert.contains(case[4] .. "\n", table.concat(found, "\n") .. "\n")
    end)
  end

  for _, case in ipairs {
    { "the scheme that a proxy tells", HTTP .. ', trusted = { "10.0.0.0/8" }', 'scheme = "https"' .. ECHO },
    { "what TLS has", HTTPS, 'sni = { "a.test" }, scheme = "https"' .. ECHO },
    { "certificates that are asked for",
      'address = "127.0.0.1:443", ' .. tls ', client_auth = { mode = "optional", ca = tg.file "pem" }',
      'client_cert = "required"' .. ECHO },
    { "certificates that a plugin may ask for", HTTPS .. ', plugins = { tg.use "./early.lua" {} }',
      'client_cert = "required"' .. ECHO },
    { "a way to https of what comes by http", HTTPS .. ', trusted = { "10.0.0.0/8" }',
      'scheme = "http", redirect = { scheme = "https" }' },
    { "a way to https from another port", HTTP, 'redirect = { scheme = "https" }' },
    { "a way to another host", HTTPS, 'redirect = { scheme = "https", host = "b.test" }' },
  } do
    it("is not warned of: " .. case[1], function()
      for _, text in ipairs(warnings(gateway(case[2], case[3]))) do assert.not_matches("^routes", text) end
    end)
  end
end)
