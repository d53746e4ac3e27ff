-- redirect: targets, what is kept of the request, and that clients cannot choose where others are sent.

local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")

describe("redirect", function()
  local g

  local function start(conf)
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.route "all" { paths = { "/u/{user}", "/*" }, plugins = { tg.use "redirect" ]] .. conf .. [[ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  local function location(target, status)
    local response = client.get(g.port, target, { Host = "shop.test:81" })
    assert.status(status or 302, response)
    assert.equal("", response.body)
    return response.headers.location
  end

  it("goes to a fixed target", function()
    start('{ to = "https://new.test/there?a=1#b", status = 301 }')
    assert.equal("https://new.test/there?a=1#b", location("/old?q=1", 301))
    assert.header("location", "https://new.test/there?a=1#b",
      client.request(g.port, { method = "POST", target = "/", body = "x" }))
    assert.status(301, client.request(g.port, { method = "HEAD", target = "/" }))
  end)

  for _, status in ipairs({ 301, 302, 303, 307, 308 }) do
    it("answers " .. status, function()
      start(('{ to = "/new", status = %d }'):format(status))
      assert.equal("/new", location("/", status))
    end)
  end

  it("keeps host, path and query where the target says so", function()
    start('{ to = "https://${req.host}${req.path}", keep_query = true, status = 308 }')
    assert.equal("https://shop.test/a/b%20c?x=1&y=%22", location("/a/b%20c?x=1&y=%22", 308))
    assert.equal("https://shop.test/", location("/", 308))
  end)

  it("keeps the path, without a prefix of whole segments", function()
    start('{ to = "https://new.test/v2/", keep_path = true, strip_prefix = "/v1" }')
    assert.equal("https://new.test/v2/orders/7", location("/v1/orders/7"))
    assert.equal("https://new.test/v2", location("/v1"))
    assert.equal("https://new.test/v2/v10/x", location("/v10/x"))
    assert.equal("https://new.test/v2/orders", location("/v1/orders?x=1"))
  end)

  it("joins queries", function()
    start('{ to = "/new?from=old", keep_query = true }')
    assert.equal("/new?from=old&a=1", location("/?a=1"))
    assert.equal("/new?from=old", location("/"))
    start('{ to = "/new", keep_query = true }')
    assert.equal("/new?a=1", location("/?a=1"))
  end)

  it("encodes what clients choose", function()
    start('{ to = "https://new.test/${capture.user}?q=${query.q}" }')
    assert.equal("https://new.test/a%20b%2Fc?q=%0D%0ASet-Cookie%3A%20a%3D1%26admin%3D1",
      location("/u/a%20b%2fc?q=%0d%0aSet-Cookie:%20a%3d1%26admin%3d1"))
  end)

  it("stays on this host for a path, whatever the request's path is", function()
    start('{ to = "/", keep_path = true }')
    assert.equal("/evil.test/x", location("//evil.test/x"))
    assert.equal("/evil.test", location("/\\evil.test"))
    start('{ to = "${req.raw_path}" }')
    assert.equal("/evil.test", location("//evil.test"))
    start('{ to = "/${query.next}" }')
    assert.equal("/%2Fevil.test", location("/?next=/evil.test"))
    start('{ to = "/old", keep_path = true, strip_prefix = "/a" }')
    assert.equal("/old//evil.test", location("/a//evil.test"))
  end)
end)

describe("redirect: its config", function()
  local refused = {
    { "{}", ".to", "missing" },
    { '{ to = "new" }', ".to", "expected a URL" },
    { '{ to = "//other.test/" }', ".to", "expected a URL" },
    { '{ to = "javascript:alert(1)" }', ".to", "expected a URL" },
    { '{ to = "https://" }', ".to", "the URL has no host" },
    { '{ to = "https:///x" }', ".to", "the URL has no host" },
    { '{ to = "/a\\r\\nset-cookie: b=1" }', ".to", "must be percent-encoded" },
    { '{ to = "/a b" }', ".to", "must be percent-encoded" },
    { '{ to = "https://${header.host}/" }', ".to", "${header.host} in the host" },
    { '{ to = "https://new.test${query.x}" }', ".to", "${query.x} in the host" },
    { '{ to = "/a", status = 304 }', ".status", "expected 301, 302, 303, 307 or 308" },
    { '{ to = "/a?b=1", keep_path = true }', "", "a path cannot follow the query" },
    { '{ to = "/a#b", keep_query = true }', "", "a query cannot follow the fragment" },
    { '{ to = "/a", strip_prefix = "/b" }', "", "strip_prefix: needs keep_path" },
    { '{ to = "/a", keep_path = true, strip_prefix = "b/" }', ".strip_prefix", "does not match" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text = bundled.check("redirect", case[1])
      assert.contains("(redirect)" .. case[2], text)
      assert.contains(case[3], text)
    end)
  end
end)
