-- respond: fixed answers, templates, and that no value breaks out of the place it comes to.

local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")

describe("respond", function()
  local g

  local function start(conf)
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.route "answer" { paths = { "/a/{name}", "/*" }, plugins = { tg.use "respond" ]] .. conf .. [[ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  it("answers 200 without a body when nothing is said", function()
    start("{}")
    local response = client.get(g.port, "/")
    assert.status(200, response)
    assert.equal("", response.body)
    assert.header("content-length", "0", response)
    assert.no_header("content-type", response)
  end)

  it("answers with status, headers and text", function()
    start('{ status = 404, body = "gone $5\\n", headers = { ["X-Why"] = "moved", ["Retry-After"] = "5" } }')
    local response = client.get(g.port, "/")
    assert.status(404, response)
    assert.equal("gone $5\n", response.body)
    assert.header("content-type", "text/plain; charset=utf-8", response)
    assert.header("x-why", "moved", response)
    assert.header("retry-after", "5", response)
  end)

  it("sends no body to HEAD, and the length that GET would have", function()
    start('{ body = "12345" }')
    local c = client.connect(g.port)
    local response = c:request({ method = "HEAD" })
    assert.header("content-length", "5", response)
    assert.equal("12345", c:get("/").body)
  end)

  it("sends plain data as JSON", function()
    start('{ json = { a = { 1, true, "x" } }, content_type = "application/vnd.test+json" }')
    local response = client.get(g.port, "/")
    assert.equal('{"a":[1,true,"x"]}', response.body)
    assert.header("content-type", "application/vnd.test+json", response)
    start("{ json = false }")
    assert.equal("false", client.get(g.port, "/").body)
    assert.header("content-type", "application/json", client.get(g.port, "/"))
  end)

  it("fills in what the request says", function()
    start([[{ body = "${req.method} ${req.scheme} ${req.host} ${req.port} ${req.path} ${req.raw_path} " ..
      "${req.query_string} ${query.q} ${header.X-In} ${cookie.c} ${capture.name} ${client.ip} " ..
      "${route.name} [${service.name}] [${query.none}] $${id} ${id}" }]])
    local c = client.connect(g.port)
    local response = c:get("/a/%41?q=a%20b&q=2", { ["X-In"] = "in", Cookie = "b=1; c=2", Host = "h.test:81" })
    assert.matches("^GET http h%.test 81 /a/A /a/%%41 q=a%%20b&q=2 a b in 2 A 127%.0%.0%.1 answer %[%] %[%] "
      .. "%${id} %x+$", response.body)
  end)

  it("escapes values in JSON, keys included", function()
    start('{ json = { q = "<${query.q}>", ["${query.k}"] = { "${req.query_string}" }, n = 1 } }')
    local response = client.get(g.port, "/?q=%22,%22admin%22:true,%0a%5c&k=%22")
    assert.contains('"q":"<\\",\\"admin\\":true,\\n\\\\>"', response.body)
    assert.contains('"\\"":["q=%22,%22admin%22:true,%0a%5c&k=%22"]', response.body)
    assert.contains('"n":1', response.body)
    response = client.get(g.port, '/?q=1&x="')
    assert.contains('&x=\\""]', response.body)
  end)

  it("escapes values in HTML, those of the path too", function()
    start([[{ body = "<p title='${query.q}'>${req.raw_path}</p>",
              content_type = "Text/HTML; charset=utf-8" }]])
    local response = client.get(g.port, "/<b>?q=%27%3Cscript%3E%26%22")
    assert.equal("<p title='&#39;&lt;script&gt;&amp;&quot;'>/&lt;b&gt;</p>", response.body)
  end)

  it("lets no value begin another header", function()
    start('{ headers = { ["x-q"] = "<${query.q}>", ["x-id"] = "${id}" }, body = "b" }')
    local response = client.get(g.port, "/?q=1%0d%0aevil:%20yes")
    assert.status(200, response)
    assert.header("x-q", "<1%0D%0Aevil: yes>", response)
    assert.no_header("evil", response)
    assert.matches("^%x+$", response.headers["x-id"])
    assert.header("content-type", "text/plain; charset=utf-8", response)
  end)

  it("tells at the start which placeholder it does not know", function()
    local failed = gateway.start({
      wait = false,
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.route "all" { plugins = { tg.use "respond" { body = "${req.nothing}" } } }
      ]],
    })
    assert.equal(1, failed:wait(10).code)
    assert.contains('body: a template has no "${req.nothing}"', failed:stderr())
  end)
end)

describe("respond: its config", function()
  local refused = {
    { '{ body = "a", json = 1 }', "", "only one of these fields may be set: body, json" },
    { '{ status = 204, body = "a" }', "", "an answer with status 204 has no body" },
    { '{ status = 100 }', "status", "100 is below the minimum 200" },
    { '{ body = "a ${b" }', "body", '"${b" is not a placeholder' },
    { '{ headers = { ["Content-Length"] = "1" } }', "headers.Content-Length", "belongs to the gateway" },
    { '{ headers = { ["x-a"] = "1\\nb: 2" } }', "headers.x-a", "is not a header value" },
    { '{ headers = { ["Content-Type"] = "text/html" } }', "", "the field content_type is for that" },
    { '{ content_type = "a\\r\\nb: c" }', "content_type", "is not a header value" },
    { '{ json = print }', "json", "expected plain data, got a function" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text = bundled.check("respond", case[1])
      assert.contains("(respond)" .. (case[2] ~= "" and "." or "") .. case[2], text)
      assert.contains(case[3], text)
    end)
  end
end)
