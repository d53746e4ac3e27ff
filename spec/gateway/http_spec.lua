-- tg.http: requests of plugins to declared services, over real sockets: what goes out, what comes back,
-- and how each way to fail is told.

local client = require("support.client")
local gateway = require("support.gateway")
local origin = require("support.origin")

local HEAD = [[
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "auth", needs = { http = true } }
local function tell(ctx, res, err)
  ctx:exit(200, res and ("%d %s"):format(res.status, res.body) or ("%s: %s"):format(err.code, err.message))
end
]]

describe("tg.http", function()
  local g, o

  local function start(body, head, wall)
    o = origin.listen()
    g = gateway.start({
      vars = { ORIGIN = o.port, WALL = wall or "1m" },
      files = { ["probe.lua"] = (head or HEAD) .. body .. "\nreturn P\n" },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, limits = { plugin = { cpu = "5s", wall = "@WALL@" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.service "keys" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./probe.lua" {} } }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  -- Sends a request and returns the client, the origin's connection and what the plugin sent there.
  local function ask(target)
    local c = client.connect(g.port)
    c:send(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(target or "/"))
    local conn = o:accept()
    return c, conn, conn:request()
  end

  it("sends what it is told, and gives back what came", function()
    start([[
      function P.access(_, ctx)
        local res = assert(tg.http.request {
          service = "keys", method = "PUT", path = "/a%20b?x=1", query = { ["q r"] = "1&2" },
          headers = { ["X-One"] = "1", ["x-two"] = 2 }, json = { a = 1 },
        })
        ctx:exit(200, table.concat({ res.status, res:header "X-KIND", tostring(res:header "x-none"),
          res:json().answer, res.body }, " "))
      end
    ]])
    local c, conn, request = ask()
    assert.equal("PUT", request.method)
    assert.equal("/a%20b?x=1&q%20r=1%262", request.target)
    assert.equal("127.0.0.1:" .. o.port, request.headers.host)
    assert.equal("1", request.headers["x-one"])
    assert.equal("2", request.headers["x-two"])
    assert.equal("application/json", request.headers["content-type"])
    assert.equal('{"a":1}', request.body)
    conn:reply({ status = 201, headers = { ["x-kind"] = "plain" }, body = '{"answer":42}' })
    assert.equal('201 plain nil 42 {"answer":42}', c:response().body)
  end)

  it("has short forms, keeps connections, reads chunks", function()
    start([[
      function P.access(_, ctx)
        local first = assert(tg.http.get("keys", "/one"))
        local second = assert(tg.http.post("keys", "/two", { body = "hello", timeout = "30s" }))
        ctx:exit(200, first.body .. second.body)
      end
    ]])
    local c, conn, request = ask()
    assert.equal("GET /one", request.method .. " " .. request.target)
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    conn:send("2\r\nde\r\n0\r\n\r\n")
    request = conn:request()
    assert.equal("POST /two hello", request.method .. " " .. request.target .. " " .. request.body)
    conn:reply({ body = "!" })
    assert.equal("abcde!", c:response().body)
  end)

  it("works in every phase, and through the built-in origin", function()
    start([[
      local function ask(ctx)
        local res = assert(tg.http.post("echo", "/" .. ctx.phase, { body = "x" }))
        ctx.state.seen = (ctx.state.seen or "") .. res:json().target
      end
      function P.access(_, ctx) ask(ctx) end
      function P.header_filter(_, ctx) ask(ctx) end
      function P.body_filter(_, ctx, _, eof) if eof then ask(ctx) end end
      function P.log(_, ctx)
        ask(ctx)
        ctx.log:warn("seen " .. ctx.state.seen)
      end
    ]])
    assert.status(200, client.get(g.port, "/"))
    g:wait_for_log("seen /access/header_filter/body_filter/log")
  end)

  it("tells how it failed", function()
    start([[
      function P.access(_, ctx)
        local timeout = ctx.req.path == "/silent" and "100ms" or "30s"
        tell(ctx, tg.http.get("keys", ctx.req.path, { timeout = timeout, max_body = 4 }))
      end
    ]])
    local c = ask("/silent")
    assert.equal("timeout: the origin did not answer in time", c:response().body)
    local conn
    c, conn = ask("/large")
    conn:reply({ body = "12345" })
    assert.contains("too_large: ", c:response().body)
    c, conn = ask("/grows")
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n")
    assert.contains("too_large: ", c:response().body)
    c, conn = ask("/reset")
    conn:reset()
    assert.contains("reset: ", c:response().body)
    c, conn = ask("/nonsense")
    conn:send("nonsense\r\n\r\n")
    assert.contains("bad_input: ", c:response().body)
    o:close()
    assert.contains("refused: ", client.get(g.port, "/refused").body)
  end)

  it("takes no body for which the plugin has no memory", function()
    start([[
      function P.access(_, ctx) tell(ctx, tg.http.get("keys", "/", { max_body = "1GiB" })) end
    ]])
    local c, conn = ask()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n")
    assert.contains("too_large: ", c:response().body)
  end)

  it("is broken off with the client, and when the plugin is killed", function()
    start([[
      function P.access(_, ctx)
        ctx:defer(function() ctx.log:warn("over " .. ctx.req.path) end)
        tell(ctx, tg.http.get("keys", "/"))
      end
    ]], nil, "1s")
    local c, conn = ask("/gone")
    c:reset()
    conn:wait_end()
    g:wait_for_log("over /gone")
    c, conn = ask("/late")
    conn:wait_end() -- wall time
    assert.contains("plugin_killed", c:response().body)
  end)

  it("repeats once what a kept connection lost, where that is safe", function()
    start([[
      function P.access(_, ctx)
        tell(ctx, tg.http.request { service = "keys", method = ctx.req:query "m", path = "/" })
      end
    ]])
    local c, conn = ask("/?m=GET")
    conn:reply({ body = "kept" })
    assert.equal("200 kept", c:response().body)
    c:send("GET /?m=GET HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:request()
    conn:close()
    conn = o:accept()
    conn:request()
    conn:reply({ body = "again" })
    assert.equal("200 again", c:response().body)
    c:send("GET /?m=POST HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:request()
    conn:close()
    assert.contains("reset: ", c:response().body)
  end)

  it("has at most 32 requests of a plugin in flight", function()
    start([[
      local waiting = 0
      function P.access(_, ctx)
        waiting = waiting + 1
        if waiting == 32 then ctx.log:warn "all wait" end
        tell(ctx, tg.http.get("keys", "/"))
      end
    ]])
    local held = {}
    for i = 1, 32 do
      held[i] = client.connect(g.port)
      held[i]:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    g:wait_for_log("all wait")
    assert.equal("limit: 32 requests of this plugin are in flight", client.get(g.port, "/").body)
    for i = 1, 32 do held[i]:close() end
  end)

  it("names the argument that is wrong", function()
    start([[
      local many = {}
      for i = 1, 257 do many["k" .. i] = i end
      local wrong = {
        { "request", nil, "argument 1 (options): expected a table" },
        { "request", {}, "service: is missing" },
        { "request", { service = "none" }, 'no service is called "none"' },
        { "request", { service = "keys", path = "a" }, 'path: expected "/..."' },
        { "request", { service = "keys", path = "/a b" }, 'path: expected "/..."' },
        { "request", { service = "keys", method = "G T" }, "method: is not a token" },
        { "request", { service = "keys", headers = { a = "b\r\nc: d" } }, "headers: a name or value" },
        { "request", { service = "keys", headers = { Host = "b" } }, "headers: \"Host\" belongs" },
        { "request", { service = "keys", headers = { ["Content-Length"] = 1 } }, "framing" },
        { "request", { service = "keys", query = { 1 } }, "query: expected names" },
        { "request", { service = "keys", query = many }, "query: at most 256" },
        { "request", { service = "keys", body = "a", json = {} }, "json: is given beside body" },
        { "request", { service = "keys", max_body = {} }, "max_body: expected a size" },
        { "request", { service = "keys", timeout = "soon" }, "timeout: expected seconds" },
        { "request", { service = "keys", tiemout = 1 }, "tiemout" },
      }
      function P.access(_, ctx)
        local missed = {}
        for _, case in ipairs(wrong) do
          local ok, err = pcall(tg.http[case[1] ], case[2])
          if ok or not tostring(err):find(case[3], 1, true) then
            missed[#missed + 1] = case[3] .. " <> " .. tostring(err)
          end
        end
        ctx:exit(200, table.concat(missed, "\n"))
      end
    ]])
    assert.equal("", client.get(g.port, "/").body)
  end)

  it("is for plugins that declare it, and not for init", function()
    start([[
      function P.init() P.said = select(2, pcall(tg.http.get, "keys", "/")) end
      function P.access(_, ctx) ctx:exit(200, P.said) end
    ]])
    assert.contains("tg.http.get(): is not for init and configure", client.get(g.port, "/").body)
    start([[function P.access(_, ctx) ctx:exit(200, select(2, pcall(tg.http.get, "keys", "/"))) end]],
      (HEAD:gsub(", needs = { http = true }", "")))
    assert.contains("the plugin does not declare needs = { http = true }", client.get(g.port, "/").body)
  end)
end)
