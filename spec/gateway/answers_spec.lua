-- Answers of the gateway's own by template: which, with what, escaped for their type.

local client = require("support.client")
local gateway = require("support.gateway")

describe("an answer for a failure", function()
  local g

  setup(function()
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings {
          workers = 1,
          limits = { request = { body = "1KiB", headers = "1KiB" } },
          responses = {
            [404] = { body = "<p>{status} {reason} {code} {path} on {host} by {method}</p>" ..
                             "<i>{request_id}</i>",
                      type = "text/html; charset=utf-8", headers = { ["cache-control"] = "no-store" } },
            ["4xx"] = { body = '{"status": {status}, "path": "{path}", "why": "{detail}"}',
                        type = "application/json" },
            ["5xx"] = { body = "{{sorry} {status} {path}\n" },
          },
        }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.global { tg.use "headers" { response = { set = { ["x-seen"] = "1" } } } }
        tg.service "echo" { builtin = "echo" }
        tg.service "none" { targets = { { "127.0.0.1:1" } } }
        tg.route "get" { paths = { "/get" }, methods = { "GET" }, service = "echo" }
        tg.route "post" { paths = { "/post/*" }, service = "echo" }
        tg.route "down" { paths = { "/down/*" }, service = "none" }
        tg.route "own" { paths = { "/own/*" }, service = "none",
          responses = { [502] = { body = "", headers = { ["retry-after"] = "5" } } } }
        tg.route "silent" { paths = { "/silent" }, service = "none",
          responses = { [502] = { body = "{detail}" } } }
        tg.route "problem" { paths = { "/problem" }, service = "none",
          responses = { ["4xx"] = { body = "x" } } }
      ]],
    })
  end)

  teardown(function() g:stop() end)

  local function get(target) return client.get(g.port, target, { Host = "shop.test" }) end

  local function request(method, target, body)
    return client.request(g.port, { method = method, target = target, body = body,
                                    headers = { Host = "shop.test" } })
  end

  it("is the operator's, with what its template names", function()
    local response = get "/nowhere"
    assert.status(404, response)
    assert.header("content-type", "text/html; charset=utf-8", response)
    assert.header("cache-control", "no-store", response)
    assert.header("x-content-type-options", "nosniff", response)
    assert.header("x-seen", "1", response)
    assert.matches("^<p>404 Not Found no_route /nowhere on shop.test by GET</p><i>%x+</i>$", response.body)
  end)

  it("reflects nothing of the client's unescaped", function()
    local response = get '/<script>alert("1")</script>&\''
    assert.status(404, response)
    assert.is_nil(response.body:find("<script", 1, true))
    assert.contains("/&#60;script&#62;alert(&#34;1&#34;)&#60;/script&#62;&#38;&#39;", response.body)
    response = request("POST", '/get"\\')
    assert.status(404, response)
    response = get '/down/<b>"'
    assert.status(502, response)
    assert.header("content-type", "text/plain; charset=utf-8", response)
    assert.equal('{sorry} 502 /down/%3Cb%3E%22\n', response.body)
  end)

  it("may be for a whole class, and keeps what belongs to the status", function()
    local response = request("PUT", "/get")
    assert.status(405, response)
    assert.header("allow", "GET, HEAD", response)
    assert.equal('{"status": 405, "path": "/get", "why": ""}', response.body)
    response = request("POST", "/post/%22%5c", ("x"):rep(2000))
    assert.status(413, response)
    assert.contains('"path": "/post/%22%5C"', response.body)
  end)

  it("is for heads that are refused too", function()
    local c = client.connect(g.port)
    c:send("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    local response = c:response()
    assert.status(400, response)
    assert.matches('^{"status": 400, "path": "[^"]*", "why": "[^"]+"}$', response.body)
  end)

  it("is the route's before the settings'", function()
    local response = get "/own/x"
    assert.status(502, response)
    assert.equal("", response.body)
    assert.header("retry-after", "5", response)
    response = get "/silent" -- there is no detail to tell
    assert.status(502, response)
    assert.equal("", response.body)
    assert.equal("{sorry} 502 /problem\n", get("/problem").body)
  end)

  it("has a head only for HEAD", function()
    local response = request("HEAD", "/nowhere")
    assert.status(404, response)
    assert.equal("", response.body)
    assert.is_true(tonumber(response.headers["content-length"]) > 50)
  end)

  it("is bounded, however long what the client sent is", function()
    local response = get("/" .. ("<"):rep(900))
    assert.status(404, response)
    assert.is_true(#response.body < 900 * 5 + 200)
  end)

  it("is a problem where nothing else is said", function()
    local plain = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, responses = { [500] = { body = "x" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "get" { paths = { "/get" }, service = "echo" }
      ]],
    })
    finally(function() plain:stop() end)
    local response = client.get(plain.port, "/nowhere")
    assert.status(404, response)
    assert.header("content-type", "application/problem+json", response)
  end)
end)
