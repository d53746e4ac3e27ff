-- Bodies piece by piece: ctx.req:chunks() for what the client sends, response:chunks() for what a service
-- answers to tg.http. What comes in which order, who waits for whom, what ends it.

local client = require("support.client")
local gateway = require("support.gateway")
local http = require("support.http")
local origin = require("support.origin")
local spinning = require("support.variant").interrupts and it or pending

local HEAD = [[
local tg = require "tidegate"
local P = { name = "probe", version = "1.0.0", api = 1, stage = "auth", needs = { http = true } }
local function told(err) return err and err.code or "end" end
]]

local OK = { headers = { connection = "close" }, body = "ok" }

local g, o

-- A gateway with the probe on its route; @param options use (of tg.use) and limits (of plugins).
local function start(body, options)
  options = options or {}
  o = origin.listen()
  g = gateway.start({
    vars = { ORIGIN = o.port },
    files = { ["probe.lua"] = HEAD .. body .. "\nreturn P\n" },
    config = ([[
      local tg = require "tidegate"
      tg.settings { workers = 1, limits = { plugin = { %s } } }
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
      tg.route "all" { paths = { "/*" }, service = "back", plugins = { tg.use("./probe.lua", {%s}) {} } }
    ]]):format(options.limits or 'cpu = "5s", wall = "1m"', options.use or ""),
  })
  local started = g
  finally(function() started:stop() end)
end

local function send_head(framing, target)
  local c = client.connect(g.port)
  c:send(("POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"):format(target or "/", framing))
  return c
end

