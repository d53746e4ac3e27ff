--- The admin listener: where it is, who may connect, how it follows the configuration and the process.

local clock = require("support.clock")
local client = require("support.client")
local helper = require("admin.helper")
local socket = require("support.socket")
local stat = require("posix.sys.stat")

describe("the admin listener", function()
  local g

  local function start(options)
    g = helper.start(options)
    local started = g
    finally(function() started:stop() end)
  end

  local function reload(admin)
    g.vars.ADMIN = admin
    g:reload(helper.CONFIG)
  end

  it("is not there unless it is asked for", function()
    start({ admin = "" })
    assert.is_nil(g:stderr():find("admin listener", 1, true))
    assert.is_nil(g:read("admin.sock"))
  end)

  it("is a unix socket for its owner alone, which goes with the process", function()
    start()
    local where = helper.socket(g)
    local st = stat.stat(where.unix)
    assert.equal(1, stat.S_ISSOCK(st.st_mode))
    assert.equal(tonumber("600", 8), st.st_mode % 512)
    assert.status(200, helper.get(where, "/healthz"))
    g:signal("TERM")
    assert.equal(0, g:wait(10).code)
    assert.is_nil(stat.stat(where.unix))
  end)

  it("takes the place of a socket that a killed process left", function()
    start()
    local where = helper.socket(g)
    local before = helper.get(where, "/status").json.pid
    g:signal("KILL", before)
    clock.wait_until(function()
      local c = client.try_connect(where)
      if c then
        c:close()
        local ok, response = pcall(helper.get, where, "/status")
        return ok and response.json.pid ~= before and response.json.state == "ready"
      end
    end, 10, "the next process's admin listener")
  end)

  it("does not take the place of another file", function()
    g = helper.start({ admin = 'admin = { listen = "unix:probe.lua" },', wait = false })
    assert.equal(3, g:wait(10).code)
    assert.contains("a file of that name which is not a socket", g:stderr())
    assert.equal(helper.PROBE, g:read("probe.lua"))
  end)

  it("is an address and a port", function()
    local host = socket.own_address()
    start({ admin = ('admin = { listen = "%s:9901" },'):format(host) })
    assert.status(200, helper.get({ host = host, port = 9901 }, "/readyz"))
  end)

  it("on loopback answers to no name that a page in a browser could have given it", function()
    local where = { host = socket.own_address(), port = 9901 }
    start({ admin = ('admin = { listen = "%s:9901", write = true },'):format(where.host) })
    for _, path in ipairs({ "/config", "/metrics", "/nothing" }) do
      local refused = client.request(where, { target = path, host = "evil.test:9901" })
      assert.status(421, refused)
      assert.contains("Host has to be an IP address or localhost", refused.body)
    end
    assert.status(421, client.request(where, { method = "POST", target = "/reload", host = "evil.test" }))
    for _, host in ipairs({ "localhost", "LOCALHOST:9901", where.host .. ":9901", "[::1]" }) do
      assert.status(200, client.request(where, { target = "/healthz", host = host }))
    end
    assert.status(200, client.request(where, { target = "/healthz", host = false, version = "1.0" }))
    local code, out = helper.run(g, "status")
    assert.equal(0, code)
    assert.contains("ready", out)
  end)

  it("is why nothing starts where it cannot be", function()
    local none = helper.start({ admin = 'admin = { listen = "unix:none/admin.sock" },', wait = false })
    assert.same({ code = 3 }, none:wait(20))
    assert.contains("cannot start: settings.admin: cannot listen on unix:none/admin.sock: ", none:stderr())
  end)

  it("moves, stays or goes with a reload", function()
    start()
    reload('admin = { listen = "unix:other.sock" },')
    g:wait_for_log("(revision 2)")
    assert.is_nil(stat.stat(g.dir .. "/admin.sock"))
    assert.equal(2, helper.get(helper.socket(g, "other.sock"), "/config").json.revision)
    reload('admin = { listen = "unix:probe.lua" },')
    g:wait_for_log("settings.admin: cannot listen on unix:probe.lua")
    assert.equal(1, helper.get(helper.socket(g, "other.sock"), "/status").json.reloads_refused)
    reload("")
    g:wait_for_log("(revision 3)")
    assert.is_nil(stat.stat(g.dir .. "/other.sock"))
  end)

  it("keeps connections over a reload that moves it", function()
    start()
    local c = client.connect(helper.socket(g))
    assert.status(200, c:get("/healthz"))
    reload('admin = { listen = "unix:other.sock" },')
    g:wait_for_log("(revision 2)")
    assert.contains('"revision":2', c:get("/status").body)
  end)

  it("answers while the process drains, and says so", function()
    start()
    local where = helper.socket(g)
    local c = client.connect(g.port)
    c:send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
    clock.wait_until(function()
      return helper.get(where, "/status").json.requests_open == 1
    end, 5, "the open request")
    assert.equal("ready", helper.get(where, "/readyz").json.status)
    g:signal("TERM")
    clock.wait_until(function()
      return helper.get(where, "/readyz").status == 503
    end, 5, "the drain")
    assert.equal("draining", helper.get(where, "/readyz").json.status)
    assert.status(200, helper.get(where, "/healthz"))
    assert.equal("probe", helper.get(where, "/plugins").json.plugins[1].name)
    c:send("y")
    assert.status(200, c:response())
    assert.equal(0, g:wait(10).code)
  end)

  it("has a bound on its connections, and counts who was one too many", function()
    start({ config = helper.CONFIG:gsub("limits = {", "limits = { admin = { connections = 2 },") })
    local where = helper.socket(g)
    local one, two = client.connect(where), client.connect(where)
    assert.status(200, one:get("/healthz"))
    assert.status(200, two:get("/healthz"))
    local three = client.connect(where)
    assert.equal("", (three:receive_rest(5)))
    for _, limit in ipairs(require("cjson").decode(one:get("/limits").body).limits) do
      if limit.path == "admin.connections" then
        assert.same({ 2, 32, 1 }, { limit.value, limit.default, limit.hits })
      end
    end
  end)

  it("refuses what is no question", function()
    start()
    local c = client.connect(helper.socket(g))
    local response = c:get("/nothing")
    assert.status(404, response)
    assert.header("content-type", "application/problem+json", response)
    assert.contains("/plugins and /upstreams, and takes the orders", response.body)
    response = c:request({ method = "DELETE", target = "/plugins" })
    assert.status(405, response)
    assert.header("allow", "GET, HEAD", response)
    assert.status(405, c:request({ method = "POST", target = "/status", body = "x" }))
    response = c:request({ method = "HEAD", target = "/status" })
    assert.status(200, response)
    assert.status(400, client.request(helper.socket(g), { target = "/status", host = false }))
  end)
end)
