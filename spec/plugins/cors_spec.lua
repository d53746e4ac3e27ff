-- cors: preflights, other requests, and which origins are let in (Fetch standard, CORS protocol).

local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")

local APP = "https://app.example.test"
local CORS = {
  "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
  "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
  "access-control-allow-private-network",
}

describe("cors", function()
  local g, o

  local function start(conf, scope)
    local use = 'tg.use "cors" ' .. (conf or ('{ origins = { "%s" } }'):format(APP))
    o = origin.listen()
    g = gateway.start({
      vars = {
        ORIGIN = o.port, GLOBAL = scope == "global" and use or "", ROUTE = scope ~= "global" and use or "",
      },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.global { @GLOBAL@ }
        tg.route "all" { paths = { "/a" }, service = "echo", plugins = { @ROUTE@ } }
        tg.route "get" { paths = { "/get" }, methods = { "GET" }, service = "echo" }
        tg.route "back" { paths = { "/back" }, service = "back", plugins = { @ROUTE@ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  local function get(from, target)
    return client.get(g.port, target or "/a", { Origin = from })
  end

  local function preflight(headers, target)
    headers["Access-Control-Request-Method"] = headers["Access-Control-Request-Method"] or "PUT"
    return client.request(g.port, { method = "OPTIONS", target = target or "/a", headers = headers })
  end

  local function assert_no_cors(response)
    for _, name in ipairs(CORS) do assert.no_header(name, response) end
  end

  it("lets the listed origin read the answer, and says that it depends on it", function()
    start()
    local response = get(APP)
    assert.status(200, response)
    assert.header("access-control-allow-origin", APP, response)
    assert.header("vary", "Origin", response)
    assert.no_header("access-control-allow-credentials", response)
  end)

  it("gives other origins, and requests without one, the answer without leave", function()
    start()
    local others = {
      "https://other.example.test", "http://app.example.test", APP .. ":8443", APP .. ".evil.test",
      APP .. "/", "null", "HTTPS://APP.EXAMPLE.TEST",
    }
    for _, other in ipairs(others) do
      local response = get(other)
      assert.status(200, response)
      assert_no_cors(response)
      assert.header("vary", "Origin", response)
    end
    assert_no_cors(client.get(g.port, "/a"))
    assert.header("vary", "Origin", client.get(g.port, "/a"))
  end)

  it("matches wildcards by whole labels in front", function()
    start('{ origins = { "https://*.Example.test:443", "http://*.dev.test:8080" } }')
    local good_ones = { "https://a.example.test", "https://a.b.example.test", "http://x.dev.test:8080" }
    for _, good in ipairs(good_ones) do
      assert.header("access-control-allow-origin", good, get(good))
    end
    local bad = {
      "https://example.test", "https://.example.test", "https://aexample.test", "http://a.example.test",
      "https://a.example.test:8443", "https://evil.test/.example.test", "https://evil.test:1.example.test",
      "https://evil.test?.example.test", "https://a@b.example.test", "http://x.dev.test",
    }
    for _, other in ipairs(bad) do assert_no_cors(get(other)) end
  end)

  it("answers everybody alike for *", function()
    start('{ origins = { "*" }, exposed = { "X-Total", "x-page" } }')
    for _, response in ipairs({ get(APP), client.get(g.port, "/a") }) do
      assert.header("access-control-allow-origin", "*", response)
      assert.header("access-control-expose-headers", "x-total, x-page", response)
      assert.no_header("vary", response)
    end
  end)

  it("allows credentials where told", function()
    start(('{ origins = { "%s" }, credentials = true }'):format(APP))
    assert.header("access-control-allow-credentials", "true", get(APP))
    assert_no_cors(get("https://other.test"))
  end)

  it("names what is asked for where browsers take * literally", function()
    start(('{ origins = { "%s" }, credentials = true, methods = { "*" }, headers = { "*" } }'):format(APP))
    local response = preflight({ Origin = APP, ["Access-Control-Request-Headers"] = "x-a, x-b",
                                 ["Access-Control-Request-Method"] = "PATCH" }, "/back")
    assert.header("access-control-allow-methods", "PATCH", response)
    assert.header("access-control-allow-headers", "x-a, x-b", response)
    assert.header("access-control-allow-credentials", "true", response)
  end)

  it("lets every origin have credentials where that is said in so many words", function()
    start('{ origins = { "*" }, credentials = true, any_origin_credentials = true }')
    local response = get("https://anybody.test")
    assert.header("access-control-allow-origin", "https://anybody.test", response)
    assert.header("access-control-allow-credentials", "true", response)
    assert.header("vary", "Origin", response)
    assert_no_cors(client.get(g.port, "/a"))
  end)

  it("answers preflights itself", function()
    start([[{ origins = { "https://app.example.test" }, methods = { "GET", "PUT" },
              headers = { "X-A", "x-b" }, max_age = "10m", exposed = { "x-c" } }]])
    local response = preflight({ Origin = APP, ["Access-Control-Request-Headers"] = "x-z" }, "/back")
    assert.status(204, response)
    assert.header("access-control-allow-origin", APP, response)
    assert.header("access-control-allow-methods", "GET, PUT", response)
    assert.header("access-control-allow-headers", "x-a, x-b", response)
    assert.header("access-control-max-age", "600", response)
    assert.contains("Origin", response.headers.vary)
    assert.contains("Access-Control-Request-Headers", response.headers.vary)
    assert.is_true(o:idle())
  end)

  it("allows the headers that the browser asks for unless they are listed", function()
    start()
    local response = preflight({ Origin = APP, ["Access-Control-Request-Headers"] = "x-a,content-type" })
    assert.header("access-control-allow-headers", "x-a,content-type", response)
    assert.header("access-control-allow-methods", "GET, HEAD, PUT, PATCH, POST, DELETE", response)
    assert.no_header("access-control-allow-headers", preflight({ Origin = APP }))
  end)

  it("refuses preflights of other origins", function()
    start()
    local response = preflight({ Origin = "https://other.test" })
    assert.status(403, response)
    assert_no_cors(response)
    assert.header("vary", "Origin", response)
  end)

  it("leads into a private network only where told", function()
    start(('{ origins = { "%s" }, private_network = true }'):format(APP))
    local asked = preflight({ Origin = APP, ["Access-Control-Request-Private-Network"] = "true" })
    assert.header("access-control-allow-private-network", "true", asked)
    assert.no_header("access-control-allow-private-network", preflight({ Origin = APP }))
    start()
    asked = preflight({ Origin = APP, ["Access-Control-Request-Private-Network"] = "true" })
    assert.no_header("access-control-allow-private-network", asked)
  end)

  it("passes OPTIONS on that is no preflight", function()
    start()
    local response = client.request(g.port, { method = "OPTIONS", target = "/a", headers = { Origin = APP } })
    assert.status(200, response)
    assert.contains('"method":"OPTIONS"', response.body)
    response = client.request(g.port, { method = "OPTIONS", target = "/a",
                                        headers = { ["Access-Control-Request-Method"] = "PUT" } })
    assert.contains('"method":"OPTIONS"', response.body)
  end)

  it("answers preflights before routing where it is global", function()
    start(nil, "global")
    assert.status(204, preflight({ Origin = APP }, "/get"))
    assert.header("access-control-allow-origin", APP, preflight({ Origin = APP }, "/get"))
    assert.status(403, preflight({ Origin = "https://other.test" }, "/get"))
  end)

  it("stands on the gateway's own answers", function()
    start()
    o:close()
    local response = get(APP, "/back")
    assert.status(502, response)
    assert.header("access-control-allow-origin", APP, response)
    assert.header("vary", "Origin", response)
  end)

  it("replaces what the origin server says of CORS, and keeps its Vary", function()
    start()
    local said = {
      { "Access-Control-Allow-Origin", "*" }, { "Access-Control-Allow-Credentials", "true" },
      { "Access-Control-Expose-Headers", "x-secret" }, { "Vary", "Accept" },
    }
    local c = client.connect(g.port)
    c:send(("GET /back HTTP/1.1\r\nHost: a\r\nOrigin: %s\r\n\r\n"):format(APP))
    local _, conn = o:serve({ headers = said })
    local response = c:response()
    assert.header("access-control-allow-origin", APP, response)
    assert.no_header("access-control-allow-credentials", response)
    assert.no_header("access-control-expose-headers", response)
    assert.header("vary", "Accept, Origin", response)
    c:send("GET /back HTTP/1.1\r\nHost: a\r\nOrigin: https://other.test\r\n\r\n")
    conn:request()
    conn:reply({ headers = said })
    assert_no_cors(c:response())
  end)
end)

describe("cors: its config", function()
  local refused = {
    { "{}", "origins", "missing" },
    { "{ origins = {} }", "origins", "the list is empty" },
    { '{ origins = { "https://a.test/" } }', "origins[1]", '"https://a.test/" is not an origin' },
    { '{ origins = { "a.test" } }', "origins[1]", "is not an origin" },
    { '{ origins = { "https://a.*.test" } }', "origins[1]", "is not an origin" },
    { '{ origins = { "https://*" } }', "origins[1]", "is not an origin" },
    { '{ origins = { "https://u@a.test" } }', "origins[1]", "is not an origin" },
    { '{ origins = { "https://a.test", "https://A.test:443" } }', "origins[2]", "same as item 1" },
    { '{ origins = { "*" }, credentials = true }', "", "let any site act as your users" },
    { '{ origins = { "https://a.test" }, credentials = true, exposed = { "*" } }', "", "exposed:" },
    { '{ origins = { "*" }, methods = { "*", "GET" } }', "methods", "write it alone" },
    { '{ origins = { "*" }, methods = { "get" } }', "methods[1]", 'methods are in capitals: "GET"' },
    { '{ origins = { "*" }, max_age = 600 }', "max_age", 'write max_age = "600s"' },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text = bundled.check("cors", case[1])
      assert.contains("(cors)" .. (case[2] ~= "" and "." or "") .. case[2], text)
      assert.contains(case[3], text)
    end)
  end

  it("takes origins in any spelling", function()
    local text = bundled.check("cors", '{ origins = { "HTTPS://A.test:443", "http://[::1]:8080", "null" } }')
    assert.equal("", text)
  end)
end)
