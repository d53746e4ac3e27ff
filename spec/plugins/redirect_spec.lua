-- redirect: where to, with which status, and what is kept of the request.

local client = require("support.client")
local gateway = require("support.gateway")

describe("redirect", function()
  local function start(conf)
    local g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.route "all" { paths = { "/*" }, plugins = { tg.use "redirect" ]] .. conf .. [[ } }
      ]],
    })
    finally(function() g:stop() end)
    return g.port
  end

  it("sends the client elsewhere", function()
    local response = client.get(start('{ to = "https://new.example.test/x" }'), "/old?a=1")
    assert.status(302, response)
    assert.equal("https://new.example.test/x", response.headers.location)
    assert.equal("", response.body)
  end)

  it("keeps path and query", function()
    local port = start([[{ to = "https://new.example.test/", keep_path = true, keep_query = true,
      status = 308 }]])
    local response = client.get(port, "/a/b%2Fc?d=e")
    assert.status(308, response)
    assert.equal("https://new.example.test/a/b%2Fc?d=e", response.headers.location)
    assert.equal("https://new.example.test/a", client.get(port, "/a").headers.location)
  end)

  it("joins queries", function()
    local port = start('{ to = "/x?a=1", keep_query = true }')
    assert.equal("/x?a=1&b=2", client.get(port, "/?b=2").headers.location)
  end)

  it("encodes what clients choose", function()
    local port = start('{ to = "/find?q=${query.q}&h=${req.host}" }')
    local response = client.get(port, "/?q=%0d%0aSet-Cookie:%20a=b%26c")
    assert.equal("/find?q=%0D%0ASet-Cookie%3A%20a%3Db%26c&h=test", response.headers.location)
    assert.is_nil(response.headers["set-cookie"])
  end)

  it("refuses other statuses", function()
    assert.error_matches(function() start('{ to = "/", status = 305 }') end, "301, 302, 303, 307 or 308")
  end)
end)