describe("ctx.req:chunks", function()
  local LOGS = [[
    function P.access(_, ctx)
      for chunk in ctx.req:chunks() do ctx.log:warn("<" .. chunk .. ">") end
      ctx.log:warn "whole"
    end
  ]]

  it("gives each piece as it comes, and keeps all for the origin", function()
    start(LOGS)
    for _, framing in ipairs({ "Content-Length: 11", "Transfer-Encoding: chunked" }) do
      local write = framing:find("chunked") and http.chunk or function(bytes) return bytes end
      local mark = framing:sub(1, 1)
      local c = send_head(framing)
      c:send(write(mark .. "one"))
      g:wait_for_log("<" .. mark .. "one>")
      assert.is_true(o:idle()) -- the plugin has the request still
      c:send(write(mark .. "second"))
      g:wait_for_log("<" .. mark .. "second>")
      if write == http.chunk then c:send("0\r\n\r\n") end
      assert.equal(mark .. "one" .. mark .. "second", (o:serve(OK)).body)
      assert.equal("ok", c:response().body)
      c:close()
    end
  end)

  it("gives nothing where there is no body", function()
    start(LOGS)
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("", (o:serve(OK)).body)
    assert.equal("ok", c:response().body)
  end)

  it("tells a client that waits for 100 to go on", function()
    start(LOGS)
    local c = send_head("Content-Length: 3\r\nExpect: 100-continue")
    assert.equal(100, c:response_head().status)
    c:send("abc")
    assert.equal("abc", (o:serve(OK)).body)
    assert.equal("ok", c:response().body)
  end)

  it("may be left early: the rest streams to the origin", function()
    start([[
      function P.access(_, ctx)
        local first = ctx.req:chunks()()
        ctx.upstream:set_header("x-first", first)
      end
    ]])
    local c = send_head("Content-Length: 300003")
    c:send("abc")
    local conn = o:accept()
    local request = conn:request_head()
    assert.equal("abc", request.headers["x-first"])
    assert.equal("abc", conn:receive(3))
    c:send(("x"):rep(300000))
    assert.equal(("x"):rep(300000), conn:receive(300000))
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("begins anew for each iterator, and goes with body() in any order", function()
    start([[
      local function read(ctx)
        local all = {}
        for chunk in ctx.req:chunks() do all[#all + 1] = chunk end
        return table.concat(all)
      end
      function P.access(_, ctx)
        local early = ctx.req:query "early" and ctx.req:body()
        local one, two, whole = read(ctx), read(ctx), ctx.req:body()
        ctx.upstream:set_header("x-same", tostring(one == two and two == whole and (early or one) == one))
      end
    ]])
    local body = ("0123456789abcdef"):rep(10000)
    for _, target in ipairs({ "/", "/?early=1" }) do
      local c = send_head("Content-Length: " .. #body, target)
      c:send(body)
      local request = o:serve(OK)
      assert.equal("true", request.headers["x-same"])
      assert.is_true(request.body == body)
      assert.equal("ok", c:response().body)
      c:close()
    end
  end)

  it("ends with too_large past limits.plugin.body, and says so again", function()
    start([[
      function P.access(_, ctx)
        local next_chunk, seen = ctx.req:chunks(), ""
        for chunk in next_chunk do
          seen = seen .. chunk
          ctx.log:warn("seen " .. seen)
        end
        local _, err = next_chunk()
        ctx:exit(200, seen .. " " .. told(err) .. " " .. told(select(2, next_chunk())))
      end
    ]], { limits = 'cpu = "5s", wall = "1m", body = "8B"' })
    local c = send_head("Content-Length: 9")
    assert.equal(" too_large too_large", c:response().body)
    c:close()
    c = send_head("Transfer-Encoding: chunked")
    c:send(http.chunk("12345678"))
    g:wait_for_log("seen 12345678")
    c:send(http.chunk("9"))
    assert.equal("12345678 too_large too_large", c:response().body)
    c:close()
    c = send_head("Content-Length: 8")
    c:send("12345678")
    assert.equal("12345678 end end", c:response().body)
  end)

  it("is broken off with the client", function()
    start([[
      function P.access(_, ctx)
        ctx:defer(function() ctx.log:warn("over " .. tostring(ctx:aborted())) end)
        for chunk in ctx.req:chunks() do ctx.log:warn("got " .. chunk) end
      end
    ]])
    local c = send_head("Content-Length: 9")
    c:send("abc")
    g:wait_for_log("got abc")
    c:reset()
    g:wait_for_log("over true")
    assert.is_true(o:idle())
  end)

  it("leaves all of the body to the origin when its plugin is killed in it and skipped", function()
    start([[
      function P.access(_, ctx)
        for chunk in ctx.req:chunks() do ctx.log:warn("got " .. chunk) end
      end
    ]], { limits = 'wall = "200ms"', use = 'on_error = "skip"' })
    local c = send_head("Content-Length: 6")
    c:send("abc")
    local conn = o:accept() -- once wall time is over
    conn:request_head()
    assert.equal("abc", conn:receive(3))
    c:send("def")
    assert.equal("def", conn:receive(3))
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
  end)

  it("is for access, of the phase itself and of its own request", function()
    start([[
      function P.access(_, ctx)
        ctx.state.kept = ctx.req:chunks()
        local ok, err = ctx:spawn(function() return ctx.req:chunks()() end):wait()
        ctx.log:warn("task: " .. tostring(ok) .. " " .. tostring(err.message))
      end
      function P.header_filter(_, ctx)
        ctx.log:warn("late: " .. tostring(select(2, pcall(function() return ctx.req:chunks() end))))
        ctx.log:warn("kept is refused: " .. tostring(not pcall(ctx.state.kept)))
        ctx.log:warn("body: " .. told(select(2, ctx.req:body())))
      end
    ]])
    local c = send_head("Content-Length: 3")
    c:send("abc")
    assert.equal("abc", (o:serve(OK)).body)
    assert.equal("ok", c:response().body)
    g:wait_for_log("reads the body for the phase, not for a task")
    g:wait_for_log("ctx.req:chunks() is not available in header_filter")
    g:wait_for_log("kept is refused: true")
    g:wait_for_log("body: unavailable")
  end)
end)

describe("response:chunks", function()
  -- Sends a request and returns the client, and the origin's connection with what the plugin asked for.
  local function ask(target)
    local c = client.connect(g.port)
    c:send(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(target or "/"))
    local conn = o:accept()
    conn:request()
    return c, conn
  end

  local CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

  local READS = [[
    function P.access(_, ctx)
      local res, err = tg.http.get("back", "/", { stream = true, max_body = 8, timeout = ctx.req:query "t" })
      if not res then ctx:exit(200, "head " .. told(err)) end
      ctx.log:warn("head " .. res.status)
      local next_chunk = res:chunks()
      for chunk in next_chunk do ctx.log:warn("<" .. chunk .. ">") end
      ctx:exit(200, told(select(2, next_chunk())) .. " " .. told(select(2, next_chunk())))
    end
  ]]

  it("gives the head, then each piece as it comes; the connection is kept", function()
    start(READS)
    local c, conn = ask()
    conn:send(CHUNKED)
    g:wait_for_log("head 200")
    conn:send(http.chunk("one"))
    g:wait_for_log("<one>")
    conn:send(http.chunk("two"))
    g:wait_for_log("<two>")
    conn:send("0\r\n\r\n")
    assert.equal("end end", c:response().body)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:request()
    conn:send("HTTP/1.1 204 No Content\r\n\r\n")
    assert.equal("end end", c:response().body)
  end)

  it("tells how it broke off, and says so again", function()
    start(READS)
    local c, conn = ask("/declared")
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert.equal("head too_large", c:response().body)
    for what, expected in pairs({ [http.chunk("more")] = "too_large", ["nonsense\r\n"] = "bad_input" }) do
      c, conn = ask()
      conn:send(CHUNKED .. http.chunk(expected:sub(1, 5)))
      g:wait_for_log("<" .. expected:sub(1, 5) .. ">")
      conn:send(what)
      assert.equal(expected .. " " .. expected, c:response().body)
      conn:wait_end()
    end
    c, conn = ask()
    conn:send(CHUNKED .. http.chunk("reset"))
    g:wait_for_log("<reset>")
    conn:reset()
    assert.equal("reset reset", c:response().body)
    c, conn = ask("/?t=2s") -- which is for the head too: it has to come within this time
    conn:send(CHUNKED)
    assert.equal("timeout timeout", c:response().body)
    conn:wait_end()
  end)

  it("reads no faster than the plugin takes", function()
    start([[
      function P.access(_, ctx)
        local res = assert(tg.http.get("back", "/", { stream = true, max_body = "64MiB" }))
        local n = 0
        for chunk in res:chunks() do
          if n == 0 then assert(tg.http.get("back", "/gate")) end
          n = n + #chunk
        end
        ctx:exit(200, tostring(n))
      end
    ]], { limits = 'wall = "1m", churn = "256MiB", cpu = "20s"' })
    local total = 32 * 1024 * 1024
    local c, conn = ask()
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(total))
    local piece = ("x"):rep(65536)
    local sent = conn:offer(piece, total, 0.2)
    assert.is_true(sent > 0 and sent < total, "sent " .. sent)
    local gate = o:accept()
    gate:request()
    gate:reply({})
    while sent < total do
      sent = sent + conn:offer(piece, total - sent, 5)
    end
    assert.equal(tostring(total), c:response().body)
  end)

  spinning("closes the connection at the request's end, a kill, with the client, when dropped", function()
    start([[
      local function open(n) return assert(tg.http.get("back", "/" .. n, { stream = true })) end
      function P.access(_, ctx)
        local how = ctx.req.path
        ctx.state.res = how ~= "/dropped" and open(1) or nil
        if how == "/killed" then while true do end end
        if how == "/gone" then ctx.state.res:chunks()() end
        if how == "/dropped" then
          local first = open(1):chunks()()
          ctx.log:warn("first " .. first)
          local waste
          for _ = 1, 2000 do waste = { ("x"):rep(1000) .. _ } end
          assert(tg.http.get("back", "/gate" .. #waste))
        end
        ctx:exit(200, "done")
      end
    ]], { limits = 'wall = "1m", cpu = "100ms", churn = "64MiB"' })
    local c, conn = ask("/ended")
    conn:send(CHUNKED)
    assert.equal("done", c:response().body)
    conn:wait_end()
    c, conn = ask("/killed")
    conn:send(CHUNKED)
    assert.contains("plugin_killed", c:response().body)
    conn:wait_end()
    c, conn = ask("/gone")
    conn:send(CHUNKED)
    c:reset()
    conn:wait_end()
    c, conn = ask("/dropped")
    conn:send(CHUNKED .. http.chunk("abc"))
    local gate = o:accept()
    gate:request()
    conn:wait_end()
    gate:reply({})
    assert.equal("done", c:response().body)
  end)

  it("wakes who waits for a response that ends with another request", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/waits" then
          ctx.log:warn "waits"
          local _, err = P.res:chunks()()
          ctx:exit(200, told(err))
        end
        P.res = assert(tg.http.get("back", "/", { stream = true }))
        tg.http.get("back", "/gate")
        ctx:exit(200, "done")
      end
    ]])
    local c, conn = ask()
    conn:send(CHUNKED)
    local gate = o:accept()
    gate:request()
    local other = client.connect(g.port)
    other:send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
    g:wait_for_log("waits")
    gate:reply({})
    assert.equal("done", c:response().body)
    assert.equal("unavailable", other:response().body)
    conn:wait_end()
  end)

  it("is for one at a time; the body is in one place only", function()
    start([[
      function P.access(_, ctx)
        local streamed = assert(tg.http.get("back", "/", { stream = true }))
        local task = ctx:spawn(function() return streamed:chunks()() end)
        ctx:sleep("1ms")
        local said = {}
        local function tell(fn, ...) said[#said + 1] = tostring(select(2, pcall(fn, ...))) end
        tell(streamed:chunks())
        tell(function() return streamed.body end)
        tell(function() return streamed:json() end)
        tell(tg.http.get, "back", "/", { stream = 1 })
        task:cancel()
        local whole = assert(tg.http.get("back", "/whole"))
        local pieces = {}
        for chunk in whole:chunks() do pieces[#pieces + 1] = chunk end
        said[#said + 1] = #pieces .. pieces[1]
        ctx:exit(200, table.concat(said, "\n"))
      end
    ]])
    local c, conn = ask()
    conn:send(CHUNKED)
    o:serve({ body = "whole" })
    local said = c:response().body
    assert.contains("another function of the plugin waits for the next piece", said)
    assert.contains("the body of a streamed response comes by response:chunks() only", said)
    assert.contains("stream: expected true or false", said)
    assert.contains("1whole", said)
    conn:wait_end()
  end)
end)
