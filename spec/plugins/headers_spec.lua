-- headers: edits in both directions, their order, and what is refused.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")

describe("headers", function()
  local g, o

  local function start(conf, scope)
    local use = 'tg.use "headers" ' .. conf
    o = origin.listen()
    g = gateway.start({
      vars = {
        ORIGIN = o.port, GLOBAL = scope == "global" and use or "", ROUTE = scope ~= "global" and use or "",
      },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.global { @GLOBAL@ }
        tg.route "all" { paths = { "/a" }, service = "back", plugins = { @ROUTE@ } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  local function exchange(headers, response, target)
    local c = client.connect(g.port)
    target, headers = target or "/a", headers or ""
    c:send(("GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n"):format(target, headers))
    local request = o:serve(response)
    return request, c:response()
  end

  -- Values of the header lines called `name`, in order.
  local function values(message, name)
    local list = {}
    for _, line in ipairs(message.header_list) do
      if line[1]:lower() == name then table.insert(list, line[2]) end
    end
    return list
  end

  it("sets, adds and removes towards the origin", function()
    start([[{ request = { set = { ["X-Set"] = "s", ["x-new"] = "n" }, add = { ["x-add"] = "a" },
                          remove = { "X-Gone" } } }]])
    local request, response = exchange("x-set: 1\r\nX-SET: 2\r\nx-add: 0\r\nx-gone: 1\r\nX-Gone: 2\r\n" ..
      "x-kept: k\r\n")
    assert.same({ "s" }, values(request, "x-set"))
    assert.same({ "n" }, values(request, "x-new"))
    assert.same({ "0", "a" }, values(request, "x-add"))
    assert.same({}, values(request, "x-gone"))
    assert.same({ "k" }, values(request, "x-kept"))
    assert.no_header("x-set", response)
  end)

  it("sets, adds and removes towards the client", function()
    start([[{ response = { set = { ["x-set"] = "s" }, add = { ["set-cookie"] = "b=2" },
                           remove = { "x-gone" } } }]])
    local request, response = exchange("", {
      headers = { { "X-Set", "1" }, { "X-Set", "2" }, { "Set-Cookie", "a=1" }, { "X-Gone", "g" } },
      body = "hello",
    })
    assert.no_header("x-set", request)
    assert.same({ "s" }, values(response, "x-set"))
    assert.same({ "a=1", "b=2" }, values(response, "set-cookie"))
    assert.same({}, values(response, "x-gone"))
    assert.equal("hello", response.body)
  end)

  it("renames with all values, in place of what had the new name", function()
    start([[{ request = { rename = { ["x-old"] = "x-new", ["x-none"] = "x-same" } },
              response = { rename = { server = "x-server" } } }]])
    local request, response = exchange("X-Old: 1\r\nX-Old: 2\r\nX-New: 0\r\nX-Same: s\r\n",
      { headers = { { "Server", "one" }, { "Server", "two" } } })
    assert.same({}, values(request, "x-old"))
    assert.same({ "1", "2" }, values(request, "x-new"))
    assert.same({ "s" }, values(request, "x-same"))
    assert.same({ "one", "two" }, values(response, "x-server"))
    assert.same({}, values(response, "server"))
  end)

  it("removes first, then renames, sets and adds", function()
    start([[{ request = { remove = { "x-b" }, rename = { ["x-a"] = "x-b" }, set = { ["x-a"] = "set" },
                          add = { ["x-a"] = "add" } } }]])
    local request = exchange("x-a: client\r\nx-b: forged\r\n")
    assert.same({ "client" }, values(request, "x-b"))
    assert.same({ "set", "add" }, values(request, "x-a"))
  end)

  it("sends Host as told", function()
    start([[{ request = { set = { host = "other.test" } } }]])
    assert.same({ "other.test" }, values((exchange()), "host"))
  end)

  it("fills templates in, and lets no value begin another header", function()
    start([[{ request = { set = { ["x-q"] = "<${query.q}>", ["x-m"] = "${req.method} ${req.path}" } },
              response = { add = { ["x-id"] = "${header.x-in}", ["x-dollar"] = "$${id} $5" } } }]])
    local request, response = exchange("x-in: a:81/b c\r\n", {}, "/a?q=1%0d%0aevil:%20yes")
    assert.header("x-q", "<1%0D%0Aevil: yes>", request)
    assert.header("x-m", "GET /a", request)
    assert.no_header("evil", request)
    assert.header("x-id", "a:81/b c", response)
    assert.header("x-dollar", "${id} $5", response)
  end)

  it("edits the gateway's own answers too, and those to HEAD", function()
    start([[{ response = { set = { ["x-set"] = "s" }, remove = { "server" } } }]], "global")
    local response = client.get(g.port, "/nowhere")
    assert.status(404, response)
    assert.header("x-set", "s", response)
    assert.no_header("server", response)
    response = client.request(g.port, { method = "HEAD", target = "/nowhere" })
    assert.header("x-set", "s", response)
    assert.equal("", response.body)
  end)
end)

describe("headers: its config", function()
  local check = require("support.bundled").check

  local refused = {
    { [[{ request = { set = { ["content-length"] = "5" } } }]], "request.set.content-length",
      '"content-length" belongs to the gateway' },
    { [[{ response = { remove = { "Transfer-Encoding" } } }]], "response.remove[1]",
      "belongs to the gateway" },
    { [[{ request = { rename = { ["x-a"] = "Connection" } } }]], "request.rename.x-a",
      "belongs to the gateway" },
    { [[{ request = { set = { ["x a"] = "5" } } }]], "request.set", '"x a" is not a header name' },
    { [[{ response = { add = { ["x-a"] = "1\r\nx-b: 2" } } }]], "response.add.x-a", "is not a header value" },
    { [[{ response = { add = { ["x-a"] = { "1" } } } }]], "response.add.x-a", "expected a header value" },
    { [[{ request = { set = { ["X-A"] = "1", ["x-a"] = "2" } } }]], "request.set.x-a", "the same key twice" },
    { [[{ requests = {} }]], "requests", 'did you mean "request"?' },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text = check("headers", case[1])
      assert.contains("(headers)." .. case[2], text)
      assert.contains(case[3], text)
    end)
  end
end)
