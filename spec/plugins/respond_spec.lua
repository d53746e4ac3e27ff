-- respond: fixed answers, templates, and how what clients choose is escaped.

local client = require("support.client")
local gateway = require("support.gateway")

describe("respond", function()
  local function start(conf)
    local g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.route "one" { paths = { "/{name}" }, plugins = { tg.use "respond" ]] .. conf .. [[ } }
      ]],
    })
    finally(function() g:stop() end)
    return g.port
  end

  it("sends a fixed text", function()
    local port = start('{ status = 503, body = "back soon\\n", headers = { ["Retry-After"] = "9" } }')
    local response = client.get(port, "/x")
    assert.status(503, response)
    assert.equal("back soon\n", response.body)
    assert.equal("text/plain; charset=utf-8", response.headers["content-type"])
    assert.equal("9", response.headers["retry-after"])
  end)

  it("sends nothing but a status", function()
    local response = client.get(start("{ status = 204 }"), "/x")
    assert.status(204, response)
    assert.equal("", response.body)
  end)

  it("takes values of the request", function()
    local port = start([[{ body = "${req.method} ${req.path} ${query.q}|${cookie.c}|${header.x-a}|"
      .. "${capture.name} ${client.ip} ${route.name} $${x}" }]])
    local response = client.get(port, "/a%20b?q=1+2", { Cookie = "c=3", ["X-A"] = "<4>" })
    assert.equal("GET /a%20b 1 2|3|<4>|a b 127.0.0.1 one ${x}", response.body)
    assert.equal("GET /z ||| 127.0.0.1 one ${x}", (client.get(port, "/z").body:gsub("|z ", "| ")))
  end)

  it("encodes values in JSON", function()
    local port = start([[{ json = { q = "${query.q}", list = { "a", 1, true } } }]])
    local response = client.get(port, "/x?q=%22%0a")
    assert.equal("application/json", response.headers["content-type"])
    assert.contains('"q":"\\"\\n"', response.body)
    assert.contains('"list":["a",1,true]', response.body)
  end)

  it("escapes values in HTML and in headers", function()
    local response = client.get(start([[{ body = "<p>${query.q}</p>", content_type = "text/html",
      headers = { ["x-q"] = "q ${query.q}" } }]]), "/x?q=%3Cb%3E%0d%0aEvil:%201")
    assert.equal("<p>&lt;b&gt;\r\nEvil: 1</p>", response.body)
    assert.equal("q %3Cb%3E%0D%0AEvil%3A%201", response.headers["x-q"])
    assert.is_nil(response.headers.evil)
  end)

  it("refuses what cannot be", function()
    assert.error_matches(function() start('{ body = "a", json = {} }') end, "not both")
    assert.error_matches(function() start('{ status = 204, body = "a" }') end, "has no body")
  end)
end)
