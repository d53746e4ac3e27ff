-- cors: preflights, other requests, and which origins are let in.

local client = require("support.client")
local gateway = require("support.gateway")

local APP = "https://app.example.test"

describe("cors", function()
  local function start(conf, scope)
    local use = 'tg.use "cors" ' .. conf
    local g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.global { ]] .. (scope == "global" and use or "") .. [[ }
        tg.route "all" { paths = { "/*" }, methods = { "GET"]] .. (scope and "" or ', "OPTIONS"') .. [[ },
          service = "echo", plugins = { ]] .. (scope and "" or use) .. [[ } }
      ]],
    })
    finally(function() g:stop() end)
    return g.port
  end

  local function preflight(port, origin, more)
    local headers = { Origin = origin, ["Access-Control-Request-Method"] = "PUT" }
    for name, value in pairs(more or {}) do headers[name] = value end
    return client.request(port, { method = "OPTIONS", target = "/", headers = headers })
  end

  local function allowed(port, origin)
    local response = client.get(port, "/", { Origin = origin })
    assert.status(200, response)
    assert.contains("Origin", response.headers.vary)
    return response.headers["access-control-allow-origin"]
  end

  it("lets listed origins in and names them", function()
    local port = start('{ origins = { "https://app.example.test", "https://*.wild.test", "null" } }')
    assert.equal(APP, allowed(port, APP))
    assert.equal("null", allowed(port, "null"))
    assert.equal("https://a.b.wild.test", allowed(port, "https://a.b.wild.test"))
    for _, foreign in ipairs({ "https://app.example.test.evil", "http://app.example.test",
      "https://wild.test", "https://evil-wild.test", "https://evil.test/.wild.test",
      "https://.wild.test:1" }) do
      assert.is_nil(allowed(port, foreign))
    end
    assert.equal("Origin", client.get(port, "/").headers.vary)
  end)

  it("answers preflights of listed origins", function()
    local port = start([[{ origins = { "https://app.example.test" }, max_age = "10m",
      private_network = true }]])
    local response = preflight(port, APP, { ["Access-Control-Request-Headers"] = "x-a, x-b",
      ["Access-Control-Request-Private-Network"] = "true" })
    assert.status(204, response)
    assert.equal(APP, response.headers["access-control-allow-origin"])
    assert.equal("GET, HEAD, PUT, PATCH, POST, DELETE", response.headers["access-control-allow-methods"])
    assert.equal("x-a, x-b", response.headers["access-control-allow-headers"])
    assert.equal("600", response.headers["access-control-max-age"])
    assert.equal("true", response.headers["access-control-allow-private-network"])
    assert.contains("Origin", response.headers.vary)
  end)

  it("refuses preflights of others", function()
    local response = preflight(start('{ origins = { "https://app.example.test" } }'), "https://evil.test")
    assert.status(403, response)
    assert.is_nil(response.headers["access-control-allow-origin"])
  end)

  it("answers preflights before routing when it is global, and marks answers of the gateway", function()
    local port = start('{ origins = { "*" }, headers = { "x-a" }, methods = { "GET" } }', "global")
    local response = preflight(port, "https://any.test", { ["Access-Control-Request-Headers"] = "x-z" })
    assert.status(204, response)
    assert.equal("*", response.headers["access-control-allow-origin"])
    assert.equal("x-a", response.headers["access-control-allow-headers"])
    assert.equal("GET", response.headers["access-control-allow-methods"])
    response = client.request(port,
      { method = "POST", target = "/", headers = { Origin = "https://any.test" } })
    assert.status(405, response)
    assert.equal("*", response.headers["access-control-allow-origin"])
  end)

  it("hands an OPTIONS that is no preflight on", function()
    local response = client.request(start('{ origins = { "*" } }'),
      { method = "OPTIONS", target = "/", headers = { Origin = APP } })
    assert.status(200, response)
    assert.contains('"method":"OPTIONS"', response.body)
  end)

  it("allows credentials and shows headers where it is told", function()
    local port = start([[{ origins = { "https://app.example.test" }, credentials = true,
      exposed = { "x-total", "x-page" } }]])
    local response = client.get(port, "/", { Origin = APP })
    assert.equal("true", response.headers["access-control-allow-credentials"])
    assert.equal("x-total, x-page", response.headers["access-control-expose-headers"])
    assert.equal("true", preflight(port, APP).headers["access-control-allow-credentials"])
  end)

  it("refuses configurations that let everybody act as the user", function()
    local function refused(conf, why)
      assert.error_matches(function() start(conf) end, why)
    end
    refused('{ origins = { "*" }, credentials = true }', "list the origins")
    refused('{ origins = { "app.example.test" } }', "scheme://host")
    refused('{ origins = { "https://a*.test" } }', "https://%*%.example%.com")
  end)
end)
